#include "base/buffer.h"

#include "base/bytes.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_init(struct buffer *buffer)
{
    *buffer = (struct buffer){0};
}

void buffer_init_secret(struct buffer *buffer)
{
    *buffer = (struct buffer){.secret = true};
}

static void free_bytes(struct buffer *buffer)
{
    if (buffer->secret && buffer->bytes != NULL)
        bytes_wipe(buffer->bytes, buffer->capacity);
    free(buffer->bytes);
}

void buffer_fini(struct buffer *buffer)
{
    free_bytes(buffer);
    *buffer = (struct buffer){.secret = buffer->secret};
}

const uint8_t *buffer_data(const struct buffer *buffer)
{
    return buffer->bytes == NULL ? NULL : buffer->bytes + buffer->start; /* never NULL + 0 */
}

size_t buffer_len(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

bool buffer_failed(const struct buffer *buffer)
{
    return buffer->failed;
}

/* Moves the bytes to a larger block; NULL when out of memory. realloc would leave a copy behind. */
static uint8_t *enlarge(struct buffer *buffer, size_t capacity)
{
    if (!buffer->secret)
        return realloc(buffer->bytes, capacity);
    uint8_t *bytes = malloc(capacity);
    if (bytes == NULL)
        return NULL;
    if (buffer->end > 0)
        memcpy(bytes, buffer->bytes, buffer->end);
    free_bytes(buffer);
    return bytes;
}

uint8_t *buffer_reserve(struct buffer *buffer, size_t len)
{
    if (buffer->failed)
        return NULL;
    if (buffer->capacity - buffer->end >= len)
        return buffer->bytes + buffer->end;
    size_t held = buffer_len(buffer);
    if (buffer->start > 0) {
        memmove(buffer->bytes, buffer->bytes + buffer->start, held);
        buffer->start = 0;
        buffer->end = held;
    }
    if (buffer->capacity - held < len) {
        size_t capacity = buffer->capacity > 0 ? buffer->capacity : 256;
        while (capacity - held < len && capacity <= SIZE_MAX / 2)
            capacity *= 2;
        uint8_t *bytes = capacity - held < len ? NULL : enlarge(buffer, capacity);
        if (bytes == NULL) {
            buffer->failed = true;
            return NULL;
        }
        buffer->bytes = bytes;
        buffer->capacity = capacity;
    }
    return buffer->bytes + buffer->end;
}

void buffer_commit(struct buffer *buffer, size_t len)
{
    assert(buffer->capacity - buffer->end >= len);
    buffer->end += len;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t len)
{
    uint8_t *room = buffer_reserve(buffer, len);
    if (room == NULL || len == 0)
        return;
    memcpy(room, bytes, len);
    buffer_commit(buffer, len);
}

void buffer_append_string(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

/* Mostly the text fits into what was reserved, and is made only once. */
void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    char *room = (char *)buffer_reserve(buffer, 1);
    size_t size = room == NULL ? 0 : buffer->capacity - buffer->end;
    int len = vsnprintf(room, size, format, args);
    if (len >= 0 && (size_t)len >= size) {
        room = (char *)buffer_reserve(buffer, (size_t)len + 1);
        if (room != NULL)
            vsnprintf(room, (size_t)len + 1, format, again);
    }
    if (len < 0 || room == NULL)
        buffer->failed = true;
    else
        buffer_commit(buffer, (size_t)len);
    va_end(again);
    va_end(args);
}

void buffer_consume(struct buffer *buffer, size_t len)
{
    assert(len <= buffer_len(buffer));
    buffer->start += len;
    if (buffer->start == buffer->end)
        buffer_clear(buffer);
}

void buffer_truncate(struct buffer *buffer, size_t len)
{
    assert(len <= buffer_len(buffer));
    buffer->end = buffer->start + len;
    if (len == 0)
        buffer_clear(buffer);
}

void buffer_clear(struct buffer *buffer)
{
    buffer->start = 0;
    buffer->end = 0;
}
