#include "wg/uapi/uapi.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    VALUE_MAX = 128, /* no valid value is longer */
    /* Room for all lines of one peer but its allowed IPs, of one allowed IP, and of the rest. */
    PEER_TEXT_MAX = 512,
    ALLOWED_IP_TEXT_MAX = 64,
    DEVICE_TEXT_MAX = 256,
};

/* A set request while it is read. */
struct parse {
    struct wg_device_config *config;
    struct wg_peer_config *peer; /* the last public_key's, or NULL */
    uint32_t seen;               /* keys seen: of the device, then of the current peer */
    char value[VALUE_MAX];
};

void uapi_info_fini(struct uapi_info *info)
{
    wg_device_info_fini(&info->device);
    *info = (struct uapi_info){0};
}

size_t uapi_request_len(const char *text, size_t len, size_t scanned)
{
    if (len > 0 && text[0] == '\n')
        return 1;
    size_t at = scanned > 0 ? scanned - 1 : 0;
    while (at + 1 < len) {
        const char *newline = memchr(text + at, '\n', len - 1 - at);
        if (newline == NULL)
            return 0;
        if (newline[1] == '\n')
            return (size_t)(newline - text) + 2;
        at = (size_t)(newline - text) + 1;
    }
    return 0;
}

int uapi_parse_operation(enum uapi_operation *out, const char *text, size_t len)
{
    static const char get[] = "get=1\n", set[] = "set=1\n";
    if (len > sizeof set - 1 && memcmp(text, set, sizeof set - 1) == 0) {
        *out = UAPI_SET;
        return 0;
    }
    if (len > sizeof get - 1 && memcmp(text, get, sizeof get - 1) == 0) {
        *out = UAPI_GET;
        return len == sizeof get ? 0 : -EINVAL;
    }
    return -EPROTO;
}

/* ---- values ---- */

static int parse_key(uint8_t out[WG_KEY_LEN], const char *value)
{
    return bytes_from_hex(out, WG_KEY_LEN, value) ? 0 : -EINVAL;
}

static int parse_unsigned(uint64_t *out, const char *value, uint64_t max)
{
    return parse_number(out, value, 0, max) ? 0 : -EINVAL;
}

/* Flags have one value. Leaving the line out unsets them. */
static int parse_true(bool *out, const char *value)
{
    *out = strcmp(value, "true") == 0;
    return *out ? 0 : -EINVAL;
}

/* ---- keys of the device ---- */

static int set_private_key(struct parse *parse)
{
    parse->config->has_private_key = true;
    return parse_key(parse->config->private_key, parse->value);
}

static int set_listen_port(struct parse *parse)
{
    uint64_t port = 0;
    int rc = parse_unsigned(&port, parse->value, UINT16_MAX);
    parse->config->has_listen_port = true;
    parse->config->listen_port = (uint16_t)port;
    return rc;
}

static int set_fwmark(struct parse *parse)
{
    uint64_t mark = 0;
    int rc = parse_unsigned(&mark, parse->value, UINT32_MAX);
    parse->config->has_fwmark = true;
    parse->config->fwmark = (uint32_t)mark;
    return rc;
}

static int set_replace_peers(struct parse *parse)
{
    return parse_true(&parse->config->replace_peers, parse->value);
}

/* ---- keys of a peer ---- */

/* Starts a peer. Room for all peers was allocated before. */
static int set_public_key(struct parse *parse)
{
    parse->peer = &parse->config->peers[parse->config->peer_count++];
    return parse_key(parse->peer->public_key, parse->value);
}

static int set_remove(struct parse *parse)
{
    return parse_true(&parse->peer->remove, parse->value);
}

static int set_update_only(struct parse *parse)
{
    return parse_true(&parse->peer->update_only, parse->value);
}

static int set_preshared_key(struct parse *parse)
{
    parse->peer->has_preshared_key = true;
    return parse_key(parse->peer->preshared_key, parse->value);
}

static int set_endpoint(struct parse *parse)
{
    parse->peer->has_endpoint = true;
    return endpoint_parse(&parse->peer->endpoint, parse->value) ? 0 : -EINVAL;
}

