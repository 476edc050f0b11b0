#include "control/api/live.h"

#include "base/clock.h"
#include "control/api/env.h"
#include "control/api/watch_peer.h"
#include "control/state/record_time.h"
#include "control/state/state.h"

#include <string.h>
#include <sys/random.h>

void live_init(struct live *live, int (*tunnel_info)(void *ctx, struct path_info *out), void *ctx,
               uint64_t now_ns, uint64_t boot_ns)
{
    uint8_t seed[16] = {0};
    (void)!getrandom(seed, sizeof seed, 0);
    map_init(&live->by_key, seed);
    map_init(&live->watchers, seed);
    live->now_ns = now_ns;
    live->boot_ns = boot_ns;
    live->known = tunnel_info(ctx, &live->info) == 0;
    if (!live->known)
        live->info = (struct path_info){0};
    for (size_t i = 0; i < live->info.device.peer_count; i++) {
        struct wg_peer_info *peer = &live->info.device.peers[i];
        (void)map_put(&live->by_key, peer->public_key, WG_KEY_LEN, peer);
    }
}

void live_add_watcher(struct live *live, const struct watcher *watcher)
{
    (void)map_put(&live->watchers, watcher->id, strlen(watcher->id), (void *)(uintptr_t)watcher);
}

static void add_watcher(void *ctx, const struct watcher *watcher)
{
    live_add_watcher(ctx, watcher);
}

void live_init_now(struct live *live, const struct api_env *env, const struct watch_peer *watch)
{
    live_init(live, env->tunnel_info, env->ctx, clock_realtime_ns(), clock_boottime_ns());
    watch_peer_each(watch, add_watcher, live);
}

void live_fini(struct live *live)
{
    map_fini(&live->watchers);
    map_fini(&live->by_key);
    path_info_fini(&live->info);
}

const struct wg_peer_info *live_find(const struct live *live, const uint8_t public_key[WG_KEY_LEN])
{
    return map_get(&live->by_key, public_key, WG_KEY_LEN);
}

const struct watcher *live_watcher(const struct live *live, const char *peer_id)
{
    return map_get(&live->watchers, peer_id, strlen(peer_id));
}

uint64_t live_age_ns(const struct live *live, uint64_t boot_ns)
{
    return live->boot_ns > boot_ns ? live->boot_ns - boot_ns : 0;
}

Google__Protobuf__Timestamp live_time(const struct live *live, uint64_t boot_ns)
{
    uint64_t age_ns = live_age_ns(live, boot_ns);
    return record_time(live->now_ns > age_ns ? live->now_ns - age_ns : 0);
}

void live_peer_fill(struct live_peer *out, const struct live *live, const struct state_peer *peer)
{
    static char none[] = "";
    const struct wg_peer_info *info = live_find(live, peer->public_key);
    uint64_t handshake_ns = info != NULL ? info->last_handshake_boot_ns : 0;
    bool watches = live_watcher(live, peer->id) != NULL;
    out->pb = *peer->pb;
    out->pb.endpoint = none;
    if (info != NULL && endpoint_is_set(&info->endpoint)) {
        endpoint_format(&info->endpoint, out->endpoint);
        out->pb.endpoint = out->endpoint;
    }
    if (watches || handshake_ns != 0) {
        out->last_seen = live_time(live, watches ? live->boot_ns : handshake_ns);
        out->pb.last_seen = &out->last_seen;
    }
}
