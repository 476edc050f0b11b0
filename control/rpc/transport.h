#ifndef CONTROL_RPC_TRANSPORT_H
#define CONTROL_RPC_TRANSPORT_H

#include "base/err.h"
#include "control/rpc/address.h"
#include "control/rpc/transport_tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* Byte streams of the control API on a libuv loop: TLS 1.3 over TCP, a unix socket, or plaintext
 * TCP under --insecure. Listeners (transport_listener.h) and dialers (transport_dial.h) make them.
 * All calls and callbacks are on the loop's thread. */

struct transport_conn;

struct transport_events {
    /* A dialer's connection is ready and authenticated. Listeners have `accepted` for it. */
    void (*opened)(void *ctx, struct transport_conn *conn);
    void (*received)(void *ctx, struct transport_conn *conn, const uint8_t *bytes, size_t len);
    /* Less than TRANSPORT_LOW_WATER bytes are queued again after a send passed it. */
    void (*drained)(void *ctx, struct transport_conn *conn);
    /* The last event; the connection is freed when it returns. `err->code` is 0 at a clean end. */
    void (*closed)(void *ctx, struct transport_conn *conn, const struct err *err);
};

enum { TRANSPORT_LOW_WATER = 64 * 1024 };

struct transport_limits {
    unsigned connections;    /* of a listener, all together */
    unsigned not_begun;      /* of them that have sent nothing yet under TLS, and */
    unsigned handshakes;     /* in their handshake: the oldest makes room for a new one */
    uint32_t handshake_ms;   /* to connect and authenticate */
    uint32_t write_stall_ms; /* without progress while bytes are queued */
};

/* 65536 connections, 2048 not begun, 512 in their handshake, 5 s, 30 s. A listener lowers the counts
 * so that descriptors remain for the rest of the program; a unix socket has 64 connections. */
extern const struct transport_limits transport_limits_default;

/* Where to listen or connect to, and how. All of it is copied or referenced. */
struct transport_options {
    const struct address *address;
    struct transport_tls *tls;             /* NULL: plaintext */
    uint32_t fwmark;                       /* of the socket; 0 sets none */
    const struct transport_limits *limits; /* NULL: the defaults */
};

void transport_conn_set_events(struct transport_conn *conn, const struct transport_events *events,
                               void *ctx);
const struct transport_caller *transport_conn_caller(const struct transport_conn *conn);

/* Queues a copy. 0, -ENOMEM, or -EPIPE once closing. */
int transport_send(struct transport_conn *conn, const uint8_t *bytes, size_t len);
/* Bytes queued and not yet taken by the kernel. */
size_t transport_queued(const struct transport_conn *conn);

/* Stops or resumes to take bytes from the other side; a few that have arrived still come. */
void transport_set_reading(struct transport_conn *conn, bool reading);

/* Sends what is queued, then closes; `closed` follows. */
void transport_close(struct transport_conn *conn);

/* Closes at once; `closed` follows, never before this returns. */
void transport_abort(struct transport_conn *conn, const struct err *err);

#endif
