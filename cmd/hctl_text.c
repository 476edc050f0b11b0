#include "cmd/hctl_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *text_age(char out[TEXT_AGE], const Google__Protobuf__Timestamp *then, int64_t now)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
    int64_t age = then != NULL ? now - then->seconds : 0;
    snprintf(out, TEXT_AGE, then != NULL ? "now" : "none yet");
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (age >= units[i].seconds) {
            int64_t count = age / units[i].seconds;
            snprintf(out, TEXT_AGE, "%" PRId64 " %s%s ago", count, units[i].name,
                     count == 1 ? "" : "s");
            break;
        }
    return out;
}

const char *text_bytes(char out[TEXT_BYTES], uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    uint64_t whole = bytes;
    uint64_t tenths = 0;
    size_t unit = 0;
    for (; whole >= 1024; unit++) {
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
    }
    if (unit > 0 && whole < 10)
        snprintf(out, TEXT_BYTES, "%" PRIu64 ".%" PRIu64 " %s", whole, tenths, units[unit]);
    else
        snprintf(out, TEXT_BYTES, "%" PRIu64 " %s", whole, units[unit]);
    return out;
}

const char *text_endpoint(char *out, size_t size, const char *ip, uint64_t port)
{
    bool brackets = strchr(ip, ':') != NULL;
    if (ip[0] == '\0')
        out[0] = '\0';
    else
        snprintf(out, size, brackets ? "[%s]:%" PRIu64 : "%s:%" PRIu64, ip, port);
    return out;
}

char text_safe(char letter)
{
    if (letter < ' ' || letter > '~')
        return '?';
    return letter;
}

void text_put_line(FILE *file, const char *text)
{
    for (; *text != '\0'; text++)
        fputc(text_safe(*text), file);
    fputc('\n', file);
}
