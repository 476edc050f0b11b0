#include "control/plan_part.h"

#include "control/state.h"

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

/* ---- taking out ---- */

/* The first place at or behind which the key belongs. */
static size_t peer_place(const struct wg_peer_config *peers, size_t count, const uint8_t *key)
{
    size_t low = 0;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (memcmp(peers[middle].public_key, key, WG_KEY_LEN) < 0)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

static size_t name_place(const struct plan_name *names, size_t count, const char *name)
{
    size_t low = 0;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (strcmp(names[middle].name, name) < 0)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

static void take_peer(struct plan *whole, const uint8_t *key, struct plan *out)
{
    size_t at = peer_place(whole->peers, whole->peer_count, key);
    if (at == whole->peer_count || memcmp(whole->peers[at].public_key, key, WG_KEY_LEN) != 0)
        return;
    size_t to = peer_place(out->peers, out->peer_count, key);
    memmove(&out->peers[to + 1], &out->peers[to], (out->peer_count - to) * sizeof *out->peers);
    out->peers[to] = whole->peers[at];
    out->peer_count++;
    whole->peer_count--;
    memmove(&whole->peers[at], &whole->peers[at + 1],
            (whole->peer_count - at) * sizeof *whole->peers);
}

static void take_name(struct plan *whole, const char *name, struct plan *out)
{
    size_t at = name_place(whole->names, whole->name_count, name);
    if (at == whole->name_count || strcmp(whole->names[at].name, name) != 0)
        return;
    size_t to = name_place(out->names, out->name_count, name);
    memmove(&out->names[to + 1], &out->names[to], (out->name_count - to) * sizeof *out->names);
    out->names[to] = whole->names[at];
    out->name_count++;
    whole->name_count--;
    memmove(&whole->names[at], &whole->names[at + 1],
            (whole->name_count - at) * sizeof *whole->names);
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

/* ---- and in again ---- */

static void put_peers(struct plan *into, struct plan *from)
{
    for (size_t i = 0; i < from->peer_count; i++) {
        size_t at = peer_place(into->peers, into->peer_count, from->peers[i].public_key);
        memmove(&into->peers[at + 1], &into->peers[at],
                (into->peer_count - at) * sizeof *into->peers);
        into->peers[at] = from->peers[i];
        into->peer_count++;
    }
    from->peer_count = 0;
}

static void put_names(struct plan *into, struct plan *from)
{
    for (size_t i = 0; i < from->name_count; i++) {
        size_t at = name_place(into->names, into->name_count, from->names[i].name);
        memmove(&into->names[at + 1], &into->names[at],
                (into->name_count - at) * sizeof *into->names);
        into->names[at] = from->names[i];
        into->name_count++;
    }
    from->name_count = 0;
}

/* The many stay where they are, and the few move in among them. */
int plan_merge(struct plan *plan, struct plan *rest)
{
    struct wg_peer_config *peers =
        realloc(rest->peers, (rest->peer_count + plan->peer_count + 1) * sizeof *peers);
    rest->peers = peers != NULL ? peers : rest->peers;
    struct plan_name *names =
        realloc(rest->names, (rest->name_count + plan->name_count + 1) * sizeof *names);
    rest->names = names != NULL ? names : rest->names;
    if (peers == NULL || names == NULL) {
        plan_fini(rest);
        return -ENOMEM;
    }
    put_peers(rest, plan);
    put_names(rest, plan);
    free(plan->peers);
    free(plan->names);
    plan->peers = rest->peers;
    plan->peer_count = rest->peer_count;
    plan->names = rest->names;
    plan->name_count = rest->name_count;
    plan_init(rest);
    return 0;
}
