#ifndef CONTROL_HOST_FIREWALL_H
#define CONTROL_HOST_FIREWALL_H

#include "control/host/nft.h"

#include <stdbool.h>
#include <uv.h>

/* A node's table in nftables, written off the loop: nft may take seconds, or hang. Each change
 * replaces the whole table, so that of several changes only the newest counts. A table that another
 * program removes or changes is written again, and so is one that nft refused, both after pauses
 * that grow (repair.h). */

struct firewall;

/* `table` as in nft.h, copied. 0 or a negative errno. */
int firewall_open(struct firewall **out, uv_loop_t *loop, const char *table);

/* Asks for these rules (the configuration's own table counts for nothing), which are set a moment
 * later. What nft refuses is logged once, until it works again. */
void firewall_set(struct firewall *firewall, const struct nft_config *config);

/* Why the rules that were asked for do not stand; NULL: they do, as far as that is known. */
const char *firewall_problem(const struct firewall *firewall);

/* Removes the table, behind whatever is under way, and frees the result by the loop's next turns.
 * Takes NULL. */
void firewall_close(struct firewall *firewall);

#endif
