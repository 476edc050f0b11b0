#ifndef DNS_SERVER_STATE_H
#define DNS_SERVER_STATE_H

#include "base/addr.h"
#include "base/list.h"
#include "dns/answer.h"
#include "dns/server_forward.h"
#include "dns/server_stats.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* What the parts of the server share. The loop's thread alone touches it. */

struct server_batch;

struct dns_server {
    uv_loop_t *loop;
    struct list listeners;
    struct zone *zone;
    struct forwarder forwarder;
    struct ip_prefix *recursion;
    size_t recursion_count;
    struct list connections; /* TCP, of all listeners */
    size_t connection_count;
    struct dns_server_stats stats;
    struct server_batch *batch; /* shared by the UDP sockets, used by one at a time */
    size_t handles;             /* open uv handles; at 0 a closing server is freed */
    bool closing;
    uint8_t scratch[2 + DNS_MESSAGE_MAX]; /* a length and a response */
};

/* Counts the open uv handles: one was opened, or its close callback has run. The last one of a
 * closing server frees it. */
void server_handle_opened(struct dns_server *server);
void server_handle_closed(struct dns_server *server);

/* Counts a response that is about to be sent. */
void server_count_answer(struct dns_server *server, const uint8_t *response);

/* The context in which answer_query answers this client. */
struct answer_context server_context(const struct dns_server *server, const union endpoint *client,
                                     enum dns_transport transport);

#endif
