#include "cmd/hctl_lookup.h"

#include "cmd/hctl_pages.h"
#include "control/state/record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum lookup_outcome lookup_find(const struct lookup_entry *entries, size_t count, const char *word,
                                size_t *place)
{
    size_t begins = 0;
    size_t len = strlen(word);
    for (size_t i = 0; i < count; i++)
        if (strcmp(entries[i].id, word) == 0) {
            *place = i;
            return LOOKUP_FOUND;
        }
    for (size_t i = 0; i < count; i++)
        if (entries[i].name[0] != '\0' && strcasecmp(entries[i].name, word) == 0) {
            *place = i;
            return LOOKUP_FOUND;
        }
    for (size_t i = 0; len >= LOOKUP_PREFIX_MIN && i < count; i++)
        if (strncmp(entries[i].id, word, len) == 0) {
            *place = i;
            begins++;
        }
    return begins == 0 ? LOOKUP_NONE : begins == 1 ? LOOKUP_FOUND : LOOKUP_MANY;
}

static enum grpc_code no_memory(struct err *err)
{
    err_set(err, -ENOMEM, "out of memory");
    return GRPC_RESOURCE_EXHAUSTED;
}

/* Turns an outcome into an error. `kind` is "peer" or "node". */
static enum grpc_code told(enum lookup_outcome outcome, const char *kind, const char *word,
                           struct err *err)
{
    switch (outcome) {
    case LOOKUP_FOUND:
        return GRPC_OK;
    case LOOKUP_NONE:
        err_set(err, -ENOENT, "no %s has the id or name \"%s\"", kind, word);
        return GRPC_NOT_FOUND;
    case LOOKUP_MANY:
        err_set(err, -EINVAL, "the ids of several %ss begin with \"%s\": give more characters",
                kind, word);
        return GRPC_INVALID_ARGUMENT;
    }
    return GRPC_OK;
}

enum grpc_code lookup_peer_status(const Pb__StatusResponse *status, const char *word,
                                  const Pb__PeerStatus **out, struct err *err)
{
    struct lookup_entry *entries = calloc(status->n_peers + 1, sizeof *entries);
    size_t place = 0;
    if (entries == NULL)
        return no_memory(err);
    for (size_t i = 0; i < status->n_peers; i++) {
        const Pb__Peer *peer = status->peers[i]->peer;
        entries[i] = peer != NULL ? (struct lookup_entry){peer->id, peer->name}
                                  : (struct lookup_entry){"", ""};
    }
    enum grpc_code code =
        told(lookup_find(entries, status->n_peers, word, &place), "peer", word, err);
    if (code == GRPC_OK)
        *out = status->peers[place];
    free(entries);
    return code;
}

/* ---- asking for it ---- */

struct lookup {
    const char *word;
    char *id; /* out, ACCESS_ID_MAX + 1 */
};

static enum grpc_code settle(const struct lookup *lookup, const char *id, struct err *err)
{
    if (snprintf(lookup->id, ACCESS_ID_MAX + 1, "%s", id) <= ACCESS_ID_MAX)
        return GRPC_OK;
    err_set(err, -EBADMSG, "the node's id for \"%s\" is too long", lookup->word);
    return GRPC_INTERNAL;
}

static enum grpc_code lookup_in_status(void *ctx, const ProtobufCMessage *message, struct err *err)
{
    const struct lookup *lookup = ctx;
    const Pb__PeerStatus *found = NULL;
    enum grpc_code code =
        lookup_peer_status((const Pb__StatusResponse *)message, lookup->word, &found, err);
    return code == GRPC_OK ? settle(lookup, found->peer->id, err) : code;
}

static enum grpc_code lookup_in_nodes(void *ctx, const ProtobufCMessage *message, struct err *err)
{
    const struct lookup *lookup = ctx;
    const Pb__NodesResponse *response = (const Pb__NodesResponse *)message;
    struct lookup_entry *entries = calloc(response->n_nodes + 1, sizeof *entries);
    size_t place = 0;
    if (entries == NULL)
        return no_memory(err);
    for (size_t i = 0; i < response->n_nodes; i++)
        entries[i] = (struct lookup_entry){response->nodes[i]->id, response->nodes[i]->name};
    enum grpc_code code = told(lookup_find(entries, response->n_nodes, lookup->word, &place),
                               "node", lookup->word, err);
    free(entries);
    return code == GRPC_OK ? settle(lookup, response->nodes[place]->id, err) : code;
}

enum grpc_code lookup_peer(struct session *session, const char *word, char id[ACCESS_ID_MAX + 1],
                           struct err *err)
{
    Pb__StatusRequest request = PB__STATUS_REQUEST__INIT;
    struct lookup lookup = {word, id};
    return pages_call(session, SESSION_CLUSTER "Status", &request.base,
                      &pb__status_response__descriptor, lookup_in_status, &lookup, err);
}

enum grpc_code lookup_node(struct session *session, const char *word, char id[ACCESS_ID_MAX + 1],
                           struct err *err)
{
    Pb__NodesRequest request;
    struct lookup lookup = {word, id};
    pb__nodes_request__init(&request);
    return pages_call(session, SESSION_HEIMDALL "Nodes", &request.base,
                      &pb__nodes_response__descriptor, lookup_in_nodes, &lookup, err);
}
