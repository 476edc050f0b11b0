#include "proto/grpc.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *grpc_code_name(int code)
{
    static const char *const names[] = {
        [GRPC_OK] = "OK",
        [GRPC_CANCELLED] = "CANCELLED",
        [GRPC_UNKNOWN] = "UNKNOWN",
        [GRPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
        [GRPC_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
        [GRPC_NOT_FOUND] = "NOT_FOUND",
        [GRPC_ALREADY_EXISTS] = "ALREADY_EXISTS",
        [GRPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
        [GRPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
        [GRPC_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
        [GRPC_ABORTED] = "ABORTED",
        [GRPC_OUT_OF_RANGE] = "OUT_OF_RANGE",
        [GRPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
        [GRPC_INTERNAL] = "INTERNAL",
        [GRPC_UNAVAILABLE] = "UNAVAILABLE",
        [GRPC_DATA_LOSS] = "DATA_LOSS",
        [GRPC_UNAUTHENTICATED] = "UNAUTHENTICATED",
    };
    if (code < 0 || code >= (int)(sizeof names / sizeof names[0]))
        return names[GRPC_UNKNOWN];
    return names[code];
}

enum grpc_code grpc_code_from_http(int http_status)
{
    switch (http_status) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

void grpc_percent_encode(struct buffer *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c >= 0x20 && c <= 0x7e && c != '%')
            buffer_append(out, &c, 1);
        else
            buffer_printf(out, "%%%02X", c);
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

void grpc_percent_decode(char *out, size_t capacity, const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len && n + 1 < capacity; i++) {
        int value = (unsigned char)text[i];
        if (value == '%' && i + 2 < len && hex_digit(text[i + 1]) >= 0 &&
            hex_digit(text[i + 2]) >= 0) {
            value = hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]);
            i += 2;
        }
        /* a NUL would end the text early */
        if (value != 0)
            out[n++] = (char)value;
    }
    if (capacity > 0)
        out[n] = '\0';
}

static const struct {
    char unit;
    uint64_t ns;
} timeout_units[] = {
    {'n', 1},
    {'u', 1000},
    {'m', 1000000},
    {'S', UINT64_C(1000000000)},
    {'M', UINT64_C(60000000000)},
    {'H', UINT64_C(3600000000000)},
};

enum {
    TIMEOUT_UNITS = sizeof timeout_units / sizeof timeout_units[0],
    TIMEOUT_DIGITS_MAX = 8,
    TIMEOUT_VALUE_MAX = 99999999,
};

bool grpc_timeout_parse(uint64_t *ns, const char *text, size_t len)
{
    uint64_t value = 0;
    if (len < 2 || len > TIMEOUT_DIGITS_MAX + 1)
        return false;
    for (size_t i = 0; i + 1 < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    for (size_t i = 0; i < TIMEOUT_UNITS; i++) {
        if (timeout_units[i].unit != text[len - 1])
            continue;
        *ns = value > UINT64_MAX / timeout_units[i].ns ? UINT64_MAX : value * timeout_units[i].ns;
        return true;
    }
    return false;
}

const char *grpc_timeout_format(char out[GRPC_TIMEOUT_TEXT], uint64_t ns)
{
    size_t unit = 0;
    while (unit + 1 < TIMEOUT_UNITS && ns / timeout_units[unit].ns > TIMEOUT_VALUE_MAX)
        unit++;
    uint64_t value = ns / timeout_units[unit].ns;
    if (value > TIMEOUT_VALUE_MAX)
        value = TIMEOUT_VALUE_MAX;
    snprintf(out, GRPC_TIMEOUT_TEXT, "%" PRIu64 "%c", value, timeout_units[unit].unit);
    return out;
}

void grpc_frame_append(struct buffer *out, const void *message, size_t len)
{
    uint8_t prefix[GRPC_PREFIX_LEN] = {0};
    store_be32(prefix + 1, (uint32_t)len);
    buffer_append(out, prefix, sizeof prefix);
    buffer_append(out, message, len);
}

void grpc_deframer_init(struct grpc_deframer *deframer, size_t limit)
{
    buffer_init(&deframer->partial);
    deframer->limit = limit;
}

void grpc_deframer_fini(struct grpc_deframer *deframer)
{
    buffer_fini(&deframer->partial);
}

static enum grpc_code check_prefix(const struct grpc_deframer *deframer, const uint8_t *prefix)
{
    if (prefix[0] > 1)
        return GRPC_INTERNAL;
    if (prefix[0] == 1)
        return GRPC_UNIMPLEMENTED;
    return load_be32(prefix + 1) > deframer->limit ? GRPC_RESOURCE_EXHAUSTED : GRPC_OK;
}

enum grpc_code grpc_deframer_feed(struct grpc_deframer *deframer, const uint8_t *bytes, size_t len,
                                  bool (*message)(void *ctx, const uint8_t *bytes, size_t len),
                                  void *ctx)
{
    struct buffer *partial = &deframer->partial;
    buffer_append(partial, bytes, len);
    if (buffer_failed(partial))
        return GRPC_RESOURCE_EXHAUSTED;
    while (buffer_len(partial) >= GRPC_PREFIX_LEN) {
        const uint8_t *prefix = buffer_data(partial);
        enum grpc_code code = check_prefix(deframer, prefix);
        if (code != GRPC_OK)
            return code;
        size_t body = load_be32(prefix + 1);
        if (buffer_len(partial) - GRPC_PREFIX_LEN < body)
            break;
        bool more = message(ctx, prefix + GRPC_PREFIX_LEN, body);
        buffer_consume(partial, GRPC_PREFIX_LEN + body);
        if (!more) {
            buffer_clear(partial);
            break;
        }
    }
    return GRPC_OK;
}

bool grpc_deframer_is_partial(const struct grpc_deframer *deframer)
{
    return buffer_len(&deframer->partial) > 0;
}
