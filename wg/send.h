#ifndef WG_SEND_H
#define WG_SEND_H

#include <stdbool.h>

struct device_call;
struct wg_peer;

/* The slow side of sending data; wg_device_seal is the fast one. The caller sets the peer's
 * deadline afterwards. */

/* Sends staged packets in order, if there is a session. */
void send_staged(struct device_call *call, struct wg_peer *peer);

/* Sends a keepalive. False if there is no session. */
bool send_empty(struct device_call *call, struct wg_peer *peer);

#endif
