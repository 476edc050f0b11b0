#include "control/daemon/node_host.h"

#include "base/log.h"
#include "base/log_once.h"
#include "control/cluster/cluster.h"
#include "control/daemon/node_bootstrap.h"
#include "control/daemon/node_listen.h"
#include "control/daemon/node_parts.h"
#include "control/rpc/server.h"
#include "control/state/state.h"
#include "tun/ifconf.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    GRPC_PORT = 9000,
    SETTLE_MS = 1000, /* a new lease removes an address before it adds the next one */
    RETRY_MS = 2000,
};

/* ---- HOSTIP ---- */

static bool is_any(const struct ip_addr *addr)
{
    static const uint8_t zero[16];
    return memcmp(addr->bytes, zero, ip_addr_len(addr)) == 0;
}

/* The address of --addr, unless it stands for all of this host. */
static bool given_addr(const struct node *node, struct ip_addr *out)
{
    if (node->config->addr == NULL)
        return false;
    endpoint_addr(&node->listen.endpoint, out);
    return !is_any(out);
}

/* A socket for all IPv4 addresses cannot be reached over IPv6. */
static bool needs_ipv4(const struct node *node)
{
    return node->config->addr != NULL && node->listen.endpoint.sa.sa_family == AF_INET;
}

/* Reads HOSTIP. `*addr` is the one of before, and keeps its value where the host has none. 0,
 * -EADDRNOTAVAIL, or another negative errno. */
