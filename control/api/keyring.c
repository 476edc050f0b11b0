#include "control/api/keyring.h"

#include "base/bytes.h"
#include "base/map.h"
#include "base/search.h"
#include "control/state/state.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    char id[TRANSPORT_ID_MAX];
    uint8_t old_hash[TRANSPORT_HASH_LEN]; /* by which programs before 0.2 name themselves */
    uint8_t hash[TRANSPORT_HASH_LEN];
    char secret[TRANSPORT_STRETCHED]; /* "" until it is known: then `hash` is not in the map */
};

enum { STRETCHED_AT_ONCE = 16 };

/* Stretches some ids on libuv's thread pool. */
struct stretching {
    uv_work_t work;
    struct keyring *keyring; /* NULL: it is gone */
    atomic_bool stop;
    size_t count;
    size_t done;
    char ids[STRETCHED_AT_ONCE][TRANSPORT_ID_MAX];
    char secrets[STRETCHED_AT_ONCE][TRANSPORT_STRETCHED];
};

/* Ordered by id, like the state's authorizations. Each entry is its own allocation, because the map
 * borrows the hashes. */
struct entries {
    struct entry **at;
    size_t count;
    size_t room;
};

struct keyring {
    struct entries peers;
    struct map by_hash;
    uint8_t seed[16];
    struct entry cluster;          /* its id is the cluster key */
    uv_loop_t *loop;               /* NULL: missing secrets stay missing */
    struct stretching *stretching; /* NULL: none in progress */
};

int keyring_create(struct keyring **out, const char *cluster_key, const uint8_t seed[16])
{
    *out = NULL;
    struct keyring *keyring = calloc(1, sizeof *keyring);
    if (keyring == NULL)
        return -ENOMEM;
    memcpy(keyring->seed, seed, sizeof keyring->seed);
    map_init(&keyring->by_hash, seed);
    snprintf(keyring->cluster.id, sizeof keyring->cluster.id, "%s", cluster_key);
    transport_secret_hash(keyring->cluster.old_hash, cluster_key);
    int code = transport_stretch(keyring->cluster.secret, cluster_key);
    if (code < 0) {
        keyring_destroy(keyring);
        return code;
    }
    transport_secret_hash(keyring->cluster.hash, keyring->cluster.secret);
    *out = keyring;
    return 0;
}

static void entry_free(struct entry *entry)
{
    if (entry != NULL)
        bytes_wipe(entry, sizeof *entry);
    free(entry);
}

void keyring_destroy(struct keyring *keyring)
{
    if (keyring == NULL)
        return;
    if (keyring->stretching != NULL) { /* it frees itself once the loop has run */
        keyring->stretching->keyring = NULL;
        atomic_store(&keyring->stretching->stop, true);
        (void)uv_cancel((uv_req_t *)&keyring->stretching->work);
    }
    for (size_t i = 0; i < keyring->peers.count; i++)
        entry_free(keyring->peers.at[i]);
    free(keyring->peers.at);
    map_fini(&keyring->by_hash);
    bytes_wipe(keyring, sizeof *keyring);
    free(keyring);
}

static struct entry *entry_make(const struct state_authorization *authorization)
{
    const ProtobufCBinaryData *secret = &authorization->pb->wire_secret;
    struct entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return NULL;
    snprintf(entry->id, sizeof entry->id, "%s", authorization->id);
    transport_secret_hash(entry->old_hash, entry->id);
    if (secret->len == TRANSPORT_STRETCHED_LEN) {
        bytes_to_hex(entry->secret, secret->data, secret->len);
        transport_secret_hash(entry->hash, entry->secret);
    }
    return entry;
}

static int index_entry(struct map *by_hash, struct entry *entry)
{
    if (map_put(by_hash, entry->old_hash, TRANSPORT_HASH_LEN, entry) < 0)
        return -ENOMEM;
    if (entry->secret[0] == '\0' || map_put(by_hash, entry->hash, TRANSPORT_HASH_LEN, entry) == 0)
        return 0;
    (void)map_remove(by_hash, entry->old_hash, TRANSPORT_HASH_LEN);
    return -ENOMEM;
}

/* Compares the i-th kept id with `id`; the end of the list compares greater. */
static int order(const struct keyring *keyring, size_t i, const char *id)
{
    return i < keyring->peers.count ? strcmp(keyring->peers.at[i]->id, id) : 1;
}

/* Merges the two ordered lists: kept entries are reused, new ones are made. `differs` reports
 * whether the lists differ. */
