#include "cmd/hctl_session.h"

#include "base/buffer.h"
#include "base/bytes.h"
#include "control/host/identity.h"
#include "control/rpc/address.h"
#include "control/rpc/client.h"
#include "control/rpc/transport_key.h"
#include "control/rpc/transport_tls.h"
#include "control/state/access.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CALL_TIMEOUT_MS = 15000, DIAL_TIMEOUT_MS = 5000 };

struct session {
    uv_loop_t loop;
    struct rpc_client *client;
    struct address address;
    bool opened;
    bool done; /* the call has ended, or the connection is lost */
    enum grpc_code code;
    struct err *err;
    enum grpc_code (*answer)(void *ctx, const ProtobufCMessage *response, struct err *err);
    void *answer_ctx;
};

/* ---- which node, and how ---- */

static int find_address(const struct ctl_config *config, struct address *out, struct err *err)
{
    char text[ADDRESS_TEXT];
    struct stat st;
    if (config->addr != NULL)
        return address_parse(out, config->addr, true, err);
    char *folder = realpath(config->data_dir, NULL);
    snprintf(text, sizeof text, "unix://%s/control.sock", folder != NULL ? folder : "");
    free(folder);
    if (stat(text + strlen("unix://"), &st) == 0 && S_ISSOCK(st.st_mode))
        return address_parse(out, text, false, err);
    return address_parse(out, "tcp://127.0.0.1:9000", false, err);
}

static int find_key(const struct ctl_config *config, char out[ACCESS_ID_MAX + 1], struct err *err)
{
    char path[4096];
    if (config->cluster_key != NULL) {
        snprintf(out, ACCESS_ID_MAX + 1, "%s", config->cluster_key);
        return 0;
    }
    if (config->cluster_key_file != NULL)
        return identity_read_key_option(config->cluster_key_file, out, err);
    snprintf(path, sizeof path, "%s/cluster.key", config->data_dir);
    struct stat st;
    if (stat(path, &st) == 0 || errno != ENOENT)
        return identity_read_cluster_key(path, out, err);
    if (config->addr == NULL)
        return err_set(err, -ENOENT,
                       "no heimdall node on this host (no %s/control.sock): start one, or name one "
                       "with --addr and its key with --cluster-key-file",
                       config->data_dir);
    return err_set(err, -EACCES,
                   "%s needs the cluster key: --cluster-key-file FILE, a copy of "
                   "/var/lib/heimdall/cluster.key of a node",
                   config->addr);
}

static int make_tls(const struct ctl_config *config, const struct address *address,
                    struct transport_tls **out, struct err *err)
{
    char key[ACCESS_ID_MAX + 1] = "";
    if (config->tls.insecure || address->kind == ADDRESS_UNIX)
        return transport_tls_create_plaintext(out, err);
    if (config->tls.cert != NULL)
        return transport_tls_create_certificate(out, config->tls.cert, config->tls.key,
                                                config->tls.ca, err);
    int code = find_key(config, key, err);
    if (code == 0)
        code = transport_tls_create_psk_client(out, TRANSPORT_ADMIN, key, err);
    bytes_wipe(key, sizeof key);
    return code;
}

/* ---- the connection ---- */

static bool is_about_trust(int code)
{
    return code == TRANSPORT_EUNKNOWN || code == TRANSPORT_EWRONGKEY ||
           code == TRANSPORT_EIMPOSTOR || code == TRANSPORT_ETLS;
}

/* What to look at when no connection came about. */
static const char *question_about(int code)
{
    switch (code) {
    case -ETIMEDOUT:
    case -EHOSTUNREACH:
        return ": does heimdall run there, and do the firewalls on the path let this port in?";
    case -ECONNREFUSED:
    case -ENOENT:
        return ": does heimdall run there?";
    default:
        return "";
    }
}

static void session_closed(void *ctx, struct rpc_client *client, const struct err *err)
{
    struct session *session = ctx;
    char addr[ADDRESS_TEXT];
    (void)client;
    if (session->done) { /* the lost call ended first, without the cause */
        if (session->code == GRPC_UNAVAILABLE && is_about_trust(err->code))
            session->code = GRPC_UNAUTHENTICATED;
        return;
    }
    session->done = true;
    session->code = is_about_trust(err->code) ? GRPC_UNAUTHENTICATED : GRPC_UNAVAILABLE;
    if (err->code == TRANSPORT_EUNKNOWN)
        err_set(session->err, err->code,
                "the node at %s does not accept this cluster key: use the one in its data dir "
                "(/var/lib/heimdall/cluster.key)",
                address_format(&session->address, addr));
    else if (!session->opened && session->code == GRPC_UNAVAILABLE)
        err_set(session->err, err->code, "%s%s", err->text, question_about(err->code));
    else
        err_set(session->err, err->code, "%s", err->text);
}

