/* The child's life, seen from the daemon. START goes to the keeper; a death comes back as news, and
 * plan_restart() arms the back-off timer that sends START again. stop() sends TERM and arms a timer
 * for KILL; the news of the death closes both handles and frees everything. A keeper that is killed
 * takes Redis with it, and nobody can restart either. */
#include "control/cluster/redis_proc.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "control/cluster/redis_keeper.h"
#include "control/host/helper.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum {
    BACK_OFF_FIRST_MS = 100,
    BACK_OFF_MAX_MS = 5000,
    STEADY_MS = 10000, /* up for this long, the back-off starts over */
    STOP_MS = 3000,
    KILL_MS = 2000,
    START_MS = 30000,
};

struct redis_proc {
    struct redis_launch launch;
    struct helper keeper;
    uv_poll_t news;
    uv_timer_t timer;
    unsigned open_handles;
    pid_t pid;
    uint64_t back_off_ms;
    uint64_t started_ns;
    void *ctx;
    void (*died)(void *ctx, int status, uint64_t delay_ms);
    void (*gone)(void *ctx);
    bool stopping;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
};

/* A keeper that is gone shows as the end of its news. */
static void send_word(struct redis_proc *proc, enum redis_keeper_word word)
{
    uint8_t packet = (uint8_t)word;
    (void)!send(proc->keeper.fd, &packet, sizeof packet, MSG_NOSIGNAL);
}

/* ---- death and back-off */

static void on_restart(uv_timer_t *timer)
{
    send_word(timer->data, REDIS_KEEPER_START);
}

static void plan_restart(struct redis_proc *proc, int status)
{
    uint64_t up_ms = (clock_boottime_ns() - proc->started_ns) / NS_PER_MS;
    uint64_t delay =
        up_ms >= STEADY_MS || proc->back_off_ms == 0 ? BACK_OFF_FIRST_MS : proc->back_off_ms * 2;
    proc->back_off_ms = delay < BACK_OFF_MAX_MS ? delay : BACK_OFF_MAX_MS;
    uv_timer_start(&proc->timer, on_restart, proc->back_off_ms, 0);
    log_warn("redis-server died; restarting it",
             F_INT(WIFSIGNALED(status) ? "signal" : "status",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)),
             F_INT("delay_ms", proc->back_off_ms), F_STR("log", proc->launch.dir));
    if (proc->died != NULL)
        proc->died(proc->ctx, status, proc->back_off_ms);
}

static void redis_proc_on_closed(uv_handle_t *handle)
{
    struct redis_proc *proc = handle->data;
    if (--proc->open_handles > 0)
        return;
    void (*stopped)(void *ctx) = proc->stopped;
    void *ctx = proc->stopped_ctx;
    helper_end(&proc->keeper);
    redis_launch_fini(&proc->launch);
    free(proc);
    if (stopped != NULL)
        stopped(ctx);
}

static void close_handles(struct redis_proc *proc)
{
    uv_close((uv_handle_t *)&proc->news, redis_proc_on_closed);
    uv_close((uv_handle_t *)&proc->timer, redis_proc_on_closed);
}

static void on_death(struct redis_proc *proc, int status)
{
    proc->pid = 0;
    if (proc->stopping)
        close_handles(proc);
    else
        plan_restart(proc, status);
}

static void on_keeper_gone(struct redis_proc *proc)
{
    proc->pid = 0;
    uv_poll_stop(&proc->news);
    if (proc->stopping) {
        close_handles(proc);
        return;
    }
    log_error("the helper that starts redis-server is gone");
    if (proc->gone != NULL)
        proc->gone(proc->ctx);
}

static void on_report(struct redis_proc *proc, const struct redis_keeper_report *report)
{
    switch ((enum redis_keeper_news)report->news) {
    case REDIS_KEEPER_STARTED:
        proc->pid = report->value;
        proc->started_ns = clock_boottime_ns();
        if (report->healed > 0)
            log_warn("removed zero bytes behind the end of Redis' append-only file, as a power "
                     "failure leaves them; no committed change was among them",
                     F_INT("bytes", report->healed), F_STR("folder", proc->launch.dir));
        break;
    case REDIS_KEEPER_FAILED:
        log_error("cannot start redis-server",
                  F_STR("error", report->value == ENODATA ? "its data files are gone: restore them"
                                                          : strerror(report->value)),
                  F_STR("folder", proc->launch.dir));
        proc->started_ns = clock_boottime_ns();
        on_death(proc, 127 << 8);
        break;
    case REDIS_KEEPER_DIED:
        on_death(proc, report->value);
        break;
    }
}

