#include "wg/uapi/uapi.h"

#include "base/bytes.h"
#include "fuzz/fuzz.h"
#include "wg/crypto/crypto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Requests of any content. What is accepted is written down again and must then be read as the
 * same; a device that has it must tell of itself so that another device made from that tells the
 * same. */

/* Bytes of 128 and more stand for these in the input, all others for themselves. */
static const char *const tokens[] = {
    "set=1\n",
    "get=1\n",
    "\n",
    "private_key=",
    "public_key=",
    "preshared_key=",
    "listen_port=51820\n",
    "fwmark=4294967295\n",
    "replace_peers=true\n",
    "remove=true\n",
    "update_only=true\n",
    "endpoint=192.0.2.1:1\n",
    "endpoint=[fe80::1%7]:65535\n",
    "endpoint=",
    "persistent_keepalive_interval=25\n",
    "persistent_keepalive_interval=65536\n",
    "replace_allowed_ips=true\n",
    "allowed_ip=",
    "allowed_ip=10.0.0.0/8\n",
    "allowed_ip=-10.0.0.0/8\n",
    "allowed_ip=::/0\n",
    "allowed_ip=10.1.2.3/16\n",
    "protocol_version=1\n",
    "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff\n",
    "0000000000000000000000000000000000000000000000000000000000000000\n",
    "07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c\n",
    "ABCDEFabcdefABCDEFabcdefABCDEFabcdefABCDEFabcdefABCDEFabcdefABCD\n",
};

enum { TOKENS = sizeof tokens / sizeof tokens[0], TEXT_MAX = 1 << 16 };

static char *expand(const uint8_t *data, size_t size, size_t *len)
{
    struct buffer text;
    buffer_init(&text);
    for (size_t i = 0; i < size && buffer_len(&text) < TEXT_MAX; i++) {
        if (data[i] >= 128)
            buffer_append_string(&text, tokens[(data[i] - 128) % TOKENS]);
        else
            buffer_append(&text, &data[i], 1);
    }
    require(!buffer_failed(&text));
    *len = buffer_len(&text);
    char *exact = malloc(*len > 0 ? *len : 1);
    require(exact != NULL);
    if (*len > 0)
        memcpy(exact, buffer_data(&text), *len);
    buffer_fini(&text);
    return exact;
}

/* The end of the first request, looked for the simple way. */
static size_t request_len(const char *text, size_t len)
{
    if (len > 0 && text[0] == '\n')
        return 1;
    for (size_t i = 1; i < len; i++) {
        if (text[i] == '\n' && text[i - 1] == '\n')
            return i + 1;
    }
    return 0;
}

/* The same answer, however the bytes came. */
static void check_len(const char *text, size_t len)
{
    size_t whole = request_len(text, len);
    size_t scanned = 0;
    require(uapi_request_len(text, len, 0) == whole);
    size_t step = len < 512 ? 1 : 37;
    for (size_t have = 0; have <= len; have += step) {
        size_t found = uapi_request_len(text, have, scanned);
        require(found == (whole != 0 && whole <= have ? whole : 0));
        if (found != 0)
            break;
        scanned = have;
    }
}

static void append_key(struct buffer *out, const char *name, const uint8_t key[WG_KEY_LEN])
{
    char hex[HEX_KEY_LEN + 1];
    bytes_to_hex(hex, key, WG_KEY_LEN);
    buffer_printf(out, "%s=%s\n", name, hex);
}

static void append_peer(struct buffer *out, const struct wg_peer_config *peer)
{
    append_key(out, "public_key", peer->public_key);
    if (peer->remove)
        buffer_append_string(out, "remove=true\n");
    if (peer->update_only)
        buffer_append_string(out, "update_only=true\n");
    if (peer->has_preshared_key)
        append_key(out, "preshared_key", peer->preshared_key);
    if (peer->has_endpoint) {
        char text[ENDPOINT_TEXT];
        buffer_printf(out, "endpoint=%s\n", endpoint_format(&peer->endpoint, text));
    }
    if (peer->has_keepalive)
        buffer_printf(out, "persistent_keepalive_interval=%u\n", peer->keepalive_s);
    if (peer->replace_allowed_ips)
        buffer_append_string(out, "replace_allowed_ips=true\n");
    for (size_t i = 0; i < peer->allowed_ip_count; i++) {
        const struct wg_allowed_ip_config *ip = &peer->allowed_ips[i];
        char text[IP_PREFIX_TEXT];
        buffer_printf(out, "allowed_ip=%s%s\n", ip->remove ? "-" : "",
                      ip_prefix_format(&ip->prefix, text));
    }
}

