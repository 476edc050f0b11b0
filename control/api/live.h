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
struct watcher;

struct live {
    struct path_info info;
    struct map by_key;   /* struct wg_peer_info by public key */
    struct map watchers; /* struct watcher by id */
    bool known;          /* the tunnel could be asked */
    uint64_t now_ns;     /* since the UNIX epoch */
    uint64_t boot_ns;    /* boot time */
};

/* Asks the tunnel; without its answer there are no other hosts. live_fini in either case. */
void live_init(struct live *live, int (*tunnel_info)(void *ctx, struct path_info *out), void *ctx,
               uint64_t now_ns, uint64_t boot_ns);

/* The same with the clocks, and with the streams of `watch`. Good until the loop's next turn. */
void live_init_now(struct live *live, const struct api_env *env, const struct watch_peer *watch);

/* Borrows the watcher. */
void live_add_watcher(struct live *live, const struct watcher *watcher);

void live_fini(struct live *live);

/* NULL: the tunnel has no such peer. */
const struct wg_peer_info *live_find(const struct live *live, const uint8_t public_key[WG_KEY_LEN]);

/* The stream that the peer holds to this node, or NULL. */
const struct watcher *live_watcher(const struct live *live, const char *peer_id);

/* How long ago a boot time was, and a past boot time by today's wall clock. */
uint64_t live_age_ns(const struct live *live, uint64_t boot_ns);
Google__Protobuf__Timestamp live_time(const struct live *live, uint64_t boot_ns);

/* A peer's record with its endpoint and when it was last seen: now while it holds a stream, else
 * at its last handshake with this node, else when the record says. */
struct live_peer {
    Pb__Peer pb; /* borrows from the record */
    Google__Protobuf__Timestamp last_seen;
    char endpoint[ENDPOINT_TEXT];
};

/* `out` must not move while its message is in use. */
void live_peer_fill(struct live_peer *out, const struct live *live, const struct state_peer *peer);

#endif
