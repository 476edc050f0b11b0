#ifndef BASE_LOG_SINK_H
#define BASE_LOG_SINK_H

#include <stddef.h>
#include <stdint.h>

/* Where the log's lines go. For log.c only.
 *
 * A caller never waits for the descriptor. Without the writer thread a line is written at once if the descriptor takes it now.
 * With the writer thread, callers append to `front` under the lock; the writer swaps `front` and `back`, and writes `back` without
 * the lock, one line a write(2). A line that finds no room, or cannot be written, is dropped and counted, and the next line that
 * can be written follows a note of the count. */

/* Formats the note that `dropped` lines are missing, a whole line; returns its length, at most `size`. */
typedef size_t (*log_sink_note)(char *out, size_t size, uint64_t dropped);

/* -1: lines are discarded and not counted. */
void log_sink_set_fd(int fd);

/* Takes one line, its newline included. Safe from every thread. */
void log_sink_put(const char *line, size_t len, log_sink_note note);

/* Starts the writer thread. 0 or a negative errno: lines are still written at once. A child after fork(2) has no writer thread. */
int log_sink_start(void);

/* Ends the writer thread when its lines are written, or when nothing was written for a while. */
void log_sink_stop(void);

/* Lines dropped since the program started. */
uint64_t log_sink_dropped(void);

#endif
