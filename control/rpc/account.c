#include "control/rpc/account.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* hpeer has one connection, and for a moment a second one when it reconnects. */
static const struct rpc_account_limits peer_limits = {
    .connections = 8,
    .calls = 128,
    .held = (size_t)8 << 20,
};

/* Administrators and nodes share a key, and a proxy may carry many of them. */
static const struct rpc_account_limits other_limits = {
    .connections = 32768,
    .calls = 16384,
    .held = (size_t)64 << 20,
};

void rpc_accounts_init(struct rpc_accounts *accounts, const uint8_t seed[16])
{
    map_init(&accounts->by_name, seed);
    list_init(&accounts->resting);
}

static void forget(struct rpc_accounts *accounts, struct rpc_account *account)
{
    list_remove(&account->node);
    (void)map_remove(&accounts->by_name, account->name, strlen(account->name));
    free(account);
}

void rpc_accounts_fini(struct rpc_accounts *accounts)
{
    while (!list_empty(&accounts->resting))
        forget(accounts, list_first(&accounts->resting, struct rpc_account, node));
    map_fini(&accounts->by_name);
}

static bool has_rested(const struct rpc_account *account, uint64_t now_ns)
{
    const struct log_limit *log = &account->log, *debug = &account->debug_log;
    return (log->window_ns == 0 || now_ns - log->window_ns >= LOG_LIMIT_WINDOW_NS) &&
           (debug->window_ns == 0 || now_ns - debug->window_ns >= LOG_LIMIT_WINDOW_NS);
}

static void forget_rested(struct rpc_accounts *accounts, uint64_t now_ns)
{
    while (!list_empty(&accounts->resting)) {
        struct rpc_account *account = list_first(&accounts->resting, struct rpc_account, node);
        if (!has_rested(account, now_ns))
            break;
        forget(accounts, account);
    }
}

static const char *role_of(const struct transport_caller *caller)
{
    switch (caller->roles) {
    case TRANSPORT_PEER:
        return "peer";
    case TRANSPORT_NODE:
        return "node";
    case TRANSPORT_ADMIN:
        return "admin";
    default:
        return "any";
    }
}

static void name_of(char out[RPC_ACCOUNT_NAME], const struct transport_caller *caller)
{
    if (caller->source[0] == '\0')
        snprintf(out, RPC_ACCOUNT_NAME, "unix");
    else if (caller->id[0] != '\0')
        snprintf(out, RPC_ACCOUNT_NAME, "%s %s", role_of(caller), caller->id);
    else
        snprintf(out, RPC_ACCOUNT_NAME, "%s at %s", role_of(caller), caller->source);
}

static struct rpc_account *account_create(struct rpc_accounts *accounts, const char *name,
                                          const struct transport_caller *caller)
{
    struct rpc_account *account = calloc(1, sizeof *account + strlen(name) + 1);
    if (account == NULL)
        return NULL;
    memcpy(account->name, name, strlen(name) + 1);
    account->is_peer = caller->roles == TRANSPORT_PEER;
    account->is_unix = caller->source[0] == '\0';
    account->limits = account->is_peer ? peer_limits : other_limits;
    list_init(&account->node);
    list_init(&account->connections);
    if (map_put(&accounts->by_name, account->name, strlen(name), account) < 0) {
        free(account);
        return NULL;
    }
    return account;
}

struct rpc_account *rpc_account_get(struct rpc_accounts *accounts,
                                    const struct transport_caller *caller, uint64_t now_ns)
{
    char name[RPC_ACCOUNT_NAME];
    forget_rested(accounts, now_ns);
    name_of(name, caller);
    struct rpc_account *account = map_get(&accounts->by_name, name, strlen(name));
    if (account == NULL)
        account = account_create(accounts, name, caller);
    if (account == NULL)
        return NULL;
    list_remove(&account->node);
    account->connection_count++;
    return account;
}

void rpc_account_put(struct rpc_accounts *accounts, struct rpc_account *account, uint64_t now_ns)
{
    if (--account->connection_count > 0)
        return;
    if (has_rested(account, now_ns))
        forget(accounts, account);
    else
        list_append(&accounts->resting, &account->node);
}

bool rpc_account_may_log(struct rpc_account *account, uint64_t now_ns, unsigned *left_out)
{
    return log_limit_passes(&account->log, now_ns, left_out);
}
