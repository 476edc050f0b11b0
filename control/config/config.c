#include "control/config/config.h"

#include "base/log.h"
#include "control/state/access.h"
#include "dns/upstream.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define ROWS(rows) (sizeof(rows) / sizeof((rows)[0]))

/* ---- kinds ---- */

static bool parse_label(void *out, const char *text)
{
    char name[ACCESS_NAME_MAX + 1];
    *(const char **)out = text;
    return access_check_name(text, name, NULL) == 0;
}

/* The kernel's rules for interface names. */
static bool parse_interface(void *out, const char *text)
{
    size_t len = strlen(text);
    *(const char **)out = text;
    if (len == 0 || len > 15 || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isgraph((unsigned char)text[i]) || text[i] == '/' || text[i] == ':' || text[i] == '%')
            return false;
    return true;
}

static bool parse_domain(void *out, const char *text)
{
    char label[ACCESS_NAME_MAX + 1];
    char name[ACCESS_NAME_MAX + 1];
    *(const char **)out = text;
    if (strlen(text) > 200)
        return false;
    for (;;) {
        size_t len = strcspn(text, ".");
        if (len == 0 || len >= sizeof label)
            return false;
        memcpy(label, text, len);
        label[len] = '\0';
        if (access_check_name(label, name, NULL) != 0)
            return false;
        if (text[len] == '\0')
            return true;
        text += len + 1;
    }
}

static bool parse_network4(void *out, const char *text)
{
    struct ip_prefix *prefix = out;
    return strchr(text, '/') != NULL && ip_prefix_parse(prefix, text) && prefix->addr.family == 4 &&
           ip_prefix_is_masked(prefix) && prefix->len >= 8 && prefix->len <= 24;
}

static bool parse_node_network(void *out, const char *text)
{
    const struct ip_prefix *prefix = out;
    return parse_network4(out, text) && prefix->len > 8; /* another one follows it */
}

static bool parse_network6(void *out, const char *text)
{
    struct overlay6_option *option = out;
    struct ip_prefix *prefix = &option->prefix;
    if (strcmp(text, "none") == 0) {
        option->mode = OVERLAY6_NONE;
        return true;
    }
    option->mode = OVERLAY6_GIVEN;
    return strchr(text, '/') != NULL && ip_prefix_parse(prefix, text) && prefix->addr.family == 6 &&
           ip_prefix_is_masked(prefix) && prefix->len >= 16 && prefix->len <= 64;
}

/* What others are told: "any" and groups are nobody's address. */
static bool is_of_a_host(const struct ip_addr *addr)
{
    static const uint8_t any[16];
    bool is_group = addr->family == 4 ? addr->bytes[0] >= 224 : addr->bytes[0] == 0xff;
    return !is_group && memcmp(addr->bytes, any, ip_addr_len(addr)) != 0;
}

static bool parse_ip(void *out, const char *text)
{
    return ip_addr_parse(out, text) && is_of_a_host(out);
}

static bool parse_endpoint(void *out, const char *text)
{
    return endpoint_parse(out, text) && endpoint_port(out) != 0;
}

/* "IP:PORT", or an address alone, which means port 53. */
static bool parse_dns_endpoint(void *out, const char *text)
{
    struct ip_addr addr;
    if (endpoint_parse(out, text))
        return true;
    if (!ip_addr_parse(&addr, text))
        return false;
    endpoint_from_addr(out, &addr, 53);
    return true;
}

static bool parse_dns_list(void *out, const char *text)
{
    struct option_list *list = out;
    size_t before = list->count;
    union endpoint endpoint;
    if (!option_list.parse(out, text))
        return false;
    for (size_t i = before; i < list->count; i++)
        if (!parse_dns_endpoint(&endpoint, list->values[i]))
            return false;
    return true;
}

static bool parse_log_format(void *out, const char *text)
{
    *(bool *)out = strcmp(text, "json") == 0;
    return *(bool *)out || strcmp(text, "text") == 0;
}

