#include "control/rpc/transport_tls_session.h"

#include "base/buffer.h"
#include "base/bytes.h"
#include "control/rpc/transport.h"
#include "control/rpc/transport_tls.h"
#include "control/rpc/transport_tls_record.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT_MAX = 1 << 20 }; /* undecrypted bytes of one read; far above it */

/* A server's session hands its traffic secrets to `records` when the handshake is done, and lets
 * OpenSSL go, which takes most of the memory of a connection. */
struct tls_session {
    struct transport_tls *tls;
    SSL *ssl;                    /* NULL once `records` is there */
    struct tls_records *records; /* NULL before */
    struct buffer sealed;        /* records to be sent */
    struct secrets *secrets;     /* of a server's handshake */
    BIO *in;                     /* owned by ssl */
    BIO *out;                    /* owned by ssl */
    struct transport_caller *caller;
    bool server;
    bool done;
    bool lost; /* memory was short when OpenSSL was let go */
};

struct secrets {
    uint8_t client[TLS_SECRET_MAX];
    uint8_t server[TLS_SECRET_MAX];
    size_t len;
};

/* Where a session is among an SSL's extra data. */
static int session_index(void)
{
    static int index = -1;
    if (index < 0)
        index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return index;
}

/* "LABEL RANDOM SECRET" in hex, as OpenSSL logs keys. */
static void take_secret(const SSL *ssl, const char *line)
{
    static const char client[] = "CLIENT_TRAFFIC_SECRET_0 ", server[] = "SERVER_TRAFFIC_SECRET_0 ";
    struct tls_session *session = SSL_get_ex_data(ssl, session_index());
    bool is_client = strncmp(line, client, sizeof client - 1) == 0;
    const char *hex = strrchr(line, ' ');
    if (session == NULL || session->secrets == NULL || hex == NULL ||
        (!is_client && strncmp(line, server, sizeof server - 1) != 0))
        return;
    size_t len = strlen(++hex) / 2;
    struct secrets *secrets = session->secrets;
    if (len <= TLS_SECRET_MAX &&
        bytes_from_hex(is_client ? secrets->client : secrets->server, len, hex))
        secrets->len = len;
}

static void forget_secrets(struct tls_session *session)
{
    if (session->secrets != NULL)
        bytes_wipe(session->secrets, sizeof *session->secrets);
    free(session->secrets);
    session->secrets = NULL;
}

static void move_bytes(struct buffer *out, BIO *from)
{
    uint8_t chunk[1024];
    for (int len; (len = BIO_read(from, chunk, sizeof chunk)) > 0;)
        buffer_append(out, chunk, (size_t)len);
    bytes_wipe(chunk, sizeof chunk);
}

/* Goes on without OpenSSL where nothing speaks against it. */
static void take_over(struct tls_session *session)
{
    struct secrets *secrets = session->secrets;
    if (secrets == NULL || secrets->len == 0 || SSL_has_pending(session->ssl))
        return;
    uint16_t suite = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(session->ssl));
    struct tls_records *records =
        tls_records_create(suite, secrets->client, secrets->server, secrets->len);
    struct buffer in;
    if (records == NULL)
        return;
    buffer_init(&in);
    move_bytes(&session->sealed, session->out);
    move_bytes(&in, session->in);
    bool whole = tls_records_receive(records, buffer_data(&in), buffer_len(&in)) == 0 &&
                 !buffer_failed(&session->sealed) && !buffer_failed(&in);
    buffer_fini(&in);
    session->records = records;
    session->lost = !whole;
    SSL_free(session->ssl);
    session->ssl = NULL;
    forget_secrets(session);
}

struct tls_session *tls_session_create(struct transport_tls *tls, bool server,
                                       struct transport_caller *caller)
{
    struct tls_session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return NULL;
    session->tls = transport_tls_ref(tls);
    session->caller = caller;
    session->server = server;
    buffer_init(&session->sealed);
    session->ssl = transport_tls_open(tls, server, caller);
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    if (session->ssl == NULL || in == NULL || out == NULL) {
        BIO_free(in);
        BIO_free(out);
        tls_session_destroy(session);
        return NULL;
    }
    /* an empty BIO means "wait", not "end" */
    BIO_set_mem_eof_return(in, -1);
    BIO_set_mem_eof_return(out, -1);
    session->in = in;
    session->out = out;
    SSL_set_bio(session->ssl, in, out);
    if (server) {
        session->secrets = calloc(1, sizeof *session->secrets);
        SSL_set_ex_data(session->ssl, session_index(), session);
        SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(session->ssl), take_secret);
        SSL_set_accept_state(session->ssl);
    } else {
        SSL_set_connect_state(session->ssl);
    }
    return session;
}

