#ifndef WG_TIMERS_H
#define WG_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

/* What a peer has to do when (paper, section 6): times of events in, one action at a time out.
 * Times are boot time in nanoseconds and above 0, which means never.
 *
 * The senders and receivers of data report events from any thread; the rest is called by the one
 * that holds the device's lock. An event returns true when it needs an evaluation earlier than the
 * one that timers_arm announced, so that traffic causes a handful of wake-ups a minute and silence
 * causes none. */

#define TIMERS_REKEY_AFTER     UINT64_C(120000000000)
#define TIMERS_REKEY_RECEIVING UINT64_C(165000000000)
#define TIMERS_REJECT_AFTER    UINT64_C(180000000000)
#define TIMERS_WIPE_AFTER      UINT64_C(540000000000)
#define TIMERS_REKEY_TIMEOUT   UINT64_C(5000000000)
#define TIMERS_JITTER_MS       334 /* 0 to 333 ms are added to the retry of an initiation */
#define TIMERS_KEEPALIVE       UINT64_C(10000000000)
#define TIMERS_UNANSWERED      (TIMERS_KEEPALIVE + TIMERS_REKEY_TIMEOUT)
#define TIMERS_NEVER           UINT64_MAX

enum { TIMERS_ATTEMPTS = 18 }; /* initiations in the 90 s after the last packet of the user */

enum timers_traffic { TIMERS_HANDSHAKE_MESSAGE, TIMERS_EMPTY, TIMERS_DATA };

enum timers_action {
    TIMERS_NOTHING,
    TIMERS_INITIATE,       /* send an initiation, then timers_initiated */
    TIMERS_INITIATE_AGAIN, /* the same; the last one went unanswered */
    TIMERS_GIVE_UP,        /* drop what is staged */
    TIMERS_ACKNOWLEDGE,    /* send a keepalive, if there is a session */
    TIMERS_KEEP_ALIVE,     /* the same, or start a handshake if there is none */
    TIMERS_WIPE,           /* forget sessions and handshake */
};

struct timers {
    /* shared with the senders and receivers of data */
    _Atomic uint64_t unanswered_ns; /* first data sent since anything authentic arrived */
    _Atomic uint64_t owed_ns;       /* first data received since anything was sent */
    _Atomic uint64_t traffic_ns;    /* last authentic message in either direction */
    _Atomic uint64_t retry_ns;      /* of the initiation under way */
    _Atomic uint64_t armed_ns;      /* next evaluation announced, or TIMERS_NEVER */
    _Atomic uint32_t attempts;      /* initiations since the user's last packet */
    _Atomic bool owed_again;        /* more data received after owed_ns */
    _Atomic bool wanted;            /* a handshake, as soon as allowed */
    _Atomic bool rekeyed_receiving; /* asked for once a session */
    /* of the lock's holder */
    uint16_t keepalive_s; /* persistent keepalive; 0: off */
    uint64_t initiated_ns;
    uint64_t session_ns; /* start of the newest session, until wiped */
};

/* Forgets everything but the keepalive interval. */
void timers_reset(struct timers *timers);

/* Events. */
bool timers_sent(struct timers *timers, enum timers_traffic traffic, uint64_t now);
bool timers_received(struct timers *timers, enum timers_traffic traffic, uint64_t now);

/* A new session is due, because there is none or it is old. */
bool timers_want_handshake(struct timers *timers);

/* The same from a receiver, at most once a session. */
bool timers_want_rekey_receiving(struct timers *timers);

/* The session is confirmed on both sides. */
void timers_handshake_complete(struct timers *timers);

void timers_session_begun(struct timers *timers, uint64_t now);

/* `jitter_ms` is random in [0, TIMERS_JITTER_MS). */
void timers_initiated(struct timers *timers, uint64_t now, uint32_t jitter_ms);

/* The persistent keepalive is due at once, if there is one. */
void timers_keepalive_now(struct timers *timers);

/* The next action that is due; call until nothing is. `able`: the device is up and has a key, the
 * peer has an endpoint. */
enum timers_action timers_next(struct timers *timers, bool able, uint64_t now);

/* When timers_next has something to do again, or TIMERS_NEVER. Events measure themselves by it from
 * now on. */
uint64_t timers_arm(struct timers *timers, bool able);

#endif
