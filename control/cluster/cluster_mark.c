#include "control/cluster/cluster_mark.h"

#include "base/err.h"
#include "base/log.h"
#include "control/host/datadir.h"

#include <errno.h>
#include <stdio.h>

int cluster_mark_read(struct cluster_mark *mark, struct datadir *datadir, struct err *err)
{
    *mark = (struct cluster_mark){.datadir = datadir};
    int code = datadir_read(datadir, CLUSTER_MARK_FILE, mark->id, sizeof mark->id, err);
    return code == -ENOENT ? 0 : code;
}

/* On a thread of the pool: files may wait. A mark that cannot be written is tried again by the next
 * run. */
static void write_mark(uv_work_t *work)
{
    const struct cluster_mark *mark = work->data;
    struct err err;
    if (datadir_write(mark->datadir, CLUSTER_MARK_FILE, mark->id, &err) < 0)
        log_warn("cannot record which cluster this node belongs to", F_STR("error", err.text));
}

static void on_written(uv_work_t *work, int status)
{
    struct cluster_mark *mark = work->data;
    (void)status;
    mark->writing = false;
    if (mark->idle != NULL)
        mark->idle(mark->idle_ctx);
}

void cluster_mark_keep(struct cluster_mark *mark, uv_loop_t *loop, const char *id)
{
    if (mark->id[0] != '\0' || id[0] == '\0')
        return;
    snprintf(mark->id, sizeof mark->id, "%s", id);
    mark->work.data = mark;
    mark->writing = uv_queue_work(loop, &mark->work, write_mark, on_written) == 0;
}

void cluster_mark_wait(struct cluster_mark *mark, void (*idle)(void *ctx), void *ctx)
{
    if (!mark->writing) {
        idle(ctx);
        return;
    }
    mark->idle = idle;
    mark->idle_ctx = ctx;
}

int cluster_mark_refuse(const struct cluster_mark *mark, const char *what, struct err *err)
{
    const char *dir = datadir_path(mark->datadir);
    return err_set(err, -ENODATA,
                   "%s%s%s: restore the folder %s/redis from a backup, or begin a new cluster on "
                   "purpose: mv %s/redis %s/redis.old; rm -f %s/" CLUSTER_MARK_FILE,
                   what, mark->id[0] != '\0' ? ", but this node belongs to cluster " : "", mark->id,
                   dir, dir, dir, dir);
}
