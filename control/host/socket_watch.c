#include "control/host/socket_watch.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/log_once.h"
#include "control/host/repair.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    POLL_MS = 5000, /* for a folder that is removed, mounted over, or cannot be watched */
    SOON_MS = 200,  /* until a file that comes by itself is looked for again */
};

struct socket_watch {
    struct socket_watch_options options;
    char *path;
    char *folder;
    dev_t device; /* of the file; inode 0: any */
    ino_t inode;
    dev_t folder_device; /* of the folder that the handle watches */
    ino_t folder_inode;
    struct repair repair;
    struct log_once lost;
    struct log_once failed;
    bool missing;
    bool closing;
    uv_fs_event_t event;
    uv_timer_t timer;
    unsigned open; /* handles not closed yet */
};

static void check(struct socket_watch *watch);

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    (void)name;
    (void)events;
    (void)status;
    check(event->data);
}

static void on_timer(uv_timer_t *timer)
{
    check(timer->data);
}

/* A watch stays with the folder that it was opened for, so that a new folder needs another one. */
static void watch_folder(struct socket_watch *watch)
{
    struct stat st;
    bool found = stat(watch->folder, &st) == 0;
    if (found && uv_is_active((uv_handle_t *)&watch->event) && st.st_dev == watch->folder_device &&
        st.st_ino == watch->folder_inode)
        return;
    (void)uv_fs_event_stop(&watch->event);
    if (!found || uv_fs_event_start(&watch->event, on_event, watch->folder, 0) < 0)
        return;
    watch->folder_device = st.st_dev;
    watch->folder_inode = st.st_ino;
}

static bool is_there(const struct socket_watch *watch)
{
    struct stat st;
    return lstat(watch->path, &st) == 0 && S_ISSOCK(st.st_mode) &&
           (watch->inode == 0 || (st.st_dev == watch->device && st.st_ino == watch->inode));
}

static void learn(struct socket_watch *watch)
{
    struct stat st;
    watch->inode = 0;
    if (watch->options.any || lstat(watch->path, &st) < 0)
        return;
    watch->device = st.st_dev;
    watch->inode = st.st_ino;
}

static void restore(struct socket_watch *watch)
{
    if (log_once(&watch->lost))
        log_warn("another program removed a socket, recreating it", F_STR("file", watch->path));
    int code = watch->options.restore(watch->options.ctx);
    if (code == 0)
        learn(watch);
    else if (log_once(&watch->failed))
        log_warn("cannot recreate a socket, retrying", F_STR("file", watch->path),
                 F_STR("error", strerror(-code)));
    watch->missing = !is_there(watch);
    if (repair_news(&watch->repair))
        log_warn("another program keeps removing a socket: pauses grow to 64 s",
                 F_STR("file", watch->path));
}

static void on_there(struct socket_watch *watch)
{
    watch->missing = false;
    if (log_once_reset(&watch->lost))
        log_info("recreated a socket", F_STR("file", watch->path));
    (void)log_once_reset(&watch->failed);
    repair_rest(&watch->repair, clock_boottime_ns());
}

static void check(struct socket_watch *watch)
{
    uint64_t wait_ms = 0;
    if (watch->closing)
        return;
    if (!is_there(watch)) {
        bool busy = watch->options.busy != NULL && watch->options.busy(watch->options.ctx);
        watch->missing = !busy;
        if (busy)
            wait_ms = SOON_MS;
        else if (repair_due(&watch->repair, clock_boottime_ns(), &wait_ms))
            restore(watch);
    }
    if (is_there(watch))
        on_there(watch);
    else if (wait_ms == 0)
        wait_ms = SOON_MS;
    watch_folder(watch);
    (void)uv_timer_start(&watch->timer, on_timer,
                         wait_ms != 0 && wait_ms < POLL_MS ? wait_ms : POLL_MS, 0);
}

static void free_watch(struct socket_watch *watch)
{
    free(watch->path);
    free(watch->folder);
    free(watch);
}

int socket_watch_open(struct socket_watch **out, const struct socket_watch_options *options)
{
    *out = NULL;
    const char *slash = strrchr(options->path, '/');
    if (slash == NULL || slash == options->path)
        return -EINVAL;
    struct socket_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return -ENOMEM;
    watch->options = *options;
    watch->path = strdup(options->path);
    watch->folder = strndup(options->path, (size_t)(slash - options->path));
    if (watch->path == NULL || watch->folder == NULL) {
        free_watch(watch);
        return -ENOMEM;
    }
    watch->options.path = watch->path;
    (void)uv_fs_event_init(options->loop, &watch->event);
    (void)uv_timer_init(options->loop, &watch->timer);
    watch->event.data = watch->timer.data = watch;
    watch->open = 2;
    learn(watch);
    watch_folder(watch);
    (void)uv_timer_start(&watch->timer, on_timer, POLL_MS, 0);
    *out = watch;
    return 0;
}

const char *socket_watch_missing(const struct socket_watch *watch)
{
    return watch != NULL && watch->missing ? watch->path : NULL;
}

static void on_closed(uv_handle_t *handle)
{
    struct socket_watch *watch = handle->data;
    if (--watch->open == 0)
        free_watch(watch);
}

void socket_watch_close(struct socket_watch *watch)
{
    if (watch == NULL)
        return;
    watch->closing = true;
    uv_close((uv_handle_t *)&watch->event, on_closed);
    uv_close((uv_handle_t *)&watch->timer, on_closed);
}
