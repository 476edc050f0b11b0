#include "base/bytes.h"
#include "base/clock.h"
#include "fuzz/fuzz.h"
#include "wg/cookie.h"
#include "wg/crypto/aead.h"
#include "wg/crypto/crypto.h"
#include "wg/ip.h"
#include "wg/noise.h"
#include "wg/replay.h"
#include "wg/wg.h"
#include "wg/wire.h"

#include <string.h>

/* A device with live sessions, and datagrams into it: from anybody (any bytes; any bytes with a
 * right mac1) and from peers that turn against it (handshakes and data of their own making, changed
 * after or before they are sealed). The attackers understand all that the device sends, and hold it
 * to what it may send: under known sessions only, no counter twice, nothing while it is down, no
 * answer to what is not authentic. */

enum {
    ATTACKERS = 3,
    SESSIONS = 12, /* of one attacker */
    COUNTERS = 96, /* that one session accepts */
    STEPS = 48,
    ROOM = 2048,
    PACKET_MAX = 200,
};

struct session {
    struct noise_session keys;
    uint64_t born_ns;
    uint64_t device_next; /* counter that the device uses next */
    uint64_t newest;
    size_t accepted_count;
    uint64_t accepted[COUNTERS];
};

struct attacker {
    struct noise_identity identity;
    struct noise_peer device; /* what it knows of the device */
    struct cookie_maker macs;
    struct cookie_checker checker; /* tells what is for it */
    union endpoint address;
    bool has_initiation;
    struct wire_initiation initiation; /* the device's last one */
    size_t session_count;
    bool is_current; /* nothing happened since that could have ended the newest session */
    struct session sessions[SESSIONS];
};

struct world {
    struct input input;
    uint64_t random;
    uint64_t now;
    uint32_t numbers;
    struct wg_device *dev;
    bool is_up;
    bool is_woken;
    bool under_load;
    unsigned sent;
    uint8_t last_type;
    size_t last_len;
    uint8_t last[ROOM];
    uint8_t device_key;
    uint8_t device_public[32];
    struct attacker *speaker; /* who sent the handshake message that is being handled */
    struct attacker attackers[ATTACKERS];
};

static struct wg_time time_of(const struct world *world)
{
    return (struct wg_time){.boot_ns = world->now, .real_ns = NS_PER_SEC * 1700000000 + world->now};
}

static void random_bytes(void *ctx, void *out, size_t len)
{
    struct world *world = ctx;
    fuzz_random_bytes(&world->random, out, len);
}

static void wake(void *ctx)
{
    struct world *world = ctx;
    world->is_woken = true;
}

/* ---- what the device sends ---- */

static void add_session(struct world *world, struct attacker *attacker)
{
    struct noise_session keys;
    require(noise_begin_session(&attacker->device, &keys));
    if (attacker->session_count == SESSIONS) { /* the oldest is long dead */
        memmove(attacker->sessions, attacker->sessions + 1,
                (SESSIONS - 1) * sizeof attacker->sessions[0]);
        attacker->session_count--;
    }
    struct session *session = &attacker->sessions[attacker->session_count++];
    memset(session, 0, sizeof *session);
    session->keys = keys;
    session->born_ns = world->now;
    attacker->is_current = true;
}

static struct attacker *addressee(struct world *world, const uint8_t *bytes, size_t len)
{
    struct attacker *found = NULL;
    union endpoint nowhere = {0};
    for (size_t i = 0; i < ATTACKERS; i++) {
        if (cookie_checker_check(&world->attackers[i].checker, bytes, len, &nowhere, false, 0) ==
            COOKIE_BAD_MAC)
            continue;
        require(found == NULL);
        found = &world->attackers[i];
    }
    require(found != NULL);
    return found;
}

static void check_inner(const uint8_t *plain, size_t len)
{
    struct ip_packet ip;
    if (len == 0)
        return;
    require(len % 16 == 0 && ip_packet_read(&ip, plain, len) && ip.len <= len);
    require(bytes_is_zero_ct(plain + ip.len, len - ip.len)); /* nothing leaks in the padding */
    for (size_t i = ip.family == 4 ? 20 : 40; i < ip.len; i++)
        require(plain[i] == (uint8_t)i);
}

