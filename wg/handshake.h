#ifndef WG_HANDSHAKE_H
#define WG_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device_call;
struct wg_endpoint;
struct wg_peer;

/* Both leave the peer's next deadline to the caller, which holds the device's lock. */

/* Starts a handshake, in place of one under way. */
void handshake_initiate(struct device_call *call, struct wg_peer *peer);

/* One handshake or cookie message, of any content and length. Returns the peer that it came from if
 * it was authentic and has changed that peer, else NULL, as for every cookie reply. */
struct wg_peer *handshake_consume(struct device_call *call, const uint8_t *bytes, size_t len,
                                  const struct wg_endpoint *from, bool under_load);

#endif
