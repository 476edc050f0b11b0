/* The tables of options. Options that programs share stand once, over a struct that their configurations embed. */
#include "control/config/config.h"

#include "control/config/config_kinds.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#define ROWS(rows) (sizeof(rows) / sizeof((rows)[0]))

/* ---- shared ---- */

static const struct option source_rows[] = {
    {"config", 0, "HEIMDALL_CONFIG", &option_path, NULL, "file of lines \"option = value\"",
     offsetof(struct config_sources, path)},
};

static const struct option log_rows[] = {
    {"debug", 'D', "HEIMDALL_DEBUG", &option_flag, NULL, "log debug messages too",
     offsetof(struct log_options, debug)},
    {"log-format", 0, "HEIMDALL_LOG_FORMAT", &kind_log_format, NULL, "text or json",
     offsetof(struct log_options, json)},
};

static const struct option daemon_rows[] = {
    {"interface-name", 0, "HEIMDALL_INTERFACE_NAME", &kind_interface, "darknet",
     "name of the tunnel's interface", offsetof(struct daemon_options, interface_name)},
    {"metrics-address", 0, "HEIMDALL_METRICS_ADDRESS", &kind_metrics, NULL,
     "where Prometheus metrics are served over HTTP, as 127.0.0.1:9100 (default: nowhere)",
     offsetof(struct daemon_options, metrics_address)},
};

static const struct option tls_rows[] = {
    {"cert", 'c', "HEIMDALL_CERT", &option_filename, NULL,
     "certificate in PEM, in place of the shared secret; with --key and --ca",
     offsetof(struct tls_options, cert)},
    {"key", 'k', "HEIMDALL_KEY", &option_filename, NULL, "private key of --cert in PEM",
     offsetof(struct tls_options, key)},
    {"ca", 0, "HEIMDALL_CA", &option_filename, NULL,
     "certificates that the other side must descend from, in PEM",
     offsetof(struct tls_options, ca)},
    {"skip-verify", 0, "HEIMDALL_SKIP_VERIFY", &option_flag, NULL,
     "refused: the other side always proves who it is", offsetof(struct tls_options, skip_verify)},
    {"insecure", 0, "HEIMDALL_INSECURE", &option_flag, NULL,
     "connect without TLS, to a node started with --insecure",
     offsetof(struct tls_options, insecure)},
};

/* ---- each program's own ---- */

