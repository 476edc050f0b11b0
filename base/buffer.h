#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing byte buffer that is filled at the end and consumed at the front. A failed allocation is
 * remembered, so that a series of appends needs one check, buffer_failed(), at its end. */
struct buffer {
    uint8_t *bytes;
    size_t start; /* consumed so far */
    size_t end;   /* filled so far */
    size_t capacity;
    bool failed;
    bool secret; /* memory is wiped before it is freed */
};

void buffer_init(struct buffer *buffer);

/* For contents that may hold keys: no copy stays behind when it grows, and none when it is
 * freed. */
void buffer_init_secret(struct buffer *buffer);

/* Frees; the buffer may be filled again. */
void buffer_fini(struct buffer *buffer);

/* The unconsumed bytes. */
const uint8_t *buffer_data(const struct buffer *buffer);
size_t buffer_len(const struct buffer *buffer);
bool buffer_failed(const struct buffer *buffer);

/* Room for `len` bytes at the end, to be filled and then committed; NULL when memory is short. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t len);
void buffer_commit(struct buffer *buffer, size_t len);

void buffer_append(struct buffer *buffer, const void *bytes, size_t len);
void buffer_append_string(struct buffer *buffer, const char *text);
void buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Drops bytes from the front. */
void buffer_consume(struct buffer *buffer, size_t len);

/* Keeps the first `len` of the unconsumed bytes. */
void buffer_truncate(struct buffer *buffer, size_t len);
void buffer_clear(struct buffer *buffer);

#endif