static void check_data(struct world *world, const uint8_t *bytes, size_t len)
{
    const struct wire_data *header = (const struct wire_data *)bytes;
    uint8_t body[ROOM];
    for (size_t i = 0; i < ATTACKERS; i++) {
        struct attacker *attacker = &world->attackers[i];
        for (size_t j = 0; j < attacker->session_count; j++) {
            struct session *session = &attacker->sessions[j];
            if (session->keys.local_index != load_le32(header->receiver))
                continue;
            require(load_le64(header->counter) == session->device_next);
            require(world->now < session->born_ns + 180 * NS_PER_SEC);
            memcpy(body, bytes + WG_HEADER_LEN, len - WG_HEADER_LEN);
            struct aead_op op = {.key = session->keys.recv_key,
                                 .counter = session->device_next++,
                                 .src = body,
                                 .len = len - WG_DATA_OVERHEAD,
                                 .dst = body};
            require(aead_open(&op, 1) == 1 && op.ok);
            check_inner(body, op.len);
            return;
        }
    }
    fuzz_failed("data is sent under a known session", __FILE__, __LINE__);
}

static void take_response(struct world *world, struct attacker *attacker, const uint8_t *bytes)
{
    const struct wire_response *response = (const struct wire_response *)bytes;
    if (noise_consume_response(&attacker->device, &attacker->identity, response) == NOISE_OK)
        add_session(world, attacker);
    else
        attacker->is_current = false; /* the device has a session that nobody else knows */
}

static bool transmit(void *ctx, const struct wg_endpoint *to, uint8_t ds, const uint8_t *bytes,
                     size_t len)
{
    struct world *world = ctx;
    require(world->is_up && endpoint_is_set(&to->remote) && len >= 32 && len <= ROOM);
    uint32_t type = load_le32(bytes);
    require((ds == 0x88) == (type != WIRE_DATA));
    world->sent++;
    world->last_type = (uint8_t)type;
    world->last_len = len;
    memcpy(world->last, bytes, len);
    switch (type) {
    case WIRE_INITIATION: {
        require(len == WIRE_INITIATION_LEN);
        struct attacker *attacker = addressee(world, bytes, len);
        memcpy(&attacker->initiation, bytes, len);
        attacker->has_initiation = true;
        break;
    }
    case WIRE_RESPONSE:
        require(len == WIRE_RESPONSE_LEN && world->speaker != NULL);
        require(addressee(world, bytes, len) == world->speaker);
        take_response(world, world->speaker, bytes);
        break;
    case WIRE_COOKIE_REPLY:
        require(len == WIRE_COOKIE_REPLY_LEN && world->under_load);
        if (world->speaker != NULL)
            cookie_maker_consume_reply(&world->speaker->macs,
                                       (const struct wire_cookie_reply *)bytes, world->now);
        break;
    case WIRE_DATA:
        check_data(world, bytes, len);
        break;
    default:
        fuzz_failed("the device sends known types only", __FILE__, __LINE__);
    }
    return true;
}

static struct wg_sink sink_of(struct world *world)
{
    return (struct wg_sink){.ctx = world, .send = transmit};
}

static void serve(struct world *world)
{
    struct wg_sink sink = sink_of(world);
    for (int i = 0; world->is_woken || wg_device_deadline(world->dev) <= world->now; i++) {
        require(i < 10); /* it does not ask for ever to be run now */
        world->is_woken = false;
        wg_device_run(world->dev, time_of(world), &sink);
    }
    wg_garbage_free(wg_device_take_garbage(world->dev));
}

/* ---- what the device gets ---- */

static struct wg_inbound open_at(struct world *world, uint8_t *bytes, size_t len,
                                 const union endpoint *from, uint8_t ds)
{
    struct wg_inbound in = {.bytes = bytes, .len = len, .ds = ds};
    in.from.remote = *from;
    wg_device_open(world->dev, &in, 1, time_of(world));
    if (in.verdict == WG_IN_DELIVER)
        require(in.plain >= bytes && in.plain + in.plain_len + 16 <= bytes + len);
    else
        require(in.plain == NULL && in.plain_len == 0);
    return in;
}

