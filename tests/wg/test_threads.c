#include "wg/wg.h"

#include "base/bytes.h"
#include "tests/unit.h"
#include "tests/wg/harness.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

/* Runs the three kinds of caller as three real threads a device, over queues in memory, while peers
 * are removed and added and garbage is freed after grace periods. Its main use is under the
 * sanitizers. By itself it checks that traffic flows, and arrives once and unchanged. */

enum { QUEUE = 256, CAPACITY = 1600, BATCH = 20, ROUNDS = 30, TOTAL = 200000 };

struct parcel {
    size_t len;
    union endpoint from;
    uint8_t bytes[CAPACITY];
};

struct queue {
    pthread_mutex_t lock;
    size_t first;
    size_t count;
    struct parcel parcels[QUEUE];
};

/* Counts the sections of one fast thread: odd inside. */
struct section {
    _Atomic uint64_t count;
};

struct node {
    struct wg_device *dev;
    struct node *other;
    union endpoint address;
    uint8_t private_key[WG_KEY_LEN];
    uint8_t public_key[WG_KEY_LEN];
    int number;
    struct queue data;
    struct queue handshakes;
    struct section sealing;
    struct section opening;
    _Atomic bool is_woken;
    _Atomic uint32_t sent;
    _Atomic uint32_t delivered;
    _Atomic uint32_t wrong;
    uint8_t *seen; /* by packet number, of the opening thread */
};

static struct node nodes[2];
static _Atomic bool stop;
static _Atomic uint64_t ticks; /* the virtual clock, in ms */
static _Atomic uint64_t random_state;

static struct wg_time now(void)
{
    uint64_t boot = SIM_START + SIM_MS(atomic_load(&ticks));
    return (struct wg_time){.boot_ns = boot, .real_ns = SIM_EPOCH + boot};
}

static void random_bytes(void *ctx, void *out, size_t len)
{
    (void)ctx;
    for (uint8_t *at = out; len > 0; at++, len--) {
        uint64_t z = atomic_fetch_add(&random_state, UINT64_C(0x9e3779b97f4a7c15));
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        *at = (uint8_t)(z >> 40);
    }
}

static void wake(void *ctx)
{
    struct node *node = ctx;
    atomic_store(&node->is_woken, true);
}

static void push(struct queue *queue, const union endpoint *from, const uint8_t *bytes, size_t len)
{
    pthread_mutex_lock(&queue->lock);
    if (queue->count < QUEUE && len <= CAPACITY) {
        struct parcel *parcel = &queue->parcels[(queue->first + queue->count++) % QUEUE];
        parcel->from = *from;
        parcel->len = len;
        memcpy(parcel->bytes, bytes, len);
    }
    pthread_mutex_unlock(&queue->lock);
}

static size_t pop(struct queue *queue, struct parcel *out, size_t limit)
{
    size_t count = 0;
    pthread_mutex_lock(&queue->lock);
    for (; count < limit && queue->count > 0; count++, queue->count--) {
        out[count] = queue->parcels[queue->first];
        queue->first = (queue->first + 1) % QUEUE;
    }
    pthread_mutex_unlock(&queue->lock);
    return count;
}

static bool transmit(void *ctx, const struct wg_endpoint *to, uint8_t ds, const uint8_t *bytes,
                     size_t len)
{
    struct node *node = ctx;
    (void)ds;
    if (endpoint_equal(&to->remote, &node->other->address))
        push(&node->other->data, &node->address, bytes, len);
    return true;
}

static void enter(struct section *section)
{
    atomic_fetch_add(&section->count, 1);
}

static void leave(struct section *section)
{
    atomic_fetch_add(&section->count, 1);
    sched_yield();
}

/* Returns when the thread has been outside its section once. Every section ends. */
static void wait_for(struct section *section)
{
    uint64_t count = atomic_load(&section->count);
    while (count % 2 != 0 && atomic_load(&section->count) == count)
        sched_yield();
}

static void *seal_thread(void *ctx)
{
    static uint8_t plain[2][BATCH][SIM_DATAGRAM];
    static uint8_t sealed[2][BATCH][SIM_DATAGRAM];
    struct node *node = ctx;
    while (!atomic_load(&stop)) {
        struct wg_outbound out[BATCH];
        uint32_t first = atomic_fetch_add(&node->sent, BATCH);
        if (first + BATCH > TOTAL)
            break;
        for (uint32_t i = 0; i < BATCH; i++) {
            uint8_t *packet = plain[node->number][i];
            out[i] = (struct wg_outbound){.plain = packet, .sealed = sealed[node->number][i]};
            out[i].len = sim_make_packet(packet, node->number, 1 - node->number, first + i,
                                         24 + (first + i) % 400);
        }
        enter(&node->sealing);
        wg_device_seal(node->dev, out, BATCH, now());
        for (uint32_t i = 0; i < BATCH; i++) {
            if (out[i].verdict == WG_OUT_SEND)
                transmit(node, &out[i].endpoint, out[i].ds, out[i].sealed, out[i].sealed_len);
        }
        leave(&node->sealing);
    }
    return NULL;
}

static void check_packet(struct node *node, const struct wg_inbound *in)
{
    uint8_t expected[SIM_DATAGRAM];
    uint32_t number = load_be32(in->plain + 20);
    sim_make_packet(expected, 1 - node->number, node->number, number, in->plain_len);
    bool right = number < TOTAL && node->seen[number]++ == 0 &&
                 memcmp(expected, in->plain, in->plain_len) == 0;
    atomic_fetch_add(right ? &node->delivered : &node->wrong, 1);
}

