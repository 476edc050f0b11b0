/* From the call to the store: handler -> mutation -> writer -> mutation_build -> store -> state ->
 * data plane -> done -> answer. The caller may be gone before the answer; the change is made
 * nevertheless. */
#include "control/api/mutation.h"

#include "base/bytes.h"
#include "base/log.h"
#include "control/cluster/writer.h"
#include "control/state/state.h"
#include "proto/mutation.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

int mutation_create(struct mutation **out, const struct mutation_kind *kind,
                    const ProtobufCMessage *request, const uint8_t *request_id, uint64_t made_ns)
{
    int code = -ENOMEM;
    *out = NULL;
    struct mutation *mutation = calloc(1, sizeof *mutation);
    if (mutation == NULL)
        return -ENOMEM;
    mutation->kind = kind;
    mutation->made_ns = made_ns;
    mutation->packed_len = protobuf_c_message_get_packed_size(request);
    mutation->packed = malloc(mutation->packed_len + 1);
    if (mutation->packed == NULL)
        goto fail;
    (void)protobuf_c_message_pack(request, mutation->packed);
    mutation->request =
        protobuf_c_message_unpack(kind->request, NULL, mutation->packed_len, mutation->packed);
    if (mutation->request == NULL)
        goto fail;
    if (request_id != NULL) {
        memcpy(mutation->request_id, request_id, MUTATION_ID_LEN);
        mutation->has_request_id = true;
    } else if (getrandom(mutation->request_id, MUTATION_ID_LEN, 0) != MUTATION_ID_LEN) {
        code = -EIO;
        goto fail;
    }
    *out = mutation;
    return 0;
fail:
    mutation_destroy(mutation);
    return code;
}

void mutation_destroy(struct mutation *mutation)
{
    if (mutation == NULL)
        return;
    if (mutation->request != NULL)
        protobuf_c_message_free_unpacked(mutation->request, NULL);
    free(mutation->packed);
    free(mutation);
}

/* ---- as bytes ---- */

uint8_t *mutation_pack(const struct mutation *mutation, size_t *len)
{
    Pb__Mutation pb = PB__MUTATION__INIT;
    pb.kind = (char *)(uintptr_t)mutation->kind->name; /* protobuf-c's messages have no const */
    pb.request_id.data = (uint8_t *)(uintptr_t)mutation->request_id;
    pb.request_id.len = MUTATION_ID_LEN;
    pb.made_ns = mutation->made_ns;
    pb.has_request_id = mutation->has_request_id;
    pb.repeat_key = (char *)(uintptr_t)mutation->repeat_key;
    pb.request.data = mutation->packed;
    pb.request.len = mutation->packed_len;
    *len = pb__mutation__get_packed_size(&pb);
    uint8_t *bytes = malloc(*len + 1);
    if (bytes != NULL)
        (void)pb__mutation__pack(&pb, bytes);
    return bytes;
}

int mutation_unpack(struct mutation **out, const uint8_t *bytes, size_t len)
{
    int code = -EBADMSG;
    ProtobufCMessage *request = NULL;
    *out = NULL;
    Pb__Mutation *pb = pb__mutation__unpack(NULL, len, bytes);
    const struct mutation_kind *kind = pb != NULL ? mutation_kind_find(pb->kind) : NULL;
    if (kind != NULL && pb->request_id.len == MUTATION_ID_LEN &&
        strlen(pb->repeat_key) < MUTATION_NAME)
        request = protobuf_c_message_unpack(kind->request, NULL, pb->request.len, pb->request.data);
    if (request != NULL) {
        code = mutation_create(out, kind, request, pb->request_id.data, pb->made_ns);
        if (code == 0) {
            (*out)->has_request_id = pb->has_request_id;
            memcpy((*out)->repeat_key, pb->repeat_key, strlen(pb->repeat_key) + 1);
        }
        protobuf_c_message_free_unpacked(request, NULL);
    }
    pb__mutation__free_unpacked(pb, NULL);
    return code;
}

/* ---- to the store ---- */

const char *mutation_subject(const struct mutation *mutation)
{
    const char *at = (const char *)mutation->request + mutation->kind->subject;
    return *(const char *const *)(const void *)at;
}

