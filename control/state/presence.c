#include "control/state/presence.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/map.h"
#include "control/state/state.h"
#include "wg/wg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE (60 * NS_PER_SEC)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

enum { STEPS = 8 }; /* of an absence that records carry */

static const uint64_t look_every = MINUTE; /* at most */
static const uint64_t grace = 10 * MINUTE; /* at most: peers come back within seconds */

struct presence {
    uint64_t expiry_ns;
    uint64_t boot_ns; /* of the last look; 0: none yet */
    uint64_t real_ns;
    uint64_t since_ns; /* boot time: looked without a break since */
    struct map sights; /* by public key */
};

/* What is known of a peer. Times are boot times. */
struct sight {
    uint8_t public_key[WG_KEY_LEN];
    uint64_t rx_bytes;
    uint64_t since_ns;   /* last seen, or found in the state for the first time */
    uint64_t carried_ns; /* absence before that, by the record */
    uint64_t noted_ns;   /* when the record was last written, or found */
    bool seen;           /* by this node */
    bool is_new;         /* the record was not looked at yet */
    struct sight *next;  /* of those to be forgotten */
};

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Absence is recorded in multiples of this. */
static uint64_t step_of(const struct presence *presence)
{
    uint64_t step = least(presence->expiry_ns / STEPS, DAY);
    return step < NS_PER_SEC ? NS_PER_SEC : step;
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

/* NULL when memory is short. Then nobody is removed for a while: a sight may have been missed. */
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
    sight->since_ns = sight->noted_ns = presence->boot_ns;
    sight->is_new = true;
    return sight;
}

static void seen_at(struct sight *sight, uint64_t boot_ns)
{
    sight->since_ns = boot_ns;
    sight->carried_ns = 0;
    sight->seen = true;
}

void presence_see(struct presence *presence, const uint8_t public_key[WG_KEY_LEN])
{
    struct sight *sight = sight_of(presence, public_key);
    if (sight != NULL)
        seen_at(sight, presence->boot_ns);
}

/* Bytes are counted when they are authentic, so that more of them are a sign of life. Those that
 * the tunnel counted before the first look are not. */
void presence_see_tunnel(struct presence *presence, const struct wg_peer_info *peer)
{
    bool known = map_get(&presence->sights, peer->public_key, WG_KEY_LEN) != NULL;
    struct sight *sight = sight_of(presence, peer->public_key);
    uint64_t handshake_ns = peer->last_handshake_boot_ns;
    if (sight == NULL)
        return;
    if (handshake_ns != 0 && (!sight->seen || handshake_ns > sight->since_ns))
        seen_at(sight, handshake_ns);
    if (known && peer->rx_bytes > sight->rx_bytes)
        seen_at(sight, presence->boot_ns);
    sight->rx_bytes = peer->rx_bytes;
}

/* Takes over what the record says of the absence. A connect sets it to 0. */
static void follow_record(struct presence *presence, const struct state_peer *peer)
{
    struct sight *sight = sight_of(presence, peer->public_key);
    if (sight == NULL)
        return;
    if (sight->is_new && !sight->seen)
        sight->carried_ns = least(peer->pb->absent_s, UINT64_MAX / 2 / NS_PER_SEC) * NS_PER_SEC;
    else if (sight->carried_ns != 0 && peer->pb->absent_s == 0) {
        sight->since_ns = presence->boot_ns;
        sight->carried_ns = 0;
    }
    sight->is_new = false;
}

/* The map must not change while it is walked. */
void presence_end(struct presence *presence, const struct state *state)
{
    size_t cursor = 0;
    struct sight *sight;
    struct sight *gone = NULL;
    for (size_t i = 0; i < state_peer_count(state); i++)
        follow_record(presence, state_peer_at(state, i));
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

static uint64_t absent_ns(const struct presence *presence, const struct sight *sight)
{
    return sight->carried_ns + (presence->boot_ns - sight->since_ns);
}

uint64_t presence_absent_ns(const struct presence *presence, const struct state_peer *peer)
{
    const struct sight *sight = map_get(&presence->sights, peer->public_key, WG_KEY_LEN);
    return sight == NULL ? 0 : absent_ns(presence, sight);
}

/* Whether the record of a peer is to be written. */
static bool is_news(const struct presence *presence, const struct sight *sight,
                    const struct state_peer *peer)
{
    uint64_t absent = absent_ns(presence, sight);
    uint64_t step = step_of(presence);
    bool is_back = peer->pb->absent_s != 0 && sight->seen && absent < step;
    bool is_away = presence->expiry_ns != 0 && peer->pb->absent_s < UINT64_MAX / NS_PER_SEC / 2 &&
                   absent >= peer->pb->absent_s * NS_PER_SEC + step;
    /* Since when, for people. */
    bool is_stale = sight->seen && sight->since_ns > sight->noted_ns &&
                    (presence->boot_ns - sight->noted_ns >= DAY || absent >= HOUR);
    return is_back || is_away || is_stale;
}

static struct change_seen note(const struct presence *presence, struct sight *sight,
                               const struct state_peer *peer)
{
    struct change_seen seen = {.id = peer->id};
    uint64_t absent = absent_ns(presence, sight);
    if (sight->seen)
        seen.seen_ns = presence->real_ns - least(presence->real_ns, absent);
    if (presence->expiry_ns != 0 && absent >= step_of(presence))
        seen.absent_s = absent / NS_PER_SEC;
    sight->noted_ns = presence->boot_ns;
    return seen;
}

size_t presence_collect(struct presence *presence, const struct state *state,
                        struct change_seen *out, size_t capacity)
{
    size_t count = 0;
    for (size_t i = 0; i < state_peer_count(state) && count < capacity; i++) {
        const struct state_peer *peer = state_peer_at(state, i);
        struct sight *sight = map_get(&presence->sights, peer->public_key, WG_KEY_LEN);
        if (sight != NULL && is_news(presence, sight, peer))
            out[count++] = note(presence, sight, peer);
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
    apart_from_that.absent_s = had->pb->absent_s;
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
        if (presence_absent_ns(presence, peer) >= expiry)
            return peer->id;
    }
    return NULL;
}
