#include "base/bytes.h"
#include "fuzz/fuzz.h"
#include "wg/crypto/crypto.h"
#include "wg/crypto/x25519.h"
#include "wg/wg.h"

#include <string.h>

/* Changes of a device against a model that applies them line by line, as the UAPI's text says. */

enum {
    KEYS = 5, /* peers; the first OWN of them are also what our own key may be */
    OWN = 2,
    PREFIXES = 12,
    CHANGE_PEERS = 4,
    CHANGE_IPS = 5,
    MAX_IPS = 64,
};

static uint8_t private_keys[KEYS][WG_KEY_LEN];
static uint8_t public_keys[KEYS][WG_KEY_LEN];
static struct ip_prefix prefixes[PREFIXES];

struct model_peer {
    bool exists;
    uint8_t psk;
    uint16_t keepalive;
    uint16_t port; /* of the endpoint; 0: none */
};

struct model {
    size_t own; /* KEYS: none */
    struct model_peer peers[KEYS];
    size_t owner[PREFIXES]; /* KEYS: nobody */
};

static void prepare(void)
{
    static const char *const texts[PREFIXES] = {
        "0.0.0.0/0",    "10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9", "10.0.0.1/32", "10.0.0.0/32",
        "192.0.2.0/24", "::/0",       "fd00::/8",   "fd00::/128",   "fd00::1/128", "fd80::/9",
    };
    if (private_keys[0][0] != 0)
        return;
    require(crypto_init() == 0);
    for (size_t i = 0; i < PREFIXES; i++)
        require(ip_prefix_parse(&prefixes[i], texts[i]));
    for (size_t i = 0; i < KEYS; i++) {
        memset(private_keys[i], (int)(i + 1), WG_KEY_LEN);
        x25519_public(public_keys[i], private_keys[i]);
    }
}

static void model_remove(struct model *model, size_t key)
{
    model->peers[key] = (struct model_peer){.exists = false};
    for (size_t i = 0; i < PREFIXES; i++) {
        if (model->owner[i] == key)
            model->owner[i] = KEYS;
    }
}

static size_t key_of(const uint8_t *public_key)
{
    size_t key = 0;
    while (key < KEYS && memcmp(public_keys[key], public_key, WG_KEY_LEN) != 0)
        key++;
    require(key < KEYS);
    return key;
}

static size_t prefix_of(const struct ip_prefix *prefix)
{
    struct ip_prefix masked = *prefix;
    size_t i = 0;
    ip_prefix_mask(&masked);
    while (i < PREFIXES && !ip_prefix_equal(&prefixes[i], &masked))
        i++;
    require(i < PREFIXES);
    return i;
}

static void model_peer(struct model *model, const struct wg_peer_config *config)
{
    size_t key = key_of(config->public_key);
    struct model_peer *peer = &model->peers[key];
    if (key == model->own)
        return;
    if (config->remove) {
        model_remove(model, key);
        return;
    }
    if (!peer->exists && config->update_only)
        return;
    peer->exists = true;
    if (config->has_preshared_key)
        peer->psk = config->preshared_key[0];
    if (config->has_endpoint)
        peer->port = endpoint_port(&config->endpoint);
    if (config->has_keepalive)
        peer->keepalive = config->keepalive_s;
    for (size_t i = 0; i < PREFIXES && config->replace_allowed_ips; i++) {
        if (model->owner[i] == key)
            model->owner[i] = KEYS;
    }
    for (size_t i = 0; i < config->allowed_ip_count; i++) {
        size_t place = prefix_of(&config->allowed_ips[i].prefix);
        if (!config->allowed_ips[i].remove)
            model->owner[place] = key;
        else if (model->owner[place] == key)
            model->owner[place] = KEYS;
    }
}

