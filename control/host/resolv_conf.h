#ifndef CONTROL_HOST_RESOLV_CONF_H
#define CONTROL_HOST_RESOLV_CONF_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>

struct buffer;
struct resolver_setup;

/* The text of resolv.conf(5), without files. */

/* Whether the program with this state folder wrote the text. */
bool resolv_conf_is_ours(const char *text, const char *state_dir);

/* Whether a program of ours wrote it, with whatever folder. */
bool resolv_conf_has_marker(const char *text);

/* The state folder of the program of ours that wrote it. False when none did or its name is longer
 * than `size` takes. */
bool resolv_conf_folder(const char *text, char *out, size_t size);

/* The nameservers that libc would use, in order, at most `max`, with port 53; lines that are none
 * are passed over. Returns how many. */
size_t resolv_conf_nameservers(const char *text, union endpoint *out, size_t max);

/* The text that asks us: a marker line, our nameservers and as many of the former as fit, the
 * domain in front of the former search list, and all other lines as they were. The caller checks
 * buffer_failed. */
void resolv_conf_compose(struct buffer *out, const char *former, const char *state_dir,
                         const struct resolver_setup *setup);

#endif
