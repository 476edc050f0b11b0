#include "wg/timers.h"

#include "base/clock.h"
#include "fuzz/fuzz.h"

#include <string.h>

/* The timers of one peer under any order of events, used as the device uses them. They must be
 * honest (nothing is due before the time that was announced, unless an event said so), end each
 * evaluation, and keep the times and counts of the paper's section 6. */

struct world {
    struct timers timers;
    uint64_t now;
    bool able;
    bool asked;         /* an event wants an evaluation */
    uint64_t due;       /* as announced */
    uint64_t initiated; /* 0: not since the last reset */
    unsigned attempts;  /* initiations since the user's last packet */
    bool under_way;
    uint64_t session; /* start of the newest; 0: none */
    uint64_t fresh_until;
    uint64_t traffic;  /* last message in either direction; 0: a keepalive is due */
    uint64_t received; /* first data since anything was sent; 0: none */
    bool received_more;
    uint64_t unanswered; /* first data sent since anything came; 0: none */
};

static void model_sent(struct world *world, enum timers_traffic traffic)
{
    world->traffic = world->now;
    if (traffic != TIMERS_EMPTY) {
        world->received = 0;
        world->received_more = false;
    }
    if (traffic == TIMERS_DATA && world->unanswered == 0)
        world->unanswered = world->now;
    world->asked |= timers_sent(&world->timers, traffic, world->now);
}

static void want(struct world *world)
{
    world->attempts = 0;
    world->asked |= timers_want_handshake(&world->timers);
}

static void initiate(struct world *world, bool again, uint32_t jitter)
{
    require(world->initiated == 0 || world->now >= world->initiated + TIMERS_REKEY_TIMEOUT);
    world->attempts = again ? world->attempts + 1 : 1;
    require(world->attempts <= TIMERS_ATTEMPTS);
    world->initiated = world->now;
    world->under_way = true;
    timers_initiated(&world->timers, world->now, jitter);
    model_sent(world, TIMERS_HANDSHAKE_MESSAGE);
}

/* An acknowledgement is for data that has waited for 10 s; it covers what came later only when that
 * is old enough too. */
static void acknowledge(struct world *world)
{
    require(world->received != 0 && world->now >= world->received + TIMERS_KEEPALIVE);
    world->received = world->received_more ? world->now : 0;
    world->received_more = false;
    if (world->now < world->fresh_until)
        model_sent(world, TIMERS_EMPTY);
}

static void keep_alive(struct world *world)
{
    uint64_t interval = world->timers.keepalive_s * NS_PER_SEC;
    require(world->able && interval != 0);
    require(world->traffic == 0 || world->now >= world->traffic + interval);
    world->traffic = world->now;
    world->received = 0;
    world->received_more = false;
    if (world->now < world->fresh_until)
        model_sent(world, TIMERS_EMPTY);
    else
        want(world);
}

static void act(struct world *world, enum timers_action action, uint32_t jitter)
{
    switch (action) {
    case TIMERS_NOTHING:
        break;
    case TIMERS_INITIATE:
    case TIMERS_INITIATE_ELSEWHERE:
        require(world->able && !world->under_way);
        initiate(world, false, jitter);
        break;
    case TIMERS_INITIATE_AGAIN:
        require(world->under_way);
        initiate(world, true, jitter);
        break;
    case TIMERS_GIVE_UP:
        require(world->under_way);
        world->under_way = false;
        if (world->session == 0)
            world->session = world->now;
        break;
    case TIMERS_ACKNOWLEDGE:
        acknowledge(world);
        break;
    case TIMERS_KEEP_ALIVE:
        keep_alive(world);
        break;
    case TIMERS_WIPE:
        require(world->session != 0 && world->now >= world->session + TIMERS_WIPE_AFTER);
        world->session = 0;
        world->fresh_until = 0;
        break;
    }
}

/* What is due has been done. */
static void check_done(struct world *world)
{
    uint64_t interval = world->timers.keepalive_s * NS_PER_SEC;
    require(world->received == 0 || world->now < world->received + TIMERS_KEEPALIVE);
    require(world->session == 0 || world->now < world->session + TIMERS_WIPE_AFTER);
    if (world->able && interval != 0)
        require(world->now < world->traffic + interval);
    if (world->unanswered != 0 && world->now >= world->unanswered + TIMERS_UNANSWERED) {
        require(world->under_way || world->timers.wanted || world->initiated == world->now);
        world->unanswered = 0;
    }
}

