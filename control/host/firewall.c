/* One job at a time: idle -> running -> idle, or running again when other rules were asked for
 * meanwhile. Closing asks for the removal and ends when that is done.
 *
 * What stands is compared with what was written: behind each job the table is looked at, and again
 * when nftables report a change. News that come while a job runs are its own, or are seen behind
 * it. */
#include "control/host/firewall.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/log_once.h"
#include "control/host/repair.h"
#include "control/host/worker.h"
#include "tun/nft_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETTLE_MS = 100 }; /* changes come in groups */

struct firewall {
    struct worker_job job; /* first, so that the job is the firewall */
    struct worker *worker;
    struct nft_watch *watch; /* NULL: not watched */
    uv_poll_t changes;
    uv_timer_t timer; /* to look, or to write again */
    unsigned handles; /* open ones */
    struct repair repair;
    struct nft_table_mark written; /* what the table was behind the last job */
    char *rules;                   /* the transaction that was asked for last */
    char *wanted;                  /* the transaction to run next; NULL: none */
    char *running;                 /* the worker's, while `busy` */
    int code;                      /* what came of the last one */
    struct err err;
    bool busy;
    bool closing;
    bool refused;                                /* nft did not take the last rules */
    char problem[sizeof((struct err *)0)->text]; /* why */
    bool changed;                                /* another program changed the table since */
    struct log_once refusal;
    char table[];
};

static void firewall_run(struct worker_job *job)
{
    struct firewall *firewall = (struct firewall *)job;
    firewall->code = nft_load(firewall->running, &firewall->err);
}

static void firewall_look(uv_timer_t *timer);

static void start(struct firewall *firewall)
{
    if (firewall->busy || firewall->wanted == NULL)
        return;
    firewall->busy = true;
    firewall->running = firewall->wanted;
    firewall->wanted = NULL;
    worker_submit(firewall->worker, &firewall->job);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct firewall *firewall = handle->data;
    if (--firewall->handles > 0)
        return;
    nft_watch_close(firewall->watch);
    nft_free(firewall->wanted);
    free(firewall->rules);
    free(firewall);
}

static void end(struct firewall *firewall)
{
    worker_close(firewall->worker);
    uv_close((uv_handle_t *)&firewall->timer, on_handle_closed);
    if (firewall->watch != NULL)
        uv_close((uv_handle_t *)&firewall->changes, on_handle_closed);
}

/* Writes the rules again, now or when the pause is over. */
static void write_again(struct firewall *firewall)
{
    uint64_t wait_ms = 0;
    if (firewall->closing || firewall->rules == NULL || firewall->wanted != NULL)
        return;
    if (!repair_due(&firewall->repair, clock_boottime_ns(), &wait_ms)) {
        (void)uv_timer_start(&firewall->timer, firewall_look, wait_ms, 0);
        return;
    }
    if (firewall->changed && repair_news(&firewall->repair))
        log_warn("another program keeps changing the firewall's table: it is written again after "
                 "ever longer pauses",
                 F_STR("table", firewall->table));
    firewall->wanted = strdup(firewall->rules);
    start(firewall);
}

/* Compares what stands with what was written. */
static void firewall_look(uv_timer_t *timer)
{
    struct firewall *firewall = timer->data;
    struct nft_table_mark now;
    if (firewall->busy || firewall->closing || firewall->rules == NULL)
        return;
    if (firewall->refused) {
        write_again(firewall);
        return;
    }
    if (nft_table_observe(firewall->table, &now) < 0 ||
        (now.table != 0 && nft_table_mark_equal(&now, &firewall->written)))
        return;
    if (!firewall->changed)
        log_info(now.table == 0 ? "another program removed the firewall's table: writing it again"
                                : "another program changed the firewall's table: writing it again",
                 F_STR("table", firewall->table));
    firewall->changed = true;
    write_again(firewall);
}

static void on_nft_changes(uv_poll_t *poll, int status, int events)
{
    struct firewall *firewall = poll->data;
    (void)status;
    (void)events;
    if (nft_watch_read(firewall->watch) && !firewall->closing && !firewall->busy &&
        !uv_is_active((uv_handle_t *)&firewall->timer))
        (void)uv_timer_start(&firewall->timer, firewall_look, SETTLE_MS, 0);
}

static void report(struct firewall *firewall, int code, const struct err *err)
{
    firewall->refused = code < 0;
    snprintf(firewall->problem, sizeof firewall->problem, "%s", code < 0 ? err->text : "");
    if (code == 0)
        (void)log_once_reset(&firewall->refusal);
    else if (log_once(&firewall->refusal))
        log_warn("the firewall is not set up: networks behind this node are reached only if they "
                 "have a route back",
                 F_STR("error", err->text));
}

static size_t count_rules(const char *transaction)
{
    static const char rule[] = "{\"rule\":";
    size_t count = 0;
    for (const char *at = transaction; (at = strstr(at, rule)) != NULL; at += sizeof rule - 1)
        count++;
    return count;
}

/* Behind a job: notes what it wrote, or tries again later. Another program may have been at it
 * since, which the number of rules shows. */
static void settle(struct firewall *firewall)
{
    firewall->changed = false;
    if (firewall->refused) {
        write_again(firewall);
        return;
    }
    if (nft_table_observe(firewall->table, &firewall->written) < 0)
        firewall->written = (struct nft_table_mark){0};
    else if (firewall->rules != NULL && firewall->written.count != count_rules(firewall->rules)) {
        firewall->written = (struct nft_table_mark){0};
        (void)uv_timer_start(&firewall->timer, firewall_look, SETTLE_MS, 0);
    }
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
    else
        settle(firewall);
}

static int watch(struct firewall *firewall, uv_loop_t *loop)
{
    int code = nft_watch_open(&firewall->watch);
    if (code == 0)
        code = uv_poll_init(loop, &firewall->changes, nft_watch_fd(firewall->watch));
    if (code < 0) {
        nft_watch_close(firewall->watch);
        firewall->watch = NULL;
        return code;
    }
    firewall->changes.data = firewall;
    firewall->handles++;
    return uv_poll_start(&firewall->changes, UV_READABLE, on_nft_changes);
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
    (void)uv_timer_init(loop, &firewall->timer);
    firewall->timer.data = firewall;
    firewall->handles = 1;
    code = watch(firewall, loop);
    if (code < 0)
        log_warn("cannot watch nftables: a table that another program removes is not set again",
                 F_STR("error", strerror(-code)));
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
    free(firewall->rules);
    firewall->rules = strdup(json);
    firewall->wanted = json;
    start(firewall);
}

const char *firewall_problem(const struct firewall *firewall)
{
    if (firewall->refused)
        return firewall->problem;
    if (!firewall->changed)
        return NULL;
    return firewall->repair.is_contested ? "another program keeps changing its table"
                                         : "another program changed its table";
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
