#ifndef CONTROL_RPC_NAME_LOOKUP_H
#define CONTROL_RPC_NAME_LOOKUP_H

#include <uv.h>

/* getaddrinfo in a thread of its own. Unlike one of libuv's pool, it can be abandoned: neither the
 * loop's end nor the program's waits for a resolver that does not answer. */

struct addrinfo;
struct name_lookup;

/* Looks up the addresses of a host in one family, those that this host can use. `done` runs on the
 * loop's thread, never before this returns; the lookup is gone when it returns. `status` is 0 or a
 * code of getaddrinfo; `found` is freed afterwards. 0 or a negative errno. */
int name_lookup_start(struct name_lookup **out, uv_loop_t *loop, const char *host, int family,
                      void (*done)(void *ctx, int status, const struct addrinfo *found), void *ctx);

/* `done` does not run any more. Takes NULL. */
void name_lookup_cancel(struct name_lookup *lookup);

#endif
