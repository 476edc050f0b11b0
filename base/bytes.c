#include "base/bytes.h"

#include <string.h>

uint16_t load_be16(const uint8_t *in)
{
    return (uint16_t)(in[0] << 8 | in[1]);
}

uint32_t load_be32(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

uint64_t load_be64(const uint8_t *in)
{
    return (uint64_t)load_be32(in) << 32 | load_be32(in + 4);
}

uint32_t load_le32(const uint8_t *in)
{
    return (uint32_t)in[3] << 24 | (uint32_t)in[2] << 16 | (uint32_t)in[1] << 8 | in[0];
}

uint64_t load_le64(const uint8_t *in)
{
    return (uint64_t)load_le32(in + 4) << 32 | load_le32(in);
}

void store_be16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

void store_be32(uint8_t *out, uint32_t value)
{
    store_be16(out, (uint16_t)(value >> 16));
    store_be16(out + 2, (uint16_t)value);
}

void store_be64(uint8_t *out, uint64_t value)
{
    store_be32(out, (uint32_t)(value >> 32));
    store_be32(out + 4, (uint32_t)value);
}

void store_le32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

void store_le64(uint8_t *out, uint64_t value)
{
    store_le32(out, (uint32_t)value);
    store_le32(out + 4, (uint32_t)(value >> 32));
}

void bytes_wipe(void *secret, size_t len)
{
    memset(secret, 0, len);
    __asm__ volatile(""
                     :
                     : "r"(secret)
                     : "memory"); /* pretends that the bytes are read, so that the store stays */
}

bool bytes_equal_ct(const void *a, const void *b, size_t len)
{
    const volatile uint8_t *x = a;
    const volatile uint8_t *y = b;
    uint8_t diff = 0;
    for (size_t i = 0; i < len; i++)
        diff = (uint8_t)(diff | (x[i] ^ y[i]));
    return diff == 0;
}

bool bytes_is_zero_ct(const void *bytes, size_t len)
{
    const volatile uint8_t *x = bytes;
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++)
        any = (uint8_t)(any | x[i]);
    return any == 0;
}

void bytes_to_hex(char *out, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < 2 * len; i++) {
        int nibble = i % 2 == 0 ? bytes[i / 2] >> 4 : bytes[i / 2] & 15;
        /* '0' + n, plus the gap to 'a' when n > 9, without a branch or a table look-up */
        out[i] = (char)('0' + nibble + (((9 - nibble) >> 8) & ('a' - '9' - 1)));
    }
    out[2 * len] = '\0';
}

/* All ones when lo <= c <= hi, else 0; without a branch. */
static int range_mask(int c, int lo, int hi)
{
    return ~((c - lo) >> 8 | (hi - c) >> 8);
}

bool bytes_from_hex(uint8_t *out, size_t len, const char *hex)
{
    if (strlen(hex) != 2 * len)
        return false;
    int bad = 0;
    for (size_t i = 0; i < 2 * len; i++) {
        int c = (unsigned char)hex[i];
        int digit = range_mask(c, '0', '9');
        int lower = range_mask(c, 'a', 'f');
        int upper = range_mask(c, 'A', 'F');
        int value = (digit & (c - '0')) | (lower & (c - 'a' + 10)) | (upper & (c - 'A' + 10));
        bad |= ~(digit | lower | upper);
        out[i / 2] = (uint8_t)(i % 2 == 0 ? value << 4 : out[i / 2] | value);
    }
    return bad == 0;
}

static char base64_char(unsigned v)
{
    int n = (int)v;
    int c = 'A' + n;
    c += range_mask(n, 26, 51) & ('a' - 'A' - 26);
    c += range_mask(n, 52, 61) & ('0' - 'A' - 52);
    c += range_mask(n, 62, 62) & ('+' - 'A' - 62);
    c += range_mask(n, 63, 63) & ('/' - 'A' - 63);
    return (char)c;
}

void bytes_to_base64(char *out, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        unsigned v = (unsigned)bytes[i] << 16;
        v |= have > 1 ? (unsigned)bytes[i + 1] << 8 : 0;
        v |= have > 2 ? bytes[i + 2] : 0;
        *out++ = base64_char(v >> 18);
        *out++ = base64_char(v >> 12 & 63);
        *out++ = (char)(have > 1 ? base64_char(v >> 6 & 63) : '=');
        *out++ = (char)(have > 2 ? base64_char(v & 63) : '=');
    }
    *out = '\0';
}

/* The six bits of a base64 character, or a negative number. */
static int base64_value(char ch)
{
    int c = (unsigned char)ch;
    int upper = range_mask(c, 'A', 'Z');
    int lower = range_mask(c, 'a', 'z');
    int digit = range_mask(c, '0', '9');
    int plus = range_mask(c, '+', '+');
    int slash = range_mask(c, '/', '/');
    int v = (upper & (c - 'A')) | (lower & (c - 'a' + 26)) | (digit & (c - '0' + 52));
    v |= (plus & 62) | (slash & 63);
    return v | ~(upper | lower | digit | plus | slash);
}

bool bytes_from_base64(uint8_t *out, size_t len, const char *text)
{
    size_t chars = (len + 2) / 3 * 4;
    if (strlen(text) != chars)
        return false;
    size_t padding = (3 - len % 3) % 3;
    int bad = 0;
    for (size_t i = 0; i < padding; i++)
        bad |= text[chars - 1 - i] != '=';
    size_t done = 0;
    for (size_t i = 0; i < chars; i += 4) {
        unsigned v = 0;
        for (size_t j = 0; j < 4; j++) {
            int six = i + j < chars - padding ? base64_value(text[i + j]) : 0;
            bad |= six & ~63;
            v = v << 6 | ((unsigned)six & 63);
        }
        unsigned spare = 0;
        for (int shift = 16; shift >= 0; shift -= 8) {
            if (done < len)
                out[done++] = (uint8_t)(v >> shift);
            else
                spare |= v >> shift & 255;
        }
        bad |= (int)spare; /* bits behind the last byte must be zero */
    }
    return bad == 0;
}
