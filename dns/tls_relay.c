#include "dns/tls_relay.h"

#include "base/err.h"
#include "base/list.h"
#include "base/log.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* A link is a connection of the resolver (its plain side), the connection to the server (its secure
 * side) and TLS in memory between them. It starts with the connection to the server. The plain side
 * is read after the handshake. Each side is read only while nothing is being written to the other,
 * so that a link holds one buffer in each direction. The end of either side, or a server that
 * cannot be trusted, closes the link; the resolver asks again over a new one. */

enum {
    BACKLOG = 16,
    CHUNK = 16 * 1024,      /* the plain text of a TLS record */
    SEALED = CHUNK + 1024,  /* with TLS overhead */
    HANDSHAKE_MS = 4000,    /* limit of the connection and the handshake */
    NAME_MAX_LEN = 253 + 1, /* a domain name and its NUL */
    REASON_MAX = 256,
};

struct tls_relay {
    uv_loop_t *loop;
    uv_tcp_t listener;
    union endpoint address;
    union endpoint server;
    SSL_CTX *context;
    char name[NAME_MAX_LEN];
    struct list links;
    size_t link_count;
    size_t handles;     /* open, with those of the links; at 0 the relay is freed */
    bool told;          /* whether the server's failure was logged */
    uint8_t in[SEALED]; /* for one read, consumed at once */
};

struct side {
    uv_tcp_t handle;
    uv_write_t write;
    bool writing;
    bool reading;
    uint8_t out[SEALED];
};

struct link {
    struct list link;
    struct tls_relay *relay;
    struct side plain;
    struct side secure;
    uv_connect_t connect;
    uv_timer_t timer;
    SSL *ssl;
    BIO *received; /* owned by ssl */
    BIO *to_send;  /* owned by ssl */
    unsigned handles;
    bool established;
    bool closing;
};

static void link_step(struct link *link);

/* ---- closing ---- */

static void handle_closed(struct tls_relay *relay)
{
    if (--relay->handles > 0)
        return;
    SSL_CTX_free(relay->context);
    free(relay);
}

static void on_link_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    struct tls_relay *relay = link->relay;
    if (--link->handles == 0) {
        SSL_free(link->ssl);
        free(link);
    }
    handle_closed(relay);
}

static void link_close(struct link *link)
{
    if (link->closing)
        return;
    link->closing = true;
    list_remove(&link->link);
    link->relay->link_count--;
    uv_close((uv_handle_t *)&link->plain.handle, on_link_closed);
    uv_close((uv_handle_t *)&link->secure.handle, on_link_closed);
    uv_close((uv_handle_t *)&link->timer, on_link_closed);
}

/* The resolver retries, so the failure is logged once. */
static void link_fail(struct link *link, const char *reason)
{
    struct tls_relay *relay = link->relay;
    char text[ENDPOINT_TEXT];
    if (!relay->told && !link->closing)
        log_warn("an upstream resolver cannot be asked over TLS",
                 F_STR("server", endpoint_format(&relay->server, text)), F_STR("name", relay->name),
                 F_STR("error", reason));
    relay->told = true;
    link_close(link);
}

static void tell_success(struct tls_relay *relay)
{
    char text[ENDPOINT_TEXT];
    if (relay->told)
        log_info("an upstream resolver is asked over TLS again",
                 F_STR("server", endpoint_format(&relay->server, text)));
    relay->told = false;
}

static void on_timeout(uv_timer_t *timer)
{
    link_fail(timer->data, "no answer");
}

/* ---- TLS ---- */

static const char *handshake_fault(const struct link *link, char out[REASON_MAX])
{
    long verified = SSL_get_verify_result(link->ssl);
    unsigned long code = ERR_get_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    if (verified != X509_V_OK)
        reason = X509_verify_cert_error_string(verified);
    snprintf(out, REASON_MAX, "%s", reason != NULL ? reason : "no TLS is spoken there");
    ERR_clear_error();
    return out;
}

