#ifndef WG_WIRE_H
#define WG_WIRE_H

#include <assert.h>
#include <stdint.h>

/* Messages and limits of the WireGuard protocol (paper, sections 5.4 and 6.1). Structs consist of
 * bytes only, so that a pointer into any datagram of the right length may be cast to them. Numbers
 * are little endian. A type is its byte and three zero bytes, read as one number. */

enum wire_type {
    WIRE_INITIATION = 1,
    WIRE_RESPONSE = 2,
    WIRE_COOKIE_REPLY = 3,
    WIRE_DATA = 4,
};

enum {
    WIRE_KEY_LEN = 32,
    WIRE_TAG_LEN = 16,
    WIRE_MAC_LEN = 16,
    WIRE_COOKIE_LEN = 16,
    WIRE_COOKIE_NONCE_LEN = 24,
    WIRE_TIMESTAMP_LEN = 12, /* TAI64N */

    WIRE_INITIATION_LEN = 148,
    WIRE_RESPONSE_LEN = 92,
    WIRE_COOKIE_REPLY_LEN = 64,
    WIRE_DATA_HEADER_LEN = 16,
    WIRE_DATA_MIN_LEN = WIRE_DATA_HEADER_LEN + WIRE_TAG_LEN, /* a keepalive */
    WIRE_PADDING = 16, /* data is padded with zeros to a multiple of this, up to the MTU */
};

/* A session neither sends nor accepts counters from here on: 2^64 - 2^13 - 1. */
#define WIRE_REJECT_AFTER_MESSAGES (UINT64_MAX - (UINT64_C(1) << 13))
#define WIRE_REKEY_AFTER_MESSAGES  (UINT64_C(1) << 60)

struct wire_initiation {
    uint8_t type[4];
    uint8_t sender[4];
    uint8_t ephemeral[WIRE_KEY_LEN];
    uint8_t sealed_static[WIRE_KEY_LEN + WIRE_TAG_LEN];
    uint8_t sealed_timestamp[WIRE_TIMESTAMP_LEN + WIRE_TAG_LEN];
    uint8_t mac1[WIRE_MAC_LEN];
    uint8_t mac2[WIRE_MAC_LEN];
};

struct wire_response {
    uint8_t type[4];
    uint8_t sender[4];
    uint8_t receiver[4];
    uint8_t ephemeral[WIRE_KEY_LEN];
    uint8_t sealed_empty[WIRE_TAG_LEN];
    uint8_t mac1[WIRE_MAC_LEN];
    uint8_t mac2[WIRE_MAC_LEN];
};

struct wire_cookie_reply {
    uint8_t type[4];
    uint8_t receiver[4];
    uint8_t nonce[WIRE_COOKIE_NONCE_LEN];
    uint8_t sealed_cookie[WIRE_COOKIE_LEN + WIRE_TAG_LEN];
};

/* Precedes the sealed packet. */
struct wire_data {
    uint8_t type[4];
    uint8_t receiver[4];
    uint8_t counter[8];
};

static_assert(sizeof(struct wire_initiation) == WIRE_INITIATION_LEN, "initiation");
static_assert(sizeof(struct wire_response) == WIRE_RESPONSE_LEN, "response");
static_assert(sizeof(struct wire_cookie_reply) == WIRE_COOKIE_REPLY_LEN, "cookie reply");
static_assert(sizeof(struct wire_data) == WIRE_DATA_HEADER_LEN, "data header");

#endif
