#ifndef CONTROL_CONFIG_CONFIG_KINDS_H
#define CONTROL_CONFIG_CONFIG_KINDS_H

#include "control/config/options.h"

/* What the values of Heimdall's options look like, and the type each is stored as. option_output of config.h is one of them. */

extern const struct option_kind kind_label;          /* const char *: a DNS label */
extern const struct option_kind kind_interface;      /* const char *: ours */
extern const struct option_kind kind_host_interface; /* const char *: an existing one */
extern const struct option_kind kind_domain;         /* const char * */
extern const struct option_kind kind_network4;       /* struct ip_prefix */
extern const struct option_kind kind_node_network; /* struct ip_prefix, with room for a next one */
extern const struct option_kind kind_network6;     /* struct overlay6_option */
extern const struct option_kind kind_ip;           /* struct ip_addr of a host */
extern const struct option_kind kind_dns_endpoint; /* union endpoint, port 53 by default */
extern const struct option_kind kind_metrics;      /* union endpoint with a port */
extern const struct option_kind kind_dns_list;     /* struct option_list of kind_dns_endpoint */
extern const struct option_kind kind_log_format;   /* bool: JSON */
extern const struct option_kind kind_grpc_address; /* const char *, to connect to */
extern const struct option_kind kind_listen_address; /* const char *, to listen on */
extern const struct option_kind kind_advertised;     /* const char *, of a host */
extern const struct option_kind kind_grpc_list;      /* struct option_list of kind_grpc_address */
extern const struct option_kind kind_secret;  /* const char *: an id or key that nobody guesses */
extern const struct option_kind kind_secrets; /* struct option_list of kind_secret */

#endif
