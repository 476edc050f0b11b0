#ifndef PROTO_STRINGS_H
#define PROTO_STRINGS_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False when a string field of this packed message, or of one inside it, has a NUL in it:
 * protobuf-c hands out C strings, in which "a\0b" would pass for "a". Also false when the message
 * is malformed. */
bool strings_are_whole(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len);

#endif