static bool parse_output(void *out, const char *text)
{
    *(bool *)out = strcmp(text, "json") == 0;
    return *(bool *)out || strcmp(text, "table") == 0;
}

/* "tcp://IP:PORT"; a name instead of the IP is for those that connect. */
static bool parse_grpc_address(void *out, const char *text)
{
    union endpoint endpoint;
    uint64_t port;
    *(const char **)out = text;
    if (strncmp(text, "unix://", 7) == 0)
        return text[7] == '/';
    if (strncmp(text, "tcp://", 6) != 0)
        return false;
    text += 6;
    const char *colon = strrchr(text, ':');
    if (endpoint_parse(&endpoint, text))
        return true;
    return colon != NULL && colon != text && strspn(text, "[]:") == 0 &&
           memchr(text, ':', (size_t)(colon - text)) == NULL &&
           parse_number(&port, colon + 1, 1, UINT16_MAX);
}

static bool parse_listen_address(void *out, const char *text)
{
    union endpoint endpoint;
    *(const char **)out = text;
    return strncmp(text, "tcp://", 6) == 0 && endpoint_parse(&endpoint, text + 6);
}

static bool parse_advertised(void *out, const char *text)
{
    union endpoint endpoint;
    struct ip_addr addr;
    if (!parse_listen_address(out, text) || !endpoint_parse(&endpoint, text + 6))
        return false;
    endpoint_addr(&endpoint, &addr);
    return is_of_a_host(&addr);
}

static bool parse_grpc_list(void *out, const char *text)
{
    struct option_list *list = out;
    size_t before = list->count;
    const char *checked;
    if (!option_list.parse(out, text))
        return false;
    for (size_t i = before; i < list->count; i++)
        if (!parse_grpc_address(&checked, list->values[i]))
            return false;
    return true;
}

static bool parse_secret(void *out, const char *text)
{
    *(const char **)out = text;
    return access_check_id(text, "", NULL) == 0;
}

static bool parse_secrets(void *out, const char *text)
{
    struct option_list *list = out;
    size_t before = list->count;
    if (!option_list.parse(out, text))
        return false;
    for (size_t i = before; i < list->count; i++)
        if (access_check_id(list->values[i], "", NULL) < 0)
            return false;
    return true;
}

static const struct option_kind kind_label = {
    "NAME", "a DNS label: letters, digits and inner hyphens, at most 63 characters", false, false,
    parse_label};
static const struct option_kind kind_interface = {"NAME", "an interface name of 1 to 15 characters",
                                                  false, false, parse_interface};
static const struct option_kind kind_domain = {"DOMAIN", "a domain name without a trailing dot",
                                               false, false, parse_domain};
static const struct option_kind kind_network4 = {
    "CIDR", "an IPv4 CIDR as 10.10.0.0/16, /8 to /24, no bits set behind the length", false, false,
    parse_network4};
static const struct option_kind kind_node_network = {
    "CIDR", "an IPv4 CIDR as 10.10.0.0/16, /9 to /24, no bits set behind the length", false, false,
    parse_node_network};
static const struct option_kind kind_network6 = {
    "CIDR", "an IPv6 CIDR as fd00:1::/48, /16 to /64, no bits set behind the length, or none",
    false, false, parse_network6};
static const struct option_kind kind_ip = {"IP", "an IP address of a host", false, false, parse_ip};
static const struct option_kind kind_dns_endpoint = {"IP:PORT", "an address, as 10.11.0.1:53",
                                                     false, false, parse_dns_endpoint};
static const struct option_kind kind_metrics = {
    "IP:PORT", "an address and a port, as 127.0.0.1:9100", false, false, parse_endpoint};
static const struct option_kind kind_dns_list = {"IP:PORT", "an address, as 8.8.8.8:53", true,
                                                 false, parse_dns_list};
static const struct option_kind kind_log_format = {"FORMAT", "text or json", false, false,
                                                   parse_log_format};
static const struct option_kind kind_grpc_address = {
    "ADDRESS", "an address as tcp://192.0.2.1:9000 or unix:///path", false, false,
    parse_grpc_address};