static void handshake(struct world *world, struct attacker *speaker, const void *bytes, size_t len,
                      const union endpoint *from)
{
    struct wg_sink sink = sink_of(world);
    struct wg_endpoint endpoint = {.remote = *from};
    world->speaker = speaker;
    wg_device_handshake(world->dev, bytes, len, &endpoint, world->under_load, time_of(world),
                        &sink);
    world->speaker = NULL;
}

static const union endpoint *take_source(struct world *world, struct attacker *attacker)
{
    static union endpoint elsewhere;
    struct ip_addr addr = {6, {0xfe, 0x80, [15] = 9}};
    uint8_t choice = input_byte(&world->input);
    if (choice < 200)
        return &attacker->address;
    endpoint_from_addr(&elsewhere, &addr, (uint16_t)(choice - 100));
    elsewhere.in6.sin6_scope_id = 3;
    return &elsewhere;
}

/* Bytes of no value: no verdict but drop, or handshake, and no answer either way. */
static void any_bytes(struct world *world)
{
    uint8_t bytes[ROOM];
    size_t len = (size_t)input_number(&world->input, 2) % (ROOM + 1);
    uint8_t type = input_byte(&world->input);
    input_fill(&world->input, bytes, len < 64 ? len : 64);
    if (len > 64)
        fuzz_random_bytes(&world->random, bytes + 64, len - 64);
    if (len >= 4 && type < 128)
        store_le32(bytes, type % 5);
    if (len >= 8 && type & 32) /* to an index that is in use */
        memcpy(bytes + 4, world->last + 4, 4);
    uint8_t copy[ROOM];
    memcpy(copy, bytes, len);
    unsigned sent = world->sent;
    struct wg_inbound in = open_at(world, bytes, len, &world->attackers[0].address, type);
    require(in.verdict == WG_IN_DROP || (in.verdict == WG_IN_HANDSHAKE && world->is_up));
    handshake(world, NULL, copy, len, &world->attackers[0].address);
    require(world->sent == sent);
}

/* The same with a right mac1, which costs the device a curve operation and no more. */
static void any_handshake(struct world *world, struct attacker *attacker)
{
    uint8_t bytes[WIRE_INITIATION_LEN];
    bool is_response = input_byte(&world->input) & 1;
    size_t len = is_response ? WIRE_RESPONSE_LEN : WIRE_INITIATION_LEN;
    const union endpoint *from = take_source(world, attacker);
    memset(bytes, 0, sizeof bytes);
    store_le32(bytes, is_response ? WIRE_RESPONSE : WIRE_INITIATION);
    input_fill(&world->input, bytes + 4, 40);
    if (is_response && bytes[4] & 1) /* to its own last index */
        memcpy(bytes + 8, world->last + 4, 4);
    cookie_maker_add_macs(&attacker->macs, bytes, len, world->now);
    unsigned sent = world->sent;
    handshake(world, attacker, bytes, len, from);
    require(world->sent <= sent + (world->under_load ? 1 : 0));
    require(world->sent == sent || world->last_type == WIRE_COOKIE_REPLY);
}

/* Changes a byte if the input wants that; true when it did. */
static bool tamper(struct world *world, uint8_t *bytes, size_t first, size_t end)
{
    uint8_t change = input_byte(&world->input);
    if (change < 160)
        return false;
    bytes[first + input_number(&world->input, 2) % (end - first)] ^= (uint8_t)(1 << change % 8);
    return true;
}

static void initiate(struct world *world, struct attacker *attacker)
{
    struct wire_initiation message;
    uint8_t random[32];
    const union endpoint *from = take_source(world, attacker);
    fuzz_random_bytes(&world->random, random, sizeof random);
    memset(&message, 0, sizeof message);
    require(noise_create_initiation(&attacker->device, &attacker->identity,
                                    (uint32_t)fuzz_random(&world->random), random,
                                    time_of(world).real_ns, &message));
    bool changed = tamper(world, (uint8_t *)&message, 8, 116);
    cookie_maker_add_macs(&attacker->macs, (uint8_t *)&message, sizeof message, world->now);
    unsigned sent = world->sent;
    bool proves_nothing = world->under_load && !attacker->macs.has_cookie;
    handshake(world, attacker, &message, sizeof message, from);
    if (changed && !world->under_load)
        require(world->sent == sent);
    if (proves_nothing) /* a cookie and no more */
        require(world->sent == sent ||
                (world->sent == sent + 1 && world->last_type == WIRE_COOKIE_REPLY));
}

