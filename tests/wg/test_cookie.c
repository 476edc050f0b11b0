#include "wg/cookie.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "tests/unit.h"
#include "wg/crypto/crypto.h"
#include "wg/crypto/x25519.h"

#include <string.h>

#include "tests/wg/handshake_vectors.h"

static struct cookie_checker checker;
static struct cookie_maker maker;
static uint8_t message[WIRE_INITIATION_LEN];
static uint8_t public_key[32];
static union endpoint home;

static union endpoint endpoint(const char *text)
{
    union endpoint out;
    ck_assert(endpoint_parse(&out, text));
    return out;
}

static void begin(void)
{
    ck_assert_int_eq(crypto_init(), 0);
    memset(public_key, 7, sizeof public_key);
    memset(message, 3, sizeof message);
    cookie_checker_init(&checker, public_key);
    cookie_maker_init(&maker, public_key);
    home = endpoint("192.0.2.1:51820");
}

static void random_bytes(uint8_t out[COOKIE_RANDOM_LEN], uint8_t seed)
{
    for (size_t i = 0; i < COOKIE_RANDOM_LEN; i++)
        out[i] = (uint8_t)(seed + i);
}

static struct wire_cookie_reply reply_to(const union endpoint *from, uint8_t seed, uint64_t now_ns)
{
    struct wire_cookie_reply reply;
    uint8_t random[COOKIE_RANDOM_LEN];
    random_bytes(random, seed);
    cookie_checker_create_reply(&checker, &reply, message, sizeof message, message + 4, from,
                                random, now_ns);
    return reply;
}

/* Sends a message, is answered with a cookie, and takes it. */
static void obtain_cookie(const union endpoint *from, uint64_t now_ns)
{
    cookie_maker_add_macs(&maker, message, sizeof message, now_ns);
    struct wire_cookie_reply reply = reply_to(from, 1, now_ns);
    ck_assert(cookie_maker_consume_reply(&maker, &reply, now_ns));
}

static enum cookie_verdict check(const union endpoint *from, uint64_t now_ns)
{
    return cookie_checker_check(&checker, message, sizeof message, from, true, now_ns);
}

/* The bytes of both macs and of the reply, against an independent implementation. */
START_TEST(known_answers)
{
    uint8_t bytes[WIRE_INITIATION_LEN];
    uint8_t responder[32];
    uint8_t initiator[32];
    uint8_t random[COOKIE_RANDOM_LEN];
    struct wire_cookie_reply reply;
    struct ip_addr addr;
    union endpoint from;
    begin();
    x25519_public(responder, handshake_vectors[_i].static_r);
    x25519_public(initiator, handshake_vectors[_i].static_i);
    cookie_maker_init(&maker, responder);
    cookie_checker_init(&checker, responder);
    ip_addr_from_bytes(&addr, 4, handshake_vectors[_i].source);
    endpoint_from_addr(&from, &addr, load_be16(handshake_vectors[_i].source + 4));
    memcpy(random, handshake_vectors[_i].nonce, 24);
    memcpy(random + 24, handshake_vectors[_i].secret, 32);

    memcpy(bytes, handshake_vectors[_i].initiation, sizeof bytes);
    memset(bytes + 116, 0xee, 32);
    cookie_maker_add_macs(&maker, bytes, sizeof bytes, 0);
    ck_assert_mem_eq(bytes, handshake_vectors[_i].initiation, sizeof bytes);
    cookie_checker_create_reply(&checker, &reply, bytes, sizeof bytes, bytes + 4, &from, random, 0);
    ck_assert_mem_eq(&reply, handshake_vectors[_i].reply, sizeof reply);
    ck_assert(cookie_maker_consume_reply(&maker, &reply, 0));
    cookie_maker_add_macs(&maker, bytes, sizeof bytes, 0);
    ck_assert_mem_eq(bytes, handshake_vectors[_i].initiation_with_cookie, sizeof bytes);
    ck_assert_int_eq(cookie_checker_check(&checker, bytes, sizeof bytes, &from, true, 0),
                     COOKIE_MAC1_MAC2);

    uint8_t response[WIRE_RESPONSE_LEN];
    memcpy(response, handshake_vectors[_i].response, sizeof response);
    memset(response + 60, 0xee, 32);
    cookie_maker_init(&maker, initiator);
    cookie_maker_add_macs(&maker, response, sizeof response, 0);
    ck_assert_mem_eq(response, handshake_vectors[_i].response, sizeof response);
}
END_TEST

