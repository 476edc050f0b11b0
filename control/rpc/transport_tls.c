#include "control/rpc/transport_tls.h"

#include "base/bytes.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PSK_LEN = 32,
    IDENTITY_MAX = 8 + 2 * TRANSPORT_HASH_LEN, /* "admin:" and the hash, with a NUL */
};

struct transport_tls {
    unsigned refs;
    enum transport_security security;
    SSL_CTX *server;
    SSL_CTX *client;
    struct transport_secrets secrets; /* PSK server */
    SSL_SESSION *psk;                 /* PSK client */
    char identity[IDENTITY_MAX];      /* PSK client */
};

static const struct {
    enum transport_role role;
    const char *name;
} roles[] = {{TRANSPORT_NODE, "node"}, {TRANSPORT_ADMIN, "admin"}, {TRANSPORT_PEER, "peer"}};

enum { ROLES = sizeof roles / sizeof roles[0] };

static const char *role_name(enum transport_role role)
{
    for (size_t i = 0; i < ROLES; i++)
        if (roles[i].role == role)
            return roles[i].name;
    return NULL;
}

/* Reads "ROLE<separator>" and returns what follows it, or NULL. */
static const char *parse_role(enum transport_role *role, const char *text, char separator)
{
    for (size_t i = 0; i < ROLES; i++) {
        size_t len = strlen(roles[i].name);
        if (strncmp(text, roles[i].name, len) == 0 && text[len] == separator) {
            *role = roles[i].role;
            return text + len + 1;
        }
    }
    return NULL;
}

static const unsigned char alpn[] = {2, 'h', '2'};

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    unsigned char *selected;
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&selected, out_len, alpn, sizeof alpn, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = selected;
    return SSL_TLSEXT_ERR_OK;
}

/* TLS 1.3 only, no tickets, no early data, ALPN h2. */
static SSL_CTX *context_create(struct transport_tls *tls, bool server)
{
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (ctx == NULL)
        return NULL;
    SSL_CTX_set_app_data(ctx, tls);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    bool ok = SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
              SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
              SSL_CTX_set_num_tickets(ctx, 0) == 1 && SSL_CTX_set_max_early_data(ctx, 0) == 1 &&
              SSL_CTX_set1_groups_list(ctx, "X25519:P-256") == 1;
    if (server)
        SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
    else
        ok = ok && SSL_CTX_set_alpn_protos(ctx, alpn, sizeof alpn) == 0;
    if (!ok) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static struct transport_tls *tls_create(enum transport_security security)
{
    struct transport_tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL)
        return NULL;
    tls->refs = 1;
    tls->security = security;
    return tls;
}

struct transport_tls *transport_tls_ref(struct transport_tls *tls)
{
    if (tls != NULL)
        tls->refs++;
    return tls;
}

void transport_tls_destroy(struct transport_tls *tls)
{
    if (tls == NULL || --tls->refs > 0)
        return;
    SSL_SESSION_free(tls->psk);
    SSL_CTX_free(tls->server);
    SSL_CTX_free(tls->client);
    bytes_wipe(tls, sizeof *tls);
    free(tls);
}

enum transport_security transport_tls_security(const struct transport_tls *tls)
{
    return tls == NULL ? TRANSPORT_PLAINTEXT : tls->security;
}

int transport_tls_create_plaintext(struct transport_tls **out, struct err *err)
{
    *out = tls_create(TRANSPORT_PLAINTEXT);
    return *out == NULL ? err_set(err, -ENOMEM, "out of memory") : 0;
}

const char *transport_tls_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason != NULL ? reason : "unknown reason";
}

SSL *transport_tls_open(struct transport_tls *tls, bool server, struct transport_caller *caller)
{
    SSL_CTX *ctx = server ? tls->server : tls->client;
    SSL *ssl = ctx == NULL ? NULL : SSL_new(ctx);
    if (ssl != NULL)
        SSL_set_app_data(ssl, caller);
    return ssl;
}

