#ifndef CONTROL_API_LIVE_H
#define CONTROL_API_LIVE_H

#include "base/addr.h"
#include "base/map.h"
#include "control/state/record.h"
#include "proto/heimdall.pb-c.h"
#include "wg/path/path.h"

#include <stdbool.h>

/* Other hosts as this node sees them now, through the tunnel and their open streams, beside their
 * records. */

struct api_env;
struct state_peer;
struct watch_peer;

struct live {
    struct path_info info;
    struct map by_key;   /* struct wg_peer_info by public key */
    struct map watchers; /* since when, by id */
    bool known;          /* the tunnel could be asked */
    uint64_t now_ns;     /* since the UNIX epoch */
    uint64_t boot_ns;    /* boot time */
};

/* Asks the tunnel; without its answer there are no other hosts. live_fini in either case. */
void live_init(struct live *live, int (*tunnel_info)(void *ctx, struct path_info *out), void *ctx,
               uint64_t now_ns, uint64_t boot_ns);

/* The same with the clocks, and with the streams of `watch`. Good until the loop's next turn. */
void live_init_now(struct live *live, const struct api_env *env, const struct watch_peer *watch);

/* Borrows both. */
void live_add_watcher(struct live *live, const char *peer_id, const uint64_t *since_ns);

void live_fini(struct live *live);

/* NULL: the tunnel has no such peer. */
const struct wg_peer_info *live_find(const struct live *live, const uint8_t public_key[WG_KEY_LEN]);

/* Whether the peer holds a stream to this node, and for how long now. `for_ns` may be NULL. */
bool live_is_watching(const struct live *live, const char *peer_id, uint64_t *for_ns);

/* A peer's record with its endpoint and when it was last seen: now while it holds a stream, else
 * at its last handshake or when the record says, whichever is later. */
struct live_peer {
    Pb__Peer pb; /* borrows from the record */
    Google__Protobuf__Timestamp last_seen;
    char endpoint[ENDPOINT_TEXT];
};

/* `out` must not move while its message is in use. */
void live_peer_fill(struct live_peer *out, const struct live *live, const struct state_peer *peer);

#endif
