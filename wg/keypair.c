#include "wg/keypair.h"

#include "base/bytes.h"
#include "base/list.h"
#include "wg/noise.h"
#include "wg/timers.h"
#include "wg/wire.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct keypair *keypair_create(struct wg_peer *peer)
{
    struct keypair *keypair = calloc(1, sizeof *keypair);
    if (keypair == NULL)
        return NULL;
    keypair->entry.kind = INDEX_KEYPAIR;
    keypair->entry.peer = peer;
    replay_init(&keypair->replay);
    return keypair;
}

void keypair_fill(struct keypair *keypair, const struct noise_session *session, uint64_t now)
{
    keypair->local_index = session->local_index;
    keypair->remote_index = session->remote_index;
    keypair->initiator = session->initiator;
    keypair->born_ns = now;
    memcpy(keypair->send_key, session->send_key, sizeof keypair->send_key);
    memcpy(keypair->recv_key, session->recv_key, sizeof keypair->recv_key);
}

void keypair_destroy(struct keypair *keypair)
{
    if (keypair == NULL)
        return;
    bytes_wipe(keypair, sizeof *keypair);
    free(keypair);
}

static void destroy_item(struct garbage_item *item)
{
    keypair_destroy(container_of(item, struct keypair, garbage));
}

bool keypair_is_fresh(const struct keypair *keypair, uint64_t now)
{
    return keypair != NULL && now < keypair->born_ns + TIMERS_REJECT_AFTER;
}

static bool has_counters(const struct keypair *keypair)
{
    return atomic_load_explicit(&keypair->send_counter, memory_order_relaxed) <
           WIRE_REJECT_AFTER_MESSAGES;
}

bool keypair_may_send(const struct keypair *keypair, uint64_t now)
{
    return keypair_is_fresh(keypair, now) && has_counters(keypair);
}

bool keypair_reserve(struct keypair *keypair, uint64_t *counter)
{
    /* Checked before the increment, so that refused packets do not overflow the counter. */
    if (!has_counters(keypair))
        return false;
    *counter = atomic_fetch_add_explicit(&keypair->send_counter, 1, memory_order_relaxed);
    return *counter < WIRE_REJECT_AFTER_MESSAGES;
}

bool keypair_wants_rekey(const struct keypair *keypair, uint64_t counter, uint64_t now)
{
    return counter >= WIRE_REKEY_AFTER_MESSAGES ||
           (keypair->initiator && now >= keypair->born_ns + TIMERS_REKEY_AFTER);
}

bool keypair_wants_rekey_receiving(const struct keypair *keypair, uint64_t now)
{
    return keypair->initiator && now >= keypair->born_ns + TIMERS_REKEY_RECEIVING;
}

static struct keypair *load(_Atomic(struct keypair *) *slot)
{
    return atomic_load_explicit(slot, memory_order_relaxed);
}

static void store(_Atomic(struct keypair *) *slot, struct keypair *keypair)
{
    atomic_store_explicit(slot, keypair, memory_order_release);
}

static void retire(struct keypairs *keypairs, struct keypair *keypair)
{
    if (keypair != NULL)
        garbage_push(&keypairs->retired, &keypair->garbage, destroy_item);
}

void keypairs_begin(struct keypairs *keypairs, struct keypair *keypair)
{
    struct keypair *current = load(&keypairs->current);
    struct keypair *previous = load(&keypairs->previous);
    struct keypair *next = load(&keypairs->next);
    if (!keypair->initiator) {
        store(&keypairs->next, keypair);
        store(&keypairs->previous, NULL);
        retire(keypairs, next);
        retire(keypairs, previous);
        return;
    }
    /* An unconfirmed session is newer than the current one: the peer may be sending under it. */
    store(&keypairs->previous, next != NULL ? next : current);
    store(&keypairs->next, NULL);
    store(&keypairs->current, keypair);
    retire(keypairs, previous);
    if (next != NULL)
        retire(keypairs, current);
}

bool keypairs_confirm(struct keypairs *keypairs, struct keypair *keypair)
{
    if (load(&keypairs->next) != keypair)
        return false;
    retire(keypairs, load(&keypairs->previous));
    store(&keypairs->previous, load(&keypairs->current));
    store(&keypairs->current, keypair);
    store(&keypairs->next, NULL);
    return true;
}

void keypairs_retire_all(struct keypairs *keypairs)
{
    _Atomic(struct keypair *) *slots[] = {&keypairs->current, &keypairs->previous, &keypairs->next};
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) {
        struct keypair *keypair = load(slots[i]);
        store(slots[i], NULL);
        retire(keypairs, keypair);
    }
}