void tls_session_destroy(struct tls_session *session)
{
    if (session == NULL)
        return;
    SSL_free(session->ssl);
    tls_records_destroy(session->records);
    forget_secrets(session);
    buffer_fini(&session->sealed);
    transport_tls_destroy(session->tls);
    free(session);
}

int tls_session_receive(struct tls_session *session, const uint8_t *bytes, size_t len)
{
    if (len > INPUT_MAX)
        return -EINVAL;
    if (session->records != NULL)
        return tls_records_receive(session->records, bytes, len);
    return BIO_write(session->in, bytes, (int)len) == (int)len ? 0 : -ENOMEM;
}

/* What a server's alert says about the client's certificate, or NULL for another alert. */
static const char *certificate_alert(const struct tls_session *session, int reason)
{
    if (session->server)
        return NULL;
    switch (reason) {
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return "it has expired";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
        return "it was revoked";
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return "it is of an authority that the server does not know";
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE: /* during a handshake it has other causes */
        return session->done ? "it names no heimdall:ROLE/ID as its URI" : NULL;
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
        return "it is not one for clients";
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return "there is none (options --cert, --key and --ca)";
    default:
        return NULL;
    }
}

/* A code and a line for a failure of a handshake with a PSK; 0 when it has no line of its own. */
static int explain_psk(bool server, int reason, struct err *err)
{
    if (server && reason == SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM)
        return err_set(err, TRANSPORT_EUNKNOWN, "unknown key or id");
    if (server && reason == SSL_R_BINDER_DOES_NOT_VERIFY)
        return err_set(err, TRANSPORT_EWRONGKEY, "wrong key");
    if (server)
        return 0;
    if (reason == SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE ||
        reason == SSL_AD_REASON_OFFSET + SSL_AD_UNKNOWN_PSK_IDENTITY)
        return err_set(err, TRANSPORT_EUNKNOWN, "the server does not know this key or id");
    if (reason == SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER || reason == SSL_R_TLSV1_ALERT_DECRYPT_ERROR)
        return err_set(err, TRANSPORT_EWRONGKEY,
                       "the server knows the name of our key but not the key (an impostor): "
                       "nothing was sent to it");
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return err_set(err, TRANSPORT_EIMPOSTOR,
                       "the server does not prove that it knows the key (an impostor, or a "
                       "server that uses certificates): nothing was sent to it");
    return 0;
}

/* The same with certificates. */
static int explain_certificate(const struct tls_session *session, int reason, struct err *err)
{
    long result = SSL_get_verify_result(session->ssl);
    if (!session->server && !session->done && reason == SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE)
        return err_set(err, TRANSPORT_ETLS,
                       "the server uses no certificates: leave out --cert, --key and --ca");
    const char *alert = certificate_alert(session, reason);
    if (alert != NULL)
        return err_set(err, TRANSPORT_ETLS, "the server refuses our certificate: %s", alert);
    if (result == X509_V_ERR_APPLICATION_VERIFICATION)
        return err_set(err, TRANSPORT_ETLS,
                       session->server
                           ? "the client's certificate names no heimdall:ROLE/ID as its URI"
                           : "the server's certificate names no heimdall:node/ID as its URI");
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return err_set(err, TRANSPORT_ETLS, "the other side's certificate is refused: %s",
                       X509_verify_cert_error_string(result));
    return 0;
}

/* Turns what went wrong into a code and one line for a person. */
static int explain(struct tls_session *session, struct err *err)
{
    int reason = ERR_GET_REASON(ERR_peek_last_error());
    int rv = transport_tls_security(session->tls) == TRANSPORT_PSK
                 ? explain_psk(session->server, reason, err)
                 : explain_certificate(session, reason, err);
    if (rv < 0)
        return rv;
    if (reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION || reason == SSL_R_UNSUPPORTED_PROTOCOL)
        return err_set(err, TRANSPORT_ETLS,
                       "the other side speaks an older TLS only, not TLS 1.3%s",
                       session->server ? "" : ": nothing was sent to it");
    if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_PACKET_LENGTH_TOO_LONG)
        return err_set(err, TRANSPORT_ETLS, "the other side does not speak TLS%s",
                       session->server ? "" : " (a server under --insecure?)");
    return err_set(err, TRANSPORT_ETLS, "TLS failed: %s", transport_tls_reason());
}