static void respond(struct world *world, struct attacker *attacker)
{
    struct noise_opened opened;
    struct wire_response message;
    uint8_t random[32];
    const union endpoint *from = take_source(world, attacker);
    if (!attacker->has_initiation)
        return;
    attacker->has_initiation = false;
    if (!noise_open_initiation(&opened, &attacker->identity, &attacker->initiation))
        return; /* to a former key of the attacker's */
    enum noise_result result = noise_accept_initiation(&attacker->device, &attacker->identity,
                                                       &opened, &attacker->initiation, world->now);
    if (result != NOISE_OK)
        return;
    fuzz_random_bytes(&world->random, random, sizeof random);
    memset(&message, 0, sizeof message);
    require(noise_create_response(&attacker->device, &attacker->identity,
                                  (uint32_t)fuzz_random(&world->random), random, &message));
    bool changed = tamper(world, (uint8_t *)&message, 8, 60);
    cookie_maker_add_macs(&attacker->macs, (uint8_t *)&message, sizeof message, world->now);
    /* It may be that the device does not want it, and then the session is known here only, which
     * is all right as long as nothing is taken under it. */
    bool was_current = attacker->is_current;
    add_session(world, attacker);
    attacker->is_current = false;
    unsigned sent = world->sent;
    handshake(world, attacker, &message, sizeof message, from);
    if (changed && !world->under_load)
        require(world->sent == sent);
    /* a device that takes it says so at once, with an empty message or with what was staged */
    bool taken = world->sent > sent && world->last_type == WIRE_DATA;
    attacker->is_current = taken;
    if (!taken) {
        attacker->session_count--;
        attacker->is_current = was_current;
    }
}

static size_t make_packet(struct world *world, uint8_t *out, size_t owner, bool inbound)
{
    uint8_t shape = input_byte(&world->input);
    size_t header = shape & 1 ? 40 : 20;
    size_t len = header + input_byte(&world->input) % (PACKET_MAX - 40);
    uint8_t addr6[16] = {0xfd, 0, 0, (uint8_t)owner, [15] = 5};
    memset(out, 0, header);
    out[0] = shape & 1 ? 0x60 : 0x45;
    out[1] = (uint8_t)(shape & 1 ? (shape >> 1 & 3) << 4 : shape >> 1 & 3); /* ECN */
    store_be16(out + (shape & 1 ? 4 : 2), (uint16_t)(shape & 1 ? len - 40 : len));
    if (shape & 1) {
        memcpy(out + (inbound ? 8 : 24), addr6, 16);
    } else {
        uint8_t *addr = out + (inbound ? 12 : 16);
        addr[0] = 10;
        addr[2] = (uint8_t)owner;
    }
    for (size_t i = header; i < len; i++)
        out[i] = (uint8_t)i;
    return len;
}

static bool is_fresh(const struct session *session, uint64_t counter)
{
    for (size_t i = 0; i < session->accepted_count; i++) {
        if (session->accepted[i] == counter)
            return false;
    }
    return counter < WIRE_REJECT_AFTER_MESSAGES &&
           (session->accepted_count == 0 || counter > session->newest ||
            session->newest - counter <= REPLAY_WINDOW);
}

/* The verdict that an authentic packet deserves. */
static bool is_allowed(const uint8_t *packet, size_t len, size_t owner, uint8_t ds)
{
    struct ip_packet ip;
    uint8_t addr4[3] = {10, 0, (uint8_t)owner};
    uint8_t addr6[4] = {0xfd, 0, 0, (uint8_t)owner};
    if (!ip_packet_read(&ip, packet, len) || ip.len > len)
        return false;
    if (memcmp(ip.source, ip.family == 4 ? addr4 : addr6, ip.family == 4 ? 3 : 4) != 0)
        return false;
    return ip.ecn != 0 || (ds & 3) != 3;
}

