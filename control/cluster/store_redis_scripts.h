#ifndef CONTROL_CLUSTER_STORE_REDIS_SCRIPTS_H
#define CONTROL_CLUSTER_STORE_REDIS_SCRIPTS_H

/* The Lua that runs inside Redis: each is atomic there. */

/* KEYS: meta, changes. ARGV: the expected epoch and rev, then kind, key, field and value of each
 * operation. Applies all or nothing. Replies {epoch, rev}, or the error "STALE epoch rev" or
 * "TOOBIG count". */
extern const char store_redis_commit_script[];

/* KEYS: meta, changes. ARGV: the voted epoch and rev, the new epoch, the layout. A change without
 * operations that begins the new epoch. Replies as the commit script. */
extern const char store_redis_promote_script[];

/* Reads everything under "heimdall:". Replies {epoch, rev, layout, id of the last change, then key,
 * field, value of each record}, with "" for none. */
extern const char store_redis_load_script[];

#endif
