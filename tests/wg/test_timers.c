#include "wg/timers.h"

#include "tests/unit.h"

#include <stdatomic.h>

/* The timers alone: events and times in, actions out. Times in the table are tenths of a second
 * after the start. */

#define START UINT64_C(1000000000000)
#define AT(t) (START + (t)*UINT64_C(100000000))

enum event {
    END,
    SENT_DATA,
    SENT_EMPTY,
    SENT_HANDSHAKE,
    GOT_DATA,
    GOT_EMPTY,
    GOT_HANDSHAKE,
    WANT,
    COMPLETE,
    SESSION,
    INITIATED,
    RESPONDED,
    KEEPALIVE_25,
    UNABLE,
    ABLE,
    EXPECT, /* this action, and then nothing */
};

struct row {
    enum event event;
    uint64_t at;
    enum timers_action action;
};

static const struct row cases[][12] = {
    /* 0: nothing happens of itself */
    {{EXPECT, 100000, TIMERS_NOTHING}},
    /* 1: data received is acknowledged once, 10 s later */
    {{GOT_DATA, 0, 0},
     {EXPECT, 99, TIMERS_NOTHING},
     {EXPECT, 100, TIMERS_ACKNOWLEDGE},
     {EXPECT, 5000, TIMERS_NOTHING}},
    /* 2: and again, when more came meanwhile */
    {{GOT_DATA, 0, 0},
     {GOT_DATA, 50, 0},
     {EXPECT, 100, TIMERS_ACKNOWLEDGE},
     {SENT_EMPTY, 100, 0},
     {EXPECT, 199, TIMERS_NOTHING},
     {EXPECT, 200, TIMERS_ACKNOWLEDGE},
     {EXPECT, 5000, TIMERS_NOTHING}},
    /* 3: not when something was sent */
    {{GOT_DATA, 0, 0}, {GOT_DATA, 1, 0}, {SENT_DATA, 50, 0}, {EXPECT, 110, TIMERS_NOTHING}},
    /* 4: a handshake message counts as sent */
    {{GOT_DATA, 0, 0}, {SENT_HANDSHAKE, 50, 0}, {EXPECT, 500, TIMERS_NOTHING}},
    /* 5: keepalives are not acknowledged */
    {{GOT_EMPTY, 0, 0}, {EXPECT, 500, TIMERS_NOTHING}},
    /* 6: data without any answer asks for a handshake after 15 s */
    {{SENT_DATA, 0, 0},
     {SENT_DATA, 100, 0},
     {EXPECT, 149, TIMERS_NOTHING},
     {EXPECT, 150, TIMERS_INITIATE_ELSEWHERE}},
    /* 7: any answer will do */
    {{SENT_DATA, 0, 0}, {GOT_EMPTY, 100, 0}, {EXPECT, 500, TIMERS_NOTHING}},
    /* 8: what was sent before an answer is answered by it */
    {{SENT_DATA, 0, 0},
     {GOT_HANDSHAKE, 100, 0},
     {SENT_DATA, 101, 0},
     {EXPECT, 250, TIMERS_NOTHING},
     {EXPECT, 251, TIMERS_INITIATE_ELSEWHERE}},
    /* 9: keepalives need no answer */
    {{SENT_EMPTY, 0, 0}, {EXPECT, 500, TIMERS_NOTHING}},
    /* 10: a handshake that is wanted starts at once, but 5 s after the last one */
    {{WANT, 0, 0},
     {EXPECT, 0, TIMERS_INITIATE},
     {INITIATED, 0, 0},
     {COMPLETE, 1, 0},
     {WANT, 2, 0},
     {EXPECT, 49, TIMERS_NOTHING},
     {EXPECT, 50, TIMERS_INITIATE}},
    /* 11: it waits for the device and the endpoint */
    {{UNABLE, 0, 0},
     {WANT, 0, 0},
     {EXPECT, 900, TIMERS_NOTHING},
     {ABLE, 0, 0},
     {EXPECT, 901, TIMERS_INITIATE}},
    /* 12: an initiation is repeated after 5.3 s (jitter 300 ms) until the handshake is complete */
    {{WANT, 0, 0},
     {EXPECT, 0, TIMERS_INITIATE},
     {INITIATED, 0, 0},
     {EXPECT, 52, TIMERS_NOTHING},
     {EXPECT, 53, TIMERS_INITIATE_AGAIN},
     {INITIATED, 53, 0},
     {COMPLETE, 60, 0},
     {EXPECT, 2000, TIMERS_NOTHING}},
    /* 13: keys are wiped 540 s after the last session began */
    {{SESSION, 0, 0},
     {SESSION, 1000, 0},
     {EXPECT, 6399, TIMERS_NOTHING},
     {EXPECT, 6400, TIMERS_WIPE},
     {EXPECT, 20000, TIMERS_NOTHING}},
    /* 14: persistent keepalive: at once, then 25 s after any traffic */
    {{KEEPALIVE_25, 0, 0},
     {EXPECT, 0, TIMERS_KEEP_ALIVE},
     {EXPECT, 249, TIMERS_NOTHING},
     {GOT_EMPTY, 200, 0},
     {EXPECT, 449, TIMERS_NOTHING},
     {SENT_EMPTY, 300, 0},
     {EXPECT, 549, TIMERS_NOTHING},
     {EXPECT, 550, TIMERS_KEEP_ALIVE}},
    /* 15: it is the acknowledgement too */
    {{KEEPALIVE_25, 0, 0},
     {EXPECT, 0, TIMERS_KEEP_ALIVE},
     {GOT_DATA, 1, 0},
     {SENT_EMPTY, 1, 0},
     {EXPECT, 101, TIMERS_ACKNOWLEDGE},
     {EXPECT, 251, TIMERS_KEEP_ALIVE}},
    /* 16: it waits for the device and the endpoint, and is due at once then */
    {{KEEPALIVE_25, 0, 0},
     {UNABLE, 0, 0},
     {EXPECT, 100, TIMERS_NOTHING},
     {ABLE, 0, 0},
     {EXPECT, 101, TIMERS_KEEP_ALIVE}},
    /* 17: a response delays an initiation as an initiation does */
    {{RESPONDED, 0, 0}, {WANT, 1, 0}, {EXPECT, 49, TIMERS_NOTHING}, {EXPECT, 50, TIMERS_INITIATE}},
};

