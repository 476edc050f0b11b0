#include "control/rpc/address.h"

#include "tests/unit.h"

#include <errno.h>
#include <string.h>

static const struct {
    const char *text;
    bool names;
    const char *canonical; /* NULL: refused */
} cases[] = {
    {"tcp://127.0.0.1:9000", false, "tcp://127.0.0.1:9000"},
    {"127.0.0.1:9000", false, "tcp://127.0.0.1:9000"},
    {"tcp://[fd00::1]:9000", false, "tcp://[fd00::1]:9000"},
    {"tcp://node-1.example.com:9000", true, "tcp://node-1.example.com:9000"},
    {"node_1:9000", true, "tcp://node_1:9000"},
    {"unix:///run/heimdall.sock", false, "unix:///run/heimdall.sock"},
    {"tcp://localhost:9000", false, NULL}, /* 6: no names for a listener */
    {"tcp://127.0.0.1", false, NULL},
    {"tcp://127.0.0.1:0", false, NULL},
    {"tcp://127.0.0.1:65536", false, NULL},
    {"tcp://127.0.0.1:09", false, NULL},
    {"tcp://127.0.0.1:9000/", false, NULL},
    {"tcp://fd00::1:9000", true, NULL}, /* 12: brackets are missing */
    {"tcp://127.0.0.256:9000", true, NULL},
    {"tcp://:9000", true, NULL},
    {"tcp://a..b:9000", true, NULL},
    {"tcp://a b:9000", true, NULL},
    {"tcp://a/b:9000", true, NULL},
    {"tcp://.a:9000", true, NULL},
    {"unix://run/heimdall.sock", false, NULL},
    {"unix:///123456789012345678901234567890123456789012345678901234567890123456789012345678901234"
     "56789012345678901234567890",
     false, NULL},
    {"http://127.0.0.1:9000", true, NULL},
    {"", true, NULL},
};

START_TEST(parse_and_format)
{
    struct address address = {.port = 4711};
    struct err err = {0};
    char text[ADDRESS_TEXT];
    int rv = address_parse(&address, cases[_i].text, cases[_i].names, &err);
    if (cases[_i].canonical == NULL) {
        ck_assert_int_eq(rv, -EINVAL);
        ck_assert_ptr_nonnull(strstr(err.text, cases[_i].text));
        ck_assert_uint_eq(address.port, 4711);
        return;
    }
    ck_assert_msg(rv == 0, "%s", err.text);
    ck_assert_str_eq(address_format(&address, text), cases[_i].canonical);
    struct address again;
    ck_assert_int_eq(address_parse(&again, text, true, NULL), 0);
    ck_assert(address_equal(&address, &again));
}
END_TEST

START_TEST(equal)
{
    static const char *const different[] = {"tcp://127.0.0.1:9000",
                                            "tcp://127.0.0.1:9001",
                                            "tcp://127.0.0.2:9000",
                                            "tcp://a:9000",
                                            "tcp://b:9000",
                                            "unix:///a",
                                            "unix:///b"};
    for (size_t i = 0; i < ARRAY_LEN(different); i++) {
        for (size_t j = 0; j < ARRAY_LEN(different); j++) {
            struct address a, b;
            ck_assert_int_eq(address_parse(&a, different[i], true, NULL), 0);
            ck_assert_int_eq(address_parse(&b, different[j], true, NULL), 0);
            ck_assert_int_eq(address_equal(&a, &b), i == j);
        }
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("address");
    tcase_add_loop_test(tc, parse_and_format, 0, (int)ARRAY_LEN(cases));
    tcase_add_test(tc, equal);
    return unit_run(tc);
}
