#ifndef BASE_LOG_ONCE_H
#define BASE_LOG_ONCE_H

#include <stdbool.h>

/* A line that is logged when something begins to be wrong, not each time that it is seen to be.
 * Zeroed at first. It says what was logged and nothing else: whether something works is state of
 * its own.
 *
 *     if (code == 0)
 *         log_once_reset(&once);
 *     else if (log_once(&once))
 *         log_warn("cannot ...");
 */
struct log_once {
    bool logged;
};

/* True for the first call, and for the first one after a reset. */
static inline bool log_once(struct log_once *once)
{
    bool first = !once->logged;
    once->logged = true;
    return first;
}

/* True when there was a line to take back. */
static inline bool log_once_reset(struct log_once *once)
{
    bool logged = once->logged;
    once->logged = false;
    return logged;
}

#endif
