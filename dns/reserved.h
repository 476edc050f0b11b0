#ifndef DNS_RESERVED_H
#define DNS_RESERVED_H

#include <stdbool.h>

/* Whether this label, in lower case, means something as a name of its own: a top-level domain, a
 * special-use name, a name that hosts look up by themselves, a number. A host of the network that
 * has such a name exists below the domain only. */
bool reserved_is_bare(const char *label);

#endif
