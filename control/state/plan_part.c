#include "control/state/plan_part.h"

#include "base/bytes.h"
#include "base/search.h"
#include "control/state/plan.h"
#include "control/state/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void plan_touch_peer(struct plan_touched *touched, const struct state *state, const char *id)
{
    const struct state_peer *peer = state_peer(state, id);
    if (touched->too_many || touched->count == PLAN_TOUCHED_MAX || strlen(id) > ACCESS_ID_MAX) {
        touched->too_many = true;
        return;
    }
    size_t place = touched->count++;
    snprintf(touched->peers[place].id, sizeof touched->peers[place].id, "%s", id);
    touched->peers[place].existed = peer != NULL;
    touched->peers[place].name[0] = '\0';
    if (peer == NULL)
        return;
    snprintf(touched->peers[place].name, sizeof touched->peers[place].name, "%s", peer->name);
    memcpy(touched->peers[place].key, peer->public_key, WG_KEY_LEN);
}

/* ---- ordered arrays ---- */

static int compare_peer(const void *peer, const void *key)
{
    return memcmp(((const struct wg_peer_config *)peer)->public_key, key, WG_KEY_LEN);
}

static int compare_name(const void *name, const void *text)
{
    return strcmp(((const struct plan_name *)name)->name, text);
}

struct sought {
    const void *array;
    size_t size;
    const void *key;
    int (*compare)(const void *item, const void *key);
};

static bool is_before(const void *ctx, size_t place)
{
    const struct sought *sought = ctx;
    return sought->compare((const char *)sought->array + place * sought->size, sought->key) < 0;
}

/* The first place whose item does not come before the key. */
static size_t place_of(const void *array, size_t count, size_t size, const void *key,
                       int (*compare)(const void *item, const void *key))
{
    return search_place(count, is_before, &(struct sought){array, size, key, compare});
}

/* The array must have room. */
static void insert(void *array, size_t *count, size_t size, size_t at, const void *item)
{
    char *place = (char *)array + at * size;
    memmove(place + size, place, (*count - at) * size);
    memcpy(place, item, size);
    (*count)++;
}

static void take_out(void *array, size_t *count, size_t size, size_t at)
{
    char *place = (char *)array + at * size;
    (*count)--;
    memmove(place, place + size, (*count - at) * size);
    bytes_wipe((char *)array + *count * size, size); /* preshared keys */
}

/* ---- moving out ---- */

static void put_peer(struct plan *into, const struct wg_peer_config *peer)
{
    size_t at =
        place_of(into->peers, into->peer_count, sizeof *peer, peer->public_key, compare_peer);
    insert(into->peers, &into->peer_count, sizeof *peer, at, peer);
}

static void put_name(struct plan *into, const struct plan_name *name)
{
    size_t at = place_of(into->names, into->name_count, sizeof *name, name->name, compare_name);
    insert(into->names, &into->name_count, sizeof *name, at, name);
}

static void take_peer(struct plan *whole, const uint8_t *key, struct plan *out)
{
    size_t size = sizeof *whole->peers;
    size_t at = place_of(whole->peers, whole->peer_count, size, key, compare_peer);
    if (at == whole->peer_count || compare_peer(&whole->peers[at], key) != 0)
        return;
    put_peer(out, &whole->peers[at]);
    take_out(whole->peers, &whole->peer_count, size, at);
}

static void take_name(struct plan *whole, const char *name, struct plan *out)
{
    size_t size = sizeof *whole->names;
    size_t at = place_of(whole->names, whole->name_count, size, name, compare_name);
    if (at == whole->name_count || compare_name(&whole->names[at], name) != 0)
        return;
    put_name(out, &whole->names[at]);
    take_out(whole->names, &whole->name_count, size, at);
}

int plan_take(struct plan *whole, const struct plan *part, const struct plan_touched *touched,
              struct plan *out)
{
    plan_init(out);
    out->peers = calloc(part->peer_count + touched->count + 1, sizeof *out->peers);
    out->names = calloc(part->name_count + touched->count + 1, sizeof *out->names);
    if (out->peers == NULL || out->names == NULL) {
        plan_fini(out);
        return -ENOMEM;
    }
    for (size_t i = 0; i < part->peer_count; i++)
        take_peer(whole, part->peers[i].public_key, out);
    for (size_t i = 0; i < part->name_count; i++)
        take_name(whole, part->names[i].name, out);
    for (size_t i = 0; i < touched->count; i++) {
        if (touched->peers[i].existed)
            take_peer(whole, touched->peers[i].key, out);
        take_name(whole, touched->peers[i].name, out);
    }
    struct plan rest = {.peers = whole->peers,
                        .peer_count = whole->peer_count,
                        .names = whole->names,
                        .name_count = whole->name_count};
    struct plan taken = *whole;
    taken.peers = out->peers;
    taken.peer_count = out->peer_count;
    taken.names = out->names;
    taken.name_count = out->name_count;
    *out = taken;
    *whole = rest;
    return 0;
}

/* ---- moving back ---- */

/* The peers of `rest`, which are many, stay in place; those of `plan` move in among them. */
int plan_merge(struct plan *plan, struct plan *rest)
{
    struct wg_peer_config *peers =
        plan_grow_peers(rest->peers, rest->peer_count, rest->peer_count + plan->peer_count + 1);
    rest->peers = peers != NULL ? peers : rest->peers;
    struct plan_name *names =
        realloc(rest->names, (rest->name_count + plan->name_count + 1) * sizeof *names);
    rest->names = names != NULL ? names : rest->names;
    if (peers == NULL || names == NULL) {
        plan_fini(rest);
        return -ENOMEM;
    }
    for (size_t i = 0; i < plan->peer_count; i++)
        put_peer(rest, &plan->peers[i]);
    for (size_t i = 0; i < plan->name_count; i++)
        put_name(rest, &plan->names[i]);
    plan_free_peers(plan->peers, plan->peer_count);
    free(plan->names);
    plan->peers = rest->peers;
    plan->peer_count = rest->peer_count;
    plan->names = rest->names;
    plan->name_count = rest->name_count;
    plan_init(rest);
    return 0;
}
