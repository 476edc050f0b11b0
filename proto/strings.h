#ifndef PROTO_STRINGS_H
#define PROTO_STRINGS_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False when a string field of this packed message, or of one inside it, contains a NUL, or when
 * the message is malformed. protobuf-c returns C strings, in which "a\0b" would pass for "a". */
bool strings_are_whole(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len);

#endif
