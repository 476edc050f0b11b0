#include "fuzz/fuzz.h"
#include "proto/cluster.pb-c.h"
#include "proto/heimdall.pb-c.h"
#include "proto/strings.h"

#include <stdlib.h>
#include <string.h>

/* Any bytes as a message of the API. A message that protobuf-c accepts and that has no NUL is
 * whole. What protobuf-c unpacked is whole again when packed. */

static const ProtobufCMessageDescriptor *const types[] = {
    &pb__connect_request__descriptor,
    &pb__create_route_request__descriptor,
    &pb__rename_peer_request__descriptor,
    &pb__watch_response__descriptor,
};

static void check_again(const ProtobufCMessageDescriptor *type, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(len + 1);
    require(packed != NULL);
    require(protobuf_c_message_pack(message, packed) == len);
    require(strings_are_whole(type, packed, len));
    free(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    const ProtobufCMessageDescriptor *type =
        types[input_byte(&input) % (sizeof types / sizeof types[0])];
    uint8_t *bytes = malloc(input.left + 1);
    require(bytes != NULL);
    size_t len = input.left;
    input_fill(&input, bytes, len);
    bytes = realloc(
        bytes, len > 0 ? len : 1); /* exact length, so that a sanitizer sees a read past the end */
    require(bytes != NULL);
    bool whole = strings_are_whole(type, bytes, len);
    ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, len, bytes);
    if (message != NULL) {
        require(whole || memchr(bytes, '\0', len) != NULL);
        check_again(type, message);
        protobuf_c_message_free_unpacked(message, NULL);
    }
    free(bytes);
    return 0;
}
