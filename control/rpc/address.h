#ifndef CONTROL_RPC_ADDRESS_H
#define CONTROL_RPC_ADDRESS_H

#include "base/addr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Where the control API is: "tcp://IP:PORT", "tcp://[IP6]:PORT", "tcp://NAME:PORT" (clients only)
 * or "unix:///path". */

enum address_kind { ADDRESS_TCP, ADDRESS_UNIX };

enum {
    ADDRESS_HOST_MAX = 256, /* with its NUL */
    ADDRESS_PATH_MAX = 108, /* sun_path */
    ADDRESS_TEXT = 272,     /* longest text with its NUL */
};

struct address {
    enum address_kind kind;
    union endpoint endpoint;     /* TCP with a literal IP; AF_UNSPEC when `host` must be resolved */
    char host[ADDRESS_HOST_MAX]; /* as given, without brackets */
    uint16_t port;
    char path[ADDRESS_PATH_MAX];
};

/* 0, or -EINVAL with a text that names what is wrong and what is expected. "HOST:PORT" without a
 * scheme is read as tcp. Names are accepted when `names` is true. */
int address_parse(struct address *out, const char *text, bool names, struct err *err);

/* The canonical form, which address_parse reads. */
const char *address_format(const struct address *address, char out[ADDRESS_TEXT]);
bool address_equal(const struct address *a, const struct address *b);

#endif
