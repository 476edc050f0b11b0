#ifndef WG_TIMERS_H
#define WG_TIMERS_H

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

/* What a peer has to do when (paper, section 6): times of events in, one action at a time out.
 * Times are boot time in nanoseconds and above 0; 0 means never.
 *
 * Senders and receivers of data report events from any thread. The holder of the device's lock
 * calls the rest. An event returns true when it needs an evaluation earlier than the one that
 * timers_arm announced: traffic causes a few wake-ups a minute, silence none.
 *
 *   ours                     the paper's
 *   TIMERS_REKEY_AFTER       REKEY_AFTER_TIME: the initiator renews when it sends
 *   TIMERS_REJECT_AFTER      REJECT_AFTER_TIME: a session neither sends nor receives any more
 *   TIMERS_REKEY_TIMEOUT     REKEY_TIMEOUT: an initiation is repeated
 *   TIMERS_ATTEMPT_TIME      REKEY_ATTEMPT_TIME: initiations stop without a packet of the user
 *   TIMERS_KEEPALIVE         KEEPALIVE_TIMEOUT: data received is acknowledged
 *   TIMERS_REKEY_RECEIVING   REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT: the initiator
 *                            renews when it receives
 *   TIMERS_UNANSWERED        KEEPALIVE_TIMEOUT + REKEY_TIMEOUT: data was sent, nothing came back
 *   TIMERS_WIPE_AFTER        REJECT_AFTER_TIME x 3: all key material is wiped
 *   TIMERS_ATTEMPTS          REKEY_ATTEMPT_TIME / REKEY_TIMEOUT, as the kernel counts
 *   TIMERS_JITTER_MS         none: the kernel adds up to 333 ms to REKEY_TIMEOUT
 *   WIRE_REKEY_AFTER_MESSAGES, WIRE_REJECT_AFTER_MESSAGES (wire.h): the same names */

#define TIMERS_REKEY_AFTER     (120 * NS_PER_SEC)
#define TIMERS_REJECT_AFTER    (180 * NS_PER_SEC)
#define TIMERS_REKEY_TIMEOUT   (5 * NS_PER_SEC)
#define TIMERS_ATTEMPT_TIME    (90 * NS_PER_SEC)
#define TIMERS_KEEPALIVE       (10 * NS_PER_SEC)
#define TIMERS_REKEY_RECEIVING (TIMERS_REJECT_AFTER - TIMERS_KEEPALIVE - TIMERS_REKEY_TIMEOUT)
#define TIMERS_UNANSWERED      (TIMERS_KEEPALIVE + TIMERS_REKEY_TIMEOUT)
#define TIMERS_WIPE_AFTER      (3 * TIMERS_REJECT_AFTER)
#define TIMERS_JITTER_MS       334 /* exclusive bound */
#define TIMERS_NEVER           UINT64_MAX

enum { TIMERS_ATTEMPTS = (int)(TIMERS_ATTEMPT_TIME / TIMERS_REKEY_TIMEOUT) };

enum timers_traffic { TIMERS_HANDSHAKE_MESSAGE, TIMERS_EMPTY, TIMERS_DATA };

enum timers_action {
    TIMERS_NOTHING,
    TIMERS_INITIATE,           /* send an initiation, then timers_initiated */
    TIMERS_INITIATE_ELSEWHERE, /* the same, from another source address: data went unanswered */
    TIMERS_INITIATE_AGAIN,     /* the same; the last one went unanswered */
    TIMERS_GIVE_UP,            /* drop what is staged */
    TIMERS_ACKNOWLEDGE,        /* send a keepalive, if there is a session */
    TIMERS_KEEP_ALIVE,         /* the same, or start a handshake if there is none */
    TIMERS_WIPE,               /* forget sessions and handshake */
};

struct timers {
    /* shared with senders and receivers of data */
    _Atomic uint64_t unanswered_ns; /* first data sent since the last authentic message received */
    _Atomic uint64_t owed_ns;       /* first data received since the last message sent */
    _Atomic uint64_t traffic_ns;    /* last authentic message in either direction */
    _Atomic uint64_t retry_ns;      /* of the current initiation */
    _Atomic uint64_t armed_ns;      /* next evaluation announced, or TIMERS_NEVER */
    _Atomic uint32_t attempts;      /* initiations since the user's last packet */
    _Atomic bool owed_again;        /* more data received after owed_ns */
    _Atomic bool wanted;            /* a handshake is wanted as soon as allowed */
    _Atomic bool rekeyed_receiving; /* set once a session */
    /* under the device's lock */
    uint16_t keepalive_s;       /* persistent keepalive; 0: off */
    bool is_silent;             /* the wanted handshake follows unanswered data */
    uint64_t handshake_sent_ns; /* last initiation or response */
    uint64_t session_ns;        /* start of the newest session, until wiped */
};

/* Forgets everything but the keepalive interval. */
void timers_reset(struct timers *timers);

/* Events. */
bool timers_sent(struct timers *timers, enum timers_traffic traffic, uint64_t now);
bool timers_received(struct timers *timers, enum timers_traffic traffic, uint64_t now);

/* Requests a session, because there is none or it is old. True when the peer needs service. */
bool timers_want_handshake(struct timers *timers);

/* The same for a receiver, at most once a session. */
bool timers_want_rekey_receiving(struct timers *timers);

/* Both sides have confirmed the session. */
void timers_handshake_complete(struct timers *timers);

void timers_session_begun(struct timers *timers, uint64_t now);

/* A response was sent: it delays the next initiation as an initiation would. */
void timers_responded(struct timers *timers, uint64_t now);

/* `jitter_ms` is random in [0, TIMERS_JITTER_MS). */
void timers_initiated(struct timers *timers, uint64_t now, uint32_t jitter_ms);

/* Makes the persistent keepalive, if there is one, due at once. */
void timers_keepalive_now(struct timers *timers);

/* Returns the next action that is due. Call it until it returns TIMERS_NOTHING. `able`: the device
 * is up and has a key, the peer has an endpoint. */
enum timers_action timers_next(struct timers *timers, bool able, uint64_t now);

/* Returns when timers_next has something to do again, or TIMERS_NEVER. Later events compare
 * themselves with that time. */
uint64_t timers_arm(struct timers *timers, bool able);

#endif
