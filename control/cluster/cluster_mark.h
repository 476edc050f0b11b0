#ifndef CONTROL_CLUSTER_CLUSTER_MARK_H
#define CONTROL_CLUSTER_CLUSTER_MARK_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

/* The cluster that this node has data of, in a file of the data dir but outside Redis' folder. An
 * empty store beside a mark means that the data were lost, not that the node is new. */

struct datadir;
struct err;

#define CLUSTER_MARK_FILE "cluster.id"

enum { CLUSTER_MARK_TEXT = 64 };

struct cluster_mark {
    struct datadir *datadir;    /* borrowed */
    char id[CLUSTER_MARK_TEXT]; /* empty: no mark */
    uv_work_t work;
    bool writing;
    void *idle_ctx;
    void (*idle)(void *ctx);
};

/* Reads the mark. 0, also without one, or a negative errno with a text. */
int cluster_mark_read(struct cluster_mark *mark, struct datadir *datadir, struct err *err);

/* Sets the mark if there is none, and writes it beside the loop. */
void cluster_mark_keep(struct cluster_mark *mark, uv_loop_t *loop, const char *id);

/* Calls `idle`, perhaps at once, when nothing is being written: the mark may be freed. */
void cluster_mark_wait(struct cluster_mark *mark, void (*idle)(void *ctx), void *ctx);

/* Fills err with -ENODATA: what is wrong, and the lines that restore or begin anew. Returns
 * -ENODATA. */
int cluster_mark_refuse(const struct cluster_mark *mark, const char *what, struct err *err);

#endif
