#include "wg/staging.h"

#include "base/bytes.h"
#include "wg/wg.h"
#include "wg/wire.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static size_t size_of(size_t len)
{
    return sizeof(struct staged) + len + WIRE_PADDING - 1 + WG_DATA_OVERHEAD;
}

void staging_init(struct staging *staging)
{
    list_init(&staging->packets);
    atomic_init(&staging->count, 0);
}

bool staging_add(struct staging *staging, _Atomic size_t *total, const uint8_t *bytes, size_t len)
{
    if (atomic_load(&staging->count) >= STAGING_PACKETS)
        staged_destroy(staging_take(staging, total));
    size_t size = size_of(len);
    if (atomic_fetch_add(total, size) + size > STAGING_BYTES)
        goto refuse;
    struct staged *staged = malloc(size);
    if (staged == NULL)
        goto refuse;
    staged->len = len;
    memcpy(staged->sealed + WG_HEADER_LEN, bytes, len);
    list_append(&staging->packets, &staged->place);
    atomic_fetch_add(&staging->count, 1);
    return true;
refuse:
    atomic_fetch_sub(total, size);
    return false;
}

struct staged *staging_take(struct staging *staging, _Atomic size_t *total)
{
    if (list_empty(&staging->packets))
        return NULL;
    struct staged *staged = list_first(&staging->packets, struct staged, place);
    list_remove(&staged->place);
    atomic_fetch_sub(&staging->count, 1);
    atomic_fetch_sub(total, size_of(staged->len));
    return staged;
}

void staged_destroy(struct staged *staged)
{
    bytes_wipe(staged, size_of(staged->len));
    free(staged);
}

void staging_clear(struct staging *staging, _Atomic size_t *total)
{
    for (;;) {
        struct staged *staged = staging_take(staging, total);
        if (staged == NULL)
            return;
        staged_destroy(staged);
    }
}
