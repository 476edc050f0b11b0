#ifndef CONTROL_HOST_RESOLVER_H
#define CONTROL_HOST_RESOLVER_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>

struct err;

/* Points this host's resolver at our DNS server and puts back what was there. Three ways, the first
 * that is there: systemd-resolved (split DNS through resolvectl), resolvconf, the file itself,
 * which is written in place because in containers it is a bind mount. What was there is kept in
 * the state folder, synced before the change, so that the next start can put back the rest of a
 * crash. Blocking; for the start and the end of a program and for rare changes. */

enum {
    RESOLVER_NAMESERVERS = 3, /* what libc reads */
};

struct resolver_paths {
    const char *resolv_conf; /* "/etc/resolv.conf" */
    const char *state_dir;   /* exists; holds "resolv.conf.saved" and "resolver.state" */
    const char *resolvectl;  /* "/usr/bin/resolvectl"; NULL: never */
    const char *resolved;    /* "/run/systemd/resolve/io.systemd.Resolve", there when it runs */
    const char *resolvconf;  /* "/sbin/resolvconf"; NULL: never */
};

/* The usual places, with the state in `state_dir`. */
struct resolver_paths resolver_paths_default(const char *state_dir);

struct resolver_upstreams {
    union endpoint servers[RESOLVER_NAMESERVERS]; /* port 53 */
    size_t count;
};

/* The host's own resolvers: from resolv.conf, or from the saved copy when the file is ours. Those
 * in `ours` are left out. Returns 0 (also with none), or a negative errno. */
int resolver_read(const struct resolver_paths *paths, const struct ip_addr *ours, size_t ours_count,
                  struct resolver_upstreams *out, struct err *err);

struct resolver_setup {
    const struct ip_addr *nameservers; /* ours, first in the file */
    size_t nameserver_count;           /* 1..3 */
    const char *domain;                /* searched first */
    const char *interface;             /* the tunnel's, for resolved and resolvconf */
    bool keep_former; /* file: the former nameservers behind ours, up to 3 together */
};

/* Returns 0 when the host now asks us; also when it already did and nothing changed. -EROFS,
 * -EACCES or -EPERM with a text when the file cannot be written, everything as before. */
int resolver_apply(const struct resolver_paths *paths, const struct resolver_setup *setup,
                   struct err *err);

/* Whether what resolver_apply wrote was written over by something else. Not by another program of
 * ours: two would do it to each other for ever. */
bool resolver_is_lost(const struct resolver_paths *paths);

/* Puts back what resolver_apply changed, also in an earlier life of the program; nothing to put
 * back is success. A file that no longer carries our marker is somebody else's and left alone;
 * where another program of ours wrote over ours, it will put back what was before us. */
int resolver_restore(const struct resolver_paths *paths, struct err *err);

#endif
