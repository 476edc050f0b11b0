#ifndef CONTROL_RPC_TRANSPORT_TLS_SESSION_H
#define CONTROL_RPC_TRANSPORT_TLS_SESSION_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* TLS of one connection over memory: received bytes in, plaintext out, and the other way round.
 * Private to the transport. */

struct tls_session;
struct transport_caller;
struct transport_tls;

/* NULL when memory is short or these settings are not for this side. The handshake fills `caller`,
 * which counts once it is done. */
struct tls_session *tls_session_create(struct transport_tls *tls, bool server,
                                       struct transport_caller *caller);
void tls_session_destroy(struct tls_session *session);

/* Takes bytes from the network. 0 or -ENOMEM. */
int tls_session_receive(struct tls_session *session, const uint8_t *bytes, size_t len);

/* 1 when done and the other side has proved who it is, 0 when it waits, a negative TRANSPORT_E code
 * with a text. */
int tls_session_handshake(struct tls_session *session, struct err *err);

/* Bytes read, 0 when it waits, -EPIPE at a clean end, a TRANSPORT_E code with a text. */
int tls_session_read(struct tls_session *session, uint8_t *out, size_t capacity, struct err *err);

/* 0 or -EIO. */
int tls_session_write(struct tls_session *session, const uint8_t *bytes, size_t len);

/* Announces that nothing more will be written. */
void tls_session_end(struct tls_session *session);

/* Takes bytes for the network out; how many wait. */
size_t tls_session_output(struct tls_session *session, uint8_t *out, size_t capacity);
size_t tls_session_output_len(struct tls_session *session);

#endif
