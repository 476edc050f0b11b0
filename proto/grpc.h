#ifndef PROTO_GRPC_H
#define PROTO_GRPC_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The parts of gRPC over HTTP/2 (PROTOCOL-HTTP2) that are plain data: status codes, message
 * framing, the encoding of grpc-message and grpc-timeout. */

enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

enum {
    GRPC_MESSAGE_MAX = 4 * 1024 * 1024, /* default limit of one message, both directions */
    GRPC_PREFIX_LEN = 5,                /* compressed flag, big-endian length */
    GRPC_TIMEOUT_TEXT = 12,             /* up to 8 digits, a unit, a NUL */
    GRPC_STATUS_TEXT_MAX = 1024,        /* longest status text kept, with its NUL */
};

/* "NOT_FOUND" and so on; "UNKNOWN" for any other number. */
const char *grpc_code_name(int code);

/* The code of an HTTP status without grpc-status (http-grpc-status-mapping). */
enum grpc_code grpc_code_from_http(int http_status);

/* Appends the percent-encoded text: every byte outside 0x20..0x7e and '%' as %XX. */
void grpc_percent_encode(struct buffer *out, const char *text);

/* Decodes into `out`, ended by a NUL and cut to `capacity`. Invalid sequences stay as they are. */
void grpc_percent_decode(char *out, size_t capacity, const char *text, size_t len);

/* grpc-timeout: 1..8 digits and one of H M S m u n. A value too large to count is UINT64_MAX. */
bool grpc_timeout_parse(uint64_t *ns, const char *text, size_t len);
const char *grpc_timeout_format(char out[GRPC_TIMEOUT_TEXT], uint64_t ns);

/* Appends one framed, uncompressed message. */
void grpc_frame_append(struct buffer *out, const void *message, size_t len);

/* Cuts a byte stream into messages. */
struct grpc_deframer {
    struct buffer partial;
    size_t limit; /* of one message */
};

void grpc_deframer_init(struct grpc_deframer *deframer, size_t limit);
void grpc_deframer_fini(struct grpc_deframer *deframer);

/* Adds received bytes, calling `message` for each one that is complete; `message` returns false to
 * stop, which drops the rest. Returns GRPC_OK, RESOURCE_EXHAUSTED for a message over the limit
 * or for lack of memory, UNIMPLEMENTED for a compressed one, INTERNAL for a malformed prefix. */
enum grpc_code grpc_deframer_feed(struct grpc_deframer *deframer, const uint8_t *bytes, size_t len,
                                  bool (*message)(void *ctx, const uint8_t *bytes, size_t len),
                                  void *ctx);

/* Whether a message has begun and not ended. */
bool grpc_deframer_is_partial(const struct grpc_deframer *deframer);

#endif
