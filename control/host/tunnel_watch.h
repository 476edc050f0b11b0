#ifndef CONTROL_HOST_TUNNEL_WATCH_H
#define CONTROL_HOST_TUNNEL_WATCH_H

#include <stdint.h>
#include <uv.h>

/* What a tunnel waits for on the loop: the end of its path, the time to reopen it, and changes of
 * the host's routes, rules and links. */

struct tunnel_watch;

struct tunnel_watch_events {
    void (*gone)(void *ctx);         /* tunnel_watch_ring was called */
    void (*again)(void *ctx);        /* the pause is over */
    void (*host_changed)(void *ctx); /* a moment ago; several changes come as one */
};

/* 0 or a negative errno. Without netlink there are no host_changed events, which is logged. */
int tunnel_watch_open(struct tunnel_watch **out, uv_loop_t *loop,
                      const struct tunnel_watch_events *events, void *ctx);

/* From any thread. */
void tunnel_watch_ring(struct tunnel_watch *watch);

/* Has host_changed called after this time at the latest, without a change. */
void tunnel_watch_look_in(struct tunnel_watch *watch, uint64_t wait_ms);

/* Calls `again` after the pause; a second call replaces the first. */
void tunnel_watch_pause(struct tunnel_watch *watch, uint64_t pause_ms);

/* No event comes after this; memory is given back by the loop's next turns. Takes NULL. */
void tunnel_watch_close(struct tunnel_watch *watch);

#endif
