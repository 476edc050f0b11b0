#include "wg/device.h"

#include <errno.h>
#include <stdlib.h>

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

int wg_device_sources(struct wg_device *dev, struct wg_source **out, size_t *count)
{
    int rc = 0;
    *count = 0;
    fair_lock_take(&dev->lock);
    *out = calloc(dev->peer_count + 1, sizeof **out);
    if (*out == NULL) {
        rc = -ENOMEM;
        goto out;
    }
    list_for_each (pos, &dev->peers) {
        struct wg_peer *peer = container_of(pos, struct wg_peer, place);
        struct wg_source *source = &(*out)[*count];
        endpoint_slot_load(&peer->endpoint, &source->endpoint);
        if (source->endpoint.source.family == 0)
            continue;
        source->peer = peer_ref(peer);
        (*count)++;
    }
out:
    fair_lock_give(&dev->lock);
    return rc;
}

void wg_sources_free(struct wg_source *sources, size_t count)
{
    for (size_t i = 0; i < count; i++)
        peer_put(sources[i].peer);
    free(sources);
}

void wg_source_drop(const struct wg_source *source)
{
    if (endpoint_slot_holds(&source->peer->endpoint, &source->endpoint))
        peer_forget_source(source->peer);
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
