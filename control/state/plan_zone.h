#ifndef CONTROL_STATE_PLAN_ZONE_H
#define CONTROL_STATE_PLAN_ZONE_H

#include <stdint.h>

struct plan;
struct zone;

/* The zone of a plan's names and reverse networks; NULL when memory is short or the domain is not a
 * name. `ns` names the zone's own server; NULL leaves it out. */
struct zone *plan_zone(const struct plan *plan, const char *domain, const char *ns, uint32_t serial,
                       const uint8_t seed[16]);

#endif
