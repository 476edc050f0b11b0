#include "control/daemon/node_listen.h"

#include "base/log.h"
#include "control/api/keyring.h"
#include "control/daemon/node_parts.h"
#include "control/host/datadir.h"
#include "control/host/socket_watch.h"
#include "control/rpc/server.h"

#include <stdio.h>

static int make_tls(struct node *node, struct transport_tls **out, struct err *err)
{
    const struct node_config *config = node->config;
    if (config->tls.insecure) {
        log_warn("the control API is served without TLS and to everyone (--insecure)");
        return transport_tls_create_plaintext(out, err);
    }
    if (node->tls != NULL) {
        *out = transport_tls_ref(node->tls);
        return 0;
    }
    return transport_tls_create_psk_server(out, keyring_secrets(node->keyring), err);
}

int node_listen(struct node *node, struct err *err)
{
    struct transport_tls *tls = NULL;
    struct err cause;
    char text[ADDRESS_TEXT];
    int code = make_tls(node, &tls, err);
    if (code < 0)
        return code;
    code = rpc_server_listen(node->rpc, &node->listen, tls, 0, NULL, &cause);
    transport_tls_destroy(tls);
    if (code < 0)
        return err_set(err, code, "%s (option --addr %s)", cause.text,
                       address_format(&node->listen, text));
    log_debug("started the control API", F_STR("addr", address_format(&node->listen, text)));
    return 0;
}

static int listen_unix(struct node *node, struct address *address, struct err *err)
{
    struct transport_tls *tls = NULL;
    char text[ADDRESS_TEXT];
    snprintf(text, sizeof text, "unix://%s/control.sock", datadir_path(node->datadir));
    int code = address_parse(address, text, false, err);
    if (code == 0)
        code = transport_tls_create_plaintext(&tls, err);
    if (code == 0)
        code = rpc_server_listen(node->rpc, address, tls, 0, NULL, err);
    transport_tls_destroy(tls);
    return code;
}

/* Connections over the removed socket go on. */
static int listen_unix_again(void *ctx)
{
    struct node *node = ctx;
    struct address address;
    struct err err = {0};
    int code = listen_unix(node, &address, &err);
    if (code == 0)
        rpc_server_unlisten(node->rpc, &address); /* the older of the two */
    return code;
}

int node_listen_unix(struct node *node, struct err *err)
{
    struct address address;
    struct socket_watch_options options = {
        .loop = &node->loop, .path = address.path, .ctx = node, .restore = listen_unix_again};
    int code = listen_unix(node, &address, err);
    if (code < 0)
        return code;
    code = socket_watch_open(&node->socket_watch, &options);
    return code == 0 ? 0 : err_set_errno(err, code, "cannot watch %s", address.path);
}
