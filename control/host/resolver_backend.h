#ifndef CONTROL_HOST_RESOLVER_BACKEND_H
#define CONTROL_HOST_RESOLVER_BACKEND_H

#include <stdbool.h>

struct err;
struct resolver_setup;

/* The ways to change a host's resolver, one table each, tried by resolver.c in turn. */

struct resolver_paths {
    const char *resolv_conf; /* "/etc/resolv.conf" */
    const char *state_dir;   /* exists; see resolver_saved.h */
    const char *resolvectl;  /* "/usr/bin/resolvectl"; NULL: never */
    const char *resolved;    /* "/run/systemd/resolve/io.systemd.Resolve", there when it runs */
    const char *resolvconf;  /* "/sbin/resolvconf"; NULL: never */
    const char *records[2];  /* resolvconf's and openresolv's folders of records; NULL: none */
};

struct resolver_backend {
    const char *name; /* in resolver.state */

    /* Whether resolv.conf, with this text and at this real path (or ""), is kept by it. A tool that
     * is installed without keeping the file would change nothing. */
    bool (*keeps)(const struct resolver_paths *paths, const char *text, const char *real);

    /* Saves what `restore` needs, then makes the host ask `setup`'s nameservers. 0, or a negative
     * errno with everything as before. */
    int (*apply)(const struct resolver_paths *paths, const struct resolver_setup *setup,
                 struct err *err);

    /* Undoes `apply`, given its saved detail. 0 or a negative errno. */
    int (*restore)(const struct resolver_paths *paths, const char *detail);

    /* Whether another program replaced what `apply` did. NULL: that cannot happen. */
    bool (*is_lost)(const struct resolver_paths *paths);
};

extern const struct resolver_backend resolver_resolved;   /* systemd-resolved, split DNS */
extern const struct resolver_backend resolver_resolvconf; /* resolvconf and openresolv */
extern const struct resolver_backend resolver_file;       /* the file itself */

#endif
