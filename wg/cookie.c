#include "wg/cookie.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "wg/crypto/aead.h"
#include "wg/crypto/blake2s.h"

#include <string.h>

#define SECRET_NS (120 * NS_PER_SEC)

/* A cookie is at most as old as its secret. The 5 s are for the transit of the message that uses
 * it. */
#define COOKIE_NS (115 * NS_PER_SEC)

static_assert((int)WIRE_MAC_LEN == (int)BLAKE2S_MAC_LEN, "MAC length");
static_assert((int)WIRE_COOKIE_LEN == (int)BLAKE2S_MAC_LEN, "cookie length");
static_assert((int)WIRE_COOKIE_NONCE_LEN == (int)XAEAD_NONCE_LEN, "nonce length");

static void derive_keys(uint8_t mac1_key[WIRE_KEY_LEN], uint8_t reply_key[WIRE_KEY_LEN],
                        const uint8_t public_key[WIRE_KEY_LEN])
{
    blake2s_hash(mac1_key, "mac1----", 8, public_key, WIRE_KEY_LEN);
    blake2s_hash(reply_key, "cookie--", 8, public_key, WIRE_KEY_LEN);
}

static size_t mac1_at(size_t len)
{
    return len - 2 * WIRE_MAC_LEN;
}

static size_t mac2_at(size_t len)
{
    return len - WIRE_MAC_LEN;
}

void cookie_checker_init(struct cookie_checker *checker, const uint8_t public_key[WIRE_KEY_LEN])
{
    memset(checker, 0, sizeof *checker);
    derive_keys(checker->mac1_key, checker->reply_key, public_key);
}

void cookie_checker_fini(struct cookie_checker *checker)
{
    bytes_wipe(checker, sizeof *checker);
}

/* The cookie of a source: MAC(secret, address || port). */
static void make_cookie(const struct cookie_checker *checker, uint8_t cookie[WIRE_COOKIE_LEN],
                        const union endpoint *from)
{
    struct ip_addr addr;
    uint8_t source[sizeof addr.bytes + 2];
    endpoint_addr(from, &addr);
    size_t len = ip_addr_len(&addr);
    memcpy(source, addr.bytes, len);
    store_be16(source + len, endpoint_port(from));
    blake2s_mac(cookie, checker->secret, sizeof checker->secret, source, len + 2);
}

enum cookie_verdict cookie_checker_check(const struct cookie_checker *checker,
                                         const uint8_t *message, size_t len,
                                         const union endpoint *from, bool need_mac2,
                                         uint64_t now_ns)
{
    uint8_t mac[WIRE_MAC_LEN];
    uint8_t cookie[WIRE_COOKIE_LEN];
    blake2s_mac(mac, checker->mac1_key, WIRE_KEY_LEN, message, mac1_at(len));
    if (!bytes_equal_ct(mac, message + mac1_at(len), WIRE_MAC_LEN))
        return COOKIE_BAD_MAC;
    if (!need_mac2 || !checker->has_secret || now_ns - checker->secret_ns >= SECRET_NS)
        return COOKIE_MAC1_ONLY;
    make_cookie(checker, cookie, from);
    blake2s_mac(mac, cookie, sizeof cookie, message, mac2_at(len));
    bytes_wipe(cookie, sizeof cookie);
    bool right = bytes_equal_ct(mac, message + mac2_at(len), WIRE_MAC_LEN);
    return right ? COOKIE_MAC1_MAC2 : COOKIE_MAC1_ONLY;
}

void cookie_checker_create_reply(struct cookie_checker *checker, struct wire_cookie_reply *reply,
                                 const uint8_t *message, size_t len, const uint8_t receiver[4],
                                 const union endpoint *from,
                                 const uint8_t random[COOKIE_RANDOM_LEN], uint64_t now_ns)
{
    uint8_t cookie[WIRE_COOKIE_LEN];
    if (!checker->has_secret || now_ns - checker->secret_ns >= SECRET_NS) {
        memcpy(checker->secret, random + WIRE_COOKIE_NONCE_LEN, sizeof checker->secret);
        checker->secret_ns = now_ns;
        checker->has_secret = true;
    }
    store_le32(reply->type, WIRE_COOKIE_REPLY);
    memcpy(reply->receiver, receiver, sizeof reply->receiver);
    memcpy(reply->nonce, random, sizeof reply->nonce);
    make_cookie(checker, cookie, from);
    xaead_seal(reply->sealed_cookie, cookie, sizeof cookie, message + mac1_at(len), WIRE_MAC_LEN,
               reply->nonce, checker->reply_key);
    bytes_wipe(cookie, sizeof cookie);
}

void cookie_maker_init(struct cookie_maker *maker, const uint8_t peer_public_key[WIRE_KEY_LEN])
{
    memset(maker, 0, sizeof *maker);
    derive_keys(maker->mac1_key, maker->reply_key, peer_public_key);
}

void cookie_maker_fini(struct cookie_maker *maker)
{
    bytes_wipe(maker, sizeof *maker);
}

void cookie_maker_add_macs(struct cookie_maker *maker, uint8_t *message, size_t len,
                           uint64_t now_ns)
{
    uint8_t *mac1 = message + mac1_at(len);
    uint8_t *mac2 = message + mac2_at(len);
    blake2s_mac(mac1, maker->mac1_key, WIRE_KEY_LEN, message, mac1_at(len));
    memcpy(maker->last_mac1, mac1, WIRE_MAC_LEN);
    maker->has_last_mac1 = true;
    if (maker->has_cookie && now_ns - maker->cookie_ns >= COOKIE_NS) {
        maker->has_cookie = false;
        bytes_wipe(maker->cookie, sizeof maker->cookie);
    }
    if (maker->has_cookie)
        blake2s_mac(mac2, maker->cookie, sizeof maker->cookie, message, mac2_at(len));
    else
        memset(mac2, 0, WIRE_MAC_LEN);
}

bool cookie_maker_consume_reply(struct cookie_maker *maker, const struct wire_cookie_reply *reply,
                                uint64_t now_ns)
{
    uint8_t cookie[WIRE_COOKIE_LEN];
    if (!maker->has_last_mac1 ||
        !xaead_open(cookie, reply->sealed_cookie, sizeof cookie, maker->last_mac1,
                    sizeof maker->last_mac1, reply->nonce, maker->reply_key))
        return false;
    memcpy(maker->cookie, cookie, sizeof cookie);
    maker->cookie_ns = now_ns;
    maker->has_cookie = true;
    maker->has_last_mac1 = false;
    bytes_wipe(cookie, sizeof cookie);
    return true;
}
