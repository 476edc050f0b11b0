#ifndef WG_PSK_H
#define WG_PSK_H

#include <stddef.h>
#include <stdint.h>

/* A preshared key that both ends of a tunnel derive and nobody sends: from a secret that they share,
 * their public keys in either order, and the round, which renews it. Whoever recorded the tunnel and
 * breaks X25519 later still needs the secret, which must have at least 128 bits for that. */
void wg_psk_derive(uint8_t psk[32], const void *secret, size_t secret_len, const uint8_t a[32],
                   const uint8_t b[32], uint64_t round);

#endif
