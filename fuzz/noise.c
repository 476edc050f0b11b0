#include "wg/noise.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "fuzz/fuzz.h"
#include "wg/crypto/crypto.h"

#include <string.h>

/* Two sides that know each other, and a network that keeps, changes, repeats and misdirects their
 * messages as the input says. A model beside them knows which message answers which, under which
 * keys, and so whether each step is to succeed. */

enum { SIDES = 2, KEYS = 3, NO_KEY = KEYS, SLOTS = 4, OPERATIONS = 24 };

/* Places in a message that the network may change. */
enum { OF_INITIATION = 116, OF_RESPONSE = 60 }; /* what lies before the macs */

struct sent {
    bool is_set;
    size_t to;   /* side */
    size_t from; /* side */
    size_t to_key;
    size_t from_key;
    uint32_t number;
    uint8_t timestamp[WIRE_TIMESTAMP_LEN];
    struct wire_initiation initiation;
};

struct answered {
    bool is_set;
    uint32_t number;     /* of the response */
    uint32_t initiation; /* that it answers */
    size_t psk;
    struct wire_response response;
};

/* Keys that came out of one response, as each side sees them. */
struct agreed {
    bool has[2]; /* responder's, initiator's */
    struct noise_session session[2];
};

struct side {
    struct noise_identity identity;
    struct noise_peer peer;
    /* the model */
    size_t key;
    size_t peer_key;
    size_t psk;
    enum noise_state state;
    uint32_t initiation; /* number of the one created or consumed */
    uint32_t response;
    bool has_initiation;
    uint8_t latest[WIRE_TIMESTAMP_LEN];
    uint64_t last_ns;
};

struct world {
    struct input input;
    uint64_t random;
    uint64_t now;
    uint32_t numbers;
    struct side sides[SIDES];
    struct sent sent[SLOTS];
    struct answered answered[SLOTS];
    struct agreed agreed[OPERATIONS + 1];
    uint32_t agreed_of[OPERATIONS + 1]; /* number of the response */
    size_t agreed_count;
};

static void key_of(size_t side, size_t key, uint8_t out[32])
{
    memset(out, key == NO_KEY ? 0 : (int)(0x10 + 8 * side + key), 32);
}

static void public_of(size_t side, size_t key, uint8_t out[32])
{
    static struct noise_identity known[SIDES][KEYS];
    struct noise_identity *identity = &known[side][key];
    if (!identity->has_key) {
        uint8_t private_key[32];
        key_of(side, key, private_key);
        noise_identity_set(identity, private_key);
    }
    memcpy(out, identity->public_key, 32);
}

static void psk_of(size_t psk, uint8_t out[32])
{
    memset(out, psk == 0 ? 0 : (int)(0x80 + psk), 32);
}

static void forget(struct side *side)
{
    side->state = NOISE_IDLE;
}

static void set_identity(struct world *world, size_t number, size_t key)
{
    struct side *side = &world->sides[number];
    uint8_t private_key[32];
    key_of(number, key, private_key);
    noise_identity_set(&side->identity, private_key);
    require(side->identity.has_key == (key != NO_KEY));
    noise_peer_identity_changed(&side->peer);
    side->key = key;
    forget(side);
}

/* Knows the other side by this key from now on, as after a removal. */
static void learn(struct world *world, size_t number, size_t key)
{
    struct side *side = &world->sides[number];
    uint8_t public_key[32];
    public_of(1 - number, key, public_key);
    noise_peer_fini(&side->peer);
    noise_peer_init(&side->peer, public_key);
    side->peer_key = key;
    side->psk = 0;
    side->has_initiation = false;
    forget(side);
}

static void set_psk(struct side *side, size_t psk)
{
    uint8_t key[32];
    psk_of(psk, key);
    noise_peer_set_preshared_key(&side->peer, key);
    side->psk = psk;
}

