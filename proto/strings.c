#include "proto/strings.h"

#include <string.h>

enum { DEPTH_MAX = 32 };

/* The wire types of protobuf's encoding; groups are not used. */
enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct reader {
    const uint8_t *at;
    size_t left;
};

static bool skip(struct reader *reader, uint64_t len)
{
    if (len > reader->left)
        return false;
    reader->at += len;
    reader->left -= (size_t)len;
    return true;
}

static bool read_varint(struct reader *reader, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && reader->left > 0; shift += 7) {
        uint8_t byte = *reader->at;
        (void)skip(reader, 1);
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return true;
    }
    return false;
}

static bool message_is_whole(const ProtobufCMessageDescriptor *type, const uint8_t *bytes,
                             size_t len, unsigned depth);

/* `field` is NULL for an unknown one. */
static bool bytes_are_whole(const ProtobufCFieldDescriptor *field, const uint8_t *bytes, size_t len,
                            unsigned depth)
{
    if (field == NULL)
        return true;
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return memchr(bytes, '\0', len) == NULL;
    return field->type != PROTOBUF_C_TYPE_MESSAGE ||
           message_is_whole(field->descriptor, bytes, len, depth + 1);
}

static bool field_is_whole(const ProtobufCMessageDescriptor *type, struct reader *reader,
                           unsigned depth)
{
    uint64_t tag;
    uint64_t value;
    if (!read_varint(reader, &tag) || tag >> 3 > UINT32_MAX)
        return false;
    switch (tag & 7) {
    case WIRE_VARINT:
        return read_varint(reader, &value);
    case WIRE_64:
        return skip(reader, 8);
    case WIRE_32:
        return skip(reader, 4);
    case WIRE_BYTES:
        break;
    default:
        return false;
    }
    const uint8_t *bytes;
    if (!read_varint(reader, &value))
        return false;
    bytes = reader->at;
    return skip(reader, value) &&
           bytes_are_whole(protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3)),
                           bytes, (size_t)value, depth);
}

static bool message_is_whole(const ProtobufCMessageDescriptor *type, const uint8_t *bytes,
                             size_t len, unsigned depth)
{
    struct reader reader = {bytes, len};
    while (reader.left > 0)
        if (depth > DEPTH_MAX || !field_is_whole(type, &reader, depth))
            return false;
    return true;
}

bool strings_are_whole(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len)
{
    return message_is_whole(type, bytes, len, 0);
}
