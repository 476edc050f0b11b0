#include "control/state/presence.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/map.h"
#include "control/state/record_time.h"
#include "control/state/state.h"
#include "wg/wg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE (60 * NS_PER_SEC)

static const uint64_t look_every = MINUTE;       /* at most */
static const uint64_t write_every = 10 * MINUTE; /* at most */
static const uint64_t grace = 10 * MINUTE;       /* at most: peers come back within seconds */

struct presence {
    uint64_t expiry_ns;
    uint64_t boot_ns; /* of the last look; 0: none yet */
    uint64_t real_ns;
    uint64_t since_ns; /* looked without a break since; boot time */
    struct map sights; /* by public key */
};

struct sight {
    uint8_t public_key[WG_KEY_LEN];
    uint64_t rx_bytes;
    uint64_t seen_ns;   /* real time; 0: not yet */
    struct sight *next; /* of those to be forgotten */
};

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

int presence_create(struct presence **out, uint64_t expiry_ns, const uint8_t seed[16])
{
    struct presence *presence = calloc(1, sizeof *presence);
    *out = presence;
    if (presence == NULL)
        return -ENOMEM;
    presence->expiry_ns = expiry_ns;
    map_init(&presence->sights, seed);
    return 0;
}

void presence_destroy(struct presence *presence)
{
    size_t cursor = 0;
    struct sight *sight;
    if (presence == NULL)
        return;
    while ((sight = map_next(&presence->sights, &cursor)) != NULL)
        free(sight);
    map_fini(&presence->sights);
    free(presence);
}

uint64_t presence_interval_ns(const struct presence *presence)
{
    uint64_t wanted = presence->expiry_ns / 10;
    if (presence->expiry_ns == 0)
        return look_every;
    return wanted < NS_PER_SEC ? NS_PER_SEC : least(wanted, look_every);
}

/* ---- looking ---- */

void presence_begin(struct presence *presence, uint64_t boot_ns, uint64_t real_ns)
{
    uint64_t late = presence->boot_ns + 3 * presence_interval_ns(presence) + 10 * NS_PER_SEC;
    if (presence->boot_ns == 0 || boot_ns > late)
        presence->since_ns = boot_ns;
    presence->boot_ns = boot_ns;
    presence->real_ns = real_ns;
}

/* NULL when memory is short: then nobody is removed for a while, as we cannot know who was seen. */
static struct sight *sight_of(struct presence *presence, const uint8_t public_key[WG_KEY_LEN])
{
    struct sight *sight = map_get(&presence->sights, public_key, WG_KEY_LEN);
    if (sight != NULL)
        return sight;
    sight = calloc(1, sizeof *sight);
    if (sight != NULL)
        memcpy(sight->public_key, public_key, WG_KEY_LEN);
    if (sight == NULL || map_put(&presence->sights, sight->public_key, WG_KEY_LEN, sight) < 0) {
        free(sight);
        presence->since_ns = presence->boot_ns;
        return NULL;
    }
    return sight;
}

void presence_see(struct presence *presence, const uint8_t public_key[WG_KEY_LEN])
{
    struct sight *sight = sight_of(presence, public_key);
    if (sight != NULL)
        sight->seen_ns = presence->real_ns;
}

/* Bytes are counted when they are authentic, so that more of them are a sign of life. */
void presence_see_tunnel(struct presence *presence, const struct wg_peer_info *peer)
{
    bool known = map_get(&presence->sights, peer->public_key, WG_KEY_LEN) != NULL;
    struct sight *sight = sight_of(presence, peer->public_key);
    if (sight == NULL)
        return;
    if (known && peer->rx_bytes > sight->rx_bytes)
        sight->seen_ns = presence->real_ns;
    if (peer->last_handshake_ns > sight->seen_ns)
        sight->seen_ns = peer->last_handshake_ns;
    sight->rx_bytes = peer->rx_bytes;
}

/* The map must not change while it is walked. */
void presence_end(struct presence *presence, const struct state *state)
{
    size_t cursor = 0;
    struct sight *sight;
    struct sight *gone = NULL;
    while ((sight = map_next(&presence->sights, &cursor)) != NULL) {
        if (state_peer_by_key(state, sight->public_key) != NULL)
            continue;
        sight->next = gone;
        gone = sight;
    }
    while (gone != NULL) {
        sight = gone;
        gone = sight->next;
        free(map_remove(&presence->sights, sight->public_key, WG_KEY_LEN));
    }
}

/* ---- what follows ---- */

uint64_t presence_seen_ns(const struct presence *presence, const struct state_peer *peer)
{
    const struct sight *sight = map_get(&presence->sights, peer->public_key, WG_KEY_LEN);
    uint64_t stored = record_time_ns(peer->pb->last_seen);
    return sight != NULL && sight->seen_ns > stored ? sight->seen_ns : stored;
}

size_t presence_collect(const struct presence *presence, const struct state *state,
                        struct change_seen *out, size_t capacity)
{
    size_t count = 0;
    uint64_t news = write_every;
    if (presence->expiry_ns != 0)
        news = least(news, presence->expiry_ns / 4);
    for (size_t i = 0; i < state_peer_count(state) && count < capacity; i++) {
        const struct state_peer *peer = state_peer_at(state, i);
        uint64_t seen_ns = presence_seen_ns(presence, peer);
        if (seen_ns > record_time_ns(peer->pb->last_seen) &&
            seen_ns - record_time_ns(peer->pb->last_seen) >= news)
            out[count++] = (struct change_seen){peer->id, seen_ns};
    }
    return count;
}

static bool same_message(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
    size_t len = protobuf_c_message_get_packed_size(a);
    if (protobuf_c_message_get_packed_size(b) != len)
        return false;
    uint8_t *packed = malloc(2 * len + 1);
    if (packed == NULL)
        return false;
    (void)protobuf_c_message_pack(a, packed);
    (void)protobuf_c_message_pack(b, packed + len);
    bool same = memcmp(packed, packed + len, len) == 0;
    free(packed);
    return same;
}

bool presence_is_only_seen(const struct state_peer *had, const uint8_t *record, size_t len)
{
    Pb__Peer *now = pb__peer__unpack(NULL, len, record);
    if (now == NULL)
        return false;
    Pb__Peer apart_from_that = *now;
    apart_from_that.last_seen = had->pb->last_seen;
    bool same = same_message(&apart_from_that.base, &had->pb->base);
    pb__peer__free_unpacked(now, NULL);
    return same;
}

const char *presence_expired(const struct presence *presence, const struct state *state)
{
    uint64_t expiry = presence->expiry_ns;
    if (expiry == 0 || presence->boot_ns - presence->since_ns < least(expiry, grace))
        return NULL;
    for (size_t i = 0; i < state_peer_count(state); i++) {
        const struct state_peer *peer = state_peer_at(state, i);
        uint64_t seen_ns = presence_seen_ns(presence, peer);
        if (seen_ns < presence->real_ns && presence->real_ns - seen_ns >= expiry)
            return peer->id;
    }
    return NULL;
}