/* False when the link is closed. */
static bool link_handshake(struct link *link)
{
    char reason[REASON_MAX];
    ERR_clear_error();
    int rc = SSL_do_handshake(link->ssl);
    if (rc == 1) {
        link->established = true;
        uv_timer_stop(&link->timer);
        tell_success(link->relay);
        return true;
    }
    if (SSL_get_error(link->ssl, rc) == SSL_ERROR_WANT_READ)
        return true;
    link_fail(link, handshake_fault(link, reason));
    return false;
}

static bool link_start_tls(struct link *link)
{
    static const unsigned char alpn[] = {3, 'd', 'o', 't'};
    struct tls_relay *relay = link->relay;
    link->ssl = SSL_new(relay->context);
    link->received = BIO_new(BIO_s_mem());
    link->to_send = BIO_new(BIO_s_mem());
    if (link->ssl == NULL || link->received == NULL || link->to_send == NULL) {
        BIO_free(link->received);
        BIO_free(link->to_send);
        return false;
    }
    SSL_set_bio(link->ssl, link->received, link->to_send);
    SSL_set_connect_state(link->ssl);
    return SSL_set1_host(link->ssl, relay->name) == 1 &&
           SSL_set_tlsext_host_name(link->ssl, relay->name) == 1 &&
           SSL_set_alpn_protos(link->ssl, alpn, sizeof alpn) == 0;
}

/* ---- moving bytes ---- */

static void on_written(uv_write_t *write, int status)
{
    struct side *side = write->data;
    struct link *link = side->handle.data;
    side->writing = false;
    if (status < 0)
        link_close(link);
    else if (!link->closing)
        link_step(link);
}

static void side_write(struct side *side, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)side->out, (unsigned)len);
    side->write.data = side;
    side->writing = true;
    if (uv_write(&side->write, (uv_stream_t *)&side->handle, &buf, 1, on_written) < 0) {
        side->writing = false;
        link_close(side->handle.data);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct link *link = handle->data;
    (void)suggested;
    *out = uv_buf_init((char *)link->relay->in, CHUNK);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct link *link = stream->data;
    bool is_secure = stream == (uv_stream_t *)&link->secure.handle;
    if (len < 0) {
        if (is_secure && !link->established)
            link_fail(link, uv_strerror((int)len));
        link_close(link);
        return;
    }
    if (len == 0)
        return;
    ERR_clear_error();
    int taken = is_secure ? BIO_write(link->received, buf->base, (int)len)
                          : SSL_write(link->ssl, buf->base, (int)len);
    if (taken == (int)len)
        link_step(link);
    else
        link_close(link);
}

static void side_read(struct side *side, bool wanted)
{
    if (wanted == side->reading)
        return;
    side->reading = wanted;
    if (!wanted)
        uv_read_stop((uv_stream_t *)&side->handle);
    else if (uv_read_start((uv_stream_t *)&side->handle, on_alloc, on_read) < 0)
        link_close(side->handle.data);
}

/* Sends TLS records to the server. */
static void move_out(struct link *link)
{
    if (link->secure.writing)
        return;
    int len = BIO_read(link->to_send, link->secure.out, sizeof link->secure.out);
    if (len > 0)
        side_write(&link->secure, (size_t)len);
}

/* Passes the server's bytes to the resolver. False when the link is closed. */
static bool move_in(struct link *link)
{
    if (link->plain.writing)
        return true;
    ERR_clear_error();
    int len = SSL_read(link->ssl, link->plain.out, CHUNK);
    if (len > 0) {
        side_write(&link->plain, (size_t)len);
        return true;
    }
    if (SSL_get_error(link->ssl, len) == SSL_ERROR_WANT_READ)
        return true;
    ERR_clear_error();
    link_close(link);
    return false;
}

/* Moves all that can be moved, after any event. */
static void link_step(struct link *link)
{
    if (!link->established && !link_handshake(link))
        return;
    if (link->established && !move_in(link))
        return;
    move_out(link);
    if (link->closing)
        return;
    side_read(&link->secure, !link->plain.writing);
    side_read(&link->plain, link->established && !link->secure.writing);
}

/* ---- opening ---- */

