#ifndef CONTROL_HOST_RESOLV_CONF_H
#define CONTROL_HOST_RESOLV_CONF_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>

struct buffer;

/* The text of resolv.conf(5), without files. */

enum {
    RESOLVER_NAMESERVERS = 3, /* what libc reads */
};

struct resolver_setup {
    const struct ip_addr *nameservers; /* ours, first in the file */
    size_t nameserver_count;           /* 1..3 */
    const char *domain;                /* searched first */
    const char *interface;             /* the tunnel's, for resolved and resolvconf */
    bool keep_former; /* file: the former nameservers behind ours, up to 3 together */
    /* Our own stub, the one nameserver of resolvconf and the file in place of those above; family
     * 0: none. It asks the former nameservers itself. */
    struct ip_addr stub;
    const char *host_domain; /* file: searched when there was no search list; NULL: none */
};

/* Whether a nameserver of the text is systemd-resolved's own stub. */
bool resolv_conf_names_stub(const char *text);

/* Whether the program with this state folder wrote the text. */
bool resolv_conf_is_ours(const char *text, const char *state_dir);

/* Whether a program of this project wrote it, with any state folder. */
bool resolv_conf_has_marker(const char *text);

/* The state folder of the program of this project that wrote the text. False when none did, or when
 * its name is longer than `size` - 1. */
bool resolv_conf_folder(const char *text, char *out, size_t size);

/* The nameservers that libc would use, in order, at most `max`, with port 53; malformed lines are
 * skipped. Returns how many. */
size_t resolv_conf_nameservers(const char *text, union endpoint *out, size_t max);

/* The text that asks us: a marker line, our nameservers and as many of the former ones as fit, the
 * domain in front of the former search list, and all other lines as they were. The caller checks
 * buffer_failed. */
void resolv_conf_compose(struct buffer *out, const char *former, const char *state_dir,
                         const struct resolver_setup *setup);

#endif
