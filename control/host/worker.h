#ifndef CONTROL_HOST_WORKER_H
#define CONTROL_HOST_WORKER_H

#include <uv.h>

/* One thread that does what may block (programs, fsync) in the order in which it was asked to, so
 * that the loop never waits. Work that must not wait for other work has a worker of its own. */

struct worker;

/* One piece of work, embedded in the caller's own struct. The worker has it from worker_submit
 * until `done` is called. */
struct worker_job {
    void (*run)(struct worker_job *job); /* on the worker's thread; touches nothing of the loop's */
    void (*done)(struct worker_job *job); /* on the loop, later; may free or submit the job */
    struct worker_job *next;
};

/* 0 or a negative errno. The thread starts with the first job. */
int worker_create(struct worker **out, uv_loop_t *loop);

/* On the loop's thread. `done` is always called, never from inside this call. */
void worker_submit(struct worker *worker, struct worker_job *job);

/* Lets go of the worker: the jobs that it has are still run and done, which keeps the loop alive;
 * then it frees itself. Takes NULL. */
void worker_close(struct worker *worker);

#endif
