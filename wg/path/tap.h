#ifndef WG_PATH_TAP_H
#define WG_PATH_TAP_H

#include "base/addr.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where tests of the host and of the way to it end: packets for an address that no peer has, and
 * datagrams that belong to no session. Data packets never come here. */

/* A datagram may be longer than its beginning. */
enum { TAP_NONCE_LEN = 16, TAP_DATAGRAM_LEN = 16 + TAP_NONCE_LEN };

struct tap {
    pthread_mutex_t lock; /* protects the fields below */
    struct ip_prefix networks[2];
    void (*packet)(void *ctx, const uint8_t *bytes, size_t len);
    void *ctx;
    uint8_t nonce[TAP_NONCE_LEN];
    size_t reached; /* bytes of the longest datagram with the nonce */

    atomic_bool open;      /* somebody waits for packets */
    atomic_bool expecting; /* somebody waits for a datagram */
};

void tap_init(struct tap *tap);
void tap_fini(struct tap *tap);

/* From here on `packet` is called, on a thread of the path's, with every packet from the host into
 * one of the networks (family 0: none) to an address that no peer has. It must be quick. */
void tap_open(struct tap *tap, const struct ip_prefix networks[2],
              void (*packet)(void *ctx, const uint8_t *bytes, size_t len), void *ctx);

/* `packet` is not called any more when it returns. */
void tap_close(struct tap *tap);

/* Whether the packet was for the tap. */
bool tap_takes_packet(struct tap *tap, const uint8_t *bytes, size_t len);

/* The datagram that tap_expect waits for. */
void tap_make_datagram(uint8_t out[TAP_DATAGRAM_LEN], const uint8_t nonce[TAP_NONCE_LEN]);
void tap_expect(struct tap *tap, const uint8_t nonce[TAP_NONCE_LEN]);
bool tap_takes_datagram(struct tap *tap, const uint8_t *bytes, size_t len);

/* The length of the longest such datagram that came; 0: none. */
size_t tap_reached(struct tap *tap);

#endif
