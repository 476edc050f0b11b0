/* One job at a time: idle -> running -> idle, or running again when other rules were asked for
 * meanwhile. Closing asks for the removal and ends when that is done. */
#include "control/host/firewall.h"

#include "base/log.h"
#include "base/log_once.h"
#include "control/host/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct firewall {
    struct worker_job job; /* first, so that the job is the firewall */
    struct worker *worker;
    char *wanted;  /* the transaction to run next; NULL: none */
    char *running; /* the worker's, while `busy` */
    int code;      /* what came of the last one */
    struct err err;
    bool busy;
    bool closing;
    bool refused; /* nft did not take the last rules */
    struct log_once refusal;
    char reason[sizeof((struct err *)NULL)->text]; /* of the last refusal */
    char table[];
};

static void firewall_run(struct worker_job *job)
{
    struct firewall *firewall = (struct firewall *)job;
    firewall->code = nft_load(firewall->running, &firewall->err);
}

static void start(struct firewall *firewall)
{
    if (firewall->busy || firewall->wanted == NULL)
        return;
    firewall->busy = true;
    firewall->running = firewall->wanted;
    firewall->wanted = NULL;
    worker_submit(firewall->worker, &firewall->job);
}

static void end(struct firewall *firewall)
{
    worker_close(firewall->worker);
    nft_free(firewall->wanted);
    free(firewall);
}

static void report(struct firewall *firewall, int code, const struct err *err)
{
    firewall->refused = code < 0;
    if (code < 0)
        snprintf(firewall->reason, sizeof firewall->reason, "%s", err->text);
    if (code == 0)
        (void)log_once_reset(&firewall->refusal);
    else if (log_once(&firewall->refusal))
        log_warn("the firewall is not set up: networks behind this node are reached only if they "
                 "have a route back",
                 F_STR("error", err->text));
}

static void firewall_done(struct worker_job *job)
{
    struct firewall *firewall = (struct firewall *)job;
    bool more = firewall->wanted != NULL;
    firewall->busy = false;
    nft_free(firewall->running);
    firewall->running = NULL;
    if (!firewall->closing)
        report(firewall, firewall->code, &firewall->err);
    if (more)
        start(firewall);
    else if (firewall->closing)
        end(firewall);
}

int firewall_open(struct firewall **out, uv_loop_t *loop, const char *table)
{
    size_t size = strlen(table) + 1;
    struct firewall *firewall = calloc(1, sizeof *firewall + size);
    *out = NULL;
    if (firewall == NULL)
        return -ENOMEM;
    firewall->job = (struct worker_job){.run = firewall_run, .done = firewall_done};
    memcpy(firewall->table, table, size);
    int code = worker_create(&firewall->worker, loop);
    if (code < 0) {
        free(firewall);
        return code;
    }
    *out = firewall;
    return 0;
}

void firewall_set(struct firewall *firewall, const struct nft_config *config)
{
    struct nft_config own = *config;
    struct err err;
    char *json = NULL;
    own.table = firewall->table;
    int code = nft_compose(&own, &json, &err);
    if (code < 0) {
        report(firewall, code, &err);
        return;
    }
    nft_free(firewall->wanted);
    firewall->wanted = json;
    start(firewall);
}

bool firewall_is_set(const struct firewall *firewall)
{
    return !firewall->refused;
}

const char *firewall_error(const struct firewall *firewall)
{
    return firewall->refused ? firewall->reason : "";
}

void firewall_close(struct firewall *firewall)
{
    if (firewall == NULL)
        return;
    firewall->closing = true;
    nft_free(firewall->wanted);
    firewall->wanted = NULL;
    if (nft_compose_removal(firewall->table, &firewall->wanted, NULL) == 0)
        start(firewall);
    else if (!firewall->busy)
        end(firewall);
}
