#include "control/state/access.h"

#include "base/err.h"

#include "tests/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static const struct {
    const char *id;
    bool good;
} ids[] = {
    {"9c76f92d-d55a-46c0-84d6-58c98144283", true}, /* the original's README: 31 digits */
    {"9c76f92d-d55a-46c0-84d6-58c981442834", true},
    {"b66920f5-0256-4694-9be9-1ab0ff8962d0", true},
    {"9c76f92dd55a46c084d658c9", true},      /* 24 hex digits: 96 bits */
    {"9c76f92dd55a46c084d658c", false},      /* 23: 92 */
    {"83740925618374659201583927461", true}, /* 29 decimal digits: 96.3 */
    {"8374092561837465920158392746", false}, /* 28: 93 */
    {"correct-horse-battery-staple", false},
    {"Zm9vYmFyYmF6cXV4cXV1eA", true}, /* 22 of base64 */
    {"kq3Rt8Wz1Xv5Yn7J", false},      /* 16 of 62: 95.3 */
    {"kq3Rt8Wz1Xv5Yn7Jb", true},
    {"laptop", false},
    {"", false},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    {"abababababababababababababababababababab", false},
    {"12345678901234567890123456789012345678901234567890", false},
    {"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", false},
    {"00000000-0000-0000-0000-000000000000", false},
    {"9c76f92d-d55a-46c0-84d6-58c98144283 ", false},
    {"9c76f92d-d55a-46c0-84d6-58c98144283\n", false},
    {"9c76f92d:d55a-46c0-84d6-58c98144283", false},
    {"$(reboot)9c76f92dd55a46c084d658c98144283", false},
    {"\xc3\xa4"
     "9c76f92dd55a46c084d658c98144283",
     false},
};

START_TEST(id_strength)
{
    struct err err = {0};
    int rc = access_check_id(ids[_i].id, "peer id", &err);
    ck_assert_msg((rc == 0) == ids[_i].good, "%s: %s", ids[_i].id, err.text);
    if (rc == 0)
        return;
    ck_assert_int_eq(rc, -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "peer id"));
    ck_assert_ptr_nonnull(strstr(err.text, "/proc/sys/kernel/random/uuid"));
    if (strlen(ids[_i].id) > 5) /* the text never repeats the secret */
        ck_assert_ptr_null(strstr(err.text, ids[_i].id));
}
END_TEST

START_TEST(id_length)
{
    char id[ACCESS_ID_MAX + 2];
    for (size_t i = 0; i < sizeof id; i++)
        id[i] = "k3Rt8WzXv5Yn7Jb2Hc9"[i * i % 19];
    id[ACCESS_ID_MAX + 1] = '\0';
    ck_assert_int_eq(access_check_id(id, "id", NULL), -EINVAL);
    id[ACCESS_ID_MAX] = '\0';
    ck_assert_int_eq(access_check_id(id, "id", NULL), 0);
}
END_TEST

/* All 128 bits are random: no version and no variant takes any. */
START_TEST(made_id)
{
    char last[ACCESS_MADE_ID_TEXT] = "";
    for (int i = 0; i < 100; i++) {
        char out[ACCESS_MADE_ID_TEXT];
        uint8_t random[16];
        ck_assert_int_eq(getrandom(random, sizeof random, 0), sizeof random);
        access_make_id(random, out);
        ck_assert_uint_eq(strlen(out), 36);
        for (int dash = 8; dash <= 23; dash += 5)
            ck_assert_int_eq(out[dash], '-');
        ck_assert_str_ne(out, last);
        ck_assert_int_eq(access_check_id(out, "id", NULL), 0);
        memcpy(last, out, sizeof last);
    }
}
END_TEST

#define L63 "abcdefghijklmnopqrstuvwxyz-0123456789-ABCDEFGHIJKLMNOPQRSTUVWXY"

static const struct {
    const char *in;
    const char *out; /* NULL: refused */
} names[] = {{"router", "router"}, {"Router-1", "router-1"},
             {"7", "7"},           {"", NULL},
             {"-a", NULL},         {"a-", NULL},
             {"a.b", NULL},        {"a_b", NULL},
             {"a b", NULL},        {"\xc3\xa4", NULL},
             {L63 "z", NULL},      {"xn--bcher-kva", "xn--bcher-kva"}};

START_TEST(name)
{
    char out[ACCESS_NAME_MAX + 1];
    struct err err = {0};
    int rc = access_check_name(names[_i].in, out, &err);
    ck_assert_int_eq(rc, names[_i].out == NULL ? -EINVAL : 0);
    ck_assert_str_eq(out, names[_i].out == NULL ? "" : names[_i].out);
}
END_TEST

static const char *const hosts[][2] = {{"ip-10-0-0-1.ec2.internal", "ip-10-0-0-1"},
                                       {"My_Laptop", "my-laptop"},
                                       {"__x__", "x"},
                                       {"...", ""},
                                       {"", ""},
                                       {L63 "-z", "abcdefghijklmnopqrstuvwxyz-0123456789-"
                                                  "abcdefghijklmnopqrstuvwxy"}};

START_TEST(name_from_host)
{
    char out[ACCESS_NAME_MAX + 1];
    char checked[ACCESS_NAME_MAX + 1];
    access_name_from_host(hosts[_i][0], out);
    ck_assert_str_eq(out, hosts[_i][1]);
    ck_assert_int_eq(access_check_name(out, checked, NULL), out[0] == '\0' ? -EINVAL : 0);
}
END_TEST

static const struct {
    const char *text;
    bool good;
} keys[] = {{"CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", true},
            /* low order: 1, order 8 twice, p - 1, p, p + 1 (RFC 7748) */
            {"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", false},
            {"4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=", false},
            {"X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc=", false},
            {"7P///////////////////////////////////////38=", false},
            {"7f///////////////////////////////////////38=", false},
            {"7v///////////////////////////////////////38=", false},
            {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", false},
            {"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=", false},
            {"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", false},
            {"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= ", false},
            {"", false}};

START_TEST(public_key)
{
    uint8_t out[32];
    ck_assert_int_eq(access_check_public_key(keys[_i].text, out, NULL),
                     keys[_i].good ? 0 : -EINVAL);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("access");
    tcase_add_loop_test(tc, id_strength, 0, (int)ARRAY_LEN(ids));
    tcase_add_test(tc, id_length);
    tcase_add_test(tc, made_id);
    tcase_add_loop_test(tc, name, 0, (int)ARRAY_LEN(names));
    tcase_add_loop_test(tc, name_from_host, 0, (int)ARRAY_LEN(hosts));
    tcase_add_loop_test(tc, public_key, 0, (int)ARRAY_LEN(keys));
    return unit_run(tc);
}
