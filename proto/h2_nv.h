#ifndef PROTO_H2_NV_H
#define PROTO_H2_NV_H

#include <nghttp2/nghttp2.h>
#include <string.h>

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

#endif
