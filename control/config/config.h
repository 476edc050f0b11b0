#ifndef CONTROL_CONFIG_CONFIG_H
#define CONTROL_CONFIG_CONFIG_H

#include "base/addr.h"
#include "control/config/option_file.h"
#include "control/config/options.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* The options of heimdall, hpeer and hctl with their variables and defaults; --help and the manual pages list them. Texts are
 * borrowed from argv, the environment and the file's text. */

#define CONFIG_NODE_FILE "/etc/heimdall/heimdall.conf"
#define CONFIG_PEER_FILE "/etc/heimdall/hpeer.conf"
#define CONFIG_CTL_FILE  "/etc/heimdall/hctl.conf"

/* An overlay prefix for IPv6: made from the cluster's id, given, or off. */
struct overlay6_option {
    enum { OVERLAY6_AUTO, OVERLAY6_GIVEN, OVERLAY6_NONE } mode;
    struct ip_prefix prefix;
};

/* Where the values came from. */
struct config_sources {
    const char *path; /* option --config; NULL: the default place */
    int argc;
    char **argv;
    struct option rows[OPTIONS_MAX]; /* the program's table, filled by config_X_set */
    struct option_source of_rows[OPTIONS_MAX];
    struct option_file file;
};

struct log_options {
    bool debug;
    bool json;
};

/* Shared by heimdall and hpeer. */
struct daemon_options {
    const char *interface_name;
    union endpoint metrics_address; /* AF_UNSPEC: no metrics */
};

/* How the control API proves who is who. */
struct tls_options {
    const char *cert; /* cert, key and ca: all given, or none */
    const char *key;
    const char *ca;
    bool skip_verify; /* refused */
    bool insecure;
};

struct node_config {
    struct config_sources sources;
    struct log_options log;
    struct daemon_options daemon;
    struct tls_options tls;
    const char *id;   /* NULL: the one of the data dir */
    const char *name; /* NULL: the host's */
    const char *data_dir;
    uint16_t redis_port;
    const char *addr;           /* NULL: tcp://HOSTIP:9000 */
    const char *advertise_addr; /* NULL: as addr */
    struct option_list peers;
    const char *cluster_key;
    const char *cluster_key_file;
    const char *node_interface; /* NULL: of the default route */
    struct ip_prefix node_network;
    struct ip_prefix peer_network;
    struct overlay6_option node_network6;
    struct overlay6_option peer_network6;
    bool allow_peer_to_peer;
    struct ip_addr endpoint_ip; /* family 0: HOSTIP */
    uint16_t endpoint_port;
    union endpoint dns_address;      /* AF_UNSPEC: the tunnel address, port 53 */
    struct option_list dns_upstream; /* empty: the host's resolvers */
    const char *dns_upstream_tls;    /* the name in their certificates; NULL: no TLS */
    const char *dns_domain;
    struct option_list authorized_peers;
    uint64_t peer_expiry_ns; /* 0: off */
    const char *client_cert;
    const char *client_key;
};

struct peer_config {
    struct config_sources sources;
    struct log_options log;
    struct daemon_options daemon;
    struct tls_options tls;
    const char *id;
    const char *name;
    const char *addr;
    const char *data_dir;
    uint64_t update_interval_ns;
    const char *exit_node; /* NULL: none */
};

struct ctl_config {
    struct config_sources sources;
    struct log_options log;
    struct tls_options tls;
    const char *addr; /* NULL: the unix socket of the node on this host */
    const char *data_dir;
    const char *cluster_key;
    const char *cluster_key_file;
    bool json;
};

/* The option kind of -o: a bool, true for json. Also used behind hctl's sub-commands. */
extern const struct option_kind option_output;

/* Reads the whole command line, the environment and the file. OPTIONS_BAD fills `err`. The `fini` is
 * called in any case. */
enum options_outcome config_read_node(struct node_config *config, int argc, char **argv,
                                      struct err *err);
void config_node_fini(struct node_config *config);
enum options_outcome config_read_peer(struct peer_config *config, int argc, char **argv,
                                      struct err *err);
void config_peer_fini(struct peer_config *config);

/* Reads the global options up to the first word of the command, whose place is *next. When those
 * behind it are read too, config_complete_ctl takes the rest from the environment and the file. */
enum options_outcome config_read_ctl(struct ctl_config *config, int argc, char **argv, int *next,
                                     struct err *err);

bool config_complete_ctl(struct ctl_config *config, struct err *err);
void config_ctl_fini(struct ctl_config *config);

/* The options as sets, whose rows stand in the configuration. hctl accepts its global options behind the command too. */
struct option_set config_node_set(struct node_config *config);
struct option_set config_peer_set(struct peer_config *config);
struct option_set config_ctl_set(struct ctl_config *config);

/* Reads the options of a running program again, after SIGHUP: the command line and the environment as they were, the file as
 * it is now. Applies what can change while the program runs, and logs its names; logs the names of the others that differ from
 * what runs, since they wait for a restart. A file that is not right is logged and changes nothing. */
void config_reload_node(struct node_config *running);
void config_reload_peer(struct peer_config *running);

void config_apply_log(const struct log_options *log);

#endif
