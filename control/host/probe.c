/* A run: idle -> TABLE (a worker sets our table, when something is to be forwarded) -> ANSWERS
 * (packets are sent up to three times) -> the worker removes the table -> idle. The tap's thread
 * only writes answers down and rings. */
#include "control/host/probe.h"

#include "base/log.h"
#include "control/host/nft.h"
#include "control/host/worker.h"
#include "wg/path/path.h"
#include "wg/path/tap.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RESEND_MS = 200,
    ATTEMPTS = 3,
    SCRIPT = 2048,
    LAST_PRIORITY = 1000000000, /* behind every chain that others have */
};

enum state { IDLE, TABLE, ANSWERS, CLOSED };

struct probe {
    struct worker_job job; /* first, so that the job is the probe */
    struct worker *worker;
    uv_loop_t *loop;
    uv_timer_t timer;
    uv_async_t async;
    unsigned handles; /* still open */
    bool busy;        /* the worker has the job */
    bool removing;    /* the job removes the table */
    struct path *path;
    char interface_name[16];
    char script[SCRIPT];
    int code; /* of the last job */
    struct err err;
    enum state state;
    unsigned attempts;
    size_t count;
    struct ip_prefix networks[2];
    struct probe_target targets[PROBES_MAX];
    void (*done)(void *ctx, const struct probe_outcome *outcomes, size_t count);
    void *ctx;

    pthread_mutex_t lock; /* protects `results` */
    enum probe_result results[PROBES_MAX];
};

/* ---- our table ---- */

static void probe_table_name(const struct probe *probe, char out[64])
{
    size_t len = (size_t)snprintf(out, 64, "heimdall_probe_");
    for (const char *c = probe->interface_name; *c != '\0'; c++)
        len += (size_t)snprintf(out + len, 64 - len, isalnum((unsigned char)*c) ? "%c" : "_%02x",
                                (unsigned char)*c);
}

/* Only our own packets match: datagrams to the port that discards them. */
static size_t put_rule(char *out, size_t size, const struct probe *probe, const char *table,
                       const struct ip_prefix *from)
{
    char text[IP_ADDR_TEXT];
    bool ipv4 = from->addr.family == 4;
    return (size_t)snprintf(
        out, size,
        ",{\"add\":{\"rule\":{\"family\":\"inet\",\"table\":\"%s\",\"chain\":\"last\",\"expr\":["
        "{\"match\":{\"op\":\"==\",\"left\":{\"meta\":{\"key\":\"iifname\"}},\"right\":\"%s\"}},"
        "{\"match\":{\"op\":\"==\",\"left\":{\"payload\":{\"protocol\":\"%s\",\"field\":"
        "\"saddr\"}},\"right\":{\"prefix\":{\"addr\":\"%s\",\"len\":%u}}}},"
        "{\"match\":{\"op\":\"==\",\"left\":{\"payload\":{\"protocol\":\"udp\",\"field\":"
        "\"dport\"}},\"right\":9}},{\"reject\":{\"type\":\"%s\",\"expr\":\"%s\"}}]}}}",
        table, probe->interface_name, ipv4 ? "ip" : "ip6", ip_addr_format(&from->addr, text),
        from->len, ipv4 ? "icmp" : "icmpv6", ipv4 ? "net-prohibited" : "policy-fail");
}

/* The transaction that makes the table, or removes it. */
static void write_script(struct probe *probe, bool removal)
{
    char table[64];
    size_t len;
    probe_table_name(probe, table);
    len =
        (size_t)snprintf(probe->script, SCRIPT,
                         "{\"nftables\":[{\"add\":{\"table\":{\"family\":\"inet\",\"name\":"
                         "\"%s\"}}},{\"delete\":{\"table\":{\"family\":\"inet\",\"name\":\"%s\"}}}",
                         table, table);
    if (!removal)
        len += (size_t)snprintf(
            probe->script + len, SCRIPT - len,
            ",{\"add\":{\"table\":{\"family\":\"inet\",\"name\":\"%s\"}}},{\"add\":{\"chain\":{"
            "\"family\":\"inet\",\"table\":\"%s\",\"name\":\"last\",\"type\":\"filter\",\"hook\":"
            "\"forward\",\"prio\":%d,\"policy\":\"accept\"}}}",
            table, table, LAST_PRIORITY);
    for (size_t i = 0; i < 2 && !removal; i++)
        if (probe->networks[i].addr.family != 0)
            len += put_rule(probe->script + len, SCRIPT - len, probe, table, &probe->networks[i]);
    snprintf(probe->script + len, SCRIPT - len, "]}");
}

static void probe_run_nft(struct worker_job *job)
{
    struct probe *probe = (struct probe *)job;
    probe->code = nft_load(probe->script, &probe->err);
}

static void submit(struct probe *probe, bool removal)
{
    write_script(probe, removal);
    probe->busy = true;
    probe->removing = removal;
    worker_submit(probe->worker, &probe->job);
}

static bool forwards(const struct probe *probe)
{
    for (size_t i = 0; i < probe->count; i++)
        if (probe->targets[i].kind == PROBE_FORWARD)
            return true;
    return false;
}

/* ---- packets ---- */

static void on_packet(void *ctx, const uint8_t *packet, size_t len)
{
    struct probe *probe = ctx;
    uint8_t reset[PROBE_PACKET_MAX];
    unsigned n;
    enum probe_result result;
    if (!probe_answer(probe->targets, (unsigned)probe->count, packet, len, &n, &result))
        return;
    pthread_mutex_lock(&probe->lock);
    probe->results[n] = result;
    pthread_mutex_unlock(&probe->lock);
    size_t reset_len = probe_compose_reset(packet, len, reset);
    if (reset_len > 0)
        (void)path_inject(probe->path, reset, reset_len);
    (void)uv_async_send(&probe->async);
}