static void model_apply(struct model *model, const struct wg_device_config *config)
{
    if (config->has_private_key) {
        model->own = config->private_key[0] == 0 ? KEYS : (size_t)config->private_key[0] - 1;
        if (model->own < KEYS)
            model_remove(model, model->own);
    }
    for (size_t key = 0; key < KEYS && config->replace_peers; key++)
        model_remove(model, key);
    for (size_t i = 0; i < config->peer_count; i++)
        model_peer(model, &config->peers[i]);
}

static void take_peer(struct input *input, struct wg_peer_config *peer,
                      struct wg_allowed_ip_config *ips)
{
    uint8_t flags = input_byte(input);
    uint8_t more = input_byte(input);
    memcpy(peer->public_key, public_keys[more % KEYS], WG_KEY_LEN);
    peer->remove = (flags & 7) == 7;
    peer->update_only = (flags & 0x18) == 0x18;
    peer->replace_allowed_ips = (flags & 0x20) != 0;
    peer->has_preshared_key = (flags & 0x40) != 0;
    peer->has_endpoint = (flags & 0x80) != 0;
    peer->has_keepalive = (more & 0x80) != 0;
    if (peer->has_preshared_key)
        memset(peer->preshared_key, input_byte(input) % 3, WG_KEY_LEN);
    if (peer->has_endpoint) {
        struct ip_addr addr = {.family = 4, .bytes = {192, 0, 2, 1}};
        endpoint_from_addr(&peer->endpoint, &addr, (uint16_t)(1 + input_byte(input)));
    }
    if (peer->has_keepalive)
        peer->keepalive_s = input_byte(input);
    peer->allowed_ip_count = (more >> 3) % (CHANGE_IPS + 1);
    peer->allowed_ips = ips;
    for (size_t i = 0; i < peer->allowed_ip_count; i++) {
        uint8_t byte = input_byte(input);
        ips[i].prefix = prefixes[byte % PREFIXES];
        ips[i].remove = byte >= 192;
        if (ips[i].prefix.len < ip_addr_bits(&ips[i].prefix.addr) && byte & 0x20)
            ips[i].prefix.addr.bytes[ip_addr_len(&ips[i].prefix.addr) - 1] |= 1; /* not masked */
    }
}

static void check(struct wg_device *dev, const struct model *model)
{
    struct wg_device_info info;
    bool seen[KEYS] = {false};
    size_t owner[PREFIXES];
    for (size_t i = 0; i < PREFIXES; i++)
        owner[i] = KEYS;
    require(wg_device_info(dev, &info) == 0);
    require(info.has_private_key == (model->own < KEYS));
    if (model->own < KEYS)
        require(memcmp(info.public_key, public_keys[model->own], WG_KEY_LEN) == 0);
    for (size_t i = 0; i < info.peer_count; i++) {
        const struct wg_peer_info *peer = &info.peers[i];
        size_t key = key_of(peer->public_key);
        const struct model_peer *expected = &model->peers[key];
        require(expected->exists && !seen[key]);
        seen[key] = true;
        require(peer->preshared_key[0] == expected->psk);
        require(peer->keepalive_s == expected->keepalive);
        require(endpoint_is_set(&peer->endpoint) == (expected->port != 0));
        require(expected->port == 0 || endpoint_port(&peer->endpoint) == expected->port);
        for (size_t j = 0; j < peer->allowed_ip_count; j++) {
            size_t place = prefix_of(&peer->allowed_ips[j]);
            require(owner[place] == KEYS);
            owner[place] = key;
        }
    }
    for (size_t key = 0; key < KEYS; key++)
        require(seen[key] == model->peers[key].exists);
    require(memcmp(owner, model->owner, sizeof owner) == 0);
    wg_device_info_fini(&info);
}

