#include "cmd/hctl_changes.h"

#include "base/bytes.h"
#include "cmd/hctl_lookup.h"
#include "cmd/hctl_output.h"
#include "control/state/access.h"
#include "control/state/record.h"
#include "proto/cluster.pb-c.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Makes one change. An error begins with `about`, the thing that the change concerns. */
static enum grpc_code change(struct invocation *invocation, const char *path,
                             const ProtobufCMessage *request, const char *about, struct err *err)
{
    struct err cause = {0};
    enum grpc_code code = session_call(invocation->session, path, request,
                                       &google__protobuf__empty__descriptor, NULL, NULL, &cause);
    bool known = strstr(cause.text, "nothing was changed") != NULL ||
                 strstr(cause.text, "may still happen") != NULL;
    if (code == GRPC_DEADLINE_EXCEEDED && !known)
        err_set(err, cause.code,
                "%s: %s: the change may still happen; repeat the command to make sure", about,
                cause.text);
    else if (code != GRPC_OK)
        err_set(err, cause.code, "%s: %s", about, cause.text);
    return code;
}

/* A change of a peer or node that the user named by id, name or the beginning of an id. The word is
 * first sent as an id in `*field`; if the node does not know it, the lookup's `id` replaces it. */
struct named_change {
    const char *path;
    const ProtobufCMessage *request;
    char **field;
    const char *rest; /* what else the request says; NULL: nothing */
    const char *more; /* the same */
    enum grpc_code (*lookup)(struct session *session, const char *word, char *id, struct err *err);
    char id[ACCESS_ID_MAX + 1];
};

static enum grpc_code change_named(struct invocation *invocation, struct named_change *named,
                                   struct err *err)
{
    const char *word = *named->field;
    struct err unknown = {0};
    const char *const words[] = {named->path, word, named->rest != NULL ? named->rest : "",
                                 named->more != NULL ? named->more : ""};
    session_repeat_key(invocation->session, words, 4);
    enum grpc_code code = change(invocation, named->path, named->request, word, err);
    if (code != GRPC_NOT_FOUND)
        return code;
    enum grpc_code found = named->lookup(invocation->session, word, named->id, &unknown);
    if (found == GRPC_OK && strcmp(named->id, word) != 0) {
        *named->field = named->id;
        return change(invocation, named->path, named->request, word, err);
    }
    if (found == GRPC_INVALID_ARGUMENT) { /* ambiguous */
        *err = unknown;
        return found;
    }
    return code; /* with the node's text */
}

static enum grpc_code no_memory(struct err *err)
{
    err_set(err, -ENOMEM, "out of memory");
    return GRPC_RESOURCE_EXHAUSTED;
}

/* Prints the ids that were changed, with -o json alone. `code` is the outcome of the last change;
 * the changes before it were made. */
static enum grpc_code output_ids(const struct invocation *invocation, char **ids, size_t count,
                                 enum grpc_code code, struct err *err)
{
    Pb__AuthorizedPeersResponse done;
    if (code != GRPC_OK && count == 0)
        return code;
    pb__authorized_peers_response__init(&done);
    done.ids = ids;
    done.n_ids = count;
    enum grpc_code shown = output_change(invocation, &done.base, code == GRPC_OK ? err : NULL);
    return code == GRPC_OK ? shown : code;
}

static enum grpc_code authorize(struct invocation *invocation, char *id, struct err *err)
{
    Pb__AuthorizePeerRequest request;
    pb__authorize_peer_request__init(&request);
    request.id = id;
    return change(invocation, SESSION_HEIMDALL "AuthorizePeer", &request.base, id, err);
}

static enum grpc_code authorize_new(struct invocation *invocation, struct err *err)
{
    char id[ACCESS_MADE_ID_TEXT];
    char *ids[] = {id};
    uint8_t random[16];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        err_set(err, -EIO, "no random bytes for an id");
        return GRPC_UNAVAILABLE;
    }
    access_make_id(random, id);
    bytes_wipe(random, sizeof random);
    enum grpc_code code = authorize(invocation, id, err);
    if (code != GRPC_OK)
        return code;
    if (!invocation->config.json)
        puts(id);
    return output_ids(invocation, ids, 1, code, err);
}

