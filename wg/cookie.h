#ifndef WG_COOKIE_H
#define WG_COOKIE_H

#include "base/addr.h"
#include "wg/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* mac1, mac2 and cookies (paper, sections 5.4.4 and 5.4.7). A device has one checker, for messages
 * received; a peer has one maker, for messages sent. Neither locks. Times are boot time. */

enum { COOKIE_RANDOM_LEN = WIRE_COOKIE_NONCE_LEN + 32 };

struct cookie_checker {
    uint8_t mac1_key[WIRE_KEY_LEN];
    uint8_t reply_key[WIRE_KEY_LEN];
    uint8_t secret[32]; /* secret that cookies are derived from */
    uint64_t secret_ns; /* creation of the secret */
    bool has_secret;
};

struct cookie_maker {
    uint8_t mac1_key[WIRE_KEY_LEN];
    uint8_t reply_key[WIRE_KEY_LEN];
    uint8_t cookie[WIRE_COOKIE_LEN];
    uint8_t last_mac1[WIRE_MAC_LEN]; /* of the last message sent; binds a reply to it */
    uint64_t cookie_ns;              /* arrival of the cookie */
    bool has_cookie;
    bool has_last_mac1; /* no reply to that message has been taken yet */
};

enum cookie_verdict {
    COOKIE_BAD_MAC,   /* mac1 is wrong: drop in silence */
    COOKIE_MAC1_ONLY, /* mac2 is absent, wrong or outdated: under load, answer with a cookie */
    COOKIE_MAC1_MAC2, /* the sender can receive at `from` */
};

/* Takes our own public key. Called again when it changes. */
void cookie_checker_init(struct cookie_checker *checker, const uint8_t public_key[WIRE_KEY_LEN]);
void cookie_checker_fini(struct cookie_checker *checker);

/* `message` is a whole initiation or response. `need_mac2` false skips mac2: the verdict is then
 * BAD_MAC or MAC1_ONLY. */
enum cookie_verdict cookie_checker_check(const struct cookie_checker *checker,
                                         const uint8_t *message, size_t len,
                                         const union endpoint *from, bool need_mac2,
                                         uint64_t now_ns);

/* Answers a message whose mac1 is right. `receiver` is its sender field. `random` is fresh; its
 * second part becomes the secret when that has reached its 120 s. */
void cookie_checker_create_reply(struct cookie_checker *checker, struct wire_cookie_reply *reply,
                                 const uint8_t *message, size_t len, const uint8_t receiver[4],
                                 const union endpoint *from,
                                 const uint8_t random[COOKIE_RANDOM_LEN], uint64_t now_ns);

/* Takes the peer's public key. */
void cookie_maker_init(struct cookie_maker *maker, const uint8_t peer_public_key[WIRE_KEY_LEN]);
void cookie_maker_fini(struct cookie_maker *maker);

/* Writes both macs at the end of a whole initiation or response; mac2 is zero without a cookie of
 * less than 115 s. */
void cookie_maker_add_macs(struct cookie_maker *maker, uint8_t *message, size_t len,
                           uint64_t now_ns);

/* Stores the cookie of a reply to the last message. False, with nothing changed, when the reply is
 * not authentic or not expected. */
bool cookie_maker_consume_reply(struct cookie_maker *maker, const struct wire_cookie_reply *reply,
                                uint64_t now_ns);

#endif
