#ifndef CONTROL_RPC_TRANSPORT_LISTENER_H
#define CONTROL_RPC_TRANSPORT_LISTENER_H

#include "base/err.h"
#include "control/rpc/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* Byte streams of the control API on a libuv loop: TLS 1.3 over TCP, a unix socket, or plaintext
 * TCP when told so. The security model is docs/architecture.md, "Control traffic": without
 * certificates an external PSK with ECDHE (RFC 8446 section 4.2.9, psk_dhe_ke); with certificates
 * mutual TLS where a SAN URI "heimdall:ROLE/ID" names role and id. All calls and callbacks are on
 * the loop's thread. */

enum transport_role {
    TRANSPORT_NODE = 1,
    TRANSPORT_ADMIN = 2,
    TRANSPORT_PEER = 4,
    TRANSPORT_ANY = 7, /* plaintext TCP, which authenticates nobody */
};

enum {
    TRANSPORT_HASH_LEN = 32,
    TRANSPORT_SECRET_MAX = 256, /* with its NUL */
    TRANSPORT_ID_MAX = 256,     /* with its NUL */
};

/* Who is at the other end of an accepted connection. */
struct transport_caller {
    unsigned roles;            /* bits of enum transport_role */
    char id[TRANSPORT_ID_MAX]; /* what find_secret or the certificate said; "" when not known */
    char remote[ADDRESS_TEXT]; /* "1.2.3.4:5678" or "unix" */
};

enum transport_security {
    TRANSPORT_PLAINTEXT, /* only under --insecure */
    TRANSPORT_PSK,
    TRANSPORT_CERTIFICATE,
};

/* SHA-256("heimdall psk identity" || secret): what goes over the wire in place of a secret. */
void transport_secret_hash(uint8_t out[TRANSPORT_HASH_LEN], const char *secret);

/* HKDF-SHA-256 of a secret for a purpose, up to 64 bytes; each purpose has its own label. 0 or
 * -EIO.
 */
int transport_derive(uint8_t *out, size_t len, const char *secret, const char *label);
void transport_sha256(uint8_t out[32], const void *bytes, size_t len);

/* Looks a PSK identity up: fills `secret` and `id` and returns true when this hash is known for
 * this role. Called during handshakes; it must be fast and must not block. */
struct transport_secrets {
    bool (*find)(void *ctx, enum transport_role role, const uint8_t hash[TRANSPORT_HASH_LEN],
                 char secret[TRANSPORT_SECRET_MAX], char id[TRANSPORT_ID_MAX]);
    void *ctx;
};

/* TLS settings of a listener or a dialer. Unix sockets ignore them. */
struct transport_tls;

/* Reads the files; the error names the option at fault. The result is the caller's. */
int transport_tls_create_certificate(struct transport_tls **out, const char *cert, const char *key,
                                     const char *ca, struct err *err);
int transport_tls_create_psk_server(struct transport_tls **out, struct transport_secrets secrets,
                                    struct err *err);

/* Keeps a copy of the secret, wiped by destroy. */
int transport_tls_create_psk_client(struct transport_tls **out, enum transport_role role,
                                    const char *secret, struct err *err);
int transport_tls_create_plaintext(struct transport_tls **out, struct err *err);

/* Listeners, connections and clients hold a reference of their own; NULL is let through. */
struct transport_tls *transport_tls_ref(struct transport_tls *tls);
void transport_tls_destroy(struct transport_tls *tls);
enum transport_security transport_tls_security(const struct transport_tls *tls);

struct transport_listener;
struct transport_conn;

struct transport_events {
    /* The connection is ready and authenticated (dialers only; `accepted` says it for listeners).
     */
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
    unsigned silent;         /* of them that have said nothing yet under TLS, and */
    unsigned handshakes;     /* in their handshake: the oldest makes room for a new one */
    uint32_t handshake_ms;   /* to connect and authenticate */
    uint32_t write_stall_ms; /* without progress while bytes are queued */
};

/* 16384 connections, 2048 silent, 512 in their handshake, 5 s, 30 s. */
extern const struct transport_limits transport_limits_default;

/* Codes of the `err` that a dialer's `closed` carries, beside plain errnos. */
enum {
    TRANSPORT_EUNKNOWN = -2001,  /* the server does not know this identity */
    TRANSPORT_EWRONGKEY = -2002, /* it knows the identity, the keys differ */
    TRANSPORT_EIMPOSTOR = -2003, /* it could not prove that it knows the key; nothing was sent */
    TRANSPORT_ETLS = -2004,      /* any other failure of TLS */
};

/* `accepted` runs when a client has authenticated; it sets the connection's events with
 * transport_conn_set_events, or closes it. `fwmark` 0 sets none. The error names the address. */
int transport_listen(struct transport_listener **out, uv_loop_t *loop,
                     const struct address *address, struct transport_tls *tls, uint32_t fwmark,
                     const struct transport_limits *limits,
                     void (*accepted)(void *ctx, struct transport_conn *conn), void *ctx,
                     struct err *err);

/* Stops listening and removes a unix socket's file; its connections live on. Takes NULL. */
void transport_listener_close(struct transport_listener *listener);

/* The bound port (for a listener on port 0). */
uint16_t transport_listener_port(const struct transport_listener *listener);

/* Begins to connect; `opened` or `closed` follows, never before this returns. 0 or a negative
 * errno. */
int transport_dial(struct transport_conn **out, uv_loop_t *loop, const struct address *address,
                   struct transport_tls *tls, uint32_t fwmark,
                   const struct transport_limits *limits, const struct transport_events *events,
                   void *ctx, struct err *err);

void transport_conn_set_events(struct transport_conn *conn, const struct transport_events *events,
                               void *ctx);
const struct transport_caller *transport_conn_caller(const struct transport_conn *conn);

/* Queues a copy. 0, -ENOMEM, or -EPIPE once closing. */
int transport_send(struct transport_conn *conn, const uint8_t *bytes, size_t len);
size_t transport_pending(const struct transport_conn *conn);

/* Stops and goes on to take bytes from the other side; a few that have arrived still come. */
void transport_set_reading(struct transport_conn *conn, bool reading);

/* Sends what is queued, then closes; `closed` follows. */
void transport_close(struct transport_conn *conn);

/* Closes at once; `closed` follows, never before this returns. */
void transport_abort(struct transport_conn *conn, const struct err *err);

#endif
