#include "proto/descriptors.h"

#include "proto/google/protobuf/descriptor.pb-c.h"
#include "proto/schema.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERVICE_NAME = 96 };

struct descriptors {
    Google__Protobuf__FileDescriptorSet *set;
    struct descriptors_file files[DESCRIPTORS_FILES_MAX]; /* in the set's order */
    size_t file_count;
    char services[DESCRIPTORS_SERVICES_MAX][SERVICE_NAME];
    size_t service_count;
};

static int pack_file(struct descriptors_file *out,
                     const Google__Protobuf__FileDescriptorProto *file)
{
    out->name = file->name;
    out->len = google__protobuf__file_descriptor_proto__get_packed_size(file);
    uint8_t *bytes = malloc(out->len);
    if (bytes == NULL)
        return -ENOMEM;
    google__protobuf__file_descriptor_proto__pack(file, bytes);
    out->bytes = bytes;
    return 0;
}

static void note_services(struct descriptors *descriptors,
                          const Google__Protobuf__FileDescriptorProto *file)
{
    for (size_t i = 0; i < file->n_service; i++) {
        assert(descriptors->service_count < DESCRIPTORS_SERVICES_MAX);
        snprintf(descriptors->services[descriptors->service_count++], SERVICE_NAME, "%s.%s",
                 file->package, file->service[i]->name);
    }
}

int descriptors_create(struct descriptors **out)
{
    int code = 0;
    *out = NULL;
    struct descriptors *descriptors = calloc(1, sizeof *descriptors);
    if (descriptors == NULL)
        return -ENOMEM;
    descriptors->set =
        google__protobuf__file_descriptor_set__unpack(NULL, proto_schema_len, proto_schema);
    if (descriptors->set == NULL)
        code = -ENOMEM;
    for (size_t i = 0; code == 0 && i < descriptors->set->n_file; i++) {
        assert(i < DESCRIPTORS_FILES_MAX);
        code = pack_file(&descriptors->files[i], descriptors->set->file[i]);
        descriptors->file_count++;
        note_services(descriptors, descriptors->set->file[i]);
    }
    if (code < 0) {
        descriptors_destroy(descriptors);
        return code;
    }
    *out = descriptors;
    return 0;
}

void descriptors_destroy(struct descriptors *descriptors)
{
    if (descriptors == NULL)
        return;
    for (size_t i = 0; i < descriptors->file_count; i++)
        free((uint8_t *)(uintptr_t)descriptors->files[i].bytes);
    if (descriptors->set != NULL)
        google__protobuf__file_descriptor_set__free_unpacked(descriptors->set, NULL);
    free(descriptors);
}

/* ---- symbols ---- */

/* The rest of `symbol` behind `name`: "" or the part after the dot. NULL when it begins with
 * another name. */
static const char *behind(const char *symbol, const char *name)
{
    size_t len = strlen(name);
    if (strncmp(symbol, name, len) != 0)
        return NULL;
    if (symbol[len] == '.')
        return symbol + len + 1;
    return symbol[len] == '\0' ? symbol + len : NULL;
}

static bool enum_has(const Google__Protobuf__EnumDescriptorProto *type, const char *symbol)
{
    const char *rest = behind(symbol, type->name);
    if (rest == NULL)
        return false;
    for (size_t i = 0; i < type->n_value; i++)
        if (strcmp(rest, type->value[i]->name) == 0)
            return true;
    return rest[0] == '\0';
}

static bool message_has(const Google__Protobuf__DescriptorProto *type, const char *symbol,
                        bool itself)
{
    const char *rest = behind(symbol, type->name);
    if (rest == NULL || rest[0] == '\0')
        return rest != NULL;
    for (size_t i = 0; i < type->n_nested_type; i++)
        if (message_has(type->nested_type[i], rest, itself))
            return true;
    if (itself)
        return false;
    for (size_t i = 0; i < type->n_field; i++)
        if (strcmp(rest, type->field[i]->name) == 0)
            return true;
    for (size_t i = 0; i < type->n_enum_type; i++)
        if (enum_has(type->enum_type[i], rest))
            return true;
    return false;
}

static bool service_has(const Google__Protobuf__ServiceDescriptorProto *service, const char *symbol)
{
    const char *rest = behind(symbol, service->name);
    if (rest == NULL)
        return false;
    for (size_t i = 0; i < service->n_method; i++)
        if (strcmp(rest, service->method[i]->name) == 0)
            return true;
    return rest[0] == '\0';
}

static bool file_has_message(const Google__Protobuf__FileDescriptorProto *file, const char *symbol,
                             bool itself)
{
    const char *rest = behind(symbol, file->package);
    for (size_t i = 0; rest != NULL && i < file->n_message_type; i++)
        if (message_has(file->message_type[i], rest, itself))
            return true;
    return false;
}

static bool file_has(const Google__Protobuf__FileDescriptorProto *file, const char *symbol)
{
    const char *rest = behind(symbol, file->package);
    if (rest == NULL)
        return false;
    for (size_t i = 0; i < file->n_service; i++)
        if (service_has(file->service[i], rest))
            return true;
    for (size_t i = 0; i < file->n_enum_type; i++)
        if (enum_has(file->enum_type[i], rest))
            return true;
    return file_has_message(file, symbol, false);
}

/* ---- look-ups ---- */

const struct descriptors_file *descriptors_by_name(const struct descriptors *descriptors,
                                                   const char *name)
{
    for (size_t i = 0; i < descriptors->file_count; i++)
        if (strcmp(descriptors->files[i].name, name) == 0)
            return &descriptors->files[i];
    return NULL;
}

const struct descriptors_file *descriptors_by_symbol(const struct descriptors *descriptors,
                                                     const char *symbol)
{
    for (size_t i = 0; i < descriptors->file_count; i++)
        if (file_has(descriptors->set->file[i], symbol))
            return &descriptors->files[i];
    return NULL;
}

bool descriptors_is_message(const struct descriptors *descriptors, const char *symbol)
{
    for (size_t i = 0; i < descriptors->file_count; i++)
        if (file_has_message(descriptors->set->file[i], symbol, true))
            return true;
    return false;
}

static bool is_among(const struct descriptors_file *const *files, size_t count,
                     const struct descriptors_file *file)
{
    for (size_t i = 0; i < count; i++)
        if (files[i] == file)
            return true;
    return false;
}

size_t descriptors_with_imports(const struct descriptors *descriptors,
                                const struct descriptors_file *file,
                                const struct descriptors_file *out[DESCRIPTORS_FILES_MAX])
{
    size_t count = 1;
    out[0] = file;
    for (size_t i = 0; i < count; i++) {
        const Google__Protobuf__FileDescriptorProto *of =
            descriptors->set->file[out[i] - descriptors->files];
        for (size_t d = 0; d < of->n_dependency; d++) {
            file = descriptors_by_name(descriptors, of->dependency[d]);
            if (file != NULL && !is_among(out, count, file))
                out[count++] = file;
        }
    }
    return count;
}

size_t descriptors_service_count(const struct descriptors *descriptors)
{
    return descriptors->service_count;
}

const char *descriptors_service_at(const struct descriptors *descriptors, size_t i)
{
    return descriptors->services[i];
}
