#include "fuzz/fuzz.h"
#include "wg/replay.h"
#include "wg/wire.h"

#include <string.h>

/* The ring against a set that forgets nothing: open addressing, cleared by a new generation. */

enum { SLOTS = 1 << 16, COUNTERS = SLOTS / 2 };

static struct {
    uint64_t counter;
    uint64_t generation;
} set[SLOTS];
static uint64_t generation;

static bool add(uint64_t counter)
{
    for (uint64_t i = counter * UINT64_C(0x9e3779b97f4a7c15) >> 48;; i++) {
        if (set[i % SLOTS].generation != generation) {
            set[i % SLOTS].counter = counter;
            set[i % SLOTS].generation = generation;
            return true;
        }
        if (set[i % SLOTS].counter == counter)
            return false;
    }
}

struct run {
    struct replay replay;
    uint64_t newest;
    bool any;
    size_t added;
};

static void offer(struct run *run, uint64_t counter)
{
    bool expected = counter < WIRE_REJECT_AFTER_MESSAGES &&
                    (!run->any || counter > run->newest || run->newest - counter <= REPLAY_WINDOW);
    if (run->added == COUNTERS)
        return;
    if (expected)
        expected = add(counter);
    require(replay_accept(&run->replay, counter) == expected);
    if (!expected)
        return;
    run->added++;
    if (!run->any || counter > run->newest)
        run->newest = counter;
    run->any = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct run run = {.newest = 0};
    generation++;
    replay_init(&run.replay);
    while (input_has(&input)) {
        uint8_t what = input_byte(&input);
        switch (what % 6) {
        case 0:
            offer(&run, input_number(&input, 8));
            break;
        case 1:
            offer(&run, run.newest + input_number(&input, 2));
            break;
        case 2:
            offer(&run, run.newest - input_number(&input, 2));
            break;
        case 3: /* around the edge of the window */
            offer(&run, run.newest - REPLAY_WINDOW - 4 + what / 32);
            break;
        case 4: { /* a row of them, upwards or downwards */
            uint64_t first = run.newest + 200 - input_number(&input, 2);
            uint64_t step = what & 64 ? 1 : UINT64_MAX;
            for (uint64_t i = 0; i < (what & 32 ? 256 : 40); i++)
                offer(&run, first + i * step);
            break;
        }
        case 5: /* near the last counter of all */
            offer(&run, WIRE_REJECT_AFTER_MESSAGES - 8 + what / 16);
            break;
        }
    }
    return 0;
}
