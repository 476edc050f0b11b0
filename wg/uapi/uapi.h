#ifndef WG_UAPI_UAPI_H
#define WG_UAPI_UAPI_H

#include "base/buffer.h"
#include "wg/wg.h"

#include <stddef.h>
#include <stdint.h>

/* The text protocol by which wg(8) reads and changes a userspace device: the "cross-platform
 * userspace implementation" page of wireguard.com. Pure: bytes in, structs and bytes out.
 * A request is "get=1" or "set=1" with its "key=value" lines, ended by an empty line; an answer
 * ends with "errno=N" (negative, 0 for success) and an empty line. */

enum {
    UAPI_REQUEST_MAX = 16 * 1024 * 1024, /* bytes, with the empty line */
};

enum uapi_operation { UAPI_GET, UAPI_SET };

/* What a get answers. */
struct uapi_info {
    struct wg_device_info device;
    uint16_t listen_port; /* 0: none, left out */
    uint32_t fwmark;      /* 0: none, left out */
};

/* Wipes and frees the members. */
void uapi_info_fini(struct uapi_info *info);

/* Returns the length of the first request in `text` including its empty line, or 0 while it is
 * incomplete. `scanned` is where the search may start: the length at an earlier call that returned
 * 0. */
size_t uapi_request_len(const char *text, size_t len, size_t scanned);

/* Returns the operation of one complete request. -EPROTO when it is neither "get=1" nor "set=1",
 * -EINVAL when a get has more than its first line. */
int uapi_parse_operation(enum uapi_operation *out, const char *text, size_t len);

/* Reads one complete set request. Strict: an unknown key, a repeated key, an empty or malformed
 * value, a NUL, a peer's key before any public_key or a device's key behind one is -EINVAL, and
 * -ENOMEM is possible; then `out` is empty. On success wg_device_config_fini frees it. */
int uapi_parse_set(struct wg_device_config *out, const char *text, size_t len);

/* Appends the answer to a get, "errno=0" included; see buffer_failed(). */
void uapi_format_get(struct buffer *out, const struct uapi_info *info);

/* Appends "errno=N" and the empty line; `code` is 0 or a negative errno. */
void uapi_format_errno(struct buffer *out, int code);

#endif