static int merge(const struct keyring *keyring, const struct state *state, struct entries *next,
                 bool *differs)
{
    size_t kept = 0;
    *differs = false;
    for (size_t i = 0; i < state_authorization_count(state); i++) {
        const char *id = state_authorization_at(state, i)->id;
        for (; order(keyring, kept, id) < 0; kept++)
            *differs = true;
        struct entry *entry;
        if (order(keyring, kept, id) == 0) {
            entry = keyring->peers.at[kept++];
        } else {
            entry = entry_make(state_authorization_at(state, i));
            *differs = true;
        }
        if (entry == NULL)
            return -ENOMEM;
        next->at[next->count++] = entry;
    }
    *differs = *differs || kept < keyring->peers.count;
    return 0;
}

/* Calls `each` for every entry of `from` that is missing in `in`. */
static void each_missing(const struct entries *from, const struct entries *in,
                         void (*each)(void *ctx, struct entry *entry), void *ctx)
{
    size_t place = 0;
    for (size_t i = 0; i < from->count; i++) {
        while (place < in->count && strcmp(in->at[place]->id, from->at[i]->id) < 0)
            place++;
        if (place == in->count || in->at[place] != from->at[i])
            each(ctx, from->at[i]);
    }
}

static void drop_entry(void *ctx, struct entry *entry)
{
    (void)ctx;
    entry_free(entry);
}

struct report {
    void (*removed)(void *ctx, const char *id);
    void *ctx;
};

static void report_removed(void *ctx, struct entry *entry)
{
    const struct report *report = ctx;
    report->removed(report->ctx, entry->id);
    entry_free(entry);
}

static int index_entries(const struct keyring *keyring, const struct entries *entries,
                         struct map *out)
{
    map_init(out, keyring->seed);
    for (size_t i = 0; i < entries->count; i++)
        if (index_entry(out, entries->at[i]) < 0)
            return -ENOMEM;
    return 0;
}

struct sought_id {
    const struct entries *entries;
    const char *id;
};

static bool entry_is_before(const void *ctx, size_t place)
{
    const struct sought_id *sought = ctx;
    return strcmp(sought->entries->at[place]->id, sought->id) < 0;
}

/* The index of the id, or where it belongs. */
static size_t place_of(const struct keyring *keyring, const char *id)
{
    return search_place(keyring->peers.count, entry_is_before,
                        &(struct sought_id){&keyring->peers, id});
}

/* ---- secrets that the store does not have ---- */

static void stretch_ids(uv_work_t *work)
{
    struct stretching *stretching = work->data;
    while (stretching->done < stretching->count && !atomic_load(&stretching->stop)) {
        size_t i = stretching->done++;
        if (transport_stretch(stretching->secrets[i], stretching->ids[i]) < 0)
            stretching->secrets[i][0] = '\0';
    }
}

static void stretch_missing(struct keyring *keyring);

static void take_secret(struct keyring *keyring, const char *id, const char *secret)
{
    size_t place = place_of(keyring, id);
    if (order(keyring, place, id) != 0 || secret[0] == '\0')
        return;
    struct entry *entry = keyring->peers.at[place];
    memcpy(entry->secret, secret, sizeof entry->secret);
    transport_secret_hash(entry->hash, entry->secret);
    if (map_put(&keyring->by_hash, entry->hash, TRANSPORT_HASH_LEN, entry) < 0)
        entry->secret[0] = '\0';
}

static void stretching_done(uv_work_t *work, int status)
{
    struct stretching *stretching = work->data;
    struct keyring *keyring = stretching->keyring;
    if (keyring != NULL && status == 0) {
        for (size_t i = 0; i < stretching->done; i++)
            take_secret(keyring, stretching->ids[i], stretching->secrets[i]);
        keyring->stretching = NULL;
        stretch_missing(keyring);
    }
    bytes_wipe(stretching, sizeof *stretching);
    free(stretching);
}

/* Begins with the next ids whose secret is missing, unless some are in work. */
static void stretch_missing(struct keyring *keyring)
{
    if (keyring->loop == NULL || keyring->stretching != NULL)
        return;
    struct stretching *stretching = calloc(1, sizeof *stretching);
    if (stretching == NULL)
        return;
    for (size_t i = 0; i < keyring->peers.count && stretching->count < STRETCHED_AT_ONCE; i++)
        if (keyring->peers.at[i]->secret[0] == '\0')
            memcpy(stretching->ids[stretching->count++], keyring->peers.at[i]->id,
                   TRANSPORT_ID_MAX);
    stretching->keyring = keyring;
    stretching->work.data = stretching;
    if (stretching->count == 0 ||
        uv_queue_work(keyring->loop, &stretching->work, stretch_ids, stretching_done) < 0)
        free(stretching);
    else
        keyring->stretching = stretching;
}

void keyring_complete(struct keyring *keyring, uv_loop_t *loop)
{
    keyring->loop = loop;
    stretch_missing(keyring);
}