static const struct option_kind kind_listen_address = {
    "ADDRESS", "an address as tcp://192.0.2.1:9000", false, false, parse_listen_address};
static const struct option_kind kind_advertised = {
    "ADDRESS", "an address of a host as tcp://192.0.2.1:9000", false, false, parse_advertised};
static const struct option_kind kind_grpc_list = {"ADDRESS", "an address as tcp://192.0.2.1:9000",
                                                  true, false, parse_grpc_list};
const struct option_kind option_output = {"FORMAT", "table or json", false, false, parse_output};

static const struct option_kind kind_secret = {
    "SECRET", "at least 96 random bits, as uuidgen makes them", false, true, parse_secret};
static const struct option_kind kind_secrets = {
    "ID", "at least 96 random bits, as uuidgen makes them", true, true, parse_secrets};

/* ---- heimdall ---- */

#define ROW(long_name, short_name, env, kind, fallback, member, help)                              \
    {                                                                                              \
        long_name, short_name, env, &(kind), fallback, help, offsetof(struct CONFIG, member)       \
    }

/* Of the file itself. */
#define CONFIG_ROW(env, place)                                                                     \
    ROW("config", 0, env, option_path, NULL, sources.path,                                         \
        "file of lines \"option = value\" (default: " place ", if there is one)")

/* The original's way to trust everybody: known, so that the answer is more than "unknown". */
#define SKIP_VERIFY_ROW(env)                                                                       \
    ROW("skip-verify", 0, env, option_flag, NULL, skip_verify,                                     \
        "refused: the other side always proves who it is")

#define NODE_FILE "/etc/heimdall/heimdall.conf"
#define PEER_FILE "/etc/heimdall/hpeer.conf"
#define CTL_FILE  "/etc/heimdall/hctl.conf"

