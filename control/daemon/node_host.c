#include "control/daemon/node_host.h"

#include "base/bytes.h"
#include "control/daemon/node_parts.h"
#include "tun/ifconf.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GRPC_PORT = 9000 };

static int interface_addr(struct ifconf_socket *conf, const char *name, struct ip_addr *out,
                          struct err *err)
{
    struct ifconf_link link;
    struct ifconf_addr *addrs = NULL;
    size_t count = 0;
    int code = ifconf_link_find(conf, name, &link);
    if (code == 0)
        code = ifconf_addr_list(conf, link.ifindex, &addrs, &count);
    if (code < 0)
        return err_set_errno(err, code, "option --node-interface: %s", name);
    code = -EADDRNOTAVAIL;
    for (size_t i = 0; i < count && code < 0; i++)
        if (addrs[i].prefix.addr.family == 4 && addrs[i].global) {
            *out = addrs[i].prefix.addr;
            code = 0;
        }
    free(addrs);
    return code == 0 ? 0
                     : err_set(err, code, "option --node-interface: %s has no IPv4 address", name);
}

static int find_host_addr(struct node *node, struct err *err)
{
    struct ifconf_socket *conf = NULL;
    int code = ifconf_open(&conf);
    if (code < 0)
        return err_set_errno(err, code, "no netlink socket");
    if (node->config->node_interface != NULL) {
        code = interface_addr(conf, node->config->node_interface, &node->host_addr, err);
    } else {
        code = ifconf_host_addr(conf, 4, 0, &node->host_addr);
        if (code < 0 || node->host_addr.bytes[0] == 127) {
            struct ip_addr addr6;
            if (ifconf_host_addr(conf, 6, 0, &addr6) == 0 && (addr6.bytes[0] & 0xe0) == 0x20)
                node->host_addr = addr6;
            else if (code < 0)
                err_set_errno(err, code, "this host has no address: name one with --endpoint-ip");
        }
        if (node->host_addr.family != 0)
            code = 0;
    }
    ifconf_close(conf);
    return code;
}

/* ---- networks of this host ---- */

static int list_networks(struct node *node, struct ifconf_socket *conf)
{
    struct ifconf_link tunnel = {0};
    struct ifconf_addr *addrs = NULL;
    size_t count = 0;
    (void)ifconf_link_find(conf, node->config->daemon.interface_name, &tunnel);
    int code = ifconf_addr_list(conf, 0, &addrs, &count);
    if (code < 0)
        return code;
    node->host_networks = calloc(count + 1, sizeof *node->host_networks);
    for (size_t i = 0; i < count && node->host_networks != NULL; i++)
        if (addrs[i].ifindex != tunnel.ifindex && addrs[i].global) {
            struct ip_prefix *network = &node->host_networks[node->host_network_count++];
            *network = addrs[i].prefix;
            ip_prefix_mask(network);
        }
    free(addrs);
    return node->host_networks != NULL ? 0 : -ENOMEM;
}

/* An existing cluster keeps its networks, whatever network this host has joined since. */
static bool is_new_cluster(const struct node_config *config)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/redis", config->data_dir);
    return n > 0 && (size_t)n < sizeof path && access(path, F_OK) < 0;
}

/* Peers in a network of this host would cut it off from its own neighbors. */
static int check_apart(const struct node *node, const char *option, const struct ip_prefix *network,
                       struct err *err)
{
    char wanted[IP_PREFIX_TEXT];
    char own[IP_PREFIX_TEXT];
    for (size_t i = 0; i < node->host_network_count; i++)
        if (ip_prefix_overlaps(network, &node->host_networks[i]))
            return err_set(err, NODE_EOPTION,
                           "option --%s: %s overlaps %s, in which this host is: expects a network "
                           "apart from it",
                           option, ip_prefix_format(network, wanted),
                           ip_prefix_format(&node->host_networks[i], own));
    return 0;
}

static int check_networks(struct node *node, struct err *err)
{
    const struct node_config *config = node->config;
    struct ifconf_socket *conf = NULL;
    int code = ifconf_open(&conf);
    if (code == 0)
        code = list_networks(node, conf);
    ifconf_close(conf);
    if (code < 0)
        return err_set_errno(err, code, "cannot list this host's networks");
    if (!is_new_cluster(config))
        return 0;
    code = check_apart(node, "peer-network", &config->peer_network, err);
    if (code == 0 && config->peer_network6.mode == OVERLAY6_GIVEN)
        code = check_apart(node, "peer-network6", &config->peer_network6.prefix, err);
    return code;
}

/* ---- addresses ---- */

static bool is_any(const struct ip_addr *addr)
{
    static const uint8_t zero[16];
    return memcmp(addr->bytes, zero, ip_addr_len(addr)) == 0;
}

/* The address for others: the listening address, with HOSTIP in place of "any address". */
static void make_advertised(struct node *node)
{
    struct address advertised = node->listen;
    struct ip_addr addr;
    endpoint_addr(&advertised.endpoint, &addr);
    if (is_any(&addr)) {
        endpoint_from_addr(&advertised.endpoint, &node->host_addr, node->listen.port);
        ip_addr_format(&node->host_addr, advertised.host);
    }
    address_format(&advertised, node->advertise);
}

int node_read_host(struct node *node, struct err *err)
{
    const struct node_config *config = node->config;
    char listen[ADDRESS_TEXT];
    char ip[IP_ADDR_TEXT];
    int code = find_host_addr(node, err);
    if (code == 0)
        code = check_networks(node, err);
    if (code < 0)
        return code;
    ip_addr_format(&node->host_addr, ip);
    snprintf(listen, sizeof listen, node->host_addr.family == 6 ? "tcp://[%s]:%d" : "tcp://%s:%d",
             ip, GRPC_PORT);
    code = address_parse(&node->listen, config->addr != NULL ? config->addr : listen, false, err);
    if (code < 0)
        return code;
    if (config->advertise_addr != NULL)
        snprintf(node->advertise, sizeof node->advertise, "%s", config->advertise_addr);
    else
        make_advertised(node);
    ip_addr_format(config->endpoint_ip.family != 0 ? &config->endpoint_ip : &node->host_addr,
                   node->endpoint_ip);
    if (config->name != NULL)
        return access_check_name(config->name, node->name, err);
    identity_host_label(node->name, "node");
    return 0;
}