static int set_keepalive(struct parse *parse)
{
    uint64_t seconds = 0;
    int rc = parse_unsigned(&seconds, parse->value, UINT16_MAX);
    parse->peer->has_keepalive = true;
    parse->peer->keepalive_s = (uint16_t)seconds;
    return rc;
}

static int set_replace_allowed_ips(struct parse *parse)
{
    return parse_true(&parse->peer->replace_allowed_ips, parse->value);
}

static int set_allowed_ip(struct parse *parse)
{
    struct wg_peer_config *peer = parse->peer;
    struct wg_allowed_ip_config ip = {.remove = parse->value[0] == '-'};
    if (!ip_prefix_parse(&ip.prefix, parse->value + (ip.remove ? 1 : 0)))
        return -EINVAL;
    /* The array is full whenever the count is a power of two. */
    size_t count = peer->allowed_ip_count;
    if ((count & (count - 1)) == 0) {
        size_t room = count == 0 ? 1 : 2 * count;
        void *larger = realloc(peer->allowed_ips, room * sizeof ip);
        if (larger == NULL)
            return -ENOMEM;
        peer->allowed_ips = larger;
    }
    peer->allowed_ips[peer->allowed_ip_count++] = ip;
    return 0;
}

static int set_protocol_version(struct parse *parse)
{
    return strcmp(parse->value, "1") == 0 ? 0 : -EINVAL;
}

static const struct key {
    const char *name;
    enum { OF_DEVICE, OF_PEER, STARTS_PEER } place;
    bool repeats;
    int (*set)(struct parse *parse);
} keys[] = {
    {"private_key", OF_DEVICE, false, set_private_key},
    {"listen_port", OF_DEVICE, false, set_listen_port},
    {"fwmark", OF_DEVICE, false, set_fwmark},
    {"replace_peers", OF_DEVICE, false, set_replace_peers},
    {"public_key", STARTS_PEER, true, set_public_key},
    {"remove", OF_PEER, false, set_remove},
    {"update_only", OF_PEER, false, set_update_only},
    {"preshared_key", OF_PEER, false, set_preshared_key},
    {"endpoint", OF_PEER, false, set_endpoint},
    {"persistent_keepalive_interval", OF_PEER, false, set_keepalive},
    {"replace_allowed_ips", OF_PEER, false, set_replace_allowed_ips},
    {"allowed_ip", OF_PEER, true, set_allowed_ip},
    {"protocol_version", OF_PEER, false, set_protocol_version},
};

enum { KEY_COUNT = sizeof keys / sizeof keys[0] };

/* ---- lines ---- */

static int apply_key(struct parse *parse, size_t index)
{
    const struct key *key = &keys[index];
    switch (key->place) {
    case OF_DEVICE:
        if (parse->peer != NULL)
            return -EINVAL;
        break;
    case OF_PEER:
        if (parse->peer == NULL)
            return -EINVAL;
        break;
    case STARTS_PEER:
        parse->seen = 0;
        break;
    }
    if (!key->repeats && (parse->seen & 1u << index) != 0)
        return -EINVAL;
    parse->seen |= 1u << index;
    return key->set(parse);
}

/* `line` has no newline. */
static int parse_line(struct parse *parse, const char *line, size_t len)
{
    const char *equals = memchr(line, '=', len);
    if (equals == NULL)
        return -EINVAL;
    size_t name_len = (size_t)(equals - line), value_len = len - name_len - 1;
    if (value_len == 0 || value_len >= VALUE_MAX || memchr(equals + 1, 0, value_len) != NULL)
        return -EINVAL;
    memcpy(parse->value, equals + 1, value_len);
    parse->value[value_len] = '\0';
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strlen(keys[i].name) == name_len && memcmp(keys[i].name, line, name_len) == 0)
            return apply_key(parse, i);
    return -EINVAL;
}

/* Counts peers ahead, so that the array never moves and leaves no preshared key behind. */
static size_t count_peers(const char *text, size_t len)
{
    static const char needle[] = "\npublic_key=";
    size_t count = 0;
    const char *end = text + len, *at = text;
    while ((at = memmem(at, (size_t)(end - at), needle, sizeof needle - 1)) != NULL) {
        count++;
        at += sizeof needle - 1;
    }
    return count;
}