#define CONFIG node_config
static const struct option node_rows[] = {
    CONFIG_ROW("HEIMDALL_CONFIG", NODE_FILE),
    ROW("debug", 'D', "HEIMDALL_DEBUG", option_flag, NULL, log.debug, "log debug messages too"),
    ROW("id", 0, "HEIMDALL_NODE_ID", kind_secret, NULL, id,
        "this node's id (default: a random UUID, kept in the data dir)"),
    ROW("name", 0, "HEIMDALL_NODE_NAME", kind_label, NULL, name,
        "this node's name in the network's DNS (default: the host's name)"),
    ROW("data-dir", 0, "HEIMDALL_DATA_DIR", option_folder, "/var/lib/heimdall", data_dir,
        "where keys, ids and the Redis data are kept"),
    ROW("redis-port", 0, "HEIMDALL_REDIS_PORT", option_port, "16379", redis_port,
        "port for Redis replication on the tunnel address (in use when nodes can join)"),
    ROW("addr", 'a', "HEIMDALL_GRPC_ADDR", kind_listen_address, NULL, addr,
        "where the control API listens (default tcp://HOSTIP:9000)"),
    ROW("advertise-grpc-address", 0, "HEIMDALL_ADVERTISE_GRPC_ADDR", kind_advertised, NULL,
        advertise_addr, "the control API's address as others reach it (default: as --addr)"),
    ROW("peer", 0, "HEIMDALL_PEER", kind_grpc_list, NULL, peers,
        "control API of a node to join (not in this version: refused)"),
    ROW("cluster-key", 0, "HEIMDALL_CLUSTER_KEY", kind_secret, NULL, cluster_key,
        "the key that nodes and administrators share (default: random, kept in the data dir)"),
    ROW("cluster-key-file", 0, "HEIMDALL_CLUSTER_KEY_FILE", option_filename, NULL, cluster_key_file,
        "file that holds the cluster key"),
    ROW("node-interface", 0, "HEIMDALL_NODE_INTERFACE", kind_interface, NULL, node_interface,
        "interface that has HOSTIP and gets NAT (default: the default route's, and NAT toward "
        "all)"),
    ROW("node-network", 0, "HEIMDALL_NODE_NETWORK", kind_node_network, "10.10.0.0/16", node_network,
        "nodes get the networks that follow this one"),
    ROW("peer-network", 0, "HEIMDALL_PEER_NETWORK", kind_network4, "10.51.0.0/16", peer_network,
        "peers get addresses of this network"),
    ROW("node-network6", 0, "HEIMDALL_NODE_NETWORK6", kind_network6, NULL, node_network6,
        "IPv6 network of the nodes, or none (default: a ULA made from the cluster's id)"),
    ROW("peer-network6", 0, "HEIMDALL_PEER_NETWORK6", kind_network6, NULL, peer_network6,
        "IPv6 network of the peers, or none (default: a ULA made from the cluster's id)"),
    ROW("allow-peer-to-peer", 0, "HEIMDALL_ALLOW_PEER_TO_PEER", option_flag, NULL,
        allow_peer_to_peer, "let peers reach one another through this node"),
    ROW("endpoint-ip", 0, "HEIMDALL_ENDPOINT_IP", kind_ip, NULL, endpoint_ip,
        "address at which others reach this node's tunnel (default HOSTIP)"),
    ROW("endpoint-port", 0, "HEIMDALL_ENDPOINT_PORT", option_port, "10100", endpoint_port,
        "UDP port of this node's tunnel"),
    ROW("dns-address", 0, "HEIMDALL_DNS_ADDRESS", kind_dns_endpoint, NULL, dns_address,
        "where DNS is served (default: the tunnel address, port 53)"),
    ROW("dns-upstream-address", 0, "HEIMDALL_DNS_UPSTREAM_ADDRESS", kind_dns_list, NULL,
        dns_upstream, "resolver for other names (default: the host's own)"),
    ROW("dns-upstream-tls", 0, "HEIMDALL_DNS_UPSTREAM_TLS", kind_domain, NULL, dns_upstream_tls,
        "ask --dns-upstream-address over TLS; DOMAIN is the name in its certificate"),
    ROW("dns-domain", 0, "HEIMDALL_DNS_DOMAIN", kind_domain, "heimdall", dns_domain,
        "domain of the network's names"),
    ROW("interface-name", 0, "HEIMDALL_INTERFACE_NAME", kind_interface, "darknet", interface_name,
        "name of the tunnel's interface"),
    ROW("authorized-peer", 0, "HEIMDALL_AUTHORIZED_PEER", kind_secrets, NULL, authorized_peers,
        "id of a peer to authorize at start"),
    ROW("peer-expiry", 0, "HEIMDALL_PEER_EXPIRY", option_duration, NULL, peer_expiry_ns,
        "deauthorize a peer that was not seen for so long, as 720h (default: never)"),
    ROW("cert", 'c', "HEIMDALL_CERT", option_filename, NULL, cert,
        "certificate in PEM, in place of the shared secret; with --key and --ca"),
    ROW("key", 'k', "HEIMDALL_KEY", option_filename, NULL, key, "private key of --cert in PEM"),
    ROW("ca", 0, "HEIMDALL_CA", option_filename, NULL, ca,
        "certificates that the other side must descend from, in PEM"),
    ROW("client-cert", 0, "HEIMDALL_NODE_CLIENT_CERT", option_filename, NULL, client_cert,
        "certificate in PEM toward other nodes (not in this version: refused)"),
    ROW("client-key", 0, "HEIMDALL_NODE_CLIENT_KEY", option_filename, NULL, client_key,
        "private key of --client-cert in PEM (not in this version: refused)"),
    SKIP_VERIFY_ROW("HEIMDALL_SKIP_VERIFY"),
    ROW("insecure", 0, "HEIMDALL_INSECURE", option_flag, NULL, insecure,
        "serve the control API without TLS and to everyone"),
    ROW("metrics-address", 0, "HEIMDALL_METRICS_ADDRESS", kind_metrics, NULL, metrics_address,
        "where Prometheus metrics are served over HTTP, as 127.0.0.1:9100 (default: nowhere)"),
    ROW("log-format", 0, "HEIMDALL_LOG_FORMAT", kind_log_format, NULL, log.json, "text or json"),
};
#undef CONFIG

