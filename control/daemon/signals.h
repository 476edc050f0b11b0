#ifndef CONTROL_DAEMON_SIGNALS_H
#define CONTROL_DAEMON_SIGNALS_H

#include <stdbool.h>
#include <uv.h>

/* Signals of a daemon. SIGTERM, SIGINT and SIGQUIT stop it. SIGHUP stops it when it has a controlling
 * terminal, which was hung up, and else asks it to read its options again. A SIGHUP that was ignored
 * at the start, as under nohup(1), stays ignored. */

struct signals_events {
    void *ctx;
    void (*stop)(void *ctx);
    void (*reload)(void *ctx);
};

enum { SIGNALS_HANDLED = 4 };

struct signals {
    uv_signal_t handles[SIGNALS_HANDLED];
    size_t count;
    bool has_terminal;
    struct signals_events events;
};

/* Ignores SIGPIPE and watches the others. The struct must not move until the loop has closed it. */
void signals_open(struct signals *signals, uv_loop_t *loop, const struct signals_events *events);

void signals_close(struct signals *signals);

#endif
