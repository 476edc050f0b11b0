#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

/* Structured logs on standard error, one line an event, as text or JSON, in ASCII whatever is in
 * the values. Safe from every thread, and never waits for standard error: a line that it does not
 * take (a full disk, a pipe that nobody reads, a stopped terminal) is dropped, and a later line
 * has the count. Secrets are never fields; a peer id is logged through log_short_id(). */

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

struct log_field {
    const char *key; /* NULL ends the list */
    enum { LOG_FIELD_STRING, LOG_FIELD_INT } kind;
    const char *string;
    int64_t number;
};

#define F_STR(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_STRING, .string = (v)})
#define F_INT(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_INT, .number = (int64_t)(v)})

/* log_info("route created", F_STR("network", net), F_INT("rev", rev)) */
#define log_debug(...) LOG_AT(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  LOG_AT(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  LOG_AT(LOG_WARN, __VA_ARGS__)
#define log_error(...) LOG_AT(LOG_ERROR, __VA_ARGS__)
#define LOG_AT(level, message, ...)                                                                \
    log_write((level), (message),                                                                  \
              (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.key = NULL}})

/* Default: info, text, descriptor 2. Descriptor -1: no log. */
void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
void log_set_fd(int fd);

/* Hands lines to a thread that writes them, so that no other thread waits for a slow disk either.
 * To be called once rights are dropped, which counts for later threads alone. 0 or a negative
 * errno: lines are still written by their callers. */
int log_start(void);

/* Ends that thread once its lines are written; gives up after at most 3 s. Also done at exit. */
void log_stop(void);

/* Writes "PROGRAM: TEXT", a program's reason to end, behind the lines before it. */
void log_last_words(const char *program, const char *text);

/* Lines dropped since the program started. */
uint64_t log_dropped(void);

bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *message, const struct log_field *fields);

/* For lines that outsiders cause: a few in each window, the first of the next one says how many
 * were left out. Zeroed at first. */
enum { LOG_LIMIT_LINES = 40 };
#define LOG_LIMIT_WINDOW_NS (10 * UINT64_C(1000000000))

struct log_limit {
    uint64_t window_ns; /* when it began */
    unsigned lines;
    unsigned left_out;
};

/* Whether to write a line now; *left_out: how many were not written before it. */
bool log_limit_passes(struct log_limit *limit, uint64_t now_ns, unsigned *left_out);

/* The first 8 characters of a secret id, which is all that logs show. */
const char *log_short_id(char out[9], const char *id);

#endif
