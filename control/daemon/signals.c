#include "control/daemon/signals.h"

#include "base/log.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

static const struct {
    int number;
    const char *name;
} handled[SIGNALS_HANDLED] = {
    {SIGTERM, "SIGTERM"}, {SIGINT, "SIGINT"}, {SIGQUIT, "SIGQUIT"}, {SIGHUP, "SIGHUP"}};

static const char *name_of(int number)
{
    for (size_t i = 0; i < SIGNALS_HANDLED; i++)
        if (handled[i].number == number)
            return handled[i].name;
    return "";
}

static void signals_on_signal(uv_signal_t *handle, int number)
{
    struct signals *signals = handle->data;
    if (number == SIGHUP && !signals->has_terminal) {
        signals->events.reload(signals->events.ctx);
        return;
    }
    log_info("stopping", F_STR("signal", name_of(number)));
    signals->events.stop(signals->events.ctx);
}

static bool is_ignored(int number)
{
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static bool has_terminal(void)
{
    int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

void signals_open(struct signals *signals, uv_loop_t *loop, const struct signals_events *events)
{
    *signals = (struct signals){.events = *events, .has_terminal = has_terminal()};
    (void)signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < SIGNALS_HANDLED; i++) {
        if (handled[i].number == SIGHUP && is_ignored(SIGHUP))
            continue;
        uv_signal_t *handle = &signals->handles[signals->count++];
        (void)uv_signal_init(loop, handle);
        handle->data = signals;
        (void)uv_signal_start(handle, signals_on_signal, handled[i].number);
    }
}

void signals_close(struct signals *signals)
{
    for (size_t i = 0; i < signals->count; i++)
        uv_close((uv_handle_t *)&signals->handles[i], NULL);
    signals->count = 0;
}
