/* v1alpha differs from v1 in the name of the package alone, which is not on the wire. One handler
 * and one set of messages serve both. */
#include "control/api/reflection.h"

#include "control/rpc/server.h"
#include "proto/descriptors.h"
#include "proto/reflection_v1.pb-c.h"

#include <errno.h>
#include <stdlib.h>

struct rpc_reflection {
    struct descriptors *descriptors;
};

/* An answer with storage for everything that it may point at. */
struct answer {
    Pb__ServerReflectionResponse pb;
    Pb__FileDescriptorResponse files;
    Pb__ExtensionNumberResponse extensions;
    Pb__ListServiceResponse list;
    Pb__ErrorResponse error;
    ProtobufCBinaryData file_bytes[DESCRIPTORS_FILES_MAX];
    Pb__ServiceResponse services[DESCRIPTORS_SERVICES_MAX];
    Pb__ServiceResponse *service_list[DESCRIPTORS_SERVICES_MAX];
};

static void answer_error(struct answer *answer, enum grpc_code code, char *text)
{
    pb__error_response__init(&answer->error);
    answer->error.error_code = (int32_t)code;
    answer->error.error_message = text;
    answer->pb.message_response_case =
        PB__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    answer->pb.error_response = &answer->error;
}

static void answer_not_found(struct answer *answer)
{
    static char text[] = "the API has nothing of this name";
    answer_error(answer, GRPC_NOT_FOUND, text);
}

static void answer_file(struct answer *answer, const struct descriptors *descriptors,
                        const struct descriptors_file *file)
{
    const struct descriptors_file *files[DESCRIPTORS_FILES_MAX];
    if (file == NULL) {
        answer_not_found(answer);
        return;
    }
    size_t count = descriptors_with_imports(descriptors, file, files);
    for (size_t i = 0; i < count; i++)
        answer->file_bytes[i] =
            (ProtobufCBinaryData){files[i]->len, (uint8_t *)(uintptr_t)files[i]->bytes};
    pb__file_descriptor_response__init(&answer->files);
    answer->files.n_file_descriptor_proto = count;
    answer->files.file_descriptor_proto = answer->file_bytes;
    answer->pb.message_response_case =
        PB__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    answer->pb.file_descriptor_response = &answer->files;
}

/* The schema has no extensions. */
static void answer_extensions(struct answer *answer, const struct descriptors *descriptors,
                              char *type)
{
    if (!descriptors_is_message(descriptors, type)) {
        answer_not_found(answer);
        return;
    }
    pb__extension_number_response__init(&answer->extensions);
    answer->extensions.base_type_name = type;
    answer->pb.message_response_case =
        PB__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    answer->pb.all_extension_numbers_response = &answer->extensions;
}

static void answer_services(struct answer *answer, const struct descriptors *descriptors)
{
    size_t count = descriptors_service_count(descriptors);
    for (size_t i = 0; i < count; i++) {
        pb__service_response__init(&answer->services[i]);
        answer->services[i].name = (char *)(uintptr_t)descriptors_service_at(descriptors, i);
        answer->service_list[i] = &answer->services[i];
    }
    pb__list_service_response__init(&answer->list);
    answer->list.n_service = count;
    answer->list.service = answer->service_list;
    answer->pb.message_response_case =
        PB__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    answer->pb.list_services_response = &answer->list;
}

static void answer_fill(struct answer *answer, const struct descriptors *descriptors,
                        const Pb__ServerReflectionRequest *request)
{
    static char nothing_asked[] = "the request asks for nothing that is known here";
    pb__server_reflection_response__init(&answer->pb);
    answer->pb.valid_host = request->host;
    answer->pb.original_request = (Pb__ServerReflectionRequest *)(uintptr_t)request;
    switch (request->message_request_case) {
    case PB__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        answer_file(answer, descriptors,
                    descriptors_by_name(descriptors, request->file_by_filename));
        return;
    case PB__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        answer_file(answer, descriptors,
                    descriptors_by_symbol(descriptors, request->file_containing_symbol));
        return;
    case PB__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
        answer_not_found(answer);
        return;
    case PB__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        answer_extensions(answer, descriptors, request->all_extension_numbers_of_type);
        return;
    case PB__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        answer_services(answer, descriptors);
        return;
    case PB__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST__NOT_SET:
    case _PB__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST__CASE_IS_INT_SIZE:
        break;
    }
    answer_error(answer, GRPC_INVALID_ARGUMENT, nothing_asked);
}

static void handle_info(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct rpc_reflection *reflection = ctx;
    struct answer answer;
    answer_fill(&answer, reflection->descriptors,
                (const Pb__ServerReflectionRequest *)(const void *)message);
    if (rpc_call_send(call, &answer.pb.base) < 0)
        rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "the answers are not read");
}

#define METHOD(version)                                                                            \
    {                                                                                              \
        "/grpc.reflection." version ".ServerReflection/ServerReflectionInfo", RPC_BIDI_STREAM,     \
            TRANSPORT_NODE | TRANSPORT_ADMIN, &pb__server_reflection_request__descriptor,          \
            &pb__server_reflection_response__descriptor, handle_info                               \
    }

int rpc_reflection_create(struct rpc_reflection **out, struct rpc_server *server)
{
    static const struct rpc_method methods[] = {METHOD("v1"), METHOD("v1alpha")};
    *out = NULL;
    struct rpc_reflection *reflection = calloc(1, sizeof *reflection);
    if (reflection == NULL)
        return -ENOMEM;
    int code = descriptors_create(&reflection->descriptors);
    if (code == 0)
        code = rpc_server_add(server, methods, sizeof methods / sizeof methods[0], reflection);
    if (code < 0) {
        rpc_reflection_destroy(reflection);
        return code;
    }
    *out = reflection;
    return 0;
}

void rpc_reflection_destroy(struct rpc_reflection *reflection)
{
    if (reflection == NULL)
        return;
    descriptors_destroy(reflection->descriptors);
    free(reflection);
}
