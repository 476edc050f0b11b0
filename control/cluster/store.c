#include "control/cluster/store.h"

#include "control/state/state.h"

#include <errno.h>

void store_commit(struct store *store, const struct change *change, const struct store_done *done)
{
    store->ops->commit(store, change, done);
}

void store_promote(struct store *store, uint64_t epoch, uint64_t rev, uint64_t new_epoch,
                   const struct store_done *done)
{
    store->ops->promote(store, epoch, rev, new_epoch, done);
}

void store_park(struct store *store, const struct store_done *done)
{
    store->ops->park(store, done);
}

void store_close(struct store *store, void (*closed)(void *ctx), void *ctx)
{
    store->ops->close(store, closed, ctx);
}

int store_image_to_state(const struct store_image *image, const uint8_t seed[16],
                         struct state **out)
{
    struct state *state;
    if (state_create(&state, seed) != 0)
        return -ENOMEM;
    for (size_t i = 0; i < image->record_count; i++)
        if (state_apply(state, &image->records[i]) != 0) {
            state_destroy(state);
            return -ENOMEM;
        }
    state_set_position(state, image->epoch, image->rev);
    *out = state;
    return 0;
}