static void append_config(struct buffer *out, const struct wg_device_config *config)
{
    buffer_append_string(out, "set=1\n");
    if (config->has_private_key)
        append_key(out, "private_key", config->private_key);
    if (config->has_listen_port)
        buffer_printf(out, "listen_port=%u\n", config->listen_port);
    if (config->has_fwmark)
        buffer_printf(out, "fwmark=%u\n", config->fwmark);
    if (config->replace_peers)
        buffer_append_string(out, "replace_peers=true\n");
    for (size_t i = 0; i < config->peer_count; i++)
        append_peer(out, &config->peers[i]);
    buffer_append_string(out, "\n");
    require(!buffer_failed(out));
}

static void check_same_peer(const struct wg_peer_config *a, const struct wg_peer_config *b)
{
    require(memcmp(a->public_key, b->public_key, WG_KEY_LEN) == 0);
    require(a->remove == b->remove && a->update_only == b->update_only);
    require(a->replace_allowed_ips == b->replace_allowed_ips);
    require(a->has_preshared_key == b->has_preshared_key);
    require(memcmp(a->preshared_key, b->preshared_key, WG_KEY_LEN) == 0);
    require(a->has_endpoint == b->has_endpoint);
    require(endpoint_equal(&a->endpoint, &b->endpoint));
    require(a->has_keepalive == b->has_keepalive && a->keepalive_s == b->keepalive_s);
    require(a->allowed_ip_count == b->allowed_ip_count);
    for (size_t i = 0; i < a->allowed_ip_count; i++) {
        require(a->allowed_ips[i].remove == b->allowed_ips[i].remove);
        require(ip_prefix_equal(&a->allowed_ips[i].prefix, &b->allowed_ips[i].prefix));
    }
}

static void check_same(const struct wg_device_config *a, const struct wg_device_config *b)
{
    require(a->has_private_key == b->has_private_key && a->has_listen_port == b->has_listen_port);
    require(a->has_fwmark == b->has_fwmark && a->replace_peers == b->replace_peers);
    require(memcmp(a->private_key, b->private_key, WG_KEY_LEN) == 0);
    require(a->listen_port == b->listen_port && a->fwmark == b->fwmark);
    require(a->peer_count == b->peer_count);
    for (size_t i = 0; i < a->peer_count; i++)
        check_same_peer(&a->peers[i], &b->peers[i]);
}

static void check_read_again(const struct wg_device_config *config)
{
    struct buffer text;
    struct wg_device_config again;
    buffer_init(&text);
    append_config(&text, config);
    require(uapi_parse_set(&again, (const char *)buffer_data(&text), buffer_len(&text)) == 0);
    check_same(config, &again);
    wg_device_config_fini(&again);
    buffer_fini(&text);
}

static void fill_zero(void *ctx, void *out, size_t len)
{
    (void)ctx;
    memset(out, 0, len);
}

static void ignore_wake(void *ctx)
{
    (void)ctx;
}

static bool no_send(void *ctx, const struct wg_endpoint *to, uint8_t ds, const uint8_t *bytes,
                    size_t len)
{
    (void)ctx, (void)to, (void)ds, (void)bytes, (void)len;
    fuzz_failed("a device that is down sends nothing", __FILE__, __LINE__);
    return true;
}

/* What a device tells that was set up like this. The caller destroys it. */
static struct wg_device *make_device(const struct wg_device_config *config, struct buffer *told)
{
    struct wg_env env = {.random = fill_zero, .wake = ignore_wake};
    struct wg_sink sink = {.send = no_send};
    struct wg_time now = {.boot_ns = 1000000000, .real_ns = 1000000000};
    struct wg_device *dev;
    struct uapi_info info = {.listen_port = config->listen_port, .fwmark = config->fwmark};
    require(wg_device_create(&dev, &env) == 0);
    require(wg_device_configure(dev, config, now, &sink) == 0);
    require(wg_device_info(dev, &info.device) == 0);
    uapi_format_get(told, &info);
    require(!buffer_failed(told));
    uapi_info_fini(&info);
    return dev;
}