static void apply(struct timers *timers, const struct row *row, bool *able)
{
    uint64_t now = AT(row->at);
    switch (row->event) {
    case SENT_DATA:
        timers_sent(timers, TIMERS_DATA, now);
        break;
    case SENT_EMPTY:
        timers_sent(timers, TIMERS_EMPTY, now);
        break;
    case SENT_HANDSHAKE:
        timers_sent(timers, TIMERS_HANDSHAKE_MESSAGE, now);
        break;
    case GOT_DATA:
        timers_received(timers, TIMERS_DATA, now);
        break;
    case GOT_EMPTY:
        timers_received(timers, TIMERS_EMPTY, now);
        break;
    case GOT_HANDSHAKE:
        timers_received(timers, TIMERS_HANDSHAKE_MESSAGE, now);
        break;
    case WANT:
        timers_want_handshake(timers);
        break;
    case COMPLETE:
        timers_handshake_complete(timers);
        break;
    case SESSION:
        timers_session_begun(timers, now);
        break;
    case INITIATED:
        timers_initiated(timers, now, 300);
        break;
    case RESPONDED:
        timers_responded(timers, now);
        break;
    case KEEPALIVE_25:
        timers->keepalive_s = 25;
        timers_keepalive_now(timers);
        break;
    case UNABLE:
    case ABLE:
        *able = row->event == ABLE;
        break;
    case EXPECT:
        ck_assert_int_eq(timers_next(timers, *able, now), row->action);
        break;
    case END:
        break;
    }
}

START_TEST(events_lead_to_actions)
{
    struct timers timers = {0};
    bool able = true;
    timers_reset(&timers);
    for (const struct row *row = cases[_i]; row->event != END; row++)
        apply(&timers, row, &able);
}
END_TEST

/* What timers_arm announces is when timers_next first has something to do. */
START_TEST(deadline_is_when_something_is_due)
{
    struct timers timers = {0};
    bool able = true;
    timers_reset(&timers);
    for (const struct row *row = cases[_i]; row->event != END; row++) {
        uint64_t due = timers_arm(&timers, able);
        if (row->event == EXPECT && row->action != TIMERS_NOTHING)
            ck_assert_uint_le(due, AT(row->at));
        if (row->event == EXPECT && row->action == TIMERS_NOTHING)
            ck_assert_uint_gt(due, AT(row->at));
        apply(&timers, row, &able);
    }
}
END_TEST

