#include "base/log_sink.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 512 * 1024, /* memory is touched only as far as lines pile up */
    NOTE_BYTES = 256,
    AGAIN_PAUSE_MS = 10,
    STOP_PATIENCE_MS = 500, /* without a line written */
    STOP_LIMIT_MS = 3000,
};

struct lines {
    char *text;
    size_t len;
    uint64_t dropped; /* behind these lines */
};

static char texts[2][BUFFER_BYTES];
static _Atomic int out_fd = STDERR_FILENO;
static _Atomic uint64_t dropped_total;

/* Guards everything below; of `back`, `lost` and `torn` the fields belong to the writer while it is busy. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER; /* front has lines, or `ending` */
static struct lines front = {.text = texts[0]};
static struct lines back = {.text = texts[1]};
static log_sink_note format_note;
static pthread_t writer;
static bool threaded;            /* the writer thread runs */
static bool ending;              /* it is to end */
static bool busy;                /* it writes `back` */
static _Atomic uint64_t written; /* lines, so that log_sink_stop sees progress */
static uint64_t lost;            /* lines that could not be written, and no note of them */
static bool torn;                /* the descriptor has the beginning of a line */

void log_sink_set_fd(int fd)
{
    atomic_store(&out_fd, fd);
}

uint64_t log_sink_dropped(void)
{
    return atomic_load(&dropped_total);
}

/* ---- writing ---- */

/* Whether a write would not wait. Files are always ready. */
static bool is_ready(int fd)
{
    struct pollfd ask = {.fd = fd, .events = POLLOUT};
    return poll(&ask, 1, 0) == 1 && (ask.revents & POLLNVAL) == 0;
}

/* For a descriptor that somebody made non-blocking. */
static void wait_until_ready(int fd)
{
    struct pollfd ask = {.fd = fd, .events = POLLOUT};
    struct timespec pause = {.tv_nsec = AGAIN_PAUSE_MS * (long)NS_PER_MS};
    (void)poll(&ask, 1, -1);
    (void)nanosleep(&pause, NULL); /* ready for less than a line, maybe */
}

static bool write_all(int fd, const char *text, size_t len, bool may_wait)
{
    size_t done = 0;
    while (done < len) {
        if (!may_wait && !is_ready(fd))
            break;
        ssize_t n = write(fd, text + done, len - done);
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno == EAGAIN && may_wait)
            wait_until_ready(fd);
        else if (n == 0 || errno != EINTR)
            break;
    }
    torn = done > 0 && done < len;
    return done == len;
}

static bool write_line(int fd, const char *line, size_t len, bool may_wait)
{
    return (!torn || write_all(fd, "\n", 1, may_wait)) && write_all(fd, line, len, may_wait);
}

/* Writes what is missing so far, if anything is, and then the line. */
static void write_or_count(const char *line, size_t len, bool may_wait)
{
    int fd = atomic_load(&out_fd);
    char note[NOTE_BYTES];
    if (fd < 0)
        return;
    if (lost > 0 && write_line(fd, note, format_note(note, sizeof note, lost), may_wait))
        lost = 0;
    if (len > 0 && !write_line(fd, line, len, may_wait)) {
        lost++;
        atomic_fetch_add(&dropped_total, 1);
    }
    atomic_fetch_add(&written, 1);
}

static void write_lines(const struct lines *lines)
{
    for (size_t at = 0; at < lines->len;) {
        const char *line = lines->text + at;
        const char *newline = memchr(line, '\n', lines->len - at);
        size_t len = (size_t)(newline - line) + 1;
        write_or_count(line, len, true);
        at += len;
    }
    lost += lines->dropped;
    if (lines->dropped > 0)
        write_or_count(NULL, 0, true);
}

static void *write_forever(void *unused)
{
    (void)unused;
    (void)pthread_mutex_lock(&lock);
    for (;;) {
        while (front.len == 0 && !ending)
            (void)pthread_cond_wait(&filled, &lock);
        if (front.len == 0)
            break;
        struct lines taken = front;
        front = (struct lines){.text = back.text};
        back = taken;
        busy = true;
        (void)pthread_mutex_unlock(&lock);
        write_lines(&back);
        (void)pthread_mutex_lock(&lock);
        busy = false;
    }
    (void)pthread_mutex_unlock(&lock);
    return NULL;
}

/* ---- taking lines ---- */

static void append(const char *line, size_t len)
{
    /* behind a gap nothing is taken, so that the note stands in its place */
    if (front.dropped > 0 || len > BUFFER_BYTES - front.len) {
        front.dropped++;
        atomic_fetch_add(&dropped_total, 1);
        return;
    }
    memcpy(front.text + front.len, line, len);
    front.len += len;
    if (front.len == len)
        (void)pthread_cond_signal(&filled);
}

void log_sink_put(const char *line, size_t len, log_sink_note note)
{
    if (atomic_load(&out_fd) < 0)
        return;
    (void)pthread_mutex_lock(&lock);
    format_note = note;
    if (threaded)
        append(line, len);
    else
        write_or_count(line, len, false);
    (void)pthread_mutex_unlock(&lock);
}

/* ---- the thread ---- */

static void before_fork(void)
{
    (void)pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
    (void)pthread_mutex_unlock(&lock);
}

/* The parent writes what it took. */
static void in_child(void)
{
    front.len = back.len = 0;
    front.dropped = back.dropped = lost = 0;
    threaded = ending = busy = torn = false;
    (void)pthread_cond_init(&filled, NULL);
    (void)pthread_mutex_unlock(&lock);
}

int log_sink_start(void)
{
    static bool prepared;
    sigset_t all;
    sigset_t before;
    (void)pthread_mutex_lock(&lock);
    int code = 0;
    if (!prepared)
        code = pthread_atfork(before_fork, after_fork, in_child);
    prepared = code == 0;
    if (code == 0 && !threaded) {
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the other threads' */
        ending = false;
        code = pthread_create(&writer, NULL, write_forever, NULL);
        threaded = code == 0;
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    (void)pthread_mutex_unlock(&lock);
    return -code;
}

static bool is_drained(void)
{
    (void)pthread_mutex_lock(&lock);
    bool drained = front.len == 0 && !busy;
    (void)pthread_mutex_unlock(&lock);
    return drained;
}

/* Whether all lines are written. Gives up when that takes too long. */
static bool drain(void)
{
    struct timespec pause = {.tv_nsec = (long)NS_PER_MS};
    uint64_t seen = atomic_load(&written);
    int idle_ms = 0;
    for (int waited_ms = 0; !is_drained(); waited_ms++) {
        if (idle_ms++ >= STOP_PATIENCE_MS || waited_ms >= STOP_LIMIT_MS)
            return false;
        (void)nanosleep(&pause, NULL);
        if (atomic_load(&written) != seen)
            idle_ms = 0;
        seen = atomic_load(&written);
    }
    return true;
}

void log_sink_stop(void)
{
    (void)pthread_mutex_lock(&lock);
    bool was_threaded = threaded;
    (void)pthread_mutex_unlock(&lock);
    if (!was_threaded)
        return;
    bool drained = drain();
    if (!drained)
        log_sink_set_fd(-1); /* `lost` and `torn` stay the writer's */
    (void)pthread_mutex_lock(&lock);
    threaded = false;
    ending = true;
    (void)pthread_cond_signal(&filled);
    (void)pthread_mutex_unlock(&lock);
    if (drained)
        (void)pthread_join(writer, NULL);
    else
        (void)pthread_detach(writer); /* it waits for a reader that does not read */
}
