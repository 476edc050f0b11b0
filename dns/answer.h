#ifndef DNS_ANSWER_H
#define DNS_ANSWER_H

#include "dns/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct zone;

/* From the bytes of a query to the bytes of its response, without sockets, clock or allocation. */

enum dns_transport { DNS_UDP, DNS_TCP };

struct answer_context {
    const struct zone *zone; /* NULL: no zone yet */
    enum dns_transport transport;
    bool recursion; /* this client may ask for foreign names, and there is an upstream */
};

enum answer_verdict {
    ANSWER_DROP,    /* send nothing */
    ANSWER_REPLY,   /* send *out_len bytes */
    ANSWER_FORWARD, /* ask the upstream; finish with relay_response or answer_error */
};

/* `out` holds `capacity` bytes: DNS_UDP_EDNS or more for UDP, DNS_MESSAGE_MAX for TCP. */
enum answer_verdict answer_query(const struct answer_context *context, const uint8_t *message,
                                 size_t len, struct dns_query *query, uint8_t *out, size_t capacity,
                                 size_t *out_len);

/* A response without records, such as SERVFAIL. Returns its length, at most DNS_UDP_PLAIN. */
size_t answer_error(const struct dns_query *query, uint16_t rcode, bool recursion, uint8_t *out);

/* The largest response to this query, in octets. */
size_t answer_limit(const struct dns_query *query, enum dns_transport transport, size_t capacity);

#endif
