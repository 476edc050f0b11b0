#include "cmd/hctl_output.h"

#include "cmd/hctl_json.h"
#include "cmd/hctl_pages.h"
#include "proto/heimdall.pb-c.h"

#include <assert.h>
#include <errno.h>

static enum grpc_code printed(int code, struct err *err)
{
    if (code == 0)
        return GRPC_OK;
    err_set(err, code, "out of memory");
    return GRPC_RESOURCE_EXHAUSTED;
}

enum grpc_code output_json(const ProtobufCMessage *message, struct err *err)
{
    return printed(json_print(stdout, message), err);
}

enum grpc_code output_change(const struct invocation *invocation, const ProtobufCMessage *message,
                             struct err *err)
{
    return invocation->config.json ? output_json(message, err) : GRPC_OK;
}

enum grpc_code output_table(const struct invocation *invocation, struct table *table,
                            struct err *err)
{
    int code = table_print(table, stdout, &invocation->page);
    table_fini(table);
    return printed(code, err);
}

static enum grpc_code answer_as_json(void *ctx, const ProtobufCMessage *response, struct err *err)
{
    (void)ctx;
    return output_json(response, err);
}

enum grpc_code
output_call(struct invocation *invocation, const char *path,
            const ProtobufCMessageDescriptor *request, const ProtobufCMessageDescriptor *response,
            enum grpc_code (*print)(void *ctx, const ProtobufCMessage *response, struct err *err),
            struct err *err)
{
    union { /* requests for lists have one layout */
        ProtobufCMessage base;
        Pb__PeersRequest peers;
    } empty;
    assert(request->sizeof_message == sizeof empty);
    protobuf_c_message_init(request, &empty);
    return pages_call(invocation->session, path, &empty.base, response,
                      invocation->config.json ? answer_as_json : print, invocation, err);
}