static void on_connected(uv_connect_t *connect, int status)
{
    struct link *link = connect->data;
    if (link->closing)
        return;
    if (status < 0)
        link_fail(link, uv_strerror(status));
    else if (!link_start_tls(link))
        link_fail(link, "no memory for TLS");
    else
        link_step(link);
}

static void side_init(struct side *side, struct link *link)
{
    uv_tcp_init(link->relay->loop, &side->handle);
    side->handle.data = link;
}

static void link_start(struct link *link)
{
    struct tls_relay *relay = link->relay;
    link->connect.data = link;
    if (uv_accept((uv_stream_t *)&relay->listener, (uv_stream_t *)&link->plain.handle) < 0 ||
        relay->link_count > TLS_RELAY_LINKS_MAX) {
        link_close(link);
        return;
    }
    uv_timer_start(&link->timer, on_timeout, HANDSHAKE_MS, 0);
    int rc = uv_tcp_connect(&link->connect, &link->secure.handle, &relay->server.sa, on_connected);
    if (rc < 0)
        link_fail(link, uv_strerror(rc));
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct tls_relay *relay = stream->data;
    struct link *link = status < 0 ? NULL : calloc(1, sizeof *link);
    if (link == NULL)
        return;
    link->relay = relay;
    list_append(&relay->links, &link->link);
    relay->link_count++;
    side_init(&link->plain, link);
    side_init(&link->secure, link);
    uv_timer_init(relay->loop, &link->timer);
    link->timer.data = link;
    link->handles = 3;
    relay->handles += link->handles;
    link_start(link);
}

/* The CAs to trust, and the TLS settings. */
static int make_context(SSL_CTX **out, const char *bundle, struct err *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL)
        return err_set(err, -ENOMEM, "no memory for TLS");
    int loaded = bundle != NULL ? SSL_CTX_load_verify_locations(context, bundle, NULL)
                                : SSL_CTX_set_default_verify_paths(context);
    if (loaded != 1 || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
        ERR_clear_error();
        SSL_CTX_free(context);
        return err_set(err, -EINVAL, "DNS over TLS: cannot read the certificates in %s",
                       bundle != NULL ? bundle : X509_get_default_cert_file());
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
    *out = context;
    return 0;
}

static int listen_on_loopback(struct tls_relay *relay)
{
    struct ip_addr loopback;
    int len = sizeof relay->address;
    (void)ip_addr_parse(&loopback, "127.0.0.1");
    endpoint_from_addr(&relay->address, &loopback, 0);
    int rc = uv_tcp_bind(&relay->listener, &relay->address.sa, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&relay->listener, BACKLOG, on_connection);
    if (rc == 0)
        rc = uv_tcp_getsockname(&relay->listener, &relay->address.sa, &len);
    return rc;
}

static void on_listener_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

int tls_relay_open(struct tls_relay **out, struct uv_loop_s *loop, const union endpoint *server,
                   const char *name, const char *bundle, struct err *err)
{
    struct tls_relay *relay = calloc(1, sizeof *relay);
    if (relay == NULL)
        return err_set(err, -ENOMEM, "no memory for DNS over TLS");
    relay->loop = loop;
    relay->server = *server;
    snprintf(relay->name, sizeof relay->name, "%s", name);
    list_init(&relay->links);
    uv_tcp_init(loop, &relay->listener);
    relay->listener.data = relay;
    relay->handles = 1;
    int rc = make_context(&relay->context, bundle, err);
    if (rc == 0) {
        rc = listen_on_loopback(relay);
        if (rc < 0)
            err_set_errno(err, rc, "no port of the loopback for DNS over TLS");
    }
    if (rc == 0)
        *out = relay;
    else
        tls_relay_close(relay);
    return rc;
}

const union endpoint *tls_relay_address(const struct tls_relay *relay)
{
    return &relay->address;
}

void tls_relay_close(struct tls_relay *relay)
{
    if (relay == NULL)
        return;
    list_for_each_safe (at, &relay->links) {
        link_close(container_of(at, struct link, link));
    }
    uv_close((uv_handle_t *)&relay->listener, on_listener_closed);
}