static void serve(struct world *world, uint32_t jitter)
{
    for (int i = 0;; i++) {
        require(i < 8);
        enum timers_action action = timers_next(&world->timers, world->able, world->now);
        if (action == TIMERS_NOTHING)
            break;
        act(world, action, jitter);
    }
    check_done(world);
    world->asked = false;
    world->due = timers_arm(&world->timers, world->able);
    require(world->due > world->now);
}

/* Nobody asked for an evaluation, so one must find nothing to do until the announced time. */
static void check_honest(const struct world *world)
{
    if (world->asked || world->due <= world->now)
        return;
    struct timers copy;
    memcpy(&copy, &world->timers, sizeof copy);
    require(timers_next(&copy, world->able, world->now) == TIMERS_NOTHING);
    memcpy(&copy, &world->timers, sizeof copy);
    uint64_t last = world->due == TIMERS_NEVER ? world->now + 3600 * NS_PER_SEC : world->due - 1;
    require(timers_next(&copy, world->able, last) == TIMERS_NOTHING);
}

static void reset(struct world *world)
{
    timers_reset(&world->timers);
    world->initiated = world->session = world->fresh_until = world->traffic = world->received = 0;
    world->unanswered = 0;
    world->attempts = 0;
    world->under_way = world->received_more = false;
}

static void receive(struct world *world, enum timers_traffic traffic)
{
    world->traffic = world->now;
    world->unanswered = 0;
    if (traffic == TIMERS_DATA) {
        world->received_more = world->received != 0;
        if (world->received == 0)
            world->received = world->now;
    }
    world->asked |= timers_received(&world->timers, traffic, world->now);
}

static void complete(struct world *world)
{
    world->under_way = false;
    world->attempts = 0;
    timers_handshake_complete(&world->timers);
    timers_session_begun(&world->timers, world->now);
    world->session = world->now;
    world->fresh_until = world->now + TIMERS_REJECT_AFTER;
}

static void step(struct world *world, struct input *input)
{
    uint8_t what = input_byte(input);
    uint32_t jitter = (uint32_t)(what >> 4) * 22;
    switch (what % 16) {
    case 0:
        want(world);
        break;
    case 1:
        model_sent(world, TIMERS_DATA);
        break;
    case 2:
        receive(world, TIMERS_DATA);
        break;
    case 3:
        receive(world, TIMERS_EMPTY);
        break;
    case 4: /* a handshake of theirs or ours ends */
        receive(world, TIMERS_HANDSHAKE_MESSAGE);
        complete(world);
        if (what & 16) { /* theirs: it was answered */
            timers_responded(&world->timers, world->now);
            world->initiated = world->now;
            model_sent(world, TIMERS_HANDSHAKE_MESSAGE);
        }
        serve(world, jitter);
        break;
    case 5:
        if (timers_want_rekey_receiving(&world->timers)) {
            world->asked = true;
            world->attempts = 0;
        }
        world->attempts = 0;
        break;
    case 6: {
        uint16_t before = world->timers.keepalive_s;
        world->timers.keepalive_s = input_byte(input);
        if (before == 0 && world->timers.keepalive_s != 0) {
            timers_keepalive_now(&world->timers);
            world->traffic = 0;
        }
        serve(world, jitter);
        break;
    }
    case 7:
        world->able = !world->able;
        if (!world->able)
            reset(world);
        serve(world, jitter);
        break;
    case 8:
        serve(world, jitter);
        break;
    case 9:
    case 10: /* straight to what is due, or far behind it */
        if (world->due != TIMERS_NEVER && world->due > world->now)
            world->now = world->due + (what >> 4 == 15 ? 400 * NS_PER_SEC : 0);
        break;
    case 11:
    case 12:
        world->now += (uint64_t)(what >> 4) * NS_PER_SEC;
        break;
    case 13:
        world->now += input_number(input, 2) * NS_PER_MS;
        break;
    case 14:
        world->now += (uint64_t)(what >> 4) * 30 * NS_PER_SEC;
        break;
    case 15:
        model_sent(world, TIMERS_EMPTY);
        break;
    }
    if (world->asked || world->due <= world->now)
        serve(world, jitter);
    check_honest(world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    static struct world world;
    memset(&world, 0, sizeof world);
    world.now = 1000 * NS_PER_SEC;
    timers_reset(&world.timers);
    serve(&world, 0);
    while (input_has(&input))
        step(&world, &input);
    return 0;
}