/* "heimdall:ROLE/ID" among the URIs of the certificate's subject alternative names. */
static bool caller_from_certificate(X509 *cert, struct transport_caller *caller)
{
    static const char scheme[] = "heimdall:";
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int found = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        const char *uri = (const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
        size_t len = (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier);
        enum transport_role role;
        if (strlen(uri) != len || strncmp(uri, scheme, sizeof scheme - 1) != 0)
            continue;
        const char *id = parse_role(&role, uri + sizeof scheme - 1, '/');
        found++;
        if (id == NULL || id[0] == '\0' || strlen(id) >= sizeof caller->id ||
            strchr(id, '/') != NULL) {
            found = -1;
            break;
        }
        caller->roles = (unsigned)role;
        snprintf(caller->id, sizeof caller->id, "%s", id);
    }
    GENERAL_NAMES_free(names);
    return found == 1;
}

/* Refuses, with an alert, a certificate that the authority signed but that names no role, or
 * another role than node's in a server's. */
static int verify_certificate(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct transport_caller *caller = SSL_get_app_data(ssl);
    if (ok != 1 || X509_STORE_CTX_get_error_depth(store) > 0)
        return ok;
    if (caller_from_certificate(X509_STORE_CTX_get_current_cert(store), caller) &&
        (SSL_is_server(ssl) || caller->roles == TRANSPORT_NODE))
        return 1;
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

/* An error about a file: the system's reason, or `otherwise`. */
static int file_error(struct err *err, const char *option, const char *path, const char *otherwise)
{
    unsigned long first = ERR_peek_error();
    return err_set(err, -EINVAL, "option %s: file %s: %s", option, path,
                   ERR_SYSTEM_ERROR(first) ? strerror(ERR_GET_REASON(first)) : otherwise);
}

/* Keeps OpenSSL from asking for a password on the terminal. */
static int no_password(char *out, int size, int writing, void *ctx)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

static int load_files(SSL_CTX *ctx, const char *cert, const char *key, const char *ca,
                      struct err *err)
{
    ERR_clear_error();
    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
        return file_error(err, "--cert", cert, "holds no certificate: expects PEM");
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        return file_error(err, "--key", key,
                          ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH
                              ? "does not belong to --cert"
                              : "holds no private key: expects PEM, without a password");
    if (SSL_CTX_load_verify_locations(ctx, ca, NULL) != 1)
        return file_error(err, "--ca", ca, "holds no certificate: expects PEM");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, verify_certificate);
    return 0;
}

int transport_tls_create_certificate(struct transport_tls **out, const char *cert, const char *key,
                                     const char *ca, struct err *err)
{
    struct transport_tls *tls = tls_create(TRANSPORT_CERTIFICATE);
    int rv = err_set(err, -ENOMEM, "out of memory");
    if (tls == NULL)
        return rv;
    tls->server = context_create(tls, true);
    tls->client = context_create(tls, false);
    if (tls->server == NULL || tls->client == NULL)
        goto fail;
    rv = load_files(tls->server, cert, key, ca, err);
    if (rv == 0)
        rv = load_files(tls->client, cert, key, ca, err);
    if (rv < 0)
        goto fail;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(ca);
    if (names != NULL)
        SSL_CTX_set_client_CA_list(tls->server, names);
    *out = tls;
    return 0;
fail:
    transport_tls_destroy(tls);
    return rv;
}

/* A session that stands for an external PSK (RFC 8446 section 4.2.11). The role is part of the
 * derivation, so that no role's key serves another role. */
static SSL_SESSION *psk_session(SSL *ssl, enum transport_role role, const char *secret)
{
    static const unsigned char aes_128_gcm_sha256[] = {0x13, 0x01};
    uint8_t psk[PSK_LEN];
    char label[32];
    SSL_SESSION *session = SSL_SESSION_new();
    snprintf(label, sizeof label, "tls psk %s", role_name(role));
    if (session == NULL || transport_derive(psk, sizeof psk, secret, label) < 0)
        goto fail;
    const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, aes_128_gcm_sha256);
    bool ok = cipher != NULL && SSL_SESSION_set1_master_key(session, psk, sizeof psk) == 1 &&
              SSL_SESSION_set_cipher(session, cipher) == 1 &&
              SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1;
    bytes_wipe(psk, sizeof psk);
    if (ok)
        return session;
fail:
    SSL_SESSION_free(session);
    return NULL;
}

/* An unknown identity is no error here: without a certificate to fall back to, the handshake ends
 * in a handshake_failure alert. */