START_TEST(mac1)
{
    begin();
    cookie_maker_add_macs(&maker, message, sizeof message, 0);
    ck_assert_int_eq(check(&home, 0), COOKIE_MAC1_ONLY);
    for (size_t i = 0; i < sizeof message - WIRE_MAC_LEN; i++) {
        message[i] ^= 0x10;
        ck_assert_msg(check(&home, 0) == COOKIE_BAD_MAC, "byte %zu", i);
        message[i] ^= 0x10;
    }
    public_key[0] ^= 1;
    cookie_checker_init(&checker, public_key);
    ck_assert_int_eq(check(&home, 0), COOKIE_BAD_MAC);
}
END_TEST

START_TEST(under_load)
{
    begin();
    ck_assert_int_eq(check(&home, 0), COOKIE_BAD_MAC);
    obtain_cookie(&home, 0);
    /* the message that was answered has no mac2; the next one does */
    ck_assert_int_eq(check(&home, 0), COOKIE_MAC1_ONLY);
    message[10] ^= 1;
    cookie_maker_add_macs(&maker, message, sizeof message, NS_PER_SEC);
    ck_assert_int_eq(check(&home, NS_PER_SEC), COOKIE_MAC1_MAC2);
    ck_assert_int_eq(
        cookie_checker_check(&checker, message, sizeof message, &home, false, NS_PER_SEC),
        COOKIE_MAC1_ONLY);
    message[sizeof message - 1] ^= 1;
    ck_assert_int_eq(check(&home, NS_PER_SEC), COOKIE_MAC1_ONLY);
    cookie_checker_fini(&checker);
    cookie_maker_fini(&maker);
    ck_assert(bytes_is_zero_ct(&checker, sizeof checker));
    ck_assert(bytes_is_zero_ct(&maker, sizeof maker));
}
END_TEST

/* A cookie given to `from` is valid at `at` only if both agree. */
static const struct {
    const char *from, *at;
    bool valid;
} places[] = {
    {"192.0.2.1:51820", "192.0.2.1:51820", true},
    {"192.0.2.1:51820", "192.0.2.1:51821", false},
    {"192.0.2.1:51820", "192.0.2.2:51820", false},
    {"192.0.2.1:51820", "[::ffff:192.0.2.1]:51820", false},
    {"[2001:db8::1]:51820", "[2001:db8::1]:51820", true},
    {"[2001:db8::1]:51820", "[2001:db8::1]:51821", false},
    {"[2001:db8::1]:51820", "[2001:db8::2]:51820", false},
};

START_TEST(bound_to_source)
{
    union endpoint from = endpoint(places[_i].from);
    union endpoint at = endpoint(places[_i].at);
    begin();
    obtain_cookie(&from, 0);
    cookie_maker_add_macs(&maker, message, sizeof message, 0);
    ck_assert_int_eq(check(&at, 0), places[_i].valid ? COOKIE_MAC1_MAC2 : COOKIE_MAC1_ONLY);
}
END_TEST

/* The secret is born at 10 s. The cookie is got at `got_s`, used at `sent_s`, judged at `at_s`. */
static const struct {
    uint64_t got_s, sent_s, at_s;
    bool valid;
} ages[] = {
    {10, 10, 10, true},     {10, 124, 124, true}, /* 114 s old */
    {10, 125, 125, false},                        /* too old for the maker */
    {10, 124, 129, true},                         /* on the way while the secret lives */
    {10, 124, 130, false},                        /* the secret has reached 120 s */
    {129, 129, 129, true},                        /* late in the secret's life */
    {129, 131, 131, false},                       /* the secret goes before the cookie does */
    {131, 131, 131, true},                        /* got from the next secret */
    {131, 245, 245, true},  {131, 246, 246, false},
};