static void send_data(struct world *world, size_t number)
{
    struct attacker *attacker = &world->attackers[number];
    uint8_t plain[ROOM] = {0};
    uint8_t sealed[ROOM];
    const union endpoint *from = take_source(world, attacker);
    uint8_t what = input_byte(&world->input);
    if (attacker->session_count == 0)
        return;
    size_t back = (what & 3) == 3 ? what >> 2 & 3 : 0;
    if (back >= attacker->session_count)
        back = 0;
    struct session *session = &attacker->sessions[attacker->session_count - 1 - back];
    size_t owner = what & 16 ? input_byte(&world->input) % 4 : number;
    size_t len = what & 32 ? 0 : make_packet(world, plain, owner, true);
    if (len > 0)
        tamper(world, plain, 0, len);
    if (what & 64) /* padding, or a length that the header does not expect */
        len = input_byte(&world->input);
    uint64_t counter = session->newest + (session->accepted_count > 0);
    uint8_t jump = input_byte(&world->input);
    if (jump >= 192)
        counter = input_number(&world->input, 8);
    else if (jump >= 128)
        counter = session->newest - input_number(&world->input, 2);
    struct wire_data *header = (struct wire_data *)sealed;
    store_le32(header->type, WIRE_DATA);
    store_le32(header->receiver, session->keys.remote_index);
    store_le64(header->counter, counter);
    struct aead_op op = {.key = session->keys.send_key,
                         .counter = counter,
                         .src = plain,
                         .len = len,
                         .dst = sealed + WG_HEADER_LEN};
    aead_seal(&op, 1);
    bool changed = tamper(world, sealed, 4, len + WG_DATA_OVERHEAD);
    struct wg_inbound in = open_at(world, sealed, len + WG_DATA_OVERHEAD, from, what);

    bool fresh = !changed && is_fresh(session, counter) && session->accepted_count < COUNTERS &&
                 world->is_up && world->now < session->born_ns + 180 * NS_PER_SEC;
    bool allowed = is_allowed(plain, len, number, what);
    if (in.verdict == WG_IN_DELIVER) {
        struct ip_packet ip;
        require(fresh && allowed && ip_packet_read(&ip, plain, len) && in.plain_len == ip.len);
        size_t first = ip.family == 4 ? 12 : 2; /* behind what ECN changes */
        require(memcmp(in.plain + first, plain + first, in.plain_len - first) == 0);
    } else if (in.verdict == WG_IN_CONSUMED) {
        require(fresh && len == 0);
    } else {
        require(in.verdict == WG_IN_DROP);
        require(!(fresh && back == 0 && attacker->is_current && (allowed || len == 0)));
    }
    /* A packet with a wrong source uses its counter up too. For an old session, which the device
     * may have forgotten, this is more than it knows, and nothing is demanded of it. */
    if (!fresh)
        return;
    session->accepted[session->accepted_count++] = counter;
    if (session->accepted_count == 1 || counter > session->newest)
        session->newest = counter;
}

static void seal(struct world *world, size_t number)
{
    uint8_t packet[PACKET_MAX];
    uint8_t sealed[PACKET_MAX + 15 + WG_DATA_OVERHEAD];
    size_t len = make_packet(world, packet, number, false);
    struct wg_outbound out = {.plain = packet, .len = len, .sealed = sealed};
    wg_device_seal(world->dev, &out, 1, time_of(world));
    if (out.verdict == WG_OUT_SEND)
        transmit(world, &out.endpoint, out.ds, sealed, out.sealed_len);
    require(world->is_up || out.verdict == WG_OUT_DROP);
}

/* ---- what its owner does ---- */

static void configure(struct world *world, const struct wg_device_config *config)
{
    struct wg_sink sink = sink_of(world);
    require(wg_device_configure(world->dev, config, time_of(world), &sink) == 0);
}

static void set_peer(struct world *world, size_t number, struct wg_peer_config *peer)
{
    struct wg_allowed_ip_config ips[2] = {
        {.prefix = {{4, {10, 0, (uint8_t)number}}, 24}},
        {.prefix = {{6, {0xfd, 0, 0, (uint8_t)number}}, 32}},
    };
    memcpy(peer->public_key, world->attackers[number].identity.public_key, WG_KEY_LEN);
    if (!peer->remove) {
        peer->allowed_ips = ips;
        peer->allowed_ip_count = 2;
        peer->has_endpoint = number != 2;
        peer->endpoint = world->attackers[number].address;
    }
    struct wg_device_config config = {.peers = peer, .peer_count = 1};
    configure(world, &config);
}

