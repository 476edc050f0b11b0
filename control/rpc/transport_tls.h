#ifndef CONTROL_RPC_TRANSPORT_TLS_H
#define CONTROL_RPC_TRANSPORT_TLS_H

#include "base/err.h"
#include "control/rpc/address.h"
#include "control/rpc/transport_key.h"

#include <stdbool.h>
#include <stdint.h>

/* TLS settings of a listener or a dialer, and who they let in: TLS 1.3 only. The security model is
 * docs/architecture.md, "Control traffic": without certificates an external PSK with ECDHE (RFC
 * 8446 section 4.2.9, psk_dhe_ke); with certificates mutual TLS where a SAN URI "heimdall:ROLE/ID"
 * names role and id. */

enum transport_role {
    TRANSPORT_NODE = 1,
    TRANSPORT_ADMIN = 2,
    TRANSPORT_PEER = 4,
    TRANSPORT_ANY = 7, /* plaintext TCP, which authenticates nobody */
};

enum {
    TRANSPORT_ID_MAX = 129,    /* with its NUL */
    TRANSPORT_SOURCE_MAX = 52, /* with its NUL */
};

/* Who is at the other end of an accepted connection. */
struct transport_caller {
    unsigned roles;             /* bits of enum transport_role */
    char id[TRANSPORT_ID_MAX];  /* from find_secret or the certificate; "" when not known */
    char remote[ENDPOINT_TEXT]; /* "1.2.3.4:5678" or "unix" */
    char source
        [TRANSPORT_SOURCE_MAX]; /* what counts as one address: "1.2.3.4", an IPv6 /64, or "" */
};

enum transport_security {
    TRANSPORT_PLAINTEXT, /* only under --insecure */
    TRANSPORT_PSK,
    TRANSPORT_CERTIFICATE,
};

/* Codes of the errors that a dialer's connection ends with, besides plain errnos. */
enum {
    TRANSPORT_EUNKNOWN = -2001,  /* the server does not know this identity */
    TRANSPORT_EWRONGKEY = -2002, /* it knows the identity, the keys differ */
    TRANSPORT_EIMPOSTOR = -2003, /* it could not prove that it knows the key; nothing was sent */
    TRANSPORT_ETLS = -2004,      /* any other failure of TLS */
};

/* Looks a PSK identity up: fills the stretched `secret` and `id` and returns true when this hash is
 * known for this role. Called during handshakes; it must be fast and must not block. */
struct transport_secrets {
    bool (*find)(void *ctx, enum transport_role role, const uint8_t hash[TRANSPORT_HASH_LEN],
                 char secret[TRANSPORT_SECRET_MAX], char id[TRANSPORT_ID_MAX]);
    void *ctx;
};

/* Unix sockets ignore these settings. */
struct transport_tls;

/* Reads the files, so it is for a program's start; the error names the option at fault. The result
 * is the caller's, as with the functions below. */
int transport_tls_create_certificate(struct transport_tls **out, const char *cert, const char *key,
                                     const char *ca, struct err *err);
int transport_tls_create_psk_server(struct transport_tls **out, struct transport_secrets secrets,
                                    struct err *err);

/* Keeps what is derived from the secret, wiped by destroy. Stretches it (transport_key.h), which may
 * take 0.1 s. */
int transport_tls_create_psk_client(struct transport_tls **out, enum transport_role role,
                                    const char *secret, struct err *err);
int transport_tls_create_plaintext(struct transport_tls **out, struct err *err);

/* Listeners, connections and clients hold a reference of their own. Both take NULL. */
struct transport_tls *transport_tls_ref(struct transport_tls *tls);
void transport_tls_destroy(struct transport_tls *tls);
enum transport_security transport_tls_security(const struct transport_tls *tls);

/* For sessions: a new OpenSSL connection, or NULL when memory is short or these settings are not
 * for this side. A handshake fills `caller`, which outlives the result. */
struct ssl_st *transport_tls_open(struct transport_tls *tls, bool server,
                                  struct transport_caller *caller);

/* The reason of OpenSSL's last error. */
const char *transport_tls_reason(void);

#endif
