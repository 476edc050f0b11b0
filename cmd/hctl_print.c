#include "cmd/hctl_print.h"

#include "proto/heimdall.pb-c.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COLUMNS_MAX = 16, GAP = 3 };

static const char *cell(char *const *cells, size_t columns, size_t row, size_t column)
{
    const char *text = cells[row * columns + column];
    return text != NULL ? text : "";
}

void print_table(FILE *file, const char *const *headers, size_t columns, char *const *cells,
                 size_t rows)
{
    size_t width[COLUMNS_MAX] = {0};
    for (size_t c = 0; c < columns; c++) {
        width[c] = strlen(headers[c]);
        for (size_t r = 0; r < rows; r++)
            if (strlen(cell(cells, columns, r, c)) > width[c])
                width[c] = strlen(cell(cells, columns, r, c));
    }
    for (size_t line = 0; line <= rows; line++) {
        size_t owed = 0; /* spaces, written only when something follows */
        for (size_t c = 0; c < columns; c++) {
            const char *text = line == 0 ? headers[c] : cell(cells, columns, line - 1, c);
            if (*text != '\0') {
                fprintf(file, "%*s%s", (int)owed, "", text);
                owed = 0;
            }
            owed += width[c] - strlen(text) + GAP;
        }
        fputc('\n', file);
    }
}

const char *print_age(char *out, size_t size, int64_t then, int64_t now)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
    int64_t age = now - then;
    snprintf(out, size, "now");
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (age >= units[i].seconds) {
            int64_t count = age / units[i].seconds;
            snprintf(out, size, "%lld %s%s ago", (long long)count, units[i].name,
                     count == 1 ? "" : "s");
            break;
        }
    return out;
}

/* ---- JSON ---- */

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

/* Of the types that our schema has. */
static cJSON *json_of_value(const ProtobufCFieldDescriptor *field, const void *value)
{
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        const char *text = *(const char *const *)value;
        return cJSON_CreateString(text != NULL ? text : "");
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return json_of_submessage(*(const ProtobufCMessage *const *)value);
    if (field->type == PROTOBUF_C_TYPE_UINT64)
        return cJSON_CreateNumber((double)*(const uint64_t *)value);
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

static cJSON *json_of_message(const ProtobufCMessage *message)
{
    cJSON *object = cJSON_CreateObject();
    for (unsigned i = 0; object != NULL && i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        if (strcmp(field->name, "private_key") != 0) /* always empty, and never to be shown */
            cJSON_AddItemToObject(object, field->name, json_of_field(message, field));
    }
    return object;
}

int print_json(FILE *file, const ProtobufCMessage *message)
{
    cJSON *object = json_of_message(message);
    char *text = object != NULL ? cJSON_Print(object) : NULL;
    cJSON_Delete(object);
    if (text == NULL)
        return -ENOMEM;
    fprintf(file, "%s\n", text);
    cJSON_free(text);
    return 0;
}
