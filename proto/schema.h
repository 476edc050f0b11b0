#ifndef PROTO_SCHEMA_H
#define PROTO_SCHEMA_H

#include <stddef.h>
#include <stdint.h>

/* All schemas of the API with what they import, as a packed google.protobuf.FileDescriptorSet. Made
 * when building. */
extern const uint8_t proto_schema[];
extern const size_t proto_schema_len;

#endif
