#include "control/host/resolver_setter.h"

#include "base/err.h"
#include "base/log.h"
#include "control/host/resolv_conf.h"
#include "control/host/resolver.h"
#include "control/host/resolver_helper.h"
#include "control/host/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct resolver_setter {
    struct worker *worker;
    struct resolver_paths paths;
};

/* One call, with copies of all that it needs. */
struct setter_job {
    struct worker_job job; /* first, so that the job is the call */
    struct resolver_paths paths;
    struct resolver_setup setup;
    struct ip_addr nameservers[RESOLVER_NAMESERVERS];
    char domain[256];
    char interface[32];
    void (*then)(void *ctx);
    void *ctx;
    int code;
    struct err err;
};

static void run_apply(struct worker_job *base)
{
    struct setter_job *job = (struct setter_job *)base;
    job->code = resolver_helper_apply(&job->paths, &job->setup, &job->err);
}

static void run_restore(struct worker_job *base)
{
    struct setter_job *job = (struct setter_job *)base;
    job->code = resolver_helper_restore(&job->paths, &job->err);
}

static void apply_done(struct worker_job *base)
{
    struct setter_job *job = (struct setter_job *)base;
    if (job->code < 0)
        log_warn("this host does not resolve the network's names", F_STR("error", job->err.text));
    if (job->then != NULL)
        job->then(job->ctx);
    free(job);
}

static void restore_done(struct worker_job *base)
{
    struct setter_job *job = (struct setter_job *)base;
    if (job->code < 0)
        log_error("cannot restore the host's resolver", F_STR("error", job->err.text));
    if (job->then != NULL)
        job->then(job->ctx);
    free(job);
}

static struct setter_job *make_job(const struct resolver_setter *setter)
{
    struct setter_job *job = calloc(1, sizeof *job);
    if (job == NULL)
        log_error("out of memory: the host's resolver is unchanged");
    else
        job->paths = setter->paths;
    return job;
}

int resolver_setter_open(struct resolver_setter **out, uv_loop_t *loop,
                         const struct resolver_paths *paths)
{
    struct resolver_setter *setter = calloc(1, sizeof *setter);
    *out = NULL;
    if (setter == NULL)
        return -ENOMEM;
    setter->paths = *paths;
    int code = worker_create(&setter->worker, loop);
    if (code < 0) {
        free(setter);
        return code;
    }
    *out = setter;
    return 0;
}

void resolver_setter_apply(struct resolver_setter *setter, const struct resolver_setup *setup,
                           void (*applied)(void *ctx), void *ctx)
{
    struct setter_job *job = make_job(setter);
    if (job == NULL) {
        if (applied != NULL)
            applied(ctx);
        return;
    }
    job->then = applied;
    job->ctx = ctx;
    size_t count = setup->nameserver_count < RESOLVER_NAMESERVERS ? setup->nameserver_count
                                                                  : RESOLVER_NAMESERVERS;
    job->job = (struct worker_job){.run = run_apply, .done = apply_done};
    memcpy(job->nameservers, setup->nameservers, count * sizeof job->nameservers[0]);
    snprintf(job->domain, sizeof job->domain, "%s", setup->domain);
    snprintf(job->interface, sizeof job->interface, "%s", setup->interface);
    job->setup = *setup;
    job->setup.nameservers = job->nameservers;
    job->setup.nameserver_count = count;
    job->setup.domain = job->domain;
    job->setup.interface = job->interface;
    worker_submit(setter->worker, &job->job);
}

void resolver_setter_restore(struct resolver_setter *setter, void (*restored)(void *ctx), void *ctx)
{
    struct setter_job *job = make_job(setter);
    if (job == NULL) {
        if (restored != NULL)
            restored(ctx);
        return;
    }
    job->job = (struct worker_job){.run = run_restore, .done = restore_done};
    job->then = restored;
    job->ctx = ctx;
    worker_submit(setter->worker, &job->job);
}

void resolver_setter_close(struct resolver_setter *setter)
{
    if (setter == NULL)
        return;
    resolver_setter_restore(setter, NULL, NULL);
    worker_close(setter->worker);
    free(setter);
}
