#include "cmd/hctl_json.h"

#include "proto/heimdall.pb-c.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static cJSON *json_of_message(const ProtobufCMessage *message);

static cJSON *json_of_timestamp(const Google__Protobuf__Timestamp *stamp)
{
    char text[64] = "";
    struct tm tm;
    time_t seconds = (time_t)stamp->seconds;
    if (gmtime_r(&seconds, &tm) != NULL)
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return cJSON_CreateString(text);
}

static cJSON *json_of_submessage(const ProtobufCMessage *message)
{
    if (message == NULL)
        return cJSON_CreateNull();
    if (message->descriptor == &google__protobuf__timestamp__descriptor)
        return json_of_timestamp((const Google__Protobuf__Timestamp *)(const void *)message);
    return json_of_message(message);
}

/* Handles the field types that the schema uses. */
static cJSON *json_of_value(const ProtobufCFieldDescriptor *field, const void *value)
{
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        const char *text = *(const char *const *)value;
        return cJSON_CreateString(text != NULL ? text : "");
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return json_of_submessage(*(const ProtobufCMessage *const *)value);
    if (field->type == PROTOBUF_C_TYPE_BOOL)
        return cJSON_CreateBool(*(const protobuf_c_boolean *)value);
    if (field->type == PROTOBUF_C_TYPE_UINT64) {
        char digits[24]; /* exact: a double holds integers up to 2^53 only */
        snprintf(digits, sizeof digits, "%" PRIu64, *(const uint64_t *)value);
        return cJSON_CreateRaw(digits);
    }
    if (field->type == PROTOBUF_C_TYPE_INT64) {
        char digits[24];
        snprintf(digits, sizeof digits, "%" PRId64, *(const int64_t *)value);
        return cJSON_CreateRaw(digits);
    }
    return cJSON_CreateNull();
}

static size_t size_of_value(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE
               ? sizeof(void *)
               : sizeof(uint64_t);
}

static cJSON *json_of_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const char *at = (const char *)message + field->offset;
    if (field->label != PROTOBUF_C_LABEL_REPEATED)
        return json_of_value(field, at);
    cJSON *array = cJSON_CreateArray();
    size_t count =
        *(const size_t *)(const void *)((const char *)message + field->quantifier_offset);
    const char *values = *(const char *const *)(const void *)at;
    for (size_t i = 0; array != NULL && i < count; i++)
        cJSON_AddItemToArray(array, json_of_value(field, values + i * size_of_value(field)));
    return array;
}

/* Fields that are left out: one that is always empty, one of pages that hctl has put together, and
 * a route's option while it is off. */
static bool is_left_out(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const void *at = (const char *)message + field->offset;
    return strcmp(field->name, "private_key") == 0 || strcmp(field->name, "next_page_token") == 0 ||
           (strcmp(field->name, "inbound") == 0 && !*(const protobuf_c_boolean *)at);
}

static cJSON *json_of_message(const ProtobufCMessage *message)
{
    cJSON *object = cJSON_CreateObject();
    for (unsigned i = 0; object != NULL && i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (!is_left_out(message, field))
            cJSON_AddItemToObject(object, field->name, json_of_field(message, field));
    }
    return object;
}

/* Takes ownership of `object`, which may be NULL. */
static int print_object(FILE *file, cJSON *object, bool indented)
{
    char *text = object == NULL ? NULL
                 : indented     ? cJSON_Print(object)
                                : cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    if (text == NULL)
        return -ENOMEM;
    fprintf(file, "%s\n", text);
    cJSON_free(text);
    return 0;
}

int json_print(FILE *file, const ProtobufCMessage *message)
{
    return print_object(file, json_of_message(message), true);
}

int json_print_error(FILE *file, const char *code, const char *message, int exit_status)
{
    cJSON *object = cJSON_CreateObject();
    cJSON *error = object != NULL ? cJSON_AddObjectToObject(object, "error") : NULL;
    if (error == NULL || cJSON_AddStringToObject(error, "code", code) == NULL ||
        cJSON_AddStringToObject(error, "message", message) == NULL ||
        cJSON_AddNumberToObject(error, "exit_status", exit_status) == NULL) {
        cJSON_Delete(object);
        return -ENOMEM;
    }
    return print_object(file, object, false);
}
