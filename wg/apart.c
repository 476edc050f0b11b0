#include "wg/apart.h"

#include "base/list.h"
#include "wg/ip.h"

#include <stdlib.h>
#include <string.h>

struct apart *apart_create(const struct ip_prefix *prefixes, size_t count)
{
    struct apart *apart = calloc(1, sizeof *apart + count * sizeof *prefixes);
    if (apart == NULL)
        return NULL;
    apart->count = count;
    if (count > 0)
        memcpy(apart->prefixes, prefixes, count * sizeof *prefixes);
    return apart;
}

void apart_destroy(struct apart *apart)
{
    free(apart);
}

void apart_free_item(struct garbage_item *item)
{
    apart_destroy(container_of(item, struct apart, garbage));
}

static bool holds(const struct apart *apart, uint8_t family, const uint8_t *bytes)
{
    struct ip_addr addr;
    ip_addr_from_bytes(&addr, family, bytes);
    for (size_t i = 0; i < apart->count; i++) {
        if (ip_prefix_contains(&apart->prefixes[i], &addr))
            return true;
    }
    return false;
}

bool apart_refuses(const struct apart *apart, const struct ip_packet *packet)
{
    return apart != NULL && holds(apart, packet->family, packet->destination) &&
           holds(apart, packet->family, packet->source);
}
