#include "control/state/plan_zone.h"

#include "control/state/plan.h"
#include "dns/zone.h"

#include <errno.h>
#include <string.h>

enum { ZONE_TTL_S = 30, ZONE_NEGATIVE_TTL_S = 5, DNS_PORT = 53 };

/* Names that the zone refuses come from damaged records and are left out; only a lack of memory is
 * an error. */
static int add_host(struct zone_builder *builder, const struct plan_name *name)
{
    int rc = zone_builder_add_host(builder, name->name, &name->addr);
    if (rc == 0 && name->addr6.family != 0)
        rc = zone_builder_add_host(builder, name->name, &name->addr6);
    return rc == -ENOMEM ? rc : 0;
}

/* SRV records of the zone's own DNS (RFC 2782), the only service that is known here. */
static int add_services(struct zone_builder *builder, const char *ns)
{
    static const char *const services[] = {"_domain._udp", "_domain._tcp"};
    int rc = 0;
    for (size_t i = 0; i < sizeof services / sizeof services[0] && rc == 0; i++)
        rc = zone_builder_add_srv(builder, services[i], 0, 0, DNS_PORT, ns);
    return rc;
}

struct zone *plan_zone(const struct plan *plan, const char *domain, const char *ns, uint32_t serial,
                       const uint8_t seed[16])
{
    struct zone_config config = {.domain = domain,
                                 .ns = ns,
                                 .serial = serial,
                                 .ttl = ZONE_TTL_S,
                                 .negative_ttl = ZONE_NEGATIVE_TTL_S};
    memcpy(config.seed, seed, sizeof config.seed);
    struct zone_builder *builder = zone_builder_create(&config);
    int rc = builder == NULL ? -ENOMEM : 0;
    for (size_t i = 0; rc == 0 && i < plan->name_count; i++)
        rc = add_host(builder, &plan->names[i]);
    for (size_t i = 0; rc == 0 && i < plan->overlay_count; i++)
        rc = zone_builder_add_network(builder, &plan->overlay[i]);
    if (rc == 0)
        rc = add_services(builder, ns);
    if (rc == 0)
        return zone_build(builder);
    zone_builder_destroy(builder);
    return NULL;
}
