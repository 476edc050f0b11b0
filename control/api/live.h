#ifndef CONTROL_API_LIVE_H
#define CONTROL_API_LIVE_H

#include "base/addr.h"
#include "base/map.h"
#include "control/state/record.h"
#include "proto/heimdall.pb-c.h"
#include "wg/path/path.h"

#include <stdbool.h>

/* Other hosts as the tunnel sees them now, beside their records. */

struct state_peer;

struct live {
    struct path_info info;
    struct map by_key;
    bool known; /* the tunnel could be asked */
};

/* Without an answer of the tunnel it knows nobody. live_fini in either case. */
void live_init(struct live *live, int (*tunnel_info)(void *ctx, struct path_info *out), void *ctx);
void live_fini(struct live *live);

/* NULL: the tunnel has no such peer. */
const struct wg_peer_info *live_find(const struct live *live, const uint8_t public_key[WG_KEY_LEN]);

/* A peer's record with its endpoint and when it was last seen. */
struct live_peer {
    Pb__Peer pb; /* borrows from the record */
    Google__Protobuf__Timestamp last_seen;
    char endpoint[ENDPOINT_TEXT];
};

/* `info` NULL: as live_find. `out` stays where it is while its message is in use. */
void live_peer_fill(struct live_peer *out, const struct state_peer *peer,
                    const struct wg_peer_info *info);

#endif