/* The handshake after silence avoids the source also when it has to wait; the next one does not. */
START_TEST(silence_is_remembered_while_it_waits)
{
    struct timers timers = {0};
    timers_reset(&timers);
    timers_sent(&timers, TIMERS_DATA, AT(0));
    timers_responded(&timers, AT(140));
    ck_assert_int_eq(timers_next(&timers, true, AT(150)), TIMERS_NOTHING);
    ck_assert_int_eq(timers_next(&timers, true, AT(189)), TIMERS_NOTHING);
    ck_assert_int_eq(timers_next(&timers, true, AT(190)), TIMERS_INITIATE_ELSEWHERE);
    timers_initiated(&timers, AT(190), 0);
    timers_handshake_complete(&timers);
    timers_want_handshake(&timers);
    ck_assert_int_eq(timers_next(&timers, true, AT(240)), TIMERS_INITIATE);
}
END_TEST

START_TEST(gives_up_after_18_attempts)
{
    struct timers timers = {0};
    uint64_t now = START;
    timers_reset(&timers);
    timers_want_handshake(&timers);
    ck_assert_int_eq(timers_next(&timers, true, now), TIMERS_INITIATE);
    timers_initiated(&timers, now, 0);
    for (int i = 1; i < TIMERS_ATTEMPTS; i++) {
        now = timers_arm(&timers, true);
        ck_assert_int_eq(timers_next(&timers, true, now), TIMERS_INITIATE_AGAIN);
        timers_initiated(&timers, now, 0);
    }
    now = timers_arm(&timers, true);
    ck_assert_uint_eq(now, START + UINT64_C(90000000000));
    ck_assert_int_eq(timers_next(&timers, true, now), TIMERS_GIVE_UP);
    ck_assert_int_eq(timers_next(&timers, true, now), TIMERS_NOTHING);
    /* what is left of the handshake goes like a session */
    ck_assert_uint_eq(timers_arm(&timers, true), now + TIMERS_WIPE_AFTER);
}
END_TEST

START_TEST(user_packets_renew_the_attempts)
{
    struct timers timers = {0};
    timers_reset(&timers);
    ck_assert(timers_want_handshake(&timers));
    ck_assert(!timers_want_handshake(&timers)); /* known already */
    uint64_t now = START;
    ck_assert_int_eq(timers_next(&timers, true, now), TIMERS_INITIATE);
    timers_initiated(&timers, now, 0);
    for (int i = 0; i < 100; i++) {
        now = timers_arm(&timers, true);
        ck_assert(!timers_want_handshake(&timers)); /* the retries will do */
        ck_assert_int_eq(timers_next(&timers, true, now), TIMERS_INITIATE_AGAIN);
        timers_initiated(&timers, now, 0);
    }
}
END_TEST

START_TEST(rekey_on_receiving_is_asked_for_once_a_session)
{
    struct timers timers = {0};
    timers_reset(&timers);
    ck_assert(timers_want_rekey_receiving(&timers));
    ck_assert_int_eq(timers_next(&timers, true, START), TIMERS_INITIATE);
    ck_assert(!timers_want_rekey_receiving(&timers));
    ck_assert_int_eq(timers_next(&timers, true, START), TIMERS_NOTHING);
    timers_handshake_complete(&timers);
    ck_assert(timers_want_rekey_receiving(&timers));
}
END_TEST

START_TEST(events_ask_for_evaluation_only_when_earlier)
{
    struct timers timers = {0};
    timers_reset(&timers);
    ck_assert(timers_sent(&timers, TIMERS_DATA, AT(0)));
    ck_assert_uint_eq(timers_arm(&timers, true), AT(150));
    for (uint64_t t = 1; t < 100; t++) { /* ping-pong: the announced time is early enough */
        ck_assert(!timers_sent(&timers, TIMERS_DATA, AT(t)));
        if (t >= 50)
            ck_assert(!timers_received(&timers, TIMERS_DATA, AT(t)));
    }
    ck_assert(!timers_sent(&timers, TIMERS_DATA, AT(100)));
    ck_assert_int_eq(timers_next(&timers, true, AT(150)), TIMERS_NOTHING);
    ck_assert_uint_eq(timers_arm(&timers, true), AT(250));
    ck_assert(timers_received(&timers, TIMERS_DATA, AT(130)));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("timers");
    tcase_add_loop_test(tc, events_lead_to_actions, 0, ARRAY_LEN(cases));
    tcase_add_loop_test(tc, deadline_is_when_something_is_due, 0, ARRAY_LEN(cases));
    tcase_add_test(tc, silence_is_remembered_while_it_waits);
    tcase_add_test(tc, gives_up_after_18_attempts);
    tcase_add_test(tc, user_packets_renew_the_attempts);
    tcase_add_test(tc, rekey_on_receiving_is_asked_for_once_a_session);
    tcase_add_test(tc, events_ask_for_evaluation_only_when_earlier);
    return unit_run(tc);
}
