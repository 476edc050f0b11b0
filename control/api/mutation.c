/* From the call to the store: handler -> mutation -> writer -> mutation_build -> store -> state ->
 * data plane -> done -> answer. The caller may be gone before the answer; the change is made
 * nevertheless. */
#include "control/api/mutation.h"

#include "base/log.h"
#include "control/cluster/writer.h"
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
    if (kind != NULL && pb->request_id.len == MUTATION_ID_LEN)
        request = protobuf_c_message_unpack(kind->request, NULL, pb->request.len, pb->request.data);
    if (request != NULL) {
        code = mutation_create(out, kind, request, pb->request_id.data, pb->made_ns);
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

static enum grpc_code mutation_write(void *ctx, struct change *change, const struct state *state,
                                     struct err *err)
{
    struct mutation *mutation = ctx;
    enum grpc_code code = mutation_build(mutation, change, state, err);
    mutation->changed = code == GRPC_OK && change->op_count > 0;
    return code;
}

static void mutation_log(const struct mutation *mutation, uint64_t rev)
{
    const struct mutation_kind *kind = mutation->kind;
    char id[9];
    if (kind->done_message == NULL)
        return;
    if (kind->subject_name != NULL)
        log_info(kind->done_message, F_STR(kind->subject_name, mutation_subject(mutation)),
                 F_INT("rev", rev));
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