/* An answer without what cannot be set, as a request. */
static void make_request(struct buffer *out, const struct buffer *told)
{
    static const char *const skipped[] = {"last_handshake_time_",
                                          "tx_bytes=", "rx_bytes=", "errno="};
    const char *at = (const char *)buffer_data(told);
    const char *end = at + buffer_len(told);
    buffer_append_string(out, "set=1\n");
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        require(newline != NULL);
        bool keep = true;
        for (size_t i = 0; i < sizeof skipped / sizeof skipped[0]; i++)
            keep = keep && strncmp(at, skipped[i], strlen(skipped[i])) != 0;
        if (keep)
            buffer_append(out, at, (size_t)(newline + 1 - at));
        at = newline + 1;
    }
}

static void check_told_again(const struct wg_device_config *config)
{
    struct buffer told;
    struct buffer request;
    struct buffer again;
    struct wg_device_config copied;
    buffer_init(&told);
    buffer_init(&request);
    buffer_init(&again);
    struct wg_device *first = make_device(config, &told);
    require(uapi_request_len((const char *)buffer_data(&told), buffer_len(&told), 0) ==
            buffer_len(&told));
    make_request(&request, &told);
    require(uapi_parse_set(&copied, (const char *)buffer_data(&request), buffer_len(&request)) ==
            0);
    struct wg_device *second = make_device(&copied, &again);
    require(buffer_len(&told) == buffer_len(&again));
    require(memcmp(buffer_data(&told), buffer_data(&again), buffer_len(&told)) == 0);
    wg_device_config_fini(&copied);
    wg_device_destroy(first);
    wg_device_destroy(second);
    buffer_fini(&told);
    buffer_fini(&request);
    buffer_fini(&again);
}

static bool line_has_key(const char *line, const char *key)
{
    size_t len = strlen(key);
    return strncmp(line, key, len) == 0 && line[len] == '=';
}

/* Keys of the device come before all peers, and no key comes twice in its place but the two that
 * make lists. `text` ends with a NUL. */
static void check_order(const char *text)
{
    static const char *const keys[] = {
        "private_key",         "listen_port",     "fwmark",
        "replace_peers",       "remove",          "update_only",
        "preshared_key",       "endpoint",        "persistent_keepalive_interval",
        "replace_allowed_ips", "protocol_version"};
    bool seen[sizeof keys / sizeof keys[0]] = {false};
    bool in_peer = false;
    for (const char *at = strchr(text, '\n') + 1; *at != '\n'; at = strchr(at, '\n') + 1) {
        if (line_has_key(at, "public_key")) {
            memset(seen, 0, sizeof seen);
            in_peer = true;
        }
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
            if (!line_has_key(at, keys[i]))
                continue;
            require(!seen[i] && in_peer == (i >= 4));
            seen[i] = true;
        }
    }
}

static bool is_clean(const struct wg_device_config *config)
{
    static const struct wg_device_config empty;
    return fuzz_same(config, &empty, sizeof empty);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t len;
    require(crypto_init() == 0);
    char *text = expand(data, size, &len);
    enum uapi_operation operation;
    struct wg_device_config config;
    check_len(text, len);
    int known = uapi_parse_operation(&operation, text, len);
    require(known == 0 || known == -EINVAL || known == -EPROTO);
    int result = uapi_parse_set(&config, text, len);
    require(result == 0 || result == -EINVAL);
    if (result == 0) {
        require(known == 0 && operation == UAPI_SET);
        require(uapi_request_len(text, len, 0) == len); /* exactly one request */
        char *copy = strndup(text, len);
        require(copy != NULL);
        check_order(copy);
        free(copy);
        check_read_again(&config);
        check_told_again(&config);
        wg_device_config_fini(&config);
    } else {
        require(is_clean(&config));
    }
    free(text);
    return 0;
}