enum grpc_code mutation_build(const struct mutation *mutation, struct change *change,
                              const struct state *state, struct err *err)
{
    return mutation->kind->build(change, state, mutation->request, mutation->made_ns, err);
}

/* Whether a change was made for this very request. */
static bool was_made(const struct mutation *mutation, const struct state *state)
{
    char name[MUTATION_NAME];
    bytes_to_hex(name, mutation->request_id, MUTATION_ID_LEN);
    return mutation->has_request_id && state != NULL && state_request(state, name) != NULL;
}

/* Whether a refused request asks again for what was made, and still is as it wanted. */
static bool is_repetition(const struct mutation *mutation, const struct state *state,
                          enum grpc_code code)
{
    return (code == GRPC_NOT_FOUND || code == GRPC_ALREADY_EXISTS) &&
           mutation->repeat_key[0] != '\0' && mutation->kind->holds != NULL &&
           state_request(state, mutation->repeat_key) != NULL &&
           mutation->kind->holds(state, mutation->request);
}

static void keep_names(const struct mutation *mutation, struct change *change,
                       const struct state *state)
{
    char name[MUTATION_NAME];
    if (!mutation->kind->is_kept)
        return;
    bytes_to_hex(name, mutation->request_id, MUTATION_ID_LEN);
    if (mutation->has_request_id)
        change_keep_request(change, state, name, mutation->made_ns);
    if (mutation->repeat_key[0] != '\0')
        change_keep_request(change, state, mutation->repeat_key, mutation->made_ns);
}

static enum grpc_code mutation_write(void *ctx, struct change *change, const struct state *state,
                                     struct err *err)
{
    struct mutation *mutation = ctx;
    if (was_made(mutation, state)) {
        change_init(change);
        return GRPC_OK;
    }
    enum grpc_code code = mutation_build(mutation, change, state, err);
    if (is_repetition(mutation, state, code))
        code = GRPC_OK;
    mutation->changed = code == GRPC_OK && change->op_count > 0;
    if (mutation->changed)
        keep_names(mutation, change, state);
    return code;
}

static void mutation_log(const struct mutation *mutation, uint64_t rev)
{
    const struct mutation_kind *kind = mutation->kind;
    unsigned left_out = 0;
    char id[9];
    if (kind->done_message == NULL ||
        (mutation->may_log != NULL && !mutation->may_log(mutation->ctx, &left_out)))
        return;
    if (kind->subject_name != NULL)
        log_info(kind->done_message, F_STR(kind->subject_name, mutation_subject(mutation)),
                 F_INT("rev", rev));
    else if (left_out > 0)
        log_info(kind->done_message, F_STR("peer", log_short_id(id, mutation_subject(mutation))),
                 F_INT("rev", rev), F_INT("left_out", left_out));
    else
        log_info(kind->done_message, F_STR("peer", log_short_id(id, mutation_subject(mutation))),
                 F_INT("rev", rev));
}

static void mutation_written(void *ctx, enum grpc_code status, const struct err *err, uint64_t rev)
{
    struct mutation *mutation = ctx;
    mutation->job = NULL;
    if (status == GRPC_OK)
        mutation_log(mutation, rev);
    mutation->done(mutation->ctx, mutation, status, err, rev);
    mutation_destroy(mutation);
}

void mutation_submit(struct mutation *mutation, struct writer *writer,
                     void (*done)(void *ctx, const struct mutation *mutation, enum grpc_code status,
                                  const struct err *err, uint64_t rev),
                     void *ctx)
{
    mutation->done = done;
    mutation->ctx = ctx;
    mutation->writer = writer;
    struct writer_job *job = writer_submit(writer, &(struct writer_request){
                                                       .ctx = mutation,
                                                       .build = mutation_write,
                                                       .done = mutation_written,
                                                       .owner = mutation->owner,
                                                   });
    if (job != NULL)
        mutation->job = job;
}

bool mutation_withdraw(struct mutation *mutation)
{
    if (mutation->job == NULL || !writer_drop(mutation->writer, mutation->job))
        return false;
    mutation_destroy(mutation);
    return true;
}
