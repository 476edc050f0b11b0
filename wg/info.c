#include "base/bytes.h"
#include "wg/device.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static size_t count_prefixes(const struct wg_peer *peer)
{
    size_t count = 0;
    list_for_each (pos, &peer->allowed_ips)
        count++;
    return count;
}

static int copy_prefixes(const struct wg_peer *peer, struct wg_peer_info *out)
{
    size_t count = count_prefixes(peer);
    if (count == 0)
        return 0;
    out->allowed_ips = calloc(count, sizeof *out->allowed_ips);
    if (out->allowed_ips == NULL)
        return -ENOMEM;
    list_for_each (pos, &peer->allowed_ips)
        allowedips_prefix(pos, &out->allowed_ips[out->allowed_ip_count++]);
    return 0;
}

static int copy_peer(const struct wg_peer *peer, struct wg_peer_info *out)
{
    struct wg_endpoint endpoint;
    endpoint_slot_load(&peer->endpoint, &endpoint);
    memcpy(out->public_key, peer->noise.remote_static, sizeof out->public_key);
    memcpy(out->preshared_key, peer->noise.preshared_key, sizeof out->preshared_key);
    out->endpoint = endpoint.remote;
    out->keepalive_s = peer->timers.keepalive_s;
    out->rx_bytes = atomic_load(&peer->rx_bytes);
    out->tx_bytes = atomic_load(&peer->tx_bytes);
    out->last_handshake_ns = atomic_load(&peer->handshake_real_ns);
    out->last_handshake_boot_ns = atomic_load(&peer->handshake_boot_ns);
    return copy_prefixes(peer, out);
}

static int copy_peers(const struct wg_device *dev, struct wg_device_info *out)
{
    if (dev->peer_count == 0)
        return 0;
    out->peers = calloc(dev->peer_count, sizeof *out->peers);
    if (out->peers == NULL)
        return -ENOMEM;
    list_for_each (pos, &dev->peers) {
        int result =
            copy_peer(container_of(pos, struct wg_peer, place), &out->peers[out->peer_count++]);
        if (result != 0)
            return result;
    }
    return 0;
}

int wg_device_info(struct wg_device *dev, struct wg_device_info *out)
{
    *out = (struct wg_device_info){0};
    fair_lock_take(&dev->lock);
    out->has_private_key = dev->identity.has_key;
    if (out->has_private_key) {
        memcpy(out->private_key, dev->identity.private_key, sizeof out->private_key);
        memcpy(out->public_key, dev->identity.public_key, sizeof out->public_key);
    }
    int result = copy_peers(dev, out);
    fair_lock_give(&dev->lock);
    if (result != 0)
        wg_device_info_fini(out);
    return result;
}

void wg_device_info_fini(struct wg_device_info *info)
{
    for (size_t i = 0; i < info->peer_count; i++)
        free(info->peers[i].allowed_ips);
    if (info->peers != NULL)
        bytes_wipe(info->peers, info->peer_count * sizeof *info->peers);
    free(info->peers);
    bytes_wipe(info, sizeof *info);
}