static void *open_thread(void *ctx)
{
    static struct parcel parcels[2][BATCH];
    struct node *node = ctx;
    struct parcel *mine = parcels[node->number];
    while (!atomic_load(&stop)) {
        struct wg_inbound in[BATCH];
        size_t count = pop(&node->data, mine, BATCH);
        for (size_t i = 0; i < count; i++) {
            in[i] = (struct wg_inbound){.bytes = mine[i].bytes, .len = mine[i].len};
            in[i].from.remote = mine[i].from;
        }
        enter(&node->opening);
        wg_device_open(node->dev, in, count, now());
        for (size_t i = 0; i < count; i++) {
            if (in[i].verdict == WG_IN_HANDSHAKE)
                push(&node->handshakes, &mine[i].from, mine[i].bytes, mine[i].len);
            if (in[i].verdict == WG_IN_DELIVER)
                check_packet(node, &in[i]);
        }
        leave(&node->opening);
    }
    return NULL;
}

static void collect(struct node *node)
{
    struct wg_garbage *garbage = wg_device_take_garbage(node->dev);
    if (garbage == NULL)
        return;
    wait_for(&node->sealing);
    wait_for(&node->opening);
    wg_garbage_free(garbage);
}

static void *slow_thread(void *ctx)
{
    struct node *node = ctx;
    struct wg_sink sink = {.ctx = node, .send = transmit};
    struct parcel parcel;
    while (!atomic_load(&stop)) {
        atomic_fetch_add(&ticks, 1);
        while (pop(&node->handshakes, &parcel, 1) == 1) {
            struct wg_endpoint from = {.remote = parcel.from};
            wg_device_handshake(node->dev, parcel.bytes, parcel.len, &from, false, now(), &sink);
        }
        if (atomic_exchange(&node->is_woken, false) ||
            wg_device_deadline(node->dev) <= now().boot_ns)
            wg_device_run(node->dev, now(), &sink);
        collect(node);
        sched_yield();
    }
    return NULL;
}

static void configure(struct node *node, bool add)
{
    struct wg_sink sink = {.ctx = node, .send = transmit};
    struct wg_allowed_ip_config ip = {
        .prefix = {{4, {10, 0, 0, (uint8_t)(node->other->number + 1)}}, 32}};
    struct wg_peer_config peer = {.remove = !add,
                                  .has_endpoint = true,
                                  .endpoint = node->other->address,
                                  .allowed_ips = &ip,
                                  .allowed_ip_count = 1};
    struct wg_device_config config = {.peers = &peer, .peer_count = 1};
    memcpy(peer.public_key, node->other->public_key, WG_KEY_LEN);
    ck_assert_int_eq(wg_device_configure(node->dev, &config, now(), &sink), 0);
}

static void init_nodes(void)
{
    static struct sim keys; /* for its keys and addresses */
    sim_init(&keys, 5);
    for (int i = 0; i < 2; i++) {
        struct node *node = &nodes[i];
        struct wg_sink sink = {.ctx = node, .send = transmit};
        struct wg_env env = {.ctx = node, .random = random_bytes, .wake = wake};
        struct wg_device_config config = {.has_private_key = true};
        node->number = i;
        node->other = &nodes[1 - i];
        node->address = keys.hosts[i].address;
        node->seen = calloc(TOTAL, 1);
        memcpy(node->private_key, keys.hosts[i].private_key, WG_KEY_LEN);
        memcpy(node->public_key, keys.hosts[i].public_key, WG_KEY_LEN);
        memcpy(config.private_key, node->private_key, WG_KEY_LEN);
        pthread_mutex_init(&node->data.lock, NULL);
        pthread_mutex_init(&node->handshakes.lock, NULL);
        ck_assert_int_eq(wg_device_create(&node->dev, &env), 0);
        ck_assert_int_eq(wg_device_configure(node->dev, &config, now(), &sink), 0);
        wg_device_set_up(node->dev, true, now(), &sink);
    }
    sim_fini(&keys);
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* Any peer may have been replaced before its handshake was done: the last one gets time. */
static void wait_for_deliveries(void)
{
    for (int waited = 0; waited < 20000; waited += 20) {
        if (atomic_load(&nodes[0].delivered) > 0 && atomic_load(&nodes[1].delivered) > 0)
            return;
        pause_ms(20);
    }
}

START_TEST(three_callers_at_once)
{
    static void *(*const bodies[])(void *) = {seal_thread, open_thread, slow_thread};
    pthread_t threads[2][3];
    init_nodes();
    configure(&nodes[0], true);
    configure(&nodes[1], true);
    for (int i = 0; i < 6; i++)
        pthread_create(&threads[i / 3][i % 3], NULL, bodies[i % 3], &nodes[i / 3]);
    for (int round = 0; round < ROUNDS; round++) {
        struct wg_device_info info;
        pause_ms(20);
        atomic_fetch_add(&ticks, 25000); /* sessions age and are renewed */
        configure(&nodes[round % 2], false);
        ck_assert_int_eq(wg_device_info(nodes[0].dev, &info), 0);
        wg_device_info_fini(&info);
        configure(&nodes[round % 2], true);
    }
    pause_ms(200);
    wait_for_deliveries();
    atomic_store(&stop, true);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i / 3][i % 3], NULL);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_gt(atomic_load(&nodes[i].delivered), 0);
        ck_assert_uint_eq(atomic_load(&nodes[i].wrong), 0);
        wg_device_destroy(nodes[i].dev);
        free(nodes[i].seen);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("threads");
    tcase_set_timeout(tc, 50);
    tcase_add_test(tc, three_callers_at_once);
    return unit_run(tc);
}
