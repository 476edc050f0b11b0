#include "control/api/live.h"

#include "control/state/record_time.h"
#include "control/state/state.h"

#include <sys/random.h>

void live_init(struct live *live, int (*tunnel_info)(void *ctx, struct path_info *out), void *ctx)
{
    uint8_t seed[16] = {0};
    (void)!getrandom(seed, sizeof seed, 0);
    map_init(&live->by_key, seed);
    live->known = tunnel_info(ctx, &live->info) == 0;
    if (!live->known)
        live->info = (struct path_info){0};
    for (size_t i = 0; i < live->info.device.peer_count; i++) {
        struct wg_peer_info *peer = &live->info.device.peers[i];
        (void)map_put(&live->by_key, peer->public_key, WG_KEY_LEN, peer);
    }
}

void live_fini(struct live *live)
{
    map_fini(&live->by_key);
    path_info_fini(&live->info);
}

const struct wg_peer_info *live_find(const struct live *live, const uint8_t public_key[WG_KEY_LEN])
{
    return map_get(&live->by_key, public_key, WG_KEY_LEN);
}

void live_peer_fill(struct live_peer *out, const struct state_peer *peer,
                    const struct wg_peer_info *info)
{
    static char none[] = "";
    out->pb = *peer->pb;
    out->pb.endpoint = none;
    if (info == NULL)
        return;
    if (endpoint_is_set(&info->endpoint)) {
        endpoint_format(&info->endpoint, out->endpoint);
        out->pb.endpoint = out->endpoint;
    }
    if (info->last_handshake_ns > record_time_ns(peer->pb->last_seen)) {
        out->last_seen = record_time(info->last_handshake_ns);
        out->pb.last_seen = &out->last_seen;
    }
}
