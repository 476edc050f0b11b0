#ifndef CONTROL_CLUSTER_DISK_WATCH_H
#define CONTROL_CLUSTER_DISK_WATCH_H

#include <stdbool.h>
#include <uv.h>

/* Whether a folder's disk has room. A file system may let a query wait (NFS, a dying disk), so each
 * query runs beside the loop. */

struct disk_watch {
    const char *path; /* borrowed */
    uv_timer_t timer;
    uv_fs_t query;
    bool querying;
    bool full; /* as of the last answer */
    void *ctx; /* of who waits for a fresh answer */
    void (*answer)(void *ctx, bool full);
    bool again; /* someone asked while a query was under way, whose answer may be too old */
    bool closing;
    bool timer_closed;
    void *closed_ctx;
    void (*closed)(void *ctx);
};

/* Queries at once and then every few seconds. */
void disk_watch_init(struct disk_watch *watch, uv_loop_t *loop, const char *path);

/* As of a few seconds ago. */
bool disk_watch_is_full(const struct disk_watch *watch);

/* Calls `answer` later with what holds after this call. One caller at a time; a second call takes
 * the place of the first. A NULL `answer` takes it back. */
void disk_watch_ask(struct disk_watch *watch, void (*answer)(void *ctx, bool full), void *ctx);

/* `closed` is called when the memory may be freed; `answer` is not called any more. */
void disk_watch_close(struct disk_watch *watch, void (*closed)(void *ctx), void *ctx);

#endif