static int read_host_addr(const struct node *node, struct ip_addr *addr)
{
    struct ifconf_socket *conf = NULL;
    struct ifconf_link link = {0};
    struct ifconf_link tunnel = {0};
    const char *name = node->config->node_interface;
    int code = ifconf_open(&conf);
    if (code < 0)
        return code;
    (void)ifconf_link_find(conf, node->config->daemon.interface_name, &tunnel);
    if (name != NULL)
        code = ifconf_link_find(conf, name, &link);
    if (code == 0)
        code = ifconf_host_addr(conf, 4, link.ifindex, tunnel.ifindex, addr);
    if (code == -EADDRNOTAVAIL && !needs_ipv4(node))
        code = ifconf_host_addr(conf, 6, link.ifindex, tunnel.ifindex, addr);
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

/* ---- what others are told ---- */

static bool is_loopback(const struct ip_addr *addr)
{
    static const uint8_t ipv6[16] = {[15] = 1};
    return addr->family == 4 ? addr->bytes[0] == 127
                             : addr->family == 6 && memcmp(addr->bytes, ipv6, sizeof ipv6) == 0;
}

static void set_address(struct address *out, const struct ip_addr *addr, uint16_t port)
{
    *out = (struct address){.kind = ADDRESS_TCP, .port = port};
    endpoint_from_addr(&out->endpoint, addr, port);
    ip_addr_format(addr, out->host);
}

/* Where to listen without --addr: HOSTIP. A loopback address serves only where the user named one.
 */
static void choose_listen(struct node *node)
{
    const struct ip_addr *endpoint = &node->config->endpoint_ip;
    if (node->config->addr != NULL)
        return;
    if (node->host_addr.family != 0)
        set_address(&node->listen, &node->host_addr, GRPC_PORT);
    else if (is_loopback(endpoint))
        set_address(&node->listen, endpoint, GRPC_PORT);
}

static bool has_listen(const struct node *node)
{
    return endpoint_is_set(&node->listen.endpoint);
}

/* The address for others: the listening address, with HOSTIP in place of "any address". */
static void choose_advertised(struct node *node)
{
    struct address advertised = node->listen;
    struct ip_addr addr = {0};
    node->advertise[0] = '\0';
    if (node->config->advertise_addr != NULL) {
        snprintf(node->advertise, sizeof node->advertise, "%s", node->config->advertise_addr);
        return;
    }
    if (!has_listen(node))
        return;
    endpoint_addr(&node->listen.endpoint, &addr);
    if (is_any(&addr) && node->host_addr.family == 0)
        return;
    if (is_any(&addr))
        set_address(&advertised, &node->host_addr, node->listen.port);
    address_format(&advertised, node->advertise);
}

static void choose_endpoint(struct node *node)
{
    struct ip_addr addr = node->config->endpoint_ip;
    node->endpoint_ip[0] = '\0';
    if (addr.family == 0)
        addr = node->host_addr;
    if (addr.family == 0 && !given_addr(node, &addr))
        return;
    ip_addr_format(&addr, node->endpoint_ip);
}

static void choose_all(struct node *node)
{
    choose_listen(node);
    choose_advertised(node);
    choose_endpoint(node);
}

static bool is_complete(const struct node *node)
{
    return node->advertise[0] != '\0' && node->endpoint_ip[0] != '\0' && has_listen(node);
}

static void warn_of_waiting(const struct node *node)
{
    char message[256];
    const char *interface = node->config->node_interface;
    snprintf(message, sizeof message,
             "%s%s has no address that other hosts could reach%s: waiting for one. Give it one "
             "(DHCP, ip addr add), or name one with --addr and --endpoint-ip",
             interface != NULL ? "interface " : "this host", interface != NULL ? interface : "",
             needs_ipv4(node) ? " over IPv4, as --addr asks" : "");
    log_warn(message);
}

int node_read_host(struct node *node, struct err *err)
{
    const struct node_config *config = node->config;
    int code = 0;
    if (config->addr != NULL)
        code = address_parse(&node->listen, config->addr, false, err);
    if (code < 0)
        return code;
    code = read_host_addr(node, &node->host_addr);
    if (code < 0 && code != -EADDRNOTAVAIL && config->node_interface != NULL)
        return err_set_errno(err, code, "option --node-interface: %s", config->node_interface);
    if (code < 0 && code != -EADDRNOTAVAIL)
        return err_set_errno(err, code, "cannot read this host's addresses");
    code = check_networks(node, err);
    if (code < 0)
        return code;
    choose_all(node);
    if (config->name != NULL)
        return access_check_name(config->name, node->name, err);
    identity_host_label(node->name, "node");
    return 0;
}

/* ---- following it ---- */

static void on_check(uv_timer_t *timer);

static void check_later(struct node *node, uint64_t pause_ms)
{
    if (!node->stopping && !uv_is_active((uv_handle_t *)&node->host_timer))
        (void)uv_timer_start(&node->host_timer, on_check, pause_ms, 0);
}

static void on_record_put(void *ctx, const struct mutation *mutation, enum grpc_code status,
                          const struct err *err, uint64_t rev)
{
    struct node *node = ctx;
    (void)mutation;
    (void)rev;
    node->host_put = false;
    if (status == GRPC_OK || node->stopping)
        return;
    log_debug("cannot change this node's record yet", F_STR("error", err->text));
    check_later(node, RETRY_MS);
}

/* Peers and other nodes get the record that the store holds. */
static void follow_record(struct node *node)
{
    const struct state_node *self = state_node(cluster_state(node->cluster), node->identity.id);
    if (node->host_put || self == NULL || !is_complete(node) ||
        (strcmp(self->pb->addr, node->advertise) == 0 &&
         strcmp(self->pb->endpoint_ip, node->endpoint_ip) == 0))
        return;
    node->host_put = true;
    if (node_put_self(node, on_record_put) < 0) {
        node->host_put = false;
        check_later(node, RETRY_MS);
    }
}

/* Opens the new socket before the old one closes, and cuts no connection. */
static void follow_listen(struct node *node)
{
    struct err err = {0};
    if (!has_listen(node) || (node->listens && address_equal(&node->listen, &node->listening)))
        return;
    if (node_listen(node, &err) < 0) {
        if (log_once(&node->listen_failed))
            log_warn("cannot serve the control API, retrying", F_STR("error", err.text));
        check_later(node, RETRY_MS);
        return;
    }
    (void)log_once_reset(&node->listen_failed);
    if (node->listens)
        rpc_server_unlisten(node->rpc, &node->listening);
    node->listening = node->listen;
    node->listens = true;
}

static void on_addr_changed(struct node *node, const struct ip_addr *found)
{
    char from[IP_ADDR_TEXT] = "";
    char to[IP_ADDR_TEXT];
    bool had = node->host_addr.family != 0;
    if (had)
        ip_addr_format(&node->host_addr, from);
    node->host_addr = *found;
    choose_all(node);
    ip_addr_format(found, to);
    if (had)
        log_info("this host's address has changed", F_STR("from", from), F_STR("to", to),
                 F_STR("addr", node->advertise), F_STR("endpoint_ip", node->endpoint_ip));
    else
        log_info("this host has an address now", F_STR("address", to),
                 F_STR("addr", node->advertise), F_STR("endpoint_ip", node->endpoint_ip));
    tunnel_greet(node->tunnel);
}

static void check(struct node *node)
{
    struct ip_addr found = node->host_addr;
    int code = read_host_addr(node, &found);
    bool lost = code == -EADDRNOTAVAIL || code == -ENODEV;
    if (lost && !node->host_addr_lost && is_complete(node) && node->host_addr.family != 0)
        warn_of_waiting(node);
    if (code == 0 && !ip_addr_equal(&found, &node->host_addr))
        on_addr_changed(node, &found);
    else if (code == 0 && node->host_addr_lost) {
        log_info("this host has its address again", F_STR("addr", node->advertise));
        tunnel_greet(node->tunnel);
    }
    if (code == 0 || lost)
        node->host_addr_lost = lost;
    follow_listen(node);
    follow_record(node);
}

static void on_check(uv_timer_t *timer)
{
    struct node *node = timer->data;
    if (node->ready && !node->stopping)
        check(node);
}

void node_host_init(struct node *node)
{
    (void)uv_timer_init(&node->loop, &node->host_timer);
    node->host_timer.data = node;
}

void node_host_close(struct node *node)
{
    uv_close((uv_handle_t *)&node->host_timer, NULL);
}

void node_host_changed(struct node *node)
{
    check_later(node, SETTLE_MS);
}

void node_host_report(const struct node *node)
{
    if (!is_complete(node))
        warn_of_waiting(node);
}

int node_host_serve(struct node *node, struct err *err)
{
    int code = has_listen(node) ? node_listen(node, err) : 0;
    if (code == -EADDRNOTAVAIL) {
        log_warn("this host does not have the address of --addr: waiting for it",
                 F_STR("error", err->text));
        (void)log_once(&node->listen_failed);
        code = 0;
    } else if (code == 0 && has_listen(node)) {
        node->listening = node->listen;
        node->listens = true;
    }
    check_later(node, SETTLE_MS);
    return code;
}

const char *node_host_problem(const struct node *node)
{
    if (!is_complete(node) || (node->host_addr_lost && node->host_addr.family != 0))
        return "this host has no address that other hosts could reach";
    if (!node->listens)
        return "the control API does not listen: this host does not have the address of --addr, "
               "or its port is taken";
    return NULL;
}