static void create_initiation(struct world *world, size_t number, size_t slot)
{
    struct side *side = &world->sides[number];
    struct sent *sent = &world->sent[slot];
    uint8_t random[32];
    struct noise_peer before;
    memcpy(&before, &side->peer, sizeof before);
    struct wire_initiation message;
    memset(&message, 0, sizeof message);
    fuzz_random_bytes(&world->random, random, sizeof random);
    uint32_t index = (uint32_t)fuzz_random(&world->random);
    bool ok = noise_create_initiation(&side->peer, &side->identity, index, random,
                                      NS_PER_SEC * 1700000000 + world->now, &message);
    require(ok == (side->key != NO_KEY));
    if (!ok) {
        require(fuzz_same(&before, &side->peer, sizeof before));
        return;
    }
    side->state = NOISE_CREATED_INITIATION;
    side->initiation = ++world->numbers;
    *sent = (struct sent){.is_set = true,
                          .from = number,
                          .to = 1 - number,
                          .from_key = side->key,
                          .to_key = side->peer_key,
                          .number = side->initiation,
                          .initiation = message};
    noise_timestamp(sent->timestamp, NS_PER_SEC * 1700000000 + world->now);
    require(load_le32(message.sender) == index && side->peer.handshake.local_index == index);
}

/* Changes one byte of the message, if the input wants that; returns its place, or SIZE_MAX. */
static size_t tamper(struct world *world, uint8_t *message, size_t len)
{
    uint8_t change = input_byte(&world->input);
    if (change < 128)
        return SIZE_MAX;
    size_t place = input_byte(&world->input) % len;
    message[place] ^= (uint8_t)(1 << change % 8);
    return place;
}

static bool is_within(size_t place, size_t start, size_t len)
{
    return place >= start && place < start + len;
}

static enum noise_result judge(const struct side *side, const uint8_t *timestamp, uint64_t now)
{
    if (side->has_initiation && memcmp(timestamp, side->latest, WIRE_TIMESTAMP_LEN) <= 0)
        return NOISE_REPLAYED;
    if (side->has_initiation && now < side->last_ns + NS_PER_SEC / 50)
        return NOISE_FLOODED;
    return NOISE_OK;
}

static void deliver_initiation(struct world *world, size_t number, size_t slot)
{
    struct side *side = &world->sides[number];
    const struct sent *sent = &world->sent[slot];
    struct wire_initiation message = sent->initiation;
    struct noise_opened opened;
    if (!sent->is_set)
        return;
    size_t place = tamper(world, (uint8_t *)&message, OF_INITIATION);
    bool opens = sent->to == number && sent->to_key == side->key && !is_within(place, 8, 32 + 48);
    require(noise_open_initiation(&opened, &side->identity, &message) == opens);
    if (!opens)
        return;
    struct noise_peer before;
    memcpy(&before, &side->peer, sizeof before);
    enum noise_result expected = judge(side, sent->timestamp, world->now);
    if (sent->from_key != side->peer_key || is_within(place, 88, 28))
        expected = NOISE_INVALID;
    require(noise_accept_initiation(&side->peer, &side->identity, &opened, &message, world->now) ==
            expected);
    require(bytes_is_zero_ct(&opened, sizeof opened));
    if (expected != NOISE_OK) {
        require(memcmp(&before.handshake, &side->peer.handshake, sizeof before.handshake) == 0);
        require(before.last_initiation_ns == side->peer.last_initiation_ns);
        require(memcmp(before.latest_timestamp, side->peer.latest_timestamp, 12) == 0);
        return;
    }
    side->state = NOISE_CONSUMED_INITIATION;
    side->initiation = sent->number;
    side->has_initiation = true;
    side->last_ns = world->now;
    memcpy(side->latest, sent->timestamp, sizeof side->latest);
    require(side->peer.handshake.remote_index == load_le32(message.sender));
}

static void create_response(struct world *world, size_t number, size_t slot)
{
    struct side *side = &world->sides[number];
    struct noise_peer before;
    memcpy(&before, &side->peer, sizeof before);
    struct wire_response message;
    uint8_t random[32];
    memset(&message, 0, sizeof message);
    fuzz_random_bytes(&world->random, random, sizeof random);
    uint32_t index = (uint32_t)fuzz_random(&world->random);
    bool ok = noise_create_response(&side->peer, &side->identity, index, random, &message);
    require(ok == (side->state == NOISE_CONSUMED_INITIATION && side->key != NO_KEY));
    if (!ok) {
        require(fuzz_same(&before, &side->peer, sizeof before));
        return;
    }
    side->state = NOISE_CREATED_RESPONSE;
    side->response = ++world->numbers;
    world->answered[slot] = (struct answered){.is_set = true,
                                              .number = side->response,
                                              .initiation = side->initiation,
                                              .psk = side->psk,
                                              .response = message};
    world->agreed_of[world->agreed_count++] = side->response;
}

