#ifndef DNS_EXCHANGE_H
#define DNS_EXCHANGE_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uv_loop_s;

/* One query, passed on as it is to a list of servers, as a host's own resolver does it: the next
 * server is asked when one stays silent, cannot be reached, or answers SERVFAIL, REFUSED or NOTIMP.
 * The first other answer is taken, also from a server that is slow. */

struct exchange;

struct exchange_options {
    const union endpoint *servers; /* copied; with ports */
    size_t count;
    bool tcp;
    uint32_t mark;     /* SO_MARK, or 0 */
    unsigned patience; /* ms of silence before the next server is asked */
    unsigned limit;    /* ms for all of it */
};

enum { EXCHANGE_SERVERS_MAX = 8 };

/* Sends a copy of the query under a random id. Calls done(arg, ...) once, never from inside this
 * call: `message` (lent) is the answer under that id, or NULL for none. 0 or a negative errno,
 * without a callback. */
int exchange_start(struct exchange **out, struct uv_loop_s *loop,
                   const struct exchange_options *options, const uint8_t *query, size_t len,
                   void (*done)(void *arg, const uint8_t *message, size_t len), void *arg);

/* Drops it without a callback. Takes NULL. */
void exchange_cancel(struct exchange *exchange);

#endif
