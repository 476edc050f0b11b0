#ifndef PROTO_H2_COMMON_H
#define PROTO_H2_COMMON_H

#include "base/buffer.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <string.h>

/* Shared by the sessions of both sides. */

/* A header field for nghttp2, which copies it when the frame is submitted. */
static inline nghttp2_nv h2_nv(const char *name, const char *value)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .value = (uint8_t *)(uintptr_t)value,
        .namelen = strlen(name),
        .valuelen = strlen(value),
        .flags = NGHTTP2_NV_FLAG_NONE,
    };
}

enum {
    H2_STREAM_WINDOW = 1 << 20,
    H2_CONNECTION_WINDOW = 4 << 20,
};

/* Appends bytes that the session has to send, until `max` is reached or nothing is left. Returns 0
 * or -ENOMEM. */
static inline int h2_session_pull(nghttp2_session *session, struct buffer *out, size_t max)
{
    size_t start = buffer_len(out);
    while (buffer_len(out) - start < max) {
        const uint8_t *bytes;
        ssize_t len = nghttp2_session_mem_send(session, &bytes);
        if (len < 0)
            return -ENOMEM;
        if (len == 0)
            break;
        buffer_append(out, bytes, (size_t)len);
        if (buffer_failed(out))
            return -ENOMEM;
    }
    return 0;
}

#endif