static const struct option node_rows[] = {
    {"id", 0, "HEIMDALL_NODE_ID", &kind_secret, NULL,
     "this node's id (default: a random UUID, kept in the data dir)",
     offsetof(struct node_config, id)},
    {"name", 0, "HEIMDALL_NODE_NAME", &kind_label, NULL,
     "this node's name in the network's DNS (default: the host's name)",
     offsetof(struct node_config, name)},
    {"data-dir", 0, "HEIMDALL_DATA_DIR", &option_folder, "/var/lib/heimdall",
     "where keys, ids and the Redis data are kept", offsetof(struct node_config, data_dir)},
    {"redis-port", 0, "HEIMDALL_REDIS_PORT", &option_port, "16379",
     "port for Redis replication on the tunnel address (in use when nodes can join)",
     offsetof(struct node_config, redis_port)},
    {"addr", 'a', "HEIMDALL_GRPC_ADDR", &kind_listen_address, NULL,
     "where the control API listens (default tcp://HOSTIP:9000)",
     offsetof(struct node_config, addr)},
    {"advertise-grpc-address", 0, "HEIMDALL_ADVERTISE_GRPC_ADDR", &kind_advertised, NULL,
     "the control API's address as others reach it (default: as --addr)",
     offsetof(struct node_config, advertise_addr)},
    {"peer", 0, "HEIMDALL_PEER", &kind_grpc_list, NULL,
     "control API of a node to join (not in this version: refused)",
     offsetof(struct node_config, peers)},
    {"cluster-key", 0, "HEIMDALL_CLUSTER_KEY", &kind_secret, NULL,
     "the key that nodes and administrators share (default: random, kept in the data dir)",
     offsetof(struct node_config, cluster_key)},
    {"cluster-key-file", 0, "HEIMDALL_CLUSTER_KEY_FILE", &option_filename, NULL,
     "file that holds the cluster key", offsetof(struct node_config, cluster_key_file)},
    {"node-interface", 0, "HEIMDALL_NODE_INTERFACE", &kind_host_interface, NULL,
     "interface that has HOSTIP and gets NAT (default: the default route's, and NAT toward all)",
     offsetof(struct node_config, node_interface)},
    {"node-network", 0, "HEIMDALL_NODE_NETWORK", &kind_node_network, "10.10.0.0/16",
     "nodes get the networks that follow this one", offsetof(struct node_config, node_network)},
    {"peer-network", 0, "HEIMDALL_PEER_NETWORK", &kind_network4, "10.51.0.0/16",
     "peers get addresses of this network", offsetof(struct node_config, peer_network)},
    {"node-network6", 0, "HEIMDALL_NODE_NETWORK6", &kind_network6, NULL,
     "IPv6 network of the nodes, or none (default: a ULA made from the cluster's id)",
     offsetof(struct node_config, node_network6)},
    {"peer-network6", 0, "HEIMDALL_PEER_NETWORK6", &kind_network6, NULL,
     "IPv6 network of the peers, or none (default: a ULA made from the cluster's id)",
     offsetof(struct node_config, peer_network6)},
    {"allow-peer-to-peer", 0, "HEIMDALL_ALLOW_PEER_TO_PEER", &option_flag, NULL,
     "let peers reach one another through this node",
     offsetof(struct node_config, allow_peer_to_peer)},
    {"endpoint-ip", 0, "HEIMDALL_ENDPOINT_IP", &kind_ip, NULL,
     "address at which others reach this node's tunnel (default HOSTIP)",
     offsetof(struct node_config, endpoint_ip)},
    {"endpoint-port", 0, "HEIMDALL_ENDPOINT_PORT", &option_port, "10100",
     "UDP port of this node's tunnel", offsetof(struct node_config, endpoint_port)},
    {"dns-address", 0, "HEIMDALL_DNS_ADDRESS", &kind_dns_endpoint, NULL,
     "where DNS is served (default: the tunnel address, port 53)",
     offsetof(struct node_config, dns_address)},
    {"dns-upstream-address", 0, "HEIMDALL_DNS_UPSTREAM_ADDRESS", &kind_dns_list, NULL,
     "resolver for other names (default: the host's own)",
     offsetof(struct node_config, dns_upstream)},
    {"dns-upstream-tls", 0, "HEIMDALL_DNS_UPSTREAM_TLS", &kind_domain, NULL,
     "ask --dns-upstream-address over TLS; DOMAIN is the name in its certificate",
     offsetof(struct node_config, dns_upstream_tls)},
    {"dns-domain", 0, "HEIMDALL_DNS_DOMAIN", &kind_domain, "heimdall",
     "domain of the network's names", offsetof(struct node_config, dns_domain)},
    {"authorized-peer", 0, "HEIMDALL_AUTHORIZED_PEER", &kind_secrets, NULL,
     "id of a peer to authorize at start", offsetof(struct node_config, authorized_peers)},
    {"peer-expiry", 0, "HEIMDALL_PEER_EXPIRY", &option_duration, NULL,
     "deauthorize a peer that was not seen for so long, as 720h (default: never)",
     offsetof(struct node_config, peer_expiry_ns)},
    {"client-cert", 0, "HEIMDALL_NODE_CLIENT_CERT", &option_filename, NULL,
     "certificate in PEM toward other nodes (not in this version: refused)",
     offsetof(struct node_config, client_cert)},
    {"client-key", 0, "HEIMDALL_NODE_CLIENT_KEY", &option_filename, NULL,
     "private key of --client-cert in PEM (not in this version: refused)",
     offsetof(struct node_config, client_key)},
};

static const struct option peer_rows[] = {
    {"id", 0, "HEIMDALL_ID", &kind_secret, NULL,
     "this peer's id, a secret (default: a random UUID, kept in the data dir)",
     offsetof(struct peer_config, id)},
    {"name", 0, "HEIMDALL_NAME", &kind_label, NULL,
     "this peer's name in the network's DNS (default: the host's name)",
     offsetof(struct peer_config, name)},
    {"addr", 0, "HEIMDALL_ADDR", &kind_grpc_address, "tcp://127.0.0.1:9000",
     "control API of any node", offsetof(struct peer_config, addr)},
    {"update-interval", 0, "HEIMDALL_UPDATE_INTERVAL", &option_duration, "10s",
     "poll this often while the node's pushed updates do not arrive",
     offsetof(struct peer_config, update_interval_ns)},
    {"exit-node", 0, "HEIMDALL_EXIT_NODE", &option_text, NULL,
     "id or name of the node through which everything goes that no other route takes",
     offsetof(struct peer_config, exit_node)},
    {"data-dir", 0, "HEIMDALL_DATA_DIR", &option_folder, "/var/lib/heimdall-peer",
     "where the key and the id are kept", offsetof(struct peer_config, data_dir)},
};

