#include "wg/path/own.h"

#include "base/bytes.h"
#include "tests/unit.h"

#include <string.h>

enum { OUR_PORT = 51820 };

/* Destinations of ours are 192.0.2.1:7 and [2001:db8::1]:7. */
static const struct {
    const char *packet;
    bool is_own;
} cases[] = {
#define V4(frag, proto, dest)                                                                      \
    "450000280000" frag "40" proto "0000"                                                          \
    "0a000001" dest
#define V6(next, dest)                                                                             \
    "600000000014" next "40"                                                                       \
    "fd000000000000000000000000000001" dest
#define UDP(from, to) from to "00140000"
#define DEST4         "c0000201"
#define DEST6         "20010db8000000000000000000000001"
#define DATA          "04000000aaaaaaaabbbbbbbb"
    {V4("0000", "11", DEST4) UDP("ca6c", "0007") DATA, true},
    {V4("0000", "11", DEST4) UDP("ca6c", "0007") "01000000", true},
    {V4("0000", "11", DEST4) UDP("ca6c", "0007") "05000000", false}, /* no message of WireGuard's */
    {V4("0000", "11", DEST4) UDP("ca6c", "0007") "04010000", false},
    {V4("0000", "11", DEST4) UDP("ca6c", "0007") "0400", false},
    {V4("0000", "11", DEST4) UDP("ca6d", "0007") DATA, false},      /* another port of this host */
    {V4("0000", "11", DEST4) UDP("ca6c", "0008") DATA, false},      /* no peer's port */
    {V4("0000", "11", "c0000202") UDP("ca6c", "0007") DATA, false}, /* no peer's address */
    {V4("0000", "06", DEST4) UDP("ca6c", "0007") DATA, false},
    {V4("2000", "11", DEST4) UDP("ca6c", "0007") DATA, true},  /* first fragment */
    {V4("2010", "11", DEST4) UDP("ca6c", "0007") DATA, false}, /* later fragment */
    {"46000028000000004011000"
     "00a000001" DEST4 "00000000" UDP("ca6c", "0007") DATA,
     true},
    {V6("11", DEST6) UDP("ca6c", "0007") DATA, true},
    {V6("2c", DEST6) "1100000100000000" UDP("ca6c", "0007") DATA, true},
    {V6("2c", DEST6) "1100001100000000" UDP("ca6c", "0007") DATA, false},
    {V6("11", "20010db8000000000000000000000002") UDP("ca6c", "0007") DATA, false},
    {V6("2c", DEST6) "11", false},
    {"45", false},
    {"", false},
};

START_TEST(own_datagrams_are_known_again)
{
    static struct own own;
    union endpoint remote;
    uint8_t packet[256];
    size_t len = strlen(cases[_i].packet) / 2;
    ck_assert(bytes_from_hex(packet, len, cases[_i].packet));
    ck_assert(!own_is(&own, OUR_PORT, packet, len));
    ck_assert(endpoint_parse(&remote, "192.0.2.1:7"));
    own_note(&own, &remote);
    ck_assert(endpoint_parse(&remote, "[2001:db8::1]:7"));
    own_note(&own, &remote);
    ck_assert(own_is(&own, OUR_PORT, packet, len) == cases[_i].is_own);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("own");
    tcase_add_loop_test(tc, own_datagrams_are_known_again, 0, ARRAY_LEN(cases));
    return unit_run(tc);
}
