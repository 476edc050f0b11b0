#include "wg/replay.h"

#include "wg/wire.h"

#include <string.h>

enum { WORD_BITS = 64, WORDS = REPLAY_BITS / WORD_BITS };

void replay_init(struct replay *replay)
{
    memset(replay, 0, sizeof *replay);
}

/* Clears the words between the newest counter so far and this newer one, at most the whole ring. */
static void advance(struct replay *replay, uint64_t counter)
{
    /* "next" is in the word of the newest, or in the one behind it, which is not cleared yet */
    uint64_t word = replay->next == 0 ? 0 : (replay->next - 1) / WORD_BITS;
    uint64_t steps = counter / WORD_BITS - word;
    if (steps > WORDS)
        steps = WORDS;
    for (uint64_t i = 1; i <= steps; i++)
        replay->ring[(word + i) % WORDS] = 0;
    replay->next = counter + 1;
}

bool replay_accept(struct replay *replay, uint64_t counter)
{
    if (counter >= WIRE_REJECT_AFTER_MESSAGES)
        return false;
    if (counter >= replay->next)
        advance(replay, counter);
    else if (replay->next - 1 - counter > REPLAY_WINDOW)
        return false;
    uint64_t *word = &replay->ring[counter / WORD_BITS % WORDS];
    uint64_t bit = UINT64_C(1) << (counter % WORD_BITS);
    bool fresh = (*word & bit) == 0;
    *word |= bit;
    return fresh;
}