static const struct option ctl_rows[] = {
    {"addr", 'a', "HEIMDALL_ADDR", &kind_grpc_address, NULL,
     "control API of a node (default: the unix socket of the node on this host, else "
     "tcp://127.0.0.1:9000)",
     offsetof(struct ctl_config, addr)},
    {"data-dir", 0, "HEIMDALL_DATA_DIR", &option_folder, "/var/lib/heimdall",
     "data dir of the node on this host: its socket and cluster key",
     offsetof(struct ctl_config, data_dir)},
    {"cluster-key", 0, "HEIMDALL_CLUSTER_KEY", &kind_secret, NULL,
     "the cluster key, for tcp:// addresses (default: the one of the data dir)",
     offsetof(struct ctl_config, cluster_key)},
    {"cluster-key-file", 0, "HEIMDALL_CLUSTER_KEY_FILE", &option_filename, NULL,
     "file that holds the cluster key", offsetof(struct ctl_config, cluster_key_file)},
    {"output", 'o', "HEIMDALL_OUTPUT", &option_output, NULL, "table or json",
     offsetof(struct ctl_config, json)},
};

/* ---- a program's table ---- */

/* What a program has of its own in a shared row. NULL: as shared. */
struct variant {
    const char *long_name;
    const char *env;
    const char *help;
};

static const struct variant node_variants[] = {
    {"config", NULL,
     "file of lines \"option = value\" (default: " CONFIG_NODE_FILE ", if there is one)"},
    {"insecure", NULL, "serve the control API without TLS and to everyone"},
};

static const struct variant peer_variants[] = {
    {"config", NULL,
     "file of lines \"option = value\" (default: " CONFIG_PEER_FILE ", if there is one)"},
};

static const struct variant ctl_variants[] = {
    {"config", "HEIMDALL_CTL_CONFIG",
     "file of lines \"option = value\" (default: " CONFIG_CTL_FILE ", if there is one)"},
    {"cert", "HEIMDALL_CLIENT_CERT", NULL},
    {"key", "HEIMDALL_CLIENT_KEY", NULL},
    {"ca", "HEIMDALL_CLIENT_CA", NULL},
};

static void vary(struct option_set *set, struct option *rows, const struct variant *variants,
                 size_t count)
{
    for (size_t v = 0; v < count; v++)
        for (size_t i = 0; i < set->count; i++) {
            if (strcmp(rows[i].long_name, variants[v].long_name) != 0)
                continue;
            rows[i].env = variants[v].env != NULL ? variants[v].env : rows[i].env;
            rows[i].help = variants[v].help != NULL ? variants[v].help : rows[i].help;
        }
}

/* Appends rows whose struct begins at `base` of the configuration. */
static void join(struct option_set *set, struct option *rows, const struct option *more,
                 size_t count, size_t base)
{
    assert(set->count + count <= OPTIONS_MAX);
    for (size_t i = 0; i < count; i++) {
        rows[set->count] = more[i];
        rows[set->count++].offset += base;
    }
}

struct option_set config_node_set(struct node_config *config)
{
    struct option *rows = config->sources.rows;
    struct option_set set = {rows, 0, config, config->sources.of_rows};
    join(&set, rows, source_rows, ROWS(source_rows), offsetof(struct node_config, sources));
    join(&set, rows, log_rows, ROWS(log_rows), offsetof(struct node_config, log));
    join(&set, rows, node_rows, ROWS(node_rows), 0);
    join(&set, rows, daemon_rows, ROWS(daemon_rows), offsetof(struct node_config, daemon));
    join(&set, rows, tls_rows, ROWS(tls_rows), offsetof(struct node_config, tls));
    vary(&set, rows, node_variants, ROWS(node_variants));
    return set;
}

struct option_set config_peer_set(struct peer_config *config)
{
    struct option *rows = config->sources.rows;
    struct option_set set = {rows, 0, config, config->sources.of_rows};
    join(&set, rows, source_rows, ROWS(source_rows), offsetof(struct peer_config, sources));
    join(&set, rows, log_rows, ROWS(log_rows), offsetof(struct peer_config, log));
    join(&set, rows, peer_rows, ROWS(peer_rows), 0);
    join(&set, rows, daemon_rows, ROWS(daemon_rows), offsetof(struct peer_config, daemon));
    join(&set, rows, tls_rows, ROWS(tls_rows), offsetof(struct peer_config, tls));
    vary(&set, rows, peer_variants, ROWS(peer_variants));
    return set;
}

struct option_set config_ctl_set(struct ctl_config *config)
{
    struct option *rows = config->sources.rows;
    struct option_set set = {rows, 0, config, config->sources.of_rows};
    join(&set, rows, source_rows, ROWS(source_rows), offsetof(struct ctl_config, sources));
    join(&set, rows, log_rows, 1, offsetof(struct ctl_config, log)); /* its log is for people */
    join(&set, rows, ctl_rows, ROWS(ctl_rows), 0);
    join(&set, rows, tls_rows, ROWS(tls_rows), offsetof(struct ctl_config, tls));
    vary(&set, rows, ctl_variants, ROWS(ctl_variants));
    return set;
}
