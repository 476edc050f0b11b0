#ifndef CONTROL_HOST_NFT_H
#define CONTROL_HOST_NFT_H

#include "base/addr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* The firewall of a node: one table, written by the `nft` program from JSON, never through a shell.
 * Other tables are left alone, so that a drop elsewhere still drops. */

struct nft_config {
    const char *table;                /* "heimdall"; letters, digits and _ */
    const char *tunnel;               /* the tunnel's interface */
    const char *interface;            /* the node's outer interface; NULL: all but the tunnel */
    const struct ip_prefix *overlays; /* peer and node networks: masqueraded on their way out */
    size_t overlay_count;
    const struct ip_prefix *peer_networks; /* v4 and v6 */
    size_t peer_network_count;
    const struct ip_prefix
        *inbound; /* outside networks whose hosts may open connections to peers */
    size_t inbound_count;
    bool peer_to_peer; /* peers may talk to each other through this node */
    bool clamp_mss;    /* TCP through the tunnel fits the route's MTU */
};

/* Writes the transaction that replaces the table as a whole, or removes it (a table that is not
 * there is no error). `*out` is freed with nft_free. -EINVAL: a name that nft would not take. */
int nft_compose(const struct nft_config *config, char **out, struct err *err);
int nft_compose_removal(const char *table, char **out, struct err *err);

/* Takes NULL. */
void nft_free(char *json);

/* Runs nft with a transaction. -ENOENT: there is no nft; -EPERM: not permitted; -ETIMEDOUT: no
 * answer within 5 s; -EIO: refused. Blocks while nft runs (about 10 ms, 5 s at most): for a worker's
 * thread. */
int nft_load(const char *json, struct err *err);

/* Both steps in one. They block as nft_load does. */
int nft_apply(const struct nft_config *config, struct err *err);
int nft_remove(const char *table, struct err *err);

#endif
