#ifndef DNS_ZONE_H
#define DNS_ZONE_H

#include "base/addr.h"
#include "dns/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The network's names and addresses, immutable once built and shared by reference: NAME.DOMAIN for
 * every host, NAME alone when it is a single label that is not reserved (reserved.h), and the
 * reverse names of all addresses. The zone denies every other name below the domain and inside the
 * overlay networks. */

struct zone;
struct zone_builder;

struct zone_config {
    const char *domain; /* "heimdall" */
    const char *ns;     /* the host that serves the zone, without the domain; may be added later */
    uint32_t serial;
    uint32_t ttl;          /* seconds, of every positive answer */
    uint32_t negative_ttl; /* seconds, the SOA minimum (RFC 2308) */
    uint8_t seed[16];      /* random, for the hash table */
};

/* NULL when memory is short or domain or ns is not a name of letters, digits and hyphens. */
struct zone_builder *zone_builder_create(const struct zone_config *config);
void zone_builder_destroy(struct zone_builder *builder);

/* Adds an address and its PTR to a host, which is created when new. Case does not matter. Returns
 * 0, -EINVAL for a name that is not LDH labels or a bad address, or -ENOMEM. */
int zone_builder_add_host(struct zone_builder *builder, const char *name,
                          const struct ip_addr *addr);

/* Adds SRV (RFC 2782) at `owner` under the domain: a host, or "_service._proto.HOST". `target` is a
 * host under the domain. */
int zone_builder_add_srv(struct zone_builder *builder, const char *owner, uint16_t priority,
                         uint16_t weight, uint16_t port, const char *target);

/* Adds a network whose reverse names the zone answers, with NXDOMAIN where there is no host. */
int zone_builder_add_network(struct zone_builder *builder, const struct ip_prefix *network);

/* The zone, with one reference; NULL when memory is short. The builder is destroyed either way. */
struct zone *zone_build(struct zone_builder *builder);

/* Any thread may call these. zone_put takes NULL. */
struct zone *zone_ref(struct zone *zone);
void zone_put(struct zone *zone);

enum zone_kind {
    ZONE_FOREIGN, /* outside the zone: for the upstream */
    ZONE_DENIED,  /* inside the zone, and no such name */
    ZONE_FOUND,   /* the name exists, perhaps with no record of the asked type */
};

/* One record. `rdata` is as long as its type says for A and AAAA. */
struct zone_record {
    struct zone_record *next;
    uint16_t type; /* A, AAAA or SRV */
    union {
        uint8_t addr[16];
        struct {
            uint16_t priority;
            uint16_t weight;
            uint16_t port;
            struct dns_name *target;
        } srv;
    };
};

struct zone_ptr;

struct zone_match {
    enum zone_kind kind;
    size_t apex; /* offset of the zone's apex, the owner of SOA and NS, in the name */
    const struct zone_record *records; /* NULL for none */
    const struct zone_ptr *ptr;        /* `ptr_count` names, see zone_ptr_name */
    size_t ptr_count;
};

/* Looks up a name of any case. The match borrows from the zone. */
void zone_find(const struct zone *zone, const struct dns_name *name, struct zone_match *match);

const struct dns_name *zone_ptr_name(const struct zone_match *match, size_t index);

/* The values of SOA and NS. */
const struct dns_name *zone_ns(const struct zone *zone);
const struct dns_name *zone_mailbox(const struct zone *zone);
uint32_t zone_serial(const struct zone *zone);
uint32_t zone_ttl(const struct zone *zone);
uint32_t zone_negative_ttl(const struct zone *zone);

#endif
