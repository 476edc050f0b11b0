#include "wg/path/tap.h"

#include <string.h>

/* No message type of WireGuard's begins so. */
static const uint8_t magic[TAP_DATAGRAM_LEN - TAP_NONCE_LEN] = "heimdall probe";

enum { IPV4_HEADER = 20, IPV6_HEADER = 40 };

void tap_init(struct tap *tap)
{
    pthread_mutex_init(&tap->lock, NULL);
}

void tap_fini(struct tap *tap)
{
    pthread_mutex_destroy(&tap->lock);
}

void tap_open(struct tap *tap, const struct ip_prefix networks[2],
              void (*packet)(void *ctx, const uint8_t *bytes, size_t len), void *ctx)
{
    pthread_mutex_lock(&tap->lock);
    memcpy(tap->networks, networks, sizeof tap->networks);
    tap->packet = packet;
    tap->ctx = ctx;
    atomic_store(&tap->open, true);
    pthread_mutex_unlock(&tap->lock);
}

void tap_close(struct tap *tap)
{
    pthread_mutex_lock(&tap->lock);
    atomic_store(&tap->open, false);
    tap->packet = NULL;
    pthread_mutex_unlock(&tap->lock);
}

static void read_destination(struct ip_addr *out, const uint8_t *bytes, size_t len)
{
    *out = (struct ip_addr){.family = 0};
    if (len >= IPV4_HEADER && bytes[0] >> 4 == 4)
        ip_addr_from_bytes(out, 4, bytes + 16);
    else if (len >= IPV6_HEADER && bytes[0] >> 4 == 6)
        ip_addr_from_bytes(out, 6, bytes + 24);
}

bool tap_takes_packet(struct tap *tap, const uint8_t *bytes, size_t len)
{
    struct ip_addr to;
    if (!atomic_load_explicit(&tap->open, memory_order_relaxed))
        return false;
    read_destination(&to, bytes, len);
    pthread_mutex_lock(&tap->lock);
    bool mine =
        tap->packet != NULL && to.family != 0 &&
        (ip_prefix_contains(&tap->networks[0], &to) || ip_prefix_contains(&tap->networks[1], &to));
    if (mine)
        tap->packet(tap->ctx, bytes, len);
    pthread_mutex_unlock(&tap->lock);
    return mine;
}

void tap_make_datagram(uint8_t out[TAP_DATAGRAM_LEN], const uint8_t nonce[TAP_NONCE_LEN])
{
    memcpy(out, magic, sizeof magic);
    memcpy(out + sizeof magic, nonce, TAP_NONCE_LEN);
}

void tap_expect(struct tap *tap, const uint8_t nonce[TAP_NONCE_LEN])
{
    pthread_mutex_lock(&tap->lock);
    memcpy(tap->nonce, nonce, TAP_NONCE_LEN);
    tap->reached = 0;
    atomic_store(&tap->expecting, true);
    pthread_mutex_unlock(&tap->lock);
}

bool tap_takes_datagram(struct tap *tap, const uint8_t *bytes, size_t len)
{
    if (!atomic_load_explicit(&tap->expecting, memory_order_relaxed) || len < TAP_DATAGRAM_LEN ||
        memcmp(bytes, magic, sizeof magic) != 0)
        return false;
    pthread_mutex_lock(&tap->lock);
    bool mine = memcmp(bytes + sizeof magic, tap->nonce, TAP_NONCE_LEN) == 0;
    if (mine && len > tap->reached)
        tap->reached = len;
    pthread_mutex_unlock(&tap->lock);
    return mine;
}

size_t tap_reached(struct tap *tap)
{
    pthread_mutex_lock(&tap->lock);
    size_t reached = tap->reached;
    pthread_mutex_unlock(&tap->lock);
    return reached;
}
