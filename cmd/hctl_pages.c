/* Messages of protobuf are merged by writing one behind the other: lists are joined, other fields
 * take the last value. */
#include "cmd/hctl_pages.h"

#include "base/buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_SIZE = 10000 }; /* records, about 2 MiB */

struct pages {
    struct buffer packed; /* all pages so far */
    char *token;          /* of the next one; NULL: the list ended */
};

/* The field of this name, which the message must have. */
static void *field_of(const ProtobufCMessage *message, const char *name)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);
    return (char *)(uintptr_t)message + field->offset;
}

static enum grpc_code no_memory(struct err *err)
{
    err_set(err, -ENOMEM, "out of memory");
    return GRPC_RESOURCE_EXHAUSTED;
}

static enum grpc_code take_page(void *ctx, const ProtobufCMessage *page, struct err *err)
{
    struct pages *pages = ctx;
    const char *token = *(const char *const *)field_of(page, "next_page_token");
    size_t len = protobuf_c_message_get_packed_size(page);
    uint8_t *room = buffer_reserve(&pages->packed, len + 1);
    if (room == NULL)
        return no_memory(err);
    buffer_commit(&pages->packed, protobuf_c_message_pack(page, room));
    if (pages->token != NULL && strcmp(token, pages->token) == 0) {
        err_set(err, -EBADMSG, "the node answers one page of the list over and over");
        return GRPC_INTERNAL;
    }
    free(pages->token);
    pages->token = token[0] != '\0' ? strdup(token) : NULL;
    return token[0] != '\0' && pages->token == NULL ? no_memory(err) : GRPC_OK;
}

static enum grpc_code pages_read(struct pages *pages, struct session *session, const char *path,
                                 ProtobufCMessage *request,
                                 const ProtobufCMessageDescriptor *response, struct err *err)
{
    char **token = field_of(request, "page_token");
    char *none = *token;
    enum grpc_code code;
    *(uint64_t *)field_of(request, "page_size") = PAGE_SIZE;
    do {
        *token = pages->token != NULL ? pages->token : none;
        code = session_call(session, path, request, response, take_page, pages, err);
    } while (code == GRPC_OK && pages->token != NULL);
    *token = none;
    return code;
}

enum grpc_code pages_call(struct session *session, const char *path, ProtobufCMessage *request,
                          const ProtobufCMessageDescriptor *response,
                          enum grpc_code (*answer)(void *ctx, const ProtobufCMessage *response,
                                                   struct err *err),
                          void *ctx, struct err *err)
{
    struct pages pages = {.token = NULL};
    buffer_init(&pages.packed);
    enum grpc_code code = pages_read(&pages, session, path, request, response, err);
    if (code == GRPC_OK) {
        ProtobufCMessage *whole = protobuf_c_message_unpack(
            response, NULL, buffer_len(&pages.packed), buffer_data(&pages.packed));
        code = whole != NULL ? answer(ctx, whole, err) : no_memory(err);
        if (whole != NULL)
            protobuf_c_message_free_unpacked(whole, NULL);
    }
    free(pages.token);
    buffer_fini(&pages.packed);
    return code;
}