static size_t unanswered(struct probe *probe)
{
    size_t count = 0;
    pthread_mutex_lock(&probe->lock);
    for (size_t i = 0; i < probe->count; i++)
        count += probe->results[i] == PROBE_DROPPED;
    pthread_mutex_unlock(&probe->lock);
    return count;
}

static void finish(struct probe *probe)
{
    struct probe_outcome outcomes[PROBES_MAX];
    (void)uv_timer_stop(&probe->timer);
    tap_close(path_tap(probe->path));
    for (size_t i = 0; i < probe->count; i++)
        outcomes[i] = (struct probe_outcome){probe->targets[i], probe->results[i]};
    probe->state = IDLE;
    if (forwards(probe))
        submit(probe, true);
    probe->done(probe->ctx, outcomes, probe->count);
}

static void send_packets(struct probe *probe)
{
    uint8_t packet[PROBE_PACKET_MAX];
    probe->attempts++;
    for (unsigned n = 0; n < probe->count; n++) {
        pthread_mutex_lock(&probe->lock);
        bool waits = probe->results[n] == PROBE_DROPPED;
        pthread_mutex_unlock(&probe->lock);
        if (waits)
            (void)path_inject(probe->path, packet, probe_compose(&probe->targets[n], n, packet));
    }
}

static void on_probe_timer(uv_timer_t *timer)
{
    struct probe *probe = timer->data;
    if (probe->attempts == ATTEMPTS || unanswered(probe) == 0)
        finish(probe);
    else
        send_packets(probe);
}

static void on_probe_async(uv_async_t *async)
{
    struct probe *probe = async->data;
    if (probe->state == ANSWERS && unanswered(probe) == 0)
        finish(probe);
}

static void await_answers(struct probe *probe, bool forwarding)
{
    for (size_t i = 0; i < probe->count; i++) {
        const struct probe_target *target = &probe->targets[i];
        probe->results[i] =
            target->kind == PROBE_FORWARD && !forwarding ? PROBE_UNKNOWN : PROBE_DROPPED;
    }
    probe->state = ANSWERS;
    probe->attempts = 0;
    tap_open(path_tap(probe->path), probe->networks, on_packet, probe);
    send_packets(probe);
    (void)uv_timer_start(&probe->timer, on_probe_timer, RESEND_MS, RESEND_MS);
}

/* ---- life ---- */

static void end(struct probe *probe)
{
    if (probe->handles > 0 || probe->busy)
        return;
    worker_close(probe->worker);
    pthread_mutex_destroy(&probe->lock);
    free(probe);
}

static void probe_ran_nft(struct worker_job *job)
{
    struct probe *probe = (struct probe *)job;
    probe->busy = false;
    if (probe->code < 0)
        log_debug("forwarding cannot be tried", F_STR("error", probe->err.text));
    if (probe->state == TABLE)
        await_answers(probe, probe->code == 0);
    else if (probe->state == CLOSED && !probe->removing)
        submit(probe, true);
    else if (probe->state == CLOSED)
        end(probe);
}

/* Names that would need quoting in JSON are left alone. */
static bool is_plain(const char *name)
{
    return strpbrk(name, "\"\\*") == NULL;
}

int probe_open(struct probe **out, uv_loop_t *loop, struct path *path, const char *interface_name)
{
    *out = NULL;
    struct probe *probe = calloc(1, sizeof *probe);
    if (probe == NULL)
        return -ENOMEM;
    probe->job = (struct worker_job){.run = probe_run_nft, .done = probe_ran_nft};
    probe->loop = loop;
    probe->path = path;
    snprintf(probe->interface_name, sizeof probe->interface_name, "%s", interface_name);
    int code = worker_create(&probe->worker, loop);
    if (code == 0)
        code = uv_async_init(loop, &probe->async, on_probe_async);
    if (code < 0) {
        worker_close(probe->worker);
        free(probe);
        return code;
    }
    (void)uv_timer_init(loop, &probe->timer);
    probe->handles = 2;
    probe->timer.data = probe;
    probe->async.data = probe;
    pthread_mutex_init(&probe->lock, NULL);
    if (is_plain(interface_name))
        submit(probe, true); /* a killed run may have left its table */
    *out = probe;
    return 0;
}

bool probe_start(struct probe *probe, const struct ip_prefix networks[2],
                 const struct probe_target *targets, size_t count, bool firewall,
                 void (*done)(void *ctx, const struct probe_outcome *outcomes, size_t count),
                 void *ctx)
{
    if (probe->state != IDLE || probe->busy || count > PROBES_MAX)
        return false;
    probe->count = count;
    memcpy(probe->networks, networks, sizeof probe->networks);
    if (count > 0)
        memcpy(probe->targets, targets, count * sizeof *targets);
    probe->done = done;
    probe->ctx = ctx;
    if (!firewall || !forwards(probe) || !is_plain(probe->interface_name)) {
        await_answers(probe, false);
        return true;
    }
    probe->state = TABLE;
    submit(probe, false);
    return true;
}

bool probe_is_busy(const struct probe *probe)
{
    return probe->state != IDLE || probe->busy;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct probe *probe = handle->data;
    probe->handles--;
    end(probe);
}

void probe_close(struct probe *probe)
{
    if (probe == NULL)
        return;
    bool tapped = probe->state == ANSWERS;
    if (tapped)
        tap_close(path_tap(probe->path));
    probe->state = CLOSED;
    uv_close((uv_handle_t *)&probe->timer, on_handle_closed);
    uv_close((uv_handle_t *)&probe->async, on_handle_closed);
    if (tapped && forwards(probe) && !probe->busy)
        submit(probe, true);
}
