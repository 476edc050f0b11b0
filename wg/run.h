#ifndef WG_RUN_H
#define WG_RUN_H

struct device_call;
struct wg_peer;

/* Does what the peer has due and sets its next deadline; or, when the call has done enough, leaves
 * it to the next wg_device_run. With the device's lock held. */
void run_serve_peer(struct device_call *call, struct wg_peer *peer);

#endif
