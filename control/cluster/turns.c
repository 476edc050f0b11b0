#include "control/cluster/turns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct turns_owner {
    struct list node; /* in the ring, or among the resting */
    struct list waiting;
    size_t places; /* taken by turns that have not ended */
    size_t places_max;
    bool metered;
    uint64_t paid_ns; /* when all that it was charged for is paid off */
    char name[];
};

void turns_init(struct turns *turns, const uint8_t seed[16])
{
    map_init(&turns->owners, seed);
    list_init(&turns->ring);
    list_init(&turns->resting);
}

static void forget(struct turns *turns, struct turns_owner *owner)
{
    list_remove(&owner->node);
    (void)map_remove(&turns->owners, owner->name, strlen(owner->name));
    free(owner);
}

void turns_fini(struct turns *turns)
{
    while (!list_empty(&turns->resting))
        forget(turns, list_first(&turns->resting, struct turns_owner, node));
    map_fini(&turns->owners);
}

static void forget_rested(struct turns *turns, uint64_t now_ns)
{
    while (!list_empty(&turns->resting)) {
        struct turns_owner *owner = list_first(&turns->resting, struct turns_owner, node);
        if (owner->paid_ns > now_ns)
            break;
        forget(turns, owner);
    }
}

static struct turns_owner *owner_of(struct turns *turns, const char *name, bool metered)
{
    const char *known = name != NULL ? name : "";
    size_t len = strlen(known);
    struct turns_owner *owner = map_get(&turns->owners, known, len);
    if (owner != NULL)
        return owner;
    owner = calloc(1, sizeof *owner + len + 1);
    if (owner == NULL)
        return NULL;
    memcpy(owner->name, known, len);
    owner->metered = metered;
    owner->places_max = name == NULL ? SIZE_MAX : metered ? TURNS_PLACES_METERED : TURNS_PLACES;
    list_init(&owner->node);
    list_init(&owner->waiting);
    if (map_put(&turns->owners, owner->name, len, owner) < 0) {
        free(owner);
        return NULL;
    }
    return owner;
}

/* An owner without turns stays known for as long as it has something to pay off. */
static void rest(struct turns *turns, struct turns_owner *owner, uint64_t now_ns)
{
    list_remove(&owner->node);
    if (owner->paid_ns > now_ns)
        list_append(&turns->resting, &owner->node);
    else
        forget(turns, owner);
}

static int check(const struct turns_owner *owner, uint64_t now_ns, uint64_t *wait_ns)
{
    const uint64_t credit_ns = TURNS_BURST * TURNS_COST_NS;
    if (owner->places >= owner->places_max)
        return -ENOBUFS;
    if (!owner->metered || owner->paid_ns < now_ns + credit_ns)
        return 0;
    *wait_ns = owner->paid_ns - now_ns - credit_ns + 1;
    return -EAGAIN;
}

int turns_add(struct turns *turns, struct turn *turn, const char *name, bool metered,
              uint64_t now_ns, uint64_t *wait_ns)
{
    forget_rested(turns, now_ns);
    struct turns_owner *owner = owner_of(turns, name, metered);
    if (owner == NULL)
        return -ENOMEM;
    int code = check(owner, now_ns, wait_ns);
    if (code < 0)
        return code;
    turn->owner = owner;
    if (list_empty(&owner->waiting)) {
        list_remove(&owner->node);
        list_append(&turns->ring, &owner->node);
    }
    list_append(&owner->waiting, &turn->node);
    owner->places++;
    return 0;
}

struct turn *turns_take(struct turns *turns)
{
    if (list_empty(&turns->ring))
        return NULL;
    struct turns_owner *owner = list_first(&turns->ring, struct turns_owner, node);
    struct turn *turn = list_first(&owner->waiting, struct turn, node);
    list_remove(&turn->node);
    list_remove(&owner->node);
    if (!list_empty(&owner->waiting))
        list_append(&turns->ring, &owner->node);
    return turn;
}

void turns_charge(struct turn *turn, uint64_t now_ns)
{
    struct turns_owner *owner = turn->owner;
    if (owner->paid_ns < now_ns)
        owner->paid_ns = now_ns;
    owner->paid_ns += TURNS_COST_NS;
}

void turns_end(struct turns *turns, struct turn *turn, uint64_t now_ns)
{
    struct turns_owner *owner = turn->owner;
    list_remove(&turn->node);
    owner->places--;
    if (owner->places == 0)
        rest(turns, owner, now_ns);
    else if (list_empty(&owner->waiting))
        list_remove(&owner->node);
}