static void deliver_response(struct world *world, size_t number, size_t slot)
{
    struct side *side = &world->sides[number];
    const struct answered *answered = &world->answered[slot];
    struct wire_response message = answered->response;
    if (!answered->is_set)
        return;
    size_t place = tamper(world, (uint8_t *)&message, OF_RESPONSE);
    struct noise_peer before;
    memcpy(&before, &side->peer, sizeof before);
    bool expected = side->state == NOISE_CREATED_INITIATION &&
                    side->initiation == answered->initiation &&
                    load_le32(message.receiver) == side->peer.handshake.local_index &&
                    side->psk == answered->psk && !is_within(place, 12, 48);
    enum noise_result result = noise_consume_response(&side->peer, &side->identity, &message);
    require((result == NOISE_OK) == expected);
    if (!expected) {
        require(fuzz_same(&before, &side->peer, sizeof before));
        return;
    }
    side->state = NOISE_CONSUMED_RESPONSE;
    side->response = answered->number;
    require(side->peer.handshake.remote_index == load_le32(message.sender));
}

static struct agreed *agreed_by(struct world *world, uint32_t response)
{
    for (size_t i = 0; i < world->agreed_count; i++) {
        if (world->agreed_of[i] == response)
            return &world->agreed[i];
    }
    require(false);
    return NULL;
}

static void begin_session(struct world *world, size_t number)
{
    struct side *side = &world->sides[number];
    struct noise_session session;
    bool finished = side->state == NOISE_CREATED_RESPONSE || side->state == NOISE_CONSUMED_RESPONSE;
    require(noise_begin_session(&side->peer, &session) == finished);
    if (!finished)
        return;
    bool initiator = side->state == NOISE_CONSUMED_RESPONSE;
    struct agreed *agreed = agreed_by(world, side->response);
    require(session.initiator == initiator && !agreed->has[initiator]);
    agreed->has[initiator] = true;
    agreed->session[initiator] = session;
    if (agreed->has[!initiator]) {
        const struct noise_session *other = &agreed->session[!initiator];
        require(memcmp(session.send_key, other->recv_key, 32) == 0);
        require(memcmp(session.recv_key, other->send_key, 32) == 0);
        require(memcmp(session.recv_key, session.send_key, 32) != 0);
    }
    for (size_t i = 0; i < world->agreed_count; i++) { /* no key comes twice */
        struct agreed *other = &world->agreed[i];
        if (other != agreed && other->has[initiator])
            require(memcmp(other->session[initiator].send_key, session.send_key, 32) != 0);
    }
    require(bytes_is_zero_ct(&side->peer.handshake, sizeof side->peer.handshake));
    forget(side);
}

static void step(struct world *world)
{
    uint8_t what = input_byte(&world->input);
    size_t number = what >> 4 & 1;
    size_t slot = what >> 5 & 3;
    struct side *side = &world->sides[number];
    switch (what % 16) {
    case 0:
    case 1:
        create_initiation(world, number, slot);
        break;
    case 2:
    case 3:
    case 4:
        deliver_initiation(world, number, slot);
        break;
    case 5:
    case 6:
        create_response(world, number, slot);
        break;
    case 7:
    case 8:
    case 9:
        deliver_response(world, number, slot);
        break;
    case 10:
    case 11:
        begin_session(world, number);
        break;
    case 12:
        world->now += input_number(&world->input, 2) * NS_PER_MS;
        break;
    case 13:
        set_psk(side, slot % 3);
        break;
    case 14:
        if (what & 128)
            set_identity(world, number, slot % (KEYS + 1));
        else
            learn(world, number, slot % KEYS);
        break;
    case 15:
        noise_handshake_clear(&side->peer);
        forget(side);
        break;
    }
    for (size_t i = 0; i < SIDES; i++)
        require(world->sides[i].peer.handshake.state == world->sides[i].state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    require(crypto_init() == 0);
    memset(&world, 0, sizeof world);
    world.input = (struct input){data, size};
    world.now = NS_PER_SEC;
    for (size_t i = 0; i < SIDES; i++) {
        learn(&world, i, 0);
        set_identity(&world, i, 0);
    }
    for (int i = 0; i < OPERATIONS && input_has(&world.input); i++)
        step(&world);
    return 0;
}