#define CONFIG peer_config
static const struct option peer_rows[] = {
    CONFIG_ROW("HEIMDALL_CONFIG", PEER_FILE),
    ROW("debug", 'D', "HEIMDALL_DEBUG", option_flag, NULL, log.debug, "log debug messages too"),
    ROW("id", 0, "HEIMDALL_ID", kind_secret, NULL, id,
        "this peer's id, a secret (default: a random UUID, kept in the data dir)"),
    ROW("name", 0, "HEIMDALL_NAME", kind_label, NULL, name,
        "this peer's name in the network's DNS (default: the host's name)"),
    ROW("addr", 0, "HEIMDALL_ADDR", kind_grpc_address, "tcp://127.0.0.1:9000", addr,
        "control API of any node"),
    ROW("update-interval", 0, "HEIMDALL_UPDATE_INTERVAL", option_duration, "10s",
        update_interval_ns, "poll this often while the node's pushed updates do not arrive"),
    ROW("exit-node", 0, "HEIMDALL_EXIT_NODE", option_text, NULL, exit_node,
        "id or name of the node through which everything goes that no other route takes"),
    ROW("interface-name", 0, "HEIMDALL_INTERFACE_NAME", kind_interface, "darknet", interface_name,
        "name of the tunnel's interface"),
    ROW("data-dir", 0, "HEIMDALL_DATA_DIR", option_folder, "/var/lib/heimdall-peer", data_dir,
        "where the key and the id are kept"),
    ROW("cert", 'c', "HEIMDALL_CERT", option_filename, NULL, cert,
        "certificate in PEM, in place of the shared secret; with --key and --ca"),
    ROW("key", 'k', "HEIMDALL_KEY", option_filename, NULL, key, "private key of --cert in PEM"),
    ROW("ca", 0, "HEIMDALL_CA", option_filename, NULL, ca,
        "certificates that the other side must descend from, in PEM"),
    SKIP_VERIFY_ROW("HEIMDALL_SKIP_VERIFY"),
    ROW("insecure", 0, "HEIMDALL_INSECURE", option_flag, NULL, insecure,
        "connect without TLS, to a node started with --insecure"),
    ROW("metrics-address", 0, "HEIMDALL_METRICS_ADDRESS", kind_metrics, NULL, metrics_address,
        "where Prometheus metrics are served over HTTP, as 127.0.0.1:9100 (default: nowhere)"),
    ROW("log-format", 0, "HEIMDALL_LOG_FORMAT", kind_log_format, NULL, log.json, "text or json"),
};
#undef CONFIG

#define CONFIG ctl_config
static const struct option ctl_rows[] = {
    CONFIG_ROW("HEIMDALL_CTL_CONFIG", CTL_FILE),
    ROW("debug", 'D', "HEIMDALL_DEBUG", option_flag, NULL, log.debug, "log debug messages too"),
    ROW("addr", 'a', "HEIMDALL_ADDR", kind_grpc_address, NULL, addr,
        "control API of a node (default: the unix socket of the node on this host, else "
        "tcp://127.0.0.1:9000)"),
    ROW("data-dir", 0, "HEIMDALL_DATA_DIR", option_folder, "/var/lib/heimdall", data_dir,
        "data dir of the node on this host: its socket and cluster key"),
    ROW("cluster-key", 0, "HEIMDALL_CLUSTER_KEY", kind_secret, NULL, cluster_key,
        "the cluster key, for tcp:// addresses (default: the one of the data dir)"),
    ROW("cluster-key-file", 0, "HEIMDALL_CLUSTER_KEY_FILE", option_filename, NULL, cluster_key_file,
        "file that holds the cluster key"),
    ROW("cert", 'c', "HEIMDALL_CLIENT_CERT", option_filename, NULL, cert,
        "certificate in PEM, in place of the shared secret; with --key and --ca"),
    ROW("key", 'k', "HEIMDALL_CLIENT_KEY", option_filename, NULL, key,
        "private key of --cert in PEM"),
    ROW("ca", 0, "HEIMDALL_CLIENT_CA", option_filename, NULL, ca,
        "certificates that the other side must descend from, in PEM"),
    SKIP_VERIFY_ROW("HEIMDALL_SKIP_VERIFY"),
    ROW("insecure", 0, "HEIMDALL_INSECURE", option_flag, NULL, insecure,
        "connect without TLS, to a node started with --insecure"),
    ROW("output", 'o', "HEIMDALL_OUTPUT", option_output, NULL, json, "table or json"),
};
#undef CONFIG

