#include "control/rpc/methods.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void rpc_methods_fini(struct rpc_methods *methods)
{
    for (size_t t = 0; t < methods->count; t++)
        free(methods->tables[t].ended);
    methods->count = 0;
}

int rpc_methods_add(struct rpc_methods *methods, const struct rpc_method *table, size_t count,
                    void *ctx)
{
    if (methods->count == RPC_TABLES_MAX)
        return -ENOMEM;
    struct rpc_method_table added = {table, count, ctx, calloc(count + 1, sizeof *added.ended)};
    if (added.ended == NULL)
        return -ENOMEM;
    methods->tables[methods->count++] = added;
    return 0;
}

const struct rpc_method *rpc_methods_find(const struct rpc_methods *methods, const char *path,
                                          void **ctx)
{
    for (size_t t = 0; t < methods->count; t++) {
        const struct rpc_method_table *table = &methods->tables[t];
        for (size_t m = 0; m < table->count; m++) {
            if (strcmp(table->methods[m].path, path) == 0) {
                *ctx = table->ctx;
                return &table->methods[m];
            }
        }
    }
    return NULL;
}

bool rpc_methods_has_service(const struct rpc_methods *methods, const char *service)
{
    size_t len = strlen(service);
    for (size_t t = 0; t < methods->count; t++)
        for (size_t m = 0; m < methods->tables[t].count; m++) {
            const char *path = methods->tables[t].methods[m].path;
            if (strncmp(path + 1, service, len) == 0 && path[1 + len] == '/')
                return true;
        }
    return false;
}

void rpc_methods_count(struct rpc_methods *methods, const struct rpc_method *method,
                       enum grpc_code code)
{
    for (size_t t = 0; t < methods->count; t++) {
        struct rpc_method_table *table = &methods->tables[t];
        if (method >= table->methods && method < table->methods + table->count)
            table->ended[method - table->methods][code]++;
    }
}

void rpc_methods_each_count(const struct rpc_methods *methods,
                            void (*each)(void *ctx, const char *method, enum grpc_code code,
                                         uint64_t count),
                            void *ctx)
{
    for (size_t t = 0; t < methods->count; t++)
        for (size_t m = 0; m < methods->tables[t].count; m++)
            for (int code = GRPC_OK; code < RPC_CODES; code++)
                if (methods->tables[t].ended[m][code] > 0)
                    each(ctx, methods->tables[t].methods[m].path, (enum grpc_code)code,
                         methods->tables[t].ended[m][code]);
    if (methods->unknown > 0)
        each(ctx, "unknown", GRPC_UNIMPLEMENTED, methods->unknown);
}
