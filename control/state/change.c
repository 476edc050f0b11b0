#include "control/state/change.h"

#include "base/err.h"
#include "control/state/change_build.h"
#include "control/state/state.h"

#include <errno.h>
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the list of operations ---- */

void change_init(struct change *change)
{
    *change = (struct change){0};
}

static void free_op(struct record_op *op)
{
    free((void *)(uintptr_t)op->key);
    free((void *)(uintptr_t)op->field);
    free((void *)(uintptr_t)op->value);
}

void change_fini(struct change *change)
{
    for (size_t i = 0; i < change->op_count; i++)
        free_op(&change->ops[i]);
    free(change->ops);
    change_init(change);
}

static bool reserve(struct change *change)
{
    if (change->op_count < change->op_capacity)
        return true;
    size_t capacity = change->op_capacity == 0 ? 8 : change->op_capacity * 2;
    struct record_op *ops = realloc(change->ops, capacity * sizeof *ops);
    if (ops == NULL)
        return false;
    change->ops = ops;
    change->op_capacity = capacity;
    return true;
}

void change_add(struct change *change, enum record_op_kind kind, const char *key, const char *field,
                const void *value, size_t len)
{
    if (change->failed || !reserve(change)) {
        change->failed = true;
        return;
    }
    struct record_op op = {.kind = kind, .len = len};
    uint8_t *copy = value == NULL ? NULL : malloc(len + 1);
    if (copy != NULL)
        memcpy(copy, value, len);
    op.key = strdup(key);
    op.field = field == NULL ? NULL : strdup(field);
    op.value = copy;
    if (op.key != NULL && (field == NULL || op.field != NULL) && (value == NULL || copy != NULL)) {
        change->ops[change->op_count++] = op;
        return;
    }
    free_op(&op);
    change->failed = true;
}

void change_add_message(struct change *change, enum record_op_kind kind, const char *key,
                        const char *name, const ProtobufCMessage *message)
{
    char full[192];
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(len + 1);
    if (packed == NULL || snprintf(full, sizeof full, "%s%s", key, name) >= (int)sizeof full) {
        free(packed);
        change->failed = true;
        return;
    }
    protobuf_c_message_pack(message, packed);
    if (kind == RECORD_HSET)
        change_add(change, RECORD_HSET, key, name, packed, len);
    else
        change_add(change, RECORD_SET, full, NULL, packed, len);
    free(packed);
}

void change_add_del(struct change *change, const char *key, const char *name)
{
    char full[192];
    if (snprintf(full, sizeof full, "%s%s", key, name) >= (int)sizeof full)
        change->failed = true;
    else
        change_add(change, RECORD_DEL, full, NULL, NULL, 0);
}

/* ---- begin and end of every builder ---- */

void change_begin(struct change *change, const struct state *state)
{
    change_init(change);
    change->epoch = state_epoch(state);
    change->rev = state_rev(state);
}

static size_t size_of(const struct change *change)
{
    size_t size = 0;
    for (size_t i = 0; i < change->op_count; i++)
        size += strlen(change->ops[i].key) + change->ops[i].len +
                (change->ops[i].field != NULL ? strlen(change->ops[i].field) : 0);
    return size;
}

enum grpc_code change_finish(struct change *change, enum grpc_code code, struct err *err)
{
    if (code == GRPC_OK && change->failed) {
        err_set(err, -ENOMEM, "out of memory");
        code = GRPC_INTERNAL;
    }
    if (code == GRPC_OK &&
        (change->op_count > CHANGE_OPS_MAX || size_of(change) > CHANGE_BYTES_MAX))
        code = REFUSE(err, GRPC_RESOURCE_EXHAUSTED,
                      "the change is too large: %zu records in %zu bytes, where %d in %d are the "
                      "most: make it in parts",
                      change->op_count, size_of(change), CHANGE_OPS_MAX, CHANGE_BYTES_MAX);
    if (code != GRPC_OK)
        change_fini(change);
    return code;
}

/* ---- checks that builders share ---- */

char *change_text(const char *in)
{
    return (char *)(uintptr_t)in;
}

enum grpc_code change_need_cluster(const struct state *state, struct err *err)
{
    if (state_settings(state)->cluster[0] != '\0')
        return GRPC_OK;
    return REFUSE(err, GRPC_UNAVAILABLE, "there is no cluster yet: the node is still starting");
}

enum grpc_code change_claim_name(const struct state *state, const char *id, const char *text,
                                 char name[ACCESS_NAME_MAX + 1], struct err *err)
{
    if (access_check_name(text, name, err) != 0)
        return GRPC_INVALID_ARGUMENT;
    const struct state_node *node = state_node_by_name(state, name);
    const struct state_peer *peer = state_peer_by_name(state, name);
    const struct state_authorization *given = state_authorization_by_name(state, name);
    const char *owner = NULL;
    if ((peer != NULL && strcmp(peer->id, id) != 0) ||
        (given != NULL && strcmp(given->id, id) != 0))
        owner = "another peer";
    if (node != NULL && strcmp(node->id, id) != 0)
        owner = "a node";
    if (strcmp(name, "localhost") == 0)
        owner = "every host";
    if (owner == NULL)
        return GRPC_OK;
    return REFUSE(err, GRPC_ALREADY_EXISTS, "the name %s is taken by %s: choose another one", name,
                  owner);
}

enum grpc_code change_claim_node_name(const struct state *state, const char *id, const char *text,
                                      char name[ACCESS_NAME_MAX + 1], struct err *err)
{
    if (access_check_name(text, name, err) != 0)
        return GRPC_INVALID_ARGUMENT;
    const struct state_node *node = state_node_by_name(state, name);
    bool taken = node != NULL && strcmp(node->id, id) != 0;
    if (!taken && strcmp(name, "localhost") != 0)
        return GRPC_OK;
    return REFUSE(err, GRPC_ALREADY_EXISTS, "the name %s is taken by %s: choose another one", name,
                  taken ? "another node" : "every host");
}

enum grpc_code change_claim_key(const struct state *state, const char *id, const char *text,
                                uint8_t key[32], struct err *err)
{
    if (access_check_public_key(text, key, err) != 0)
        return GRPC_INVALID_ARGUMENT;
    const struct state_node *node = state_node_by_key(state, key);
    const struct state_peer *peer = state_peer_by_key(state, key);
    if ((node != NULL && strcmp(node->id, id) != 0) || (peer != NULL && strcmp(peer->id, id) != 0))
        return REFUSE(err, GRPC_ALREADY_EXISTS,
                      "the WireGuard key is in use under another id: make a new one");
    return GRPC_OK;
}

enum grpc_code change_check_version(const char *version, struct err *err)
{
    size_t len = strlen(version);
    bool good = len <= CHANGE_VERSION_MAX;
    for (size_t i = 0; i < len && good; i++)
        good = version[i] >= '!' && version[i] <= '~';
    if (!good)
        return REFUSE(err, GRPC_INVALID_ARGUMENT,
                      "a version has at most %d visible characters and no spaces",
                      CHANGE_VERSION_MAX);
    return GRPC_OK;
}