struct option_set config_node_set(struct node_config *config)
{
    return (struct option_set){node_rows, ROWS(node_rows), config, config->sources.given};
}

struct option_set config_peer_set(struct peer_config *config)
{
    return (struct option_set){peer_rows, ROWS(peer_rows), config, config->sources.given};
}

struct option_set config_ctl_set(struct ctl_config *config)
{
    return (struct option_set){ctl_rows, ROWS(ctl_rows), config, config->sources.given};
}

static_assert(ROWS(node_rows) <= OPTIONS_MAX && ROWS(peer_rows) <= OPTIONS_MAX &&
                  ROWS(ctl_rows) <= OPTIONS_MAX,
              "each row has its place among those with a value");

/* What the command line left open. */
static bool complete(const struct option_set *set, struct config_sources *sources,
                     const char *fallback_path, struct err *err)
{
    if (!options_from_environment(set, err))
        return false;
    bool optional = sources->path == NULL;
    if (!option_file_read(&sources->file, set, optional ? fallback_path : sources->path, optional,
                          err))
        return false;
    options_fall_back(set);
    return true;
}

/* heimdall and hpeer take options only. */
static enum options_outcome read_all(const struct option_set *set, struct config_sources *sources,
                                     const char *fallback_path, int argc, char **argv,
                                     struct err *err)
{
    int next = 1;
    enum options_outcome outcome = options_parse(set, 1, argc, argv, &next, true, err);
    if (outcome != OPTIONS_OK)
        return outcome;
    if (next == argc)
        return complete(set, sources, fallback_path, err) ? OPTIONS_OK : OPTIONS_BAD;
    err_set(err, -EINVAL, "unexpected argument \"%s\": --help lists the options", argv[next]);
    return OPTIONS_BAD;
}

static bool check_certificate(const char *cert, const char *key, const char *ca, bool skip_verify,
                              struct err *err)
{
    if (skip_verify) {
        err_set(err, -EINVAL,
                "option --skip-verify: refused, the other side always proves who it is: with "
                "--cert, --key and --ca, or without certificates by the shared secret");
        return false;
    }
    if ((cert == NULL) == (key == NULL) && (cert == NULL) == (ca == NULL))
        return true;
    err_set(err, -EINVAL, "options --cert, --key and --ca: expects all three or none of them");
    return false;
}

static bool check_upstream(const struct node_config *config, struct err *err)
{
    if (config->dns_upstream.count > UPSTREAM_SERVERS_MAX) {
        err_set(err, -EINVAL, "option --dns-upstream-address: expects at most %d of them",
                UPSTREAM_SERVERS_MAX);
        return false;
    }
    if (config->dns_upstream_tls != NULL && config->dns_upstream.count == 0) {
        err_set(err, -EINVAL,
                "option --dns-upstream-tls: expects --dns-upstream-address, whose certificate has "
                "the name");
        return false;
    }
    return true;
}