static void session_opened(void *ctx, struct rpc_client *client)
{
    struct session *session = ctx;
    (void)client;
    session->opened = true;
}

/* The gRPC code of a failure before the first byte; `code` is a negative errno. */
static enum grpc_code open_failure(int code)
{
    switch (code) {
    case 0:
        return GRPC_OK;
    case -ENOMEM:
        return GRPC_RESOURCE_EXHAUSTED;
    case -EINVAL:
        return GRPC_INVALID_ARGUMENT;
    case -EACCES:
        return GRPC_UNAUTHENTICATED;
    default:
        return GRPC_UNAVAILABLE;
    }
}

enum grpc_code session_open(struct session **out, const struct ctl_config *config, struct err *err)
{
    static const struct rpc_client_events events = {session_opened, session_closed};
    struct transport_tls *tls = NULL;
    *out = NULL;
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return open_failure(err_set(err, -ENOMEM, "out of memory"));
    int code = uv_loop_init(&session->loop);
    if (code < 0) {
        free(session);
        return open_failure(err_set_errno(err, code, "cannot create an event loop"));
    }
    session->err = err;
    code = find_address(config, &session->address, err);
    if (code == 0)
        code = make_tls(config, &session->address, &tls, err);
    const struct rpc_client_options options = {
        .addresses = &session->address, .count = 1, .tls = tls, .connect_ms = DIAL_TIMEOUT_MS};
    if (code == 0)
        code = rpc_client_create(&session->client, &session->loop, &options, &events, session, err);
    transport_tls_destroy(tls);
    if (code == 0)
        *out = session;
    else
        session_close(session);
    return open_failure(code);
}

void session_close(struct session *session)
{
    if (session == NULL)
        return;
    rpc_client_destroy(session->client);
    (void)uv_run(&session->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&session->loop);
    free(session);
}

bool session_is_tcp(const struct session *session)
{
    return session->address.kind != ADDRESS_UNIX;
}

/* ---- calls ---- */

void session_repeat_key(struct session *session, const char *const *words, size_t count)
{
    uint8_t hash[32];
    char hex[33];
    struct buffer text;
    if (words == NULL) {
        rpc_client_set_metadata(session->client, NULL, NULL);
        return;
    }
    buffer_init(&text);
    for (size_t i = 0; i < count; i++)
        buffer_append(&text, words[i], strlen(words[i]) + 1);
    transport_sha256(hash, buffer_data(&text), buffer_len(&text));
    bytes_to_hex(hex, hash, 16);
    rpc_client_set_metadata(session->client, "heimdall-repeat-key",
                            buffer_failed(&text) ? NULL : hex);
    buffer_fini(&text);
}

static void session_answered(void *ctx, enum grpc_code code, const char *text,
                             const ProtobufCMessage *response)
{
    struct session *session = ctx;
    if (session->done) /* the connection was lost; session_closed has set the error */
        return;
    if (!session->opened)
        return; /* session_closed follows and sets the error */
    session->done = true;
    session->code = code;
    if (code != GRPC_OK)
        err_set(session->err, -EREMOTEIO, "%s", text);
    else if (session->answer != NULL)
        session->code = session->answer(session->answer_ctx, response, session->err);
}

enum grpc_code
session_call(struct session *session, const char *path, const ProtobufCMessage *request,
             const ProtobufCMessageDescriptor *response,
             enum grpc_code (*answer)(void *ctx, const ProtobufCMessage *response, struct err *err),
             void *ctx, struct err *err)
{
    session->err = err;
    session->done = false;
    session->code = GRPC_OK;
    session->answer = answer;
    session->answer_ctx = ctx;
    int code = rpc_client_call(session->client, path, request, response, CALL_TIMEOUT_MS,
                               session_answered, session);
    if (code < 0) {
        err_set_errno(err, code, "cannot send the call");
        return code == -ENOMEM ? GRPC_RESOURCE_EXHAUSTED : GRPC_UNAVAILABLE;
    }
    while (!session->done && uv_run(&session->loop, UV_RUN_ONCE) != 0)
        continue;
    if (!session->done) {
        err_set(err, -EIO, "the connection ended without an answer");
        return GRPC_UNAVAILABLE;
    }
    return session->code;
}
