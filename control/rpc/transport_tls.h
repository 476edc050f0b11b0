#ifndef CONTROL_RPC_TRANSPORT_TLS_H
#define CONTROL_RPC_TRANSPORT_TLS_H

#include "base/buffer.h"
#include "control/rpc/transport_listener.h"

/* TLS of one connection over memory: received bytes in, plaintext out, and the other way round. For
 * the files of the transport only. */

struct tls_session;

/* NULL when memory is short or these settings are not for this side. A server fills `caller` during
 * the handshake; it counts once that is done. */
struct tls_session *tls_session_create(struct transport_tls *tls, bool server,
                                       struct transport_caller *caller);
void tls_session_destroy(struct tls_session *session);

/* Takes bytes from the network. 0 or -ENOMEM. */
int tls_session_receive(struct tls_session *session, const uint8_t *bytes, size_t len);

/* 1 when done and the other side is who it must be, 0 when it waits, a negative TRANSPORT_E code
 * with a text. */
int tls_session_handshake(struct tls_session *session, struct err *err);

/* Bytes read, 0 when it waits, -EPIPE at a clean end, a TRANSPORT_E code with a text. */
int tls_session_read(struct tls_session *session, uint8_t *out, size_t capacity, struct err *err);

/* 0 or -EIO. */
int tls_session_write(struct tls_session *session, const uint8_t *bytes, size_t len);

/* Says that nothing more will be written. */
void tls_session_end(struct tls_session *session);

/* Takes bytes for the network out; how many wait. */
size_t tls_session_output(struct tls_session *session, uint8_t *out, size_t capacity);
size_t tls_session_output_len(struct tls_session *session);

#endif