enum grpc_code peers_authorize(struct invocation *invocation, struct err *err)
{
    enum grpc_code code = GRPC_OK;
    size_t done = 0;
    if (invocation->arg_count == 0)
        return authorize_new(invocation, err);
    while (done < invocation->arg_count && code == GRPC_OK) {
        code = authorize(invocation, invocation->args[done], err);
        done += code == GRPC_OK;
    }
    return output_ids(invocation, invocation->args, done, code, err);
}

static enum grpc_code deauthorize(struct invocation *invocation, char *word,
                                  char id[ACCESS_ID_MAX + 1], struct err *err)
{
    Pb__DeauthorizePeerRequest request;
    struct named_change named = {.path = SESSION_HEIMDALL "DeauthorizePeer",
                                 .request = &request.base,
                                 .field = &request.id,
                                 .lookup = lookup_peer};
    pb__deauthorize_peer_request__init(&request);
    request.id = word;
    enum grpc_code code = change_named(invocation, &named, err);
    snprintf(id, ACCESS_ID_MAX + 1, "%s", request.id);
    return code;
}

enum grpc_code peers_deauthorize(struct invocation *invocation, struct err *err)
{
    enum grpc_code code = GRPC_OK;
    size_t done = 0;
    char(*texts)[ACCESS_ID_MAX + 1] = calloc(invocation->arg_count, sizeof *texts);
    char **ids = calloc(invocation->arg_count, sizeof *ids);
    if (texts == NULL || ids == NULL) {
        code = no_memory(err);
        goto out;
    }
    while (done < invocation->arg_count && code == GRPC_OK) {
        ids[done] = texts[done];
        code = deauthorize(invocation, invocation->args[done], ids[done], err);
        done += code == GRPC_OK;
    }
    code = output_ids(invocation, ids, done, code, err);
out:
    free(ids);
    free(texts);
    return code;
}

enum grpc_code peers_rename(struct invocation *invocation, struct err *err)
{
    Pb__RenamePeerRequest request = PB__RENAME_PEER_REQUEST__INIT;
    struct named_change named = {.path = SESSION_CLUSTER "RenamePeer",
                                 .request = &request.base,
                                 .field = &request.id,
                                 .lookup = lookup_peer};
    request.id = invocation->args[0];
    request.name = invocation->args[1];
    enum grpc_code code = change_named(invocation, &named, err);
    return code == GRPC_OK ? output_change(invocation, &request.base, err) : code;
}

enum grpc_code peers_rekey(struct invocation *invocation, struct err *err)
{
    Pb__RekeyPeerRequest request = PB__REKEY_PEER_REQUEST__INIT;
    struct named_change named = {.path = SESSION_CLUSTER "RekeyPeer",
                                 .request = &request.base,
                                 .field = &request.id,
                                 .lookup = lookup_peer};
    request.id = invocation->args[0];
    enum grpc_code code = change_named(invocation, &named, err);
    return code == GRPC_OK ? output_change(invocation, &request.base, err) : code;
}

enum grpc_code routes_create(struct invocation *invocation, struct err *err)
{
    Pb__CreateRouteRequest request;
    struct named_change named = {.path = SESSION_HEIMDALL "CreateRoute",
                                 .request = &request.base,
                                 .field = &request.node_id,
                                 .rest = invocation->route.network,
                                 .more = invocation->route.inbound ? "inbound" : "",
                                 .lookup = lookup_node};
    char *node = strdup(invocation->route.node_id);
    char *network = strdup(invocation->route.network);
    enum grpc_code code = node != NULL && network != NULL ? GRPC_OK : no_memory(err);
    pb__create_route_request__init(&request);
    request.node_id = node;
    request.network = network;
    request.inbound = invocation->route.inbound;
    if (code == GRPC_OK)
        code = change_named(invocation, &named, err);
    if (code == GRPC_OK)
        code = output_change(invocation, &request.base, err);
    free(network);
    free(node);
    return code;
}

enum grpc_code routes_delete(struct invocation *invocation, struct err *err)
{
    Pb__DeleteRouteRequest request;
    pb__delete_route_request__init(&request);
    request.network = invocation->args[0];
    const char *const words[] = {"DeleteRoute", request.network};
    session_repeat_key(invocation->session, words, 2);
    enum grpc_code code =
        change(invocation, SESSION_HEIMDALL "DeleteRoute", &request.base, request.network, err);
    return code == GRPC_OK ? output_change(invocation, &request.base, err) : code;
}
