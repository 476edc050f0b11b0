#ifndef DNS_RELAY_H
#define DNS_RELAY_H

#include "dns/answer.h"

#include <stddef.h>
#include <stdint.h>

/* Turns an upstream's message into the response to one of our clients: the client's id, question
 * and EDNS, the upstream's rcode and records, truncated to what the client takes. DNSSEC records go
 * only to clients that asked for them (RFC 4035 section 3.2.1). Returns the length; a malformed
 * message becomes SERVFAIL. */
size_t relay_response(const struct dns_query *query, enum dns_transport transport,
                      const uint8_t *message, size_t len, uint8_t *out, size_t capacity);

#endif
