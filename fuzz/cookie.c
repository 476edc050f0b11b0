#include "wg/cookie.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "fuzz/fuzz.h"
#include "wg/crypto/crypto.h"

#include <string.h>

/* Makers and one checker with a network between them that changes, repeats and redirects. A model
 * knows which cookie is known where and how old it is, and so what each verdict is to be. */

enum { MAKERS = 2, SOURCES = 4, SLOTS = 4 };

#define LIFE     (120 * NS_PER_SEC)
#define USED_FOR (115 * NS_PER_SEC)

/* What a maker holds, or a message was made with. */
struct proof {
    bool is_set;
    uint32_t secret; /* number of the checker's secret */
    size_t source;
};

struct message {
    bool is_set;
    size_t maker;
    uint32_t number;
    bool is_right; /* made for the checker's key, and not changed before mac1 */
    struct proof proof;
    bool proof_is_intact;
    size_t len;
    uint8_t bytes[WIRE_INITIATION_LEN];
};

struct reply {
    bool is_set;
    uint32_t to; /* number of the message */
    struct proof proof;
    struct wire_cookie_reply bytes;
};

struct maker {
    struct cookie_maker maker;
    uint32_t last; /* number of the message that awaits a reply; 0: none */
    struct proof proof;
    uint64_t since;
};

struct world {
    struct input input;
    uint64_t random;
    uint64_t now;
    uint32_t numbers;
    struct cookie_checker checker;
    uint32_t secret;
    uint64_t secret_ns;
    struct maker makers[MAKERS];
    struct message messages[SLOTS];
    struct reply replies[SLOTS];
};

static void source_of(size_t source, union endpoint *out)
{
    static const struct ip_addr addrs[] = {
        {4, {192, 0, 2, 1}},
        {4, {192, 0, 2, 1}}, /* the same with another port */
        {6, {0xfd, [15] = 1}},
        {6, {0xfd, [15] = 2}},
    };
    endpoint_from_addr(out, &addrs[source], (uint16_t)(1000 + source));
}

static bool proof_is_good(const struct world *world, const struct proof *proof, size_t source)
{
    return proof->is_set && proof->secret == world->secret && proof->source == source &&
           world->now - world->secret_ns < LIFE;
}

static void make(struct world *world, size_t number, size_t slot)
{
    struct maker *maker = &world->makers[number];
    struct message *message = &world->messages[slot];
    *message = (struct message){.is_set = true, .maker = number, .number = ++world->numbers};
    message->len = input_byte(&world->input) & 1 ? WIRE_INITIATION_LEN : WIRE_RESPONSE_LEN;
    fuzz_random_bytes(&world->random, message->bytes, message->len);
    cookie_maker_add_macs(&maker->maker, message->bytes, message->len, world->now);
    maker->last = message->number;
    if (maker->proof.is_set && world->now - maker->since >= USED_FOR)
        maker->proof.is_set = false;
    require(maker->maker.has_cookie == maker->proof.is_set);
    message->is_right = true;
    message->proof = maker->proof;
    message->proof_is_intact = true;
    require(bytes_is_zero_ct(message->bytes + message->len - 16, 16) == !maker->proof.is_set);
}

static void tamper(struct world *world, size_t slot)
{
    struct message *message = &world->messages[slot];
    uint8_t bit = (uint8_t)(1 << input_byte(&world->input) % 8);
    if (!message->is_set)
        return;
    size_t place = input_byte(&world->input) % message->len;
    message->bytes[place] ^= bit;
    /* two changes may undo each other: such a message is out of the game */
    if (!message->is_right || !message->proof_is_intact)
        message->is_set = false;
    if (place < message->len - 16)
        message->is_right = false;
    message->proof_is_intact = false;
}

static void check(struct world *world, size_t slot, size_t source, bool need_mac2)
{
    const struct message *message = &world->messages[slot];
    union endpoint from;
    if (!message->is_set)
        return;
    source_of(source, &from);
    enum cookie_verdict expected = COOKIE_BAD_MAC;
    if (message->is_right) {
        bool proven =
            need_mac2 && message->proof_is_intact && proof_is_good(world, &message->proof, source);
        expected = proven ? COOKIE_MAC1_MAC2 : COOKIE_MAC1_ONLY;
    }
    require(cookie_checker_check(&world->checker, message->bytes, message->len, &from, need_mac2,
                                 world->now) == expected);
}

static void answer(struct world *world, size_t slot, size_t source)
{
    const struct message *message = &world->messages[slot];
    struct reply *reply = &world->replies[slot];
    uint8_t random[COOKIE_RANDOM_LEN];
    union endpoint from;
    if (!message->is_set || !message->is_right)
        return;
    source_of(source, &from);
    fuzz_random_bytes(&world->random, random, sizeof random);
    if (world->secret == 0 || world->now - world->secret_ns >= LIFE) {
        world->secret++;
        world->secret_ns = world->now;
    }
    cookie_checker_create_reply(&world->checker, &reply->bytes, message->bytes, message->len,
                                message->bytes + 4, &from, random, world->now);
    require(load_le32(reply->bytes.type) == WIRE_COOKIE_REPLY);
    require(memcmp(reply->bytes.receiver, message->bytes + 4, 4) == 0);
    reply->is_set = true;
    reply->to = message->number;
    reply->proof = (struct proof){true, world->secret, source};
}

static void consume(struct world *world, size_t number, size_t slot)
{
    struct maker *maker = &world->makers[number];
    const struct reply *reply = &world->replies[slot];
    struct wire_cookie_reply bytes = reply->bytes;
    uint8_t change = input_byte(&world->input);
    if (!reply->is_set)
        return;
    if (change >= 128) /* nonce or sealed cookie */
        ((uint8_t *)&bytes)[8 + input_byte(&world->input) % 56] ^= (uint8_t)(1 << change % 8);
    bool expected = change < 128 && maker->last == reply->to;
    struct cookie_maker before;
    memcpy(&before, &maker->maker, sizeof before);
    require(cookie_maker_consume_reply(&maker->maker, &bytes, world->now) == expected);
    if (!expected) {
        require(fuzz_same(&before, &maker->maker, sizeof before));
        return;
    }
    maker->last = 0;
    maker->proof = reply->proof;
    maker->since = world->now;
}

static void step(struct world *world)
{
    uint8_t what = input_byte(&world->input);
    size_t slot = what >> 3 & 3;
    size_t high = what >> 5 & 3;
    switch (what % 8) {
    case 0:
        make(world, high % MAKERS, slot);
        break;
    case 1:
        tamper(world, slot);
        break;
    case 2:
    case 3:
        check(world, slot, high, what >> 7 == 0);
        break;
    case 4:
        answer(world, slot, high);
        break;
    case 5:
    case 6:
        consume(world, high % MAKERS, slot);
        break;
    case 7:
        world->now += input_number(&world->input, 2) * NS_PER_SEC / (what & 64 ? 1000 : 4);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    uint8_t public_key[32];
    require(crypto_init() == 0);
    memset(&world, 0, sizeof world);
    world.input = (struct input){data, size};
    world.now = 1000 * NS_PER_SEC;
    memset(public_key, 7, sizeof public_key);
    cookie_checker_init(&world.checker, public_key);
    for (size_t i = 0; i < MAKERS; i++)
        cookie_maker_init(&world.makers[i].maker, public_key);
    while (input_has(&world.input))
        step(&world);
    return 0;
}
