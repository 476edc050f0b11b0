#ifndef BASE_IFNAME_H
#define BASE_IFNAME_H

#include <stdbool.h>

enum { IFNAME_MAX = 15 };

/* Whether a network interface can have this name, by the kernel's rules. */
bool ifname_is_valid(const char *name);

/* Whether the kernel keeps this name for itself, so that no interface of ours can have it. */
bool ifname_is_reserved(const char *name);

#endif