/* What no single option can tell. */
static bool check_node(const struct node_config *config, struct err *err)
{
    char text[IP_PREFIX_TEXT];
    if (ip_prefix_overlaps(&config->node_network, &config->peer_network)) {
        ip_prefix_format(&config->node_network, text);
        err_set(err, -EINVAL,
                "option --peer-network: expects a network apart from --node-network %s", text);
        return false;
    }
    if (config->node_network6.mode == OVERLAY6_GIVEN &&
        config->peer_network6.mode == OVERLAY6_GIVEN &&
        ip_prefix_overlaps(&config->node_network6.prefix, &config->peer_network6.prefix)) {
        ip_prefix_format(&config->node_network6.prefix, text);
        err_set(err, -EINVAL,
                "option --peer-network6: expects a network apart from --node-network6 %s", text);
        return false;
    }
    if ((config->node_network6.mode == OVERLAY6_GIVEN &&
         config->peer_network6.mode == OVERLAY6_NONE) ||
        (config->node_network6.mode == OVERLAY6_NONE &&
         config->peer_network6.mode == OVERLAY6_GIVEN)) {
        err_set(err, -EINVAL,
                "options --node-network6 and --peer-network6: expects a network for both, or none "
                "for either");
        return false;
    }
    if (config->cluster_key != NULL && config->cluster_key_file != NULL) {
        err_set(err, -EINVAL,
                "options --cluster-key and --cluster-key-file: expects only one of them");
        return false;
    }
    if (config->peers.count > 0) {
        /* starting alone instead would make a second network with the same addresses */
        err_set(err, -EINVAL, "option --peer: joining another node is not in this version");
        return false;
    }
    if (config->client_cert != NULL || config->client_key != NULL) {
        err_set(err, -EINVAL,
                "option --client-%s: for joining another node, which is not in this version",
                config->client_cert != NULL ? "cert" : "key");
        return false;
    }
    return check_upstream(config, err) &&
           check_certificate(config->cert, config->key, config->ca, config->skip_verify, err);
}

enum options_outcome config_read_node(struct node_config *config, int argc, char **argv,
                                      struct err *err)
{
    *config = (struct node_config){0};
    struct option_set set = config_node_set(config);
    enum options_outcome outcome = read_all(&set, &config->sources, NODE_FILE, argc, argv, err);
    if (outcome == OPTIONS_OK && !check_node(config, err))
        outcome = OPTIONS_BAD;
    return outcome;
}

void config_node_fini(struct node_config *config)
{
    option_list_fini(&config->peers);
    option_list_fini(&config->dns_upstream);
    option_list_fini(&config->authorized_peers);
    option_file_fini(&config->sources.file);
}

enum options_outcome config_read_peer(struct peer_config *config, int argc, char **argv,
                                      struct err *err)
{
    *config = (struct peer_config){0};
    struct option_set set = config_peer_set(config);
    enum options_outcome outcome = read_all(&set, &config->sources, PEER_FILE, argc, argv, err);
    if (outcome == OPTIONS_OK &&
        !check_certificate(config->cert, config->key, config->ca, config->skip_verify, err))
        outcome = OPTIONS_BAD;
    return outcome;
}

void config_peer_fini(struct peer_config *config)
{
    option_file_fini(&config->sources.file);
}

enum options_outcome config_read_ctl(struct ctl_config *config, int argc, char **argv, int *next,
                                     struct err *err)
{
    *config = (struct ctl_config){0};
    struct option_set set = config_ctl_set(config);
    *next = 1;
    return options_parse(&set, 1, argc, argv, next, true, err);
}

bool config_complete_ctl(struct ctl_config *config, struct err *err)
{
    struct option_set set = config_ctl_set(config);
    return complete(&set, &config->sources, CTL_FILE, err) &&
           check_certificate(config->cert, config->key, config->ca, config->skip_verify, err);
}

void config_ctl_fini(struct ctl_config *config)
{
    option_file_fini(&config->sources.file);
}

void config_host_label(char out[ACCESS_NAME_MAX + 1], const char *otherwise)
{
    char host[256] = "";
    (void)gethostname(host, sizeof host - 1);
    access_name_from_host(host, out);
    if (out[0] == '\0' || strcmp(out, "localhost") == 0)
        snprintf(out, ACCESS_NAME_MAX + 1, "%s", otherwise);
}

void config_apply_log(const struct log_options *log)
{
    log_set_level(log->debug ? LOG_DEBUG : LOG_INFO);
    log_set_format(log->json ? LOG_JSON : LOG_TEXT);
}