static int parse_lines(struct parse *parse, const char *text, size_t len)
{
    const char *end = text + len, *line = text;
    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        if (newline == NULL)
            return -EINVAL;
        if (newline == line)
            return newline + 1 == end ? 0 : -EINVAL;
        int rc = parse_line(parse, line, (size_t)(newline - line));
        if (rc != 0)
            return rc;
        line = newline + 1;
    }
    return -EINVAL;
}

int uapi_parse_set(struct wg_device_config *out, const char *text, size_t len)
{
    *out = (struct wg_device_config){0};
    enum uapi_operation operation;
    if (uapi_parse_operation(&operation, text, len) != 0 || operation != UAPI_SET)
        return -EINVAL;
    size_t peers = count_peers(text, len);
    if (peers > 0) {
        out->peers = calloc(peers, sizeof *out->peers);
        if (out->peers == NULL)
            return -ENOMEM;
    }
    struct parse parse = {.config = out};
    const char *first = memchr(text, '\n', len);
    size_t skipped = (size_t)(first - text) + 1;
    int rc = parse_lines(&parse, text + skipped, len - skipped);
    bytes_wipe(&parse, sizeof parse);
    if (rc != 0) {
        wg_device_config_fini(out);
        *out = (struct wg_device_config){0};
    }
    return rc;
}

/* ---- answers ---- */

static void format_key(struct buffer *out, const char *name, const uint8_t key[WG_KEY_LEN])
{
    char hex[HEX_KEY_LEN + 1];
    bytes_to_hex(hex, key, WG_KEY_LEN);
    buffer_append_string(out, name);
    buffer_append_string(out, "=");
    buffer_append_string(out, hex);
    buffer_append_string(out, "\n");
    bytes_wipe(hex, sizeof hex);
}

static void format_peer(struct buffer *out, const struct wg_peer_info *peer)
{
    format_key(out, "public_key", peer->public_key);
    format_key(out, "preshared_key", peer->preshared_key);
    buffer_append_string(out, "protocol_version=1\n");
    if (endpoint_is_set(&peer->endpoint)) {
        char text[ENDPOINT_TEXT];
        buffer_printf(out, "endpoint=%s\n", endpoint_format(&peer->endpoint, text));
    }
    buffer_printf(out,
                  "last_handshake_time_sec=%" PRIu64 "\nlast_handshake_time_nsec=%" PRIu64 "\n",
                  peer->last_handshake_ns / NS_PER_SEC, peer->last_handshake_ns % NS_PER_SEC);
    buffer_printf(out, "tx_bytes=%" PRIu64 "\nrx_bytes=%" PRIu64 "\n", peer->tx_bytes,
                  peer->rx_bytes);
    buffer_printf(out, "persistent_keepalive_interval=%u\n", peer->keepalive_s);
    for (size_t i = 0; i < peer->allowed_ip_count; i++) {
        char text[IP_PREFIX_TEXT];
        buffer_printf(out, "allowed_ip=%s\n", ip_prefix_format(&peer->allowed_ips[i], text));
    }
}

/* Reserves the whole answer, so that the buffer never moves and leaves no key behind. */
static size_t answer_size(const struct wg_device_info *device)
{
    size_t size = DEVICE_TEXT_MAX;
    for (size_t i = 0; i < device->peer_count; i++)
        size += PEER_TEXT_MAX + device->peers[i].allowed_ip_count * ALLOWED_IP_TEXT_MAX;
    return size;
}

void uapi_format_get(struct buffer *out, const struct uapi_info *info)
{
    (void)buffer_reserve(out, answer_size(&info->device));
    if (info->device.has_private_key)
        format_key(out, "private_key", info->device.private_key);
    if (info->listen_port != 0)
        buffer_printf(out, "listen_port=%u\n", info->listen_port);
    if (info->fwmark != 0)
        buffer_printf(out, "fwmark=%" PRIu32 "\n", info->fwmark);
    for (size_t i = 0; i < info->device.peer_count; i++)
        format_peer(out, &info->device.peers[i]);
    uapi_format_errno(out, 0);
}

void uapi_format_errno(struct buffer *out, int code)
{
    buffer_printf(out, "errno=%d\n\n", code);
}
