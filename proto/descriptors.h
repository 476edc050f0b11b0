#ifndef PROTO_DESCRIPTORS_H
#define PROTO_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The schemas of the API, looked up by the names that clients know (gRPC server reflection). */

struct descriptors;

enum { DESCRIPTORS_FILES_MAX = 16, DESCRIPTORS_SERVICES_MAX = 16 };

struct descriptors_file {
    const char *name;     /* "heimdall.proto" */
    const uint8_t *bytes; /* a packed google.protobuf.FileDescriptorProto */
    size_t len;
};

/* 0 or -ENOMEM. */
int descriptors_create(struct descriptors **out);
void descriptors_destroy(struct descriptors *descriptors);

/* The file of this name, or the file that defines the symbol; NULL for none. A symbol is the full
 * name, without a leading dot, of a service, method, message, field, enum or value. */
const struct descriptors_file *descriptors_by_name(const struct descriptors *descriptors,
                                                   const char *name);
const struct descriptors_file *descriptors_by_symbol(const struct descriptors *descriptors,
                                                     const char *symbol);

/* Whether the symbol is a message. */
bool descriptors_is_message(const struct descriptors *descriptors, const char *symbol);

/* Writes the file, then all its imports, each once. Returns the number of files. */
size_t descriptors_with_imports(const struct descriptors *descriptors,
                                const struct descriptors_file *file,
                                const struct descriptors_file *out[DESCRIPTORS_FILES_MAX]);

/* The full name of each service. */
size_t descriptors_service_count(const struct descriptors *descriptors);
const char *descriptors_service_at(const struct descriptors *descriptors, size_t i);

#endif
