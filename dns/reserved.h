#ifndef DNS_RESERVED_H
#define DNS_RESERVED_H

#include <stdbool.h>

/* Whether this label, in lower case, means something as a name of its own: a top-level domain, a
 * special-use name, a name that hosts look up by themselves, a number. A host of the network that
 * has such a name exists below the domain only. */
bool reserved_is_bare(const char *label);

/* Whether a network may call this domain, in lower case, its own without taking names from the rest
 * of DNS: one label that is no top-level domain, a name below home.arpa or a private top-level
 * domain such as "corp", or at least three labels below a public one. */
bool reserved_allows_domain(const char *domain);

#endif