/* What the handshake alone does not prove. */
static int check_other_side(struct tls_session *session, struct err *err)
{
    const unsigned char *protocol;
    unsigned protocol_len;
    SSL_get0_alpn_selected(session->ssl, &protocol, &protocol_len);
    if (protocol_len != 2)
        return err_set(err, TRANSPORT_ETLS, "the other side did not agree to speak HTTP/2");
    if (transport_tls_security(session->tls) == TRANSPORT_PSK) {
        if (SSL_session_reused(session->ssl) == 1)
            return 1;
        return err_set(err, TRANSPORT_EIMPOSTOR,
                       "the other side does not prove that it knows the key: nothing was sent");
    }
    if (SSL_get_verify_result(session->ssl) != X509_V_OK || session->caller->roles == 0)
        return err_set(err, TRANSPORT_ETLS, "the other side has no valid certificate");
    return 1;
}

int tls_session_handshake(struct tls_session *session, struct err *err)
{
    ERR_clear_error();
    int rv = SSL_do_handshake(session->ssl);
    if (rv == 1) {
        rv = check_other_side(session, err);
        session->done = rv == 1;
        if (session->done && session->server)
            take_over(session);
        return session->lost ? err_set(err, TRANSPORT_ETLS, "out of memory") : rv;
    }
    int error = SSL_get_error(session->ssl, rv);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return 0;
    return explain(session, err);
}

static int read_record(struct tls_session *session, uint8_t *out, size_t capacity, struct err *err)
{
    uint8_t alert = 0;
    int rv = tls_records_read(session->records, out, capacity, &session->sealed, &alert);
    if (rv == -EPROTO)
        return err_set(err, TRANSPORT_ETLS, "TLS failed: %s", SSL_alert_desc_string_long(alert));
    return rv;
}

int tls_session_read(struct tls_session *session, uint8_t *out, size_t capacity, struct err *err)
{
    if (session->records != NULL)
        return read_record(session, out, capacity, err);
    ERR_clear_error();
    int len = SSL_read(session->ssl, out, (int)(capacity > INPUT_MAX ? INPUT_MAX : capacity));
    if (len > 0)
        return len;
    switch (SSL_get_error(session->ssl, len)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return -EPIPE;
    default:
        return explain(session, err);
    }
}

int tls_session_write(struct tls_session *session, const uint8_t *bytes, size_t len)
{
    size_t written;
    if (session->records != NULL)
        return tls_records_write(session->records, bytes, len, &session->sealed);
    ERR_clear_error();
    if (len == 0)
        return 0;
    return SSL_write_ex(session->ssl, bytes, len, &written) == 1 && written == len ? 0 : -EIO;
}

void tls_session_end(struct tls_session *session)
{
    if (session->records != NULL) {
        tls_records_end(session->records, &session->sealed);
        return;
    }
    ERR_clear_error();
    if (session->done)
        SSL_shutdown(session->ssl);
}

/* What is sealed, which is let go of once it is empty. */
static size_t take_sealed(struct tls_session *session, uint8_t *out, size_t capacity)
{
    size_t len = buffer_len(&session->sealed);
    if (len > capacity)
        len = capacity;
    memcpy(out, buffer_data(&session->sealed), len);
    buffer_consume(&session->sealed, len);
    if (buffer_len(&session->sealed) == 0)
        buffer_fini(&session->sealed);
    return len;
}

size_t tls_session_output(struct tls_session *session, uint8_t *out, size_t capacity)
{
    if (session->records != NULL)
        return take_sealed(session, out, capacity);
    int len = BIO_read(session->out, out, (int)(capacity > INPUT_MAX ? INPUT_MAX : capacity));
    return len > 0 ? (size_t)len : 0;
}

size_t tls_session_output_len(struct tls_session *session)
{
    return session->records != NULL ? buffer_len(&session->sealed) : BIO_ctrl_pending(session->out);
}