/* ---- following the state ---- */

int keyring_update(struct keyring *keyring, const struct state *state,
                   void (*removed)(void *ctx, const char *id), void *ctx)
{
    struct entries next = {.at = calloc(state_authorization_count(state) + 1, sizeof *next.at),
                           .room = state_authorization_count(state) + 1};
    struct map by_hash;
    bool differs = false;
    if (next.at == NULL)
        return -ENOMEM;
    int code = merge(keyring, state, &next, &differs);
    if (code == 0 && !differs) {
        free(next.at);
        return 0;
    }
    if (code == 0) {
        code = index_entries(keyring, &next, &by_hash);
        if (code < 0)
            map_fini(&by_hash);
    }
    if (code < 0) {
        each_missing(&next, &keyring->peers, drop_entry, NULL);
        free(next.at);
        return code;
    }
    struct entries former = keyring->peers;
    keyring->peers = next;
    map_fini(&keyring->by_hash);
    keyring->by_hash = by_hash;
    each_missing(&former, &next, report_removed, &(struct report){removed, ctx});
    free(former.at);
    stretch_missing(keyring);
    return 0;
}

static int insert(struct keyring *keyring, size_t place,
                  const struct state_authorization *authorization)
{
    struct entries *peers = &keyring->peers;
    if (peers->count == peers->room) {
        size_t room = peers->room * 2 + 8;
        struct entry **at = realloc(peers->at, room * sizeof(*at));
        if (at == NULL)
            return -ENOMEM;
        peers->at = at;
        peers->room = room;
    }
    struct entry *entry = entry_make(authorization);
    if (entry == NULL)
        return -ENOMEM;
    if (index_entry(&keyring->by_hash, entry) < 0) {
        entry_free(entry);
        return -ENOMEM;
    }
    memmove(&peers->at[place + 1], &peers->at[place], (peers->count - place) * sizeof(*peers->at));
    peers->at[place] = entry;
    peers->count++;
    if (entry->secret[0] == '\0')
        stretch_missing(keyring);
    return 0;
}

int keyring_update_id(struct keyring *keyring, const struct state *state, const char *id,
                      void (*removed)(void *ctx, const char *id), void *ctx)
{
    struct entries *peers = &keyring->peers;
    size_t place = place_of(keyring, id);
    bool is_kept = order(keyring, place, id) == 0;
    const struct state_authorization *authorization = state_authorization(state, id);
    if (is_kept == (authorization != NULL))
        return 0;
    if (!is_kept)
        return insert(keyring, place, authorization);
    struct entry *entry = peers->at[place];
    (void)map_remove(&keyring->by_hash, entry->old_hash, TRANSPORT_HASH_LEN);
    if (entry->secret[0] != '\0')
        (void)map_remove(&keyring->by_hash, entry->hash, TRANSPORT_HASH_LEN);
    peers->count--;
    memmove(&peers->at[place], &peers->at[place + 1], (peers->count - place) * sizeof(*peers->at));
    report_removed(&(struct report){removed, ctx}, entry);
    return 0;
}

/* Gives the secret that the keys are derived from under this name. */
static void give_secret(char out[TRANSPORT_SECRET_MAX], const struct entry *entry,
                        const uint8_t hash[TRANSPORT_HASH_LEN])
{
    bool old = memcmp(hash, entry->old_hash, TRANSPORT_HASH_LEN) == 0;
    snprintf(out, TRANSPORT_SECRET_MAX, "%s", old ? entry->id : entry->secret);
}

static bool keyring_find(void *ctx, enum transport_role role,
                         const uint8_t hash[TRANSPORT_HASH_LEN], char secret[TRANSPORT_SECRET_MAX],
                         char id[TRANSPORT_ID_MAX])
{
    const struct keyring *keyring = ctx;
    const struct entry *cluster = &keyring->cluster;
    if (role != TRANSPORT_PEER) {
        if (!bytes_equal_ct(hash, cluster->hash, TRANSPORT_HASH_LEN) &&
            !bytes_equal_ct(hash, cluster->old_hash, TRANSPORT_HASH_LEN))
            return false;
        give_secret(secret, cluster, hash);
        id[0] = '\0';
        return true;
    }
    const struct entry *entry = map_get(&keyring->by_hash, hash, TRANSPORT_HASH_LEN);
    if (entry == NULL)
        return false;
    give_secret(secret, entry, hash);
    snprintf(id, TRANSPORT_ID_MAX, "%s", entry->id);
    return true;
}

struct transport_secrets keyring_secrets(struct keyring *keyring)
{
    return (struct transport_secrets){.find = keyring_find, .ctx = keyring};
}
