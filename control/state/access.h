#ifndef CONTROL_STATE_ACCESS_H
#define CONTROL_STATE_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Checks ids, keys and names that come from outside. */

struct err;

enum {
    ACCESS_MADE_ID_TEXT = 37, /* with its NUL */
    ACCESS_ID_MAX = 128,      /* longest id or key, without NUL */
    ACCESS_NAME_MAX = 63,     /* a DNS label, RFC 1035 section 2.3.4 */
    ACCESS_MIN_BITS = 96,
};

/* Refuses an id or key that is too long, has characters other than letters, digits, '-', '_', '.',
 * '+', '/', '=', or is weaker than 96 bits (strength.h). `what` names it for the user ("peer id"); the text
 * holds the command that makes a good one and never the id. 0 or -EINVAL. */
int access_check_id(const char *text, const char *what, struct err *err);

/* An id of 16 random bytes in the form of a UUID: 128 bits, where a version 4 UUID has 122. */
void access_make_id(const uint8_t random[16], char out[ACCESS_MADE_ID_TEXT]);

/* A name has 1 to 63 letters, digits and inner hyphens. Writes it in lower case. 0 or -EINVAL. */
int access_check_name(const char *text, char out[ACCESS_NAME_MAX + 1], struct err *err);

/* Turns a host name into a valid name: its first label, other characters as hyphens; "" when
 * nothing is left. */
void access_name_from_host(const char *host, char out[ACCESS_NAME_MAX + 1]);

/* A WireGuard public key in base64, none of low order. 0 or -EINVAL. */
int access_check_public_key(const char *text, uint8_t out[32], struct err *err);

#endif