static void set_psk(struct world *world, size_t number, uint8_t here, uint8_t there)
{
    struct wg_peer_config peer = {.has_preshared_key = true};
    uint8_t key[32];
    memset(peer.preshared_key, here, sizeof peer.preshared_key);
    memset(key, there, sizeof key);
    noise_peer_set_preshared_key(&world->attackers[number].device, key);
    set_peer(world, number, &peer);
}

static void set_device_key(struct world *world, uint8_t key)
{
    struct wg_device_config config = {.has_private_key = true};
    struct noise_identity identity;
    memset(config.private_key, key, WG_KEY_LEN);
    noise_identity_set(&identity, config.private_key);
    for (size_t i = 0; i < ATTACKERS; i++) {
        struct attacker *attacker = &world->attackers[i];
        noise_peer_init(&attacker->device, identity.public_key);
        cookie_maker_init(&attacker->macs, identity.public_key);
        attacker->is_current = false;
        attacker->has_initiation = false;
    }
    configure(world, &config);
}

static void set_up(struct world *world, bool up)
{
    struct wg_sink sink = sink_of(world);
    if (up)
        world->is_up = true;
    wg_device_set_up(world->dev, up, time_of(world), &sink);
    world->is_up = up;
    for (size_t i = 0; i < ATTACKERS && !up; i++)
        world->attackers[i].is_current = false;
}

static void administer(struct world *world, size_t number)
{
    uint8_t what = input_byte(&world->input);
    struct wg_peer_config peer = {.remove = what >> 3 == 0};
    switch (what % 8) {
    case 0:
        set_up(world, !world->is_up);
        break;
    case 1:
        if (what & 0x80)
            set_device_key(world, (uint8_t)(0x40 + what % 3));
        break;
    case 2:
        if (peer.remove)
            world->attackers[number].is_current = false;
        set_peer(world, number, &peer);
        break;
    case 3:
        set_psk(world, number, what >> 3 & 1, what >> 4 & 1);
        break;
    case 4:
        peer = (struct wg_peer_config){.has_keepalive = true, .keepalive_s = what >> 3};
        set_peer(world, number, &peer);
        break;
    case 5:
    case 6:
        world->under_load = !world->under_load;
        break;
    case 7:
        wg_device_set_mtu(world->dev, what & 16 ? 1420 : 1280);
        break;
    }
}

static void step(struct world *world)
{
    uint8_t what = input_byte(&world->input);
    size_t number = what / 16 % ATTACKERS;
    struct attacker *attacker = &world->attackers[number];
    switch (what % 16) {
    case 0:
        any_bytes(world);
        break;
    case 1:
        any_handshake(world, attacker);
        break;
    case 2:
    case 3:
        initiate(world, attacker);
        break;
    case 4:
    case 5:
        respond(world, attacker);
        break;
    case 6:
        seal(world, number);
        break;
    case 7:
        administer(world, number);
        break;
    case 8:
        world->now += input_number(&world->input, 1) * NS_PER_SEC;
        break;
    case 9:
        world->now += input_number(&world->input, 1) * NS_PER_MS;
        break;
    default:
        send_data(world, number);
        break;
    }
    serve(world);
}

static void init(struct world *world)
{
    struct wg_env env = {.ctx = world, .random = random_bytes, .wake = wake};
    uint8_t key[32];
    world->now = 1000 * NS_PER_SEC;
    require(wg_device_create(&world->dev, &env) == 0);
    for (size_t i = 0; i < ATTACKERS; i++) {
        struct attacker *attacker = &world->attackers[i];
        struct ip_addr addr = {4, {192, 0, 2, (uint8_t)(i + 1)}};
        struct wg_peer_config peer = {.remove = false};
        memset(key, (int)(0x10 + i), sizeof key);
        noise_identity_set(&attacker->identity, key);
        cookie_checker_init(&attacker->checker, attacker->identity.public_key);
        endpoint_from_addr(&attacker->address, &addr, 51820);
        set_peer(world, i, &peer);
    }
    set_device_key(world, 0x40);
    set_up(world, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    require(crypto_init() == 0);
    memset(&world, 0, sizeof world);
    world.input = (struct input){data, size};
    init(&world);
    for (int i = 0; i < STEPS && input_has(&world.input); i++)
        step(&world);
    wg_device_destroy(world.dev);
    return 0;
}
