#ifndef CONTROL_RPC_ACCOUNT_H
#define CONTROL_RPC_ACCOUNT_H

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "control/rpc/transport_tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What one caller uses of the server, over all of its connections. A caller is an identity (role
 * and id), or where there is none, its role and address; the unix socket is a caller of its own. */

enum { RPC_ACCOUNT_NAME = 16 + TRANSPORT_ID_MAX };

struct rpc_account_limits {
    size_t connections; /* a new one beyond closes the oldest */
    size_t calls;       /* open at the same time */
    size_t held;        /* bytes of requests and answers */
};

struct rpc_accounts {
    struct map by_name;
    struct list resting; /* without connections; known for as long as their lines are counted */
};

struct rpc_account {
    struct list node; /* among the resting */
    struct list connections;
    size_t connection_count;
    size_t call_count;
    size_t held;
    bool is_peer; /* a peer alone: nothing but its own affairs */
    bool is_unix;
    struct rpc_account_limits limits;
    struct log_limit log;
    struct log_limit debug_log;
    char name[];
};

void rpc_accounts_init(struct rpc_accounts *accounts, const uint8_t seed[16]);

/* No account may have a connection. */
void rpc_accounts_fini(struct rpc_accounts *accounts);

/* The account of a caller, for a connection that is appended to its list; NULL when memory is
 * short. */
struct rpc_account *rpc_account_get(struct rpc_accounts *accounts,
                                    const struct transport_caller *caller, uint64_t now_ns);

/* To be called when a connection has left the account's list. */
void rpc_account_put(struct rpc_accounts *accounts, struct rpc_account *account, uint64_t now_ns);

/* Whether a line that this caller causes may be logged now; *left_out as in log_limit_passes. */
bool rpc_account_may_log(struct rpc_account *account, uint64_t now_ns, unsigned *left_out);

#endif