START_TEST(clocks)
{
    begin();
    cookie_maker_add_macs(&maker, message, sizeof message, 10 * NS_PER_SEC);
    reply_to(&home, 200, 10 * NS_PER_SEC);
    obtain_cookie(&home, ages[_i].got_s * NS_PER_SEC);
    cookie_maker_add_macs(&maker, message, sizeof message, ages[_i].sent_s * NS_PER_SEC);
    ck_assert_int_eq(check(&home, ages[_i].at_s * NS_PER_SEC),
                     ages[_i].valid ? COOKIE_MAC1_MAC2 : COOKIE_MAC1_ONLY);
}
END_TEST

START_TEST(old_cookies_are_wiped)
{
    begin();
    obtain_cookie(&home, 10 * NS_PER_SEC);
    cookie_maker_add_macs(&maker, message, sizeof message, 125 * NS_PER_SEC - 1);
    ck_assert(!bytes_is_zero_ct(maker.cookie, sizeof maker.cookie));
    cookie_maker_add_macs(&maker, message, sizeof message, 125 * NS_PER_SEC);
    ck_assert(bytes_is_zero_ct(maker.cookie, sizeof maker.cookie));
}
END_TEST

/* The secret lasts 120 s to the nanosecond and then takes the fresh bytes. */
START_TEST(secret_renewed)
{
    uint8_t first[32];
    begin();
    cookie_maker_add_macs(&maker, message, sizeof message, 0);
    reply_to(&home, 1, 0);
    memcpy(first, checker.secret, 32);
    reply_to(&home, 2, 120 * NS_PER_SEC - 1);
    ck_assert_mem_eq(checker.secret, first, 32);
    reply_to(&home, 3, 120 * NS_PER_SEC);
    ck_assert_mem_ne(checker.secret, first, 32);
    ck_assert_uint_eq(checker.secret_ns, 120 * NS_PER_SEC);
}
END_TEST

START_TEST(reply_refused)
{
    begin();
    cookie_maker_add_macs(&maker, message, sizeof message, 0);
    struct wire_cookie_reply good = reply_to(&home, 1, 0);
    struct cookie_maker before = maker;
    for (size_t at = offsetof(struct wire_cookie_reply, nonce); at < sizeof good; at++) {
        struct wire_cookie_reply bad = good;
        ((uint8_t *)&bad)[at] ^= 0x40;
        ck_assert_msg(!cookie_maker_consume_reply(&maker, &bad, 0), "byte %zu", at);
        ck_assert_mem_eq(&maker, &before, sizeof maker);
    }
    /* an answer to an earlier message */
    message[20] ^= 1;
    cookie_maker_add_macs(&maker, message, sizeof message, 0);
    ck_assert(!cookie_maker_consume_reply(&maker, &good, 0));
    /* once only */
    good = reply_to(&home, 1, 0);
    ck_assert(cookie_maker_consume_reply(&maker, &good, 0));
    ck_assert(!cookie_maker_consume_reply(&maker, &good, 0));
    /* nothing was ever sent */
    cookie_maker_init(&maker, public_key);
    ck_assert(!cookie_maker_consume_reply(&maker, &good, 0));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("cookie");
    tcase_add_loop_test(tc, known_answers, 0, ARRAY_LEN(handshake_vectors));
    tcase_add_test(tc, mac1);
    tcase_add_test(tc, under_load);
    tcase_add_loop_test(tc, bound_to_source, 0, ARRAY_LEN(places));
    tcase_add_loop_test(tc, clocks, 0, ARRAY_LEN(ages));
    tcase_add_test(tc, old_cookies_are_wiped);
    tcase_add_test(tc, secret_renewed);
    tcase_add_test(tc, reply_refused);
    return unit_run(tc);
}