/* The peer that a packet for this address goes to has an endpoint, or there is none. */
static void check_route(struct wg_device *dev, const struct model *model,
                        const struct ip_prefix *to, bool is_up, struct wg_time now)
{
    uint8_t packet[40] = {0};
    uint8_t sealed[40 + 15 + WG_DATA_OVERHEAD];
    bool is_v4 = to->addr.family == 4;
    packet[0] = is_v4 ? 0x45 : 0x60;
    packet[3] = is_v4 ? 40 : 0;
    memcpy(packet + (is_v4 ? 16 : 24), to->addr.bytes, is_v4 ? 4 : 16);
    struct wg_outbound out = {.plain = packet, .len = sizeof packet, .sealed = sealed};
    size_t best = PREFIXES;
    for (size_t i = 0; i < PREFIXES; i++) {
        if (model->owner[i] != KEYS && ip_prefix_contains(&prefixes[i], &to->addr) &&
            (best == PREFIXES || prefixes[i].len > prefixes[best].len))
            best = i;
    }
    enum wg_outbound_verdict expected = WG_OUT_STAGED;
    if (!is_up)
        expected = WG_OUT_DROP;
    else if (best == PREFIXES)
        expected = WG_OUT_NO_PEER;
    else if (model->peers[model->owner[best]].port == 0)
        expected = WG_OUT_NO_ENDPOINT;
    wg_device_seal(dev, &out, 1, now);
    require(out.verdict == expected);
}

struct sent {
    const struct model *model;
    bool is_up;
};

static bool transmit(void *ctx, const struct wg_endpoint *to, uint8_t ds, const uint8_t *bytes,
                     size_t len)
{
    const struct sent *sent = ctx;
    (void)ds;
    require(sent->is_up && sent->model->own < KEYS); /* the model is ahead of the device */
    require(endpoint_is_set(&to->remote) && len == 148 && bytes[0] == 1);
    return true;
}

static void random_bytes(void *ctx, void *out, size_t len)
{
    fuzz_random_bytes(ctx, out, len);
}

static void ignore_wake(void *ctx)
{
    (void)ctx;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint64_t random = 0;
    struct model model = {.own = KEYS};
    struct sent sent = {.model = &model};
    struct wg_device *dev;
    struct wg_env env = {.ctx = &random, .random = random_bytes, .wake = ignore_wake};
    struct wg_sink sink = {.ctx = &sent, .send = transmit};
    struct wg_time now = {.boot_ns = 1000000000, .real_ns = 1700000000000000000};
    prepare();
    for (size_t i = 0; i < PREFIXES; i++)
        model.owner[i] = KEYS;
    require(wg_device_create(&dev, &env) == 0);
    for (int round = 0; round < 24 && input_has(&input); round++) {
        struct wg_peer_config peers[CHANGE_PEERS];
        struct wg_allowed_ip_config ips[CHANGE_PEERS][CHANGE_IPS];
        struct wg_device_config config = {.peers = peers};
        uint8_t flags = input_byte(&input);
        if ((flags & 3) == 3) {
            config.has_private_key = true;
            uint8_t own = input_byte(&input) % (OWN + 1);
            if (own < OWN)
                memcpy(config.private_key, private_keys[own], WG_KEY_LEN);
        }
        config.replace_peers = (flags & 0x1c) == 0x1c;
        config.peer_count = flags >> 5 > CHANGE_PEERS ? CHANGE_PEERS : flags >> 5;
        memset(peers, 0, sizeof peers);
        memset(ips, 0, sizeof ips);
        for (size_t i = 0; i < config.peer_count; i++)
            take_peer(&input, &peers[i], ips[i]);
        model_apply(&model, &config);
        require(wg_device_configure(dev, &config, now, &sink) == 0);
        check(dev, &model);
        if ((flags & 0x0f) == 0x0c) {
            sent.is_up = !sent.is_up;
            wg_device_set_up(dev, sent.is_up, now, &sink);
        }
        check_route(dev, &model, &prefixes[flags % PREFIXES], sent.is_up, now);
        if (flags & 0x10)
            wg_garbage_free(wg_device_take_garbage(dev));
        wg_device_run(dev, now, &sink);
        now.boot_ns += 1000000 * (uint64_t)flags;
        now.real_ns += 1000000 * (uint64_t)flags;
    }
    wg_device_destroy(dev);
    return 0;
}
