#ifndef WG_HANDSHAKE_H
#define WG_HANDSHAKE_H

struct device_call;
struct wg_peer;

/* Starts a handshake, in place of one under way. The peer's deadline is the caller's to set. */
void handshake_initiate(struct device_call *call, struct wg_peer *peer);

#endif
