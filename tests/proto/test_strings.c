#include "proto/strings.h"

#include "proto/cluster.pb-c.h"
#include "tests/unit.h"

#include <string.h>

#define CONNECT (&pb__connect_request__descriptor)
#define WATCH   (&pb__watch_response__descriptor)

static const struct {
    const ProtobufCMessageDescriptor *type;
    const char *bytes;
    size_t len;
    bool whole;
} messages[] = {
#define M(type, bytes, whole)                                                                      \
    {                                                                                              \
        type, bytes, sizeof(bytes) - 1, whole                                                      \
    }
    M(CONNECT, "", true),
    M(CONNECT,
      "\x0a\x01x\x12\x03"
      "abc",
      true),
    M(CONNECT,
      "\x0a\x01x\x12\x03"
      "a\0b",
      false),
    M(CONNECT,
      "\x0a\x03"
      "ab\0\x12\x01y",
      false),
    M(CONNECT, "\x0a\x00", true),
    /* field 102 a flag, fields 1000 to 1002 of a newer version: bytes, 64 bits, 32 bits */
    M(CONNECT, "\xb0\x06\x01", true),
    M(CONNECT, "\xc2\x3e\x03\0\0\0\x0a\x01x", true),
    M(CONNECT, "\xc9\x3e\0\0\0\0\0\0\0\0\xd5\x3e\0\0\0\0\x0a\x02y\0", false),
    M(CONNECT, "\xc9\x3e\0\0\0\0\0\0\0\0\xd5\x3e\0\0\0\0\x0a\x02yy", true),
    /* inside a message, inside another: events, node, name */
    M(WATCH, "\x1a\x06\x0a\x04\x4a\x02yy", true),
    M(WATCH, "\x1a\x06\x0a\x04\x4a\x02y\0", false),
    /* cut off, too long, of an unknown wire type */
    M(CONNECT, "\x0a", false),
    M(CONNECT, "\x0a\x05x", false),
    M(CONNECT, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", false),
    M(CONNECT, "\xb0\x06\x80", false),
    M(CONNECT, "\xc9\x3e\0\0\0", false),
    M(CONNECT, "\x0b", false),
    M(CONNECT, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", false),
};

START_TEST(message)
{
    ck_assert_int_eq(
        strings_are_whole(messages[_i].type, (const uint8_t *)messages[_i].bytes, messages[_i].len),
        messages[_i].whole);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("strings");
    tcase_add_loop_test(tc, message, 0, (int)ARRAY_LEN(messages));
    return unit_run(tc);
}
