#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Byte order, text encodings of bytes, and two operations for secrets. */

uint16_t load_be16(const uint8_t *in);
uint32_t load_be32(const uint8_t *in);
uint64_t load_be64(const uint8_t *in);
uint32_t load_le32(const uint8_t *in);
uint64_t load_le64(const uint8_t *in);
void store_be16(uint8_t *out, uint16_t value);
void store_be32(uint8_t *out, uint32_t value);
void store_be64(uint8_t *out, uint64_t value);
void store_le32(uint8_t *out, uint32_t value);
void store_le64(uint8_t *out, uint64_t value);

/* Overwrites memory that held a secret. Never optimised away. */
void bytes_wipe(void *secret, size_t len);

/* Compares in time that depends on `len` only. */
bool bytes_equal_ct(const void *a, const void *b, size_t len);
bool bytes_is_zero_ct(const void *bytes, size_t len);

/* Writes 2 * len lower-case digits and a NUL. */
void bytes_to_hex(char *out, const uint8_t *bytes, size_t len);

/* Reads exactly 2 * len hex digits that end the string; false leaves `out` unspecified. Constant
 * time in the digits. */
bool bytes_from_hex(uint8_t *out, size_t len, const char *hex);

/* RFC 4648 base64 with padding. Writes 4 * ceil(len / 3) characters and a NUL. Constant time in the
 * bytes. */
void bytes_to_base64(char *out, const uint8_t *bytes, size_t len);

/* Reads base64 that decodes to exactly `len` bytes, canonical form only. Constant time in the
 * characters. */
bool bytes_from_base64(uint8_t *out, size_t len, const char *text);

enum {
    BASE64_KEY_LEN = 44, /* characters of a 32-byte key in base64 */
    HEX_KEY_LEN = 64,
};

#endif
