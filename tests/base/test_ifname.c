#include "base/ifname.h"

#include "tests/unit.h"

static const struct {
    const char *name;
    bool valid;
    bool reserved;
} names[] = {
    {"darknet", true, false},
    {"wg-0", true, false},
    {"wg_0", true, false},
    {"a", true, false},
    {"abcdefghijklmno", true, false},
    {"lo", true, true},
    {"all", true, true},
    {"default", true, true},
    {"bonding_masters", true, true},
    {"lo0", true, false},
    {"alle", true, false},
    {"...", true, false},
    {"", false, false},
    {"abcdefghijklmnop", false, false},
    {".", false, false},
    {"..", false, false},
    {"a/b", false, false},
    {"a:b", false, false},
    {"tun%d", false, false},
    {"a b", false, false},
    {"a\tb", false, false},
    {"\xc3\xa4", false, false},
};

START_TEST(names_of_interfaces)
{
    ck_assert_msg(ifname_is_valid(names[_i].name) == names[_i].valid, "%s", names[_i].name);
    ck_assert_msg(ifname_is_reserved(names[_i].name) == names[_i].reserved, "%s", names[_i].name);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("ifname");
    tcase_add_loop_test(tc, names_of_interfaces, 0, ARRAY_LEN(names));
    return unit_run(tc);
}
