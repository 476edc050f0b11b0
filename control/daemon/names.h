#ifndef CONTROL_DAEMON_NAMES_H
#define CONTROL_DAEMON_NAMES_H

#include "base/addr.h"
#include "control/config/options.h"

#include <stdint.h>
#include <uv.h>

/* A node's DNS: the server on its tunnel address, the zone that follows the plan, the upstream for
 * foreign names, and this host's own resolver pointed at it. A part that fails is logged and
 * retried while the node runs on. */

struct dns_server_stats;
struct names;
struct plan;

struct names_options {
    uv_loop_t *loop;
    const char *data_dir;
    const char *interface_name;
    const char *domain;
    const char *ns;                      /* this node's name */
    union endpoint address;              /* AF_UNSPEC: the tunnel addresses, port 53 */
    const struct option_list *upstreams; /* "IP:PORT" or "IP"; empty: the host's resolvers */
    const char *upstream_tls;            /* their name, for DNS over TLS; NULL: none */
    uint8_t seed[16];
};

/* `options` and what it points at outlive the result. 0 or a negative errno. */
int names_open(struct names **out, const struct names_options *options);

/* Follows a plan; `serial` rises with every change. */
void names_update(struct names *names, const struct plan *plan, uint32_t serial);

/* False while a configured address cannot be listened on. */
bool names_are_served(const struct names *names);

/* Points this host's resolver at us again after the tunnel's interface was recreated. */
void names_repoint(struct names *names);

/* The domain for peers, or NULL when DNS is not served on port 53 of the tunnel. */
const char *names_domain_for_peers(const struct names *names);

void names_stats(const struct names *names, struct dns_server_stats *out);

/* Puts the resolver back and stops serving. Its memory is freed on a later turn of the loop. Takes
 * NULL. */
void names_close(struct names *names);

/* Undoes what a killed run changed. */
void names_clean(const char *data_dir);

#endif