static void on_news(uv_poll_t *news, int status, int events)
{
    struct redis_proc *proc = news->data;
    struct redis_keeper_report report;
    (void)events;
    ssize_t n = status < 0 ? 0 : recv(proc->keeper.fd, &report, sizeof report, MSG_DONTWAIT);
    if (n == sizeof report)
        on_report(proc, &report);
    else if (n >= 0 || (errno != EAGAIN && errno != EINTR))
        on_keeper_gone(proc);
}

/* The keeper itself does not answer: helper_end kills it, and Redis dies with it. */
static void on_kill_timeout(uv_timer_t *timer)
{
    on_keeper_gone(timer->data);
}

static void on_stop_timeout(uv_timer_t *timer)
{
    redis_proc_kill(timer->data);
    uv_timer_start(timer, on_kill_timeout, KILL_MS, 0);
}

/* ---- the public side */

/* Waits for the first start, so that its failure ends the daemon with the reason. */
static int start_first(struct redis_proc *proc, struct err *err)
{
    struct redis_keeper_report report = {0};
    int rc = redis_keeper_start(&proc->keeper, &proc->launch);
    if (rc < 0)
        return err_set_errno(err, rc, "cannot start the helper that keeps redis-server");
    send_word(proc, REDIS_KEEPER_START);
    struct pollfd ready = {.fd = proc->keeper.fd, .events = POLLIN};
    int polled;
    while ((polled = poll(&ready, 1, START_MS)) < 0 && errno == EINTR)
        ;
    ssize_t n = polled <= 0 ? 0 : recv(proc->keeper.fd, &report, sizeof report, 0);
    if (n == sizeof report && report.news == REDIS_KEEPER_STARTED) {
        on_report(proc, &report);
        return 0;
    }
    rc = n == sizeof report && report.news == REDIS_KEEPER_FAILED ? -report.value : -EPIPE;
    return err_set_errno(err, rc, "cannot start %s", proc->launch.program);
}

int redis_proc_start(struct redis_proc **out, uv_loop_t *loop,
                     const struct redis_proc_options *options, struct err *err)
{
    struct redis_proc *proc = calloc(1, sizeof *proc);
    if (proc == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    proc->ctx = options->ctx;
    proc->died = options->died;
    proc->gone = options->gone;
    int rc = redis_launch_init(&proc->launch, &options->launch, err);
    if (rc == 0)
        rc = start_first(proc, err);
    if (rc == 0 && (rc = uv_poll_init(loop, &proc->news, proc->keeper.fd)) < 0)
        err_set_errno(err, rc, "no event for the helper that keeps redis-server");
    if (rc != 0) {
        helper_end(&proc->keeper);
        redis_launch_fini(&proc->launch);
        free(proc);
        return rc;
    }
    uv_timer_init(loop, &proc->timer);
    proc->open_handles = 2;
    proc->news.data = proc;
    proc->timer.data = proc;
    uv_poll_start(&proc->news, UV_READABLE, on_news);
    *out = proc;
    return 0;
}

const char *redis_proc_socket(const struct redis_proc *proc)
{
    return proc->launch.socket;
}

const char *redis_proc_user(const struct redis_proc *proc)
{
    (void)proc;
    return REDIS_KEEPER_USER;
}

const char *redis_proc_password(const struct redis_proc *proc)
{
    return proc->launch.password;
}

pid_t redis_proc_pid(const struct redis_proc *proc)
{
    return proc->pid;
}

void redis_proc_kill(struct redis_proc *proc)
{
    if (proc->pid != 0)
        send_word(proc, REDIS_KEEPER_KILL);
}

void redis_proc_stop(struct redis_proc *proc, void (*stopped)(void *ctx), void *ctx)
{
    proc->stopping = true;
    proc->stopped = stopped;
    proc->stopped_ctx = ctx;
    uv_timer_stop(&proc->timer);
    if (proc->pid == 0) {
        close_handles(proc);
        return;
    }
    send_word(proc, REDIS_KEEPER_TERM);
    uv_timer_start(&proc->timer, on_stop_timeout, STOP_MS, 0);
}
