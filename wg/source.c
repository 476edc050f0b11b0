#include "wg/device.h"

/* A peer's endpoint remembers which of our addresses the peer sent to, until that address, or the
 * route from it to the peer, disappears. Only the path knows when. */

void wg_device_forget_sources(struct wg_device *dev)
{
    fair_lock_take(&dev->lock);
    list_for_each (pos, &dev->peers) {
        struct wg_peer *peer = container_of(pos, struct wg_peer, place);
        struct wg_endpoint endpoint;
        endpoint_slot_load(&peer->endpoint, &endpoint);
        if (endpoint.source.family != 0)
            peer_forget_source(peer);
    }
    fair_lock_give(&dev->lock);
}

void wg_device_review_sources(struct wg_device *dev,
                              bool (*keep)(void *ctx, const struct wg_endpoint *endpoint),
                              void *ctx)
{
    fair_lock_take(&dev->lock);
    list_for_each (pos, &dev->peers) {
        struct wg_peer *peer = container_of(pos, struct wg_peer, place);
        struct wg_endpoint endpoint;
        endpoint_slot_load(&peer->endpoint, &endpoint);
        if (endpoint.source.family != 0 && !keep(ctx, &endpoint))
            peer_forget_source(peer);
    }
    fair_lock_give(&dev->lock);
}