static int find_psk(SSL *ssl, const unsigned char *identity, size_t len, SSL_SESSION **out)
{
    struct transport_caller *caller = SSL_get_app_data(ssl);
    const struct transport_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const struct transport_secrets *secrets = &tls->secrets;
    char text[IDENTITY_MAX];
    enum transport_role role;
    uint8_t hash[TRANSPORT_HASH_LEN];
    char secret[TRANSPORT_SECRET_MAX] = "";
    *out = NULL;
    if (len == 0 || len >= sizeof text || memchr(identity, '\0', len) != NULL)
        return 1;
    memcpy(text, identity, len);
    text[len] = '\0';
    const char *hex = parse_role(&role, text, ':');
    if (hex == NULL || strlen(hex) != 2 * sizeof hash || !bytes_from_hex(hash, sizeof hash, hex))
        return 1;
    caller->id[0] = '\0';
    caller->roles = 0;
    if (secrets->find(secrets->ctx, role, hash, secret, caller->id)) {
        *out = psk_session(ssl, role, secret);
        caller->roles = *out == NULL ? 0 : (unsigned)role;
    }
    bytes_wipe(secret, sizeof secret);
    return 1;
}

static int use_psk(SSL *ssl, const EVP_MD *md, const unsigned char **identity, size_t *len,
                   SSL_SESSION **out)
{
    struct transport_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    *out = NULL;
    *identity = NULL;
    *len = 0;
    /* after a retry request the hash is fixed; this PSK's is SHA-256 */
    if (md != NULL && !EVP_MD_is_a(md, "SHA256"))
        return 1;
    if (SSL_SESSION_up_ref(tls->psk) != 1)
        return 0;
    *identity = (const unsigned char *)tls->identity;
    *len = strlen(tls->identity);
    *out = tls->psk;
    return 1;
}

static SSL_CTX *psk_context(struct transport_tls *tls, bool server)
{
    SSL_CTX *ctx = context_create(tls, server);
    if (ctx == NULL)
        return NULL;
    if (SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256") != 1) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    /* On the client the empty trust store makes every certificate invalid. */
    if (server)
        SSL_CTX_set_psk_find_session_callback(ctx, find_psk);
    else
        SSL_CTX_set_psk_use_session_callback(ctx, use_psk);
    SSL_CTX_set_verify(ctx, server ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    return ctx;
}

int transport_tls_create_psk_server(struct transport_tls **out, struct transport_secrets secrets,
                                    struct err *err)
{
    struct transport_tls *tls = tls_create(TRANSPORT_PSK);
    if (tls == NULL || (tls->server = psk_context(tls, true)) == NULL) {
        transport_tls_destroy(tls);
        return err_set(err, -ENOMEM, "cannot set up TLS: %s", transport_tls_reason());
    }
    tls->secrets = secrets;
    *out = tls;
    return 0;
}

/* The session and the name of a client's stretched secret. 0 or a negative errno. */
static int use_secret(struct transport_tls *tls, enum transport_role role, const char *stretched)
{
    uint8_t hash[TRANSPORT_HASH_LEN];
    char hex[2 * TRANSPORT_HASH_LEN + 1];
    SSL *ssl = SSL_new(tls->client);
    if (ssl != NULL)
        tls->psk = psk_session(ssl, role, stretched);
    SSL_free(ssl);
    if (tls->psk == NULL)
        return -ENOMEM;
    transport_secret_hash(hash, stretched);
    bytes_to_hex(hex, hash, sizeof hash);
    snprintf(tls->identity, sizeof tls->identity, "%s:%s", role_name(role), hex);
    return 0;
}

int transport_tls_create_psk_client(struct transport_tls **out, enum transport_role role,
                                    const char *secret, struct err *err)
{
    char stretched[TRANSPORT_STRETCHED];
    if (role_name(role) == NULL || secret[0] == '\0' || strlen(secret) >= TRANSPORT_SECRET_MAX)
        return err_set(err, -EINVAL, "a key or id must have 1 to %d characters",
                       TRANSPORT_SECRET_MAX - 1);
    struct transport_tls *tls = tls_create(TRANSPORT_PSK);
    int rv = tls == NULL ? -ENOMEM : transport_stretch(stretched, secret);
    if (rv == 0 && (tls->client = psk_context(tls, false)) == NULL)
        rv = -ENOMEM;
    if (rv == 0)
        rv = use_secret(tls, role, stretched);
    bytes_wipe(stretched, sizeof stretched);
    if (rv < 0) {
        transport_tls_destroy(tls);
        return err_set(err, rv, "cannot set up TLS: %s", transport_tls_reason());
    }
    *out = tls;
    return 0;
}
