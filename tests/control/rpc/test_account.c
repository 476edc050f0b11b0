#include "control/rpc/account.h"

#include "tests/unit.h"

#include <string.h>

static const uint8_t seed[16] = {3};
static struct rpc_accounts accounts;

static struct transport_caller caller(unsigned roles, const char *id, const char *source)
{
    struct transport_caller made = {.roles = roles};
    strcpy(made.id, id);
    strcpy(made.source, source);
    return made;
}

static const struct {
    unsigned roles;
    const char *id, *source, *name;
    bool is_peer, is_unix;
} names[] = {
    {TRANSPORT_PEER, "abc", "1.2.3.4", "peer abc", true, false},
    {TRANSPORT_ADMIN, "alice", "1.2.3.4", "admin alice", false, false},
    {TRANSPORT_ADMIN, "", "1.2.3.4", "admin at 1.2.3.4", false, false},
    {TRANSPORT_NODE, "", "fd00::/64", "node at fd00::/64", false, false},
    {TRANSPORT_ANY, "", "1.2.3.4", "any at 1.2.3.4", false, false},
    {TRANSPORT_ADMIN, "", "", "unix", false, true},
};

START_TEST(names_of_callers)
{
    struct transport_caller of = caller(names[_i].roles, names[_i].id, names[_i].source);
    rpc_accounts_init(&accounts, seed);
    struct rpc_account *account = rpc_account_get(&accounts, &of, 1);
    ck_assert_str_eq(account->name, names[_i].name);
    ck_assert_int_eq(account->is_peer, names[_i].is_peer);
    ck_assert_int_eq(account->is_unix, names[_i].is_unix);
    ck_assert_ptr_eq(rpc_account_get(&accounts, &of, 1), account);
    ck_assert_uint_eq(account->connection_count, 2);
    rpc_account_put(&accounts, account, 1);
    rpc_account_put(&accounts, account, 1);
    ck_assert_uint_eq(accounts.by_name.count, 0);
    rpc_accounts_fini(&accounts);
}
END_TEST

/* A caller does not get a new allowance of log lines with each connection. */
START_TEST(lines_are_limited)
{
    struct transport_caller of = caller(TRANSPORT_PEER, "abc", "1.2.3.4");
    struct transport_caller other = caller(TRANSPORT_PEER, "def", "1.2.3.4");
    unsigned left_out, lines = 0;
    uint64_t now_ns = 1;
    rpc_accounts_init(&accounts, seed);
    for (int i = 0; i < 1000; i++) {
        struct rpc_account *account = rpc_account_get(&accounts, &of, now_ns);
        lines += rpc_account_may_log(account, now_ns, &left_out);
        rpc_account_put(&accounts, account, now_ns++);
    }
    ck_assert_uint_eq(lines, LOG_LIMIT_LINES);
    struct rpc_account *another = rpc_account_get(&accounts, &other, now_ns);
    ck_assert(rpc_account_may_log(another, now_ns, &left_out));
    now_ns += LOG_LIMIT_WINDOW_NS;
    rpc_account_put(&accounts, another, now_ns);
    another = rpc_account_get(&accounts, &other, now_ns);
    ck_assert_uint_eq(accounts.by_name.count, 1); /* the first one is forgotten */
    rpc_account_put(&accounts, another, now_ns);
    rpc_accounts_fini(&accounts);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("account");
    tcase_add_loop_test(tc, names_of_callers, 0, (int)ARRAY_LEN(names));
    tcase_add_test(tc, lines_are_limited);
    return unit_run(tc);
}
