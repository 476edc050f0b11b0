#ifndef WG_RUN_H
#define WG_RUN_H

struct device_call;
struct wg_peer;

/* Does what the peer has due and sets its next deadline. With the device's lock held. */
void run_serve_peer(struct device_call *call, struct wg_peer *peer);

#endif
