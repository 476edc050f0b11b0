#include "wg/wg.h"

#include "base/bytes.h"
#include "tests/unit.h"
#include "tests/wg/harness.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Configuration and information of a device, with allocation failure at every place. */

static struct sim sim;
static long allowed_allocations = -1; /* -1: any number */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static bool may_allocate(void)
{
    return allowed_allocations < 0 || allowed_allocations-- > 0;
}

void *__wrap_malloc(size_t size)
{
    return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return may_allocate() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *old, size_t size)
{
    return may_allocate() ? __real_realloc(old, size) : NULL;
}

static void setup(void)
{
    sim_init(&sim, 3);
}

static void teardown(void)
{
    allowed_allocations = -1;
    sim_fini(&sim);
}

enum { MAX_PEERS = 6, MAX_IPS = 6 };

/* One peer of a change: flags, and prefixes separated by spaces, with "-" for removal. */
struct peer_row {
    char name; /* the public key's first byte */
    const char *flags;
    const char *ips;
};

struct change {
    struct wg_device_config config;
    struct wg_peer_config peers[MAX_PEERS];
    struct wg_allowed_ip_config ips[MAX_PEERS][MAX_IPS];
};

static void add_ips(struct wg_peer_config *peer, struct wg_allowed_ip_config *out, const char *text)
{
    char copy[256];
    char *rest;
    snprintf(copy, sizeof copy, "%s", text);
    peer->allowed_ips = out;
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        ck_assert_uint_lt(peer->allowed_ip_count, MAX_IPS);
        out->remove = word[0] == '-';
        ck_assert(ip_prefix_parse(&out->prefix, word + out->remove));
        out++;
        peer->allowed_ip_count++;
    }
}

static void build(struct change *change, bool replace_peers, const struct peer_row *rows)
{
    memset(change, 0, sizeof *change);
    change->config.replace_peers = replace_peers;
    change->config.peers = change->peers;
    for (size_t i = 0; rows[i].name != 0; i++) {
        struct wg_peer_config *peer = &change->peers[i];
        peer->public_key[0] = (uint8_t)rows[i].name;
        peer->remove = strchr(rows[i].flags, 'x') != NULL;
        peer->update_only = strchr(rows[i].flags, 'u') != NULL;
        peer->replace_allowed_ips = strchr(rows[i].flags, 'r') != NULL;
        peer->has_keepalive = strchr(rows[i].flags, 'k') != NULL;
        peer->keepalive_s = 25;
        peer->has_preshared_key = strchr(rows[i].flags, 'p') != NULL;
        memset(peer->preshared_key, 9, WG_KEY_LEN);
        peer->has_endpoint = strchr(rows[i].flags, 'e') != NULL;
        peer->endpoint = sim.hosts[1].address;
        add_ips(peer, change->ips[i], rows[i].ips);
        change->config.peer_count++;
    }
}

static int compare_words(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* "A:10.0.0.0/8,10.0.0.1/32 B:" with flags k, p, e behind the name; prefixes sorted. */
static void describe(char *out, size_t size)
{
    struct wg_device_info info;
    size_t at = 0;
    ck_assert_int_eq(wg_device_info(sim.hosts[0].dev, &info), 0);
    out[0] = 0;
    for (size_t i = 0; i < info.peer_count; i++) {
        const struct wg_peer_info *peer = &info.peers[i];
        char words[16][IP_PREFIX_TEXT] = {0};
        at += (size_t)snprintf(out + at, size - at, "%s%c%s%s%s:", i > 0 ? " " : "",
                               peer->public_key[0], peer->keepalive_s != 0 ? "k" : "",
                               peer->preshared_key[5] == 9 ? "p" : "",
                               endpoint_is_set(&peer->endpoint) ? "e" : "");
        for (size_t j = 0; j < peer->allowed_ip_count; j++)
            ip_prefix_format(&peer->allowed_ips[j], words[j]);
        qsort(words, peer->allowed_ip_count, sizeof words[0], compare_words);
        for (size_t j = 0; j < peer->allowed_ip_count; j++)
            at += (size_t)snprintf(out + at, size - at, "%s%s", j > 0 ? "," : "", words[j]);
    }
    wg_device_info_fini(&info);
}

static void assert_state(const char *expected)
{
    char text[1024];
    describe(text, sizeof text);
    ck_assert_str_eq(text, expected);
}

static const struct {
    bool replace_peers;
    struct peer_row rows[MAX_PEERS];
    const char *after; /* starting from "Ap:10.1.0.0/16,10.2.0.0/16 B:10.3.0.0/16 C:" */
} table[] = {
    /* 0 */ {false, {{0}}, "Ap:10.1.0.0/16,10.2.0.0/16 B:10.3.0.0/16 C:"},
    {true, {{0}}, ""},
    {false, {{'B', "x", ""}}, "Ap:10.1.0.0/16,10.2.0.0/16 C:"},
    {false, {{'D', "x", ""}}, "Ap:10.1.0.0/16,10.2.0.0/16 B:10.3.0.0/16 C:"},
    {false, {{'D', "u", "10.9.0.0/16"}}, "Ap:10.1.0.0/16,10.2.0.0/16 B:10.3.0.0/16 C:"},
    /* 5 */
    {false,
     {{'B', "uk", "10.9.0.0/16"}},
     "Ap:10.1.0.0/16,10.2.0.0/16 Bk:10.3.0.0/16,10.9.0.0/16 C:"},
    {false, {{'A', "r", ""}}, "Ap: B:10.3.0.0/16 C:"},
    {false, {{'A', "r", "10.2.0.0/16 10.7.0.0/16"}}, "Ap:10.2.0.0/16,10.7.0.0/16 B:10.3.0.0/16 C:"},
    {false, {{'C', "", "10.1.0.0/16"}}, "Ap:10.2.0.0/16 B:10.3.0.0/16 C:10.1.0.0/16"},
    {false, {{'A', "", "-10.1.0.0/16"}}, "Ap:10.2.0.0/16 B:10.3.0.0/16 C:"},
    /* 10 */ {false, {{'A', "", "-10.3.0.0/16"}}, "Ap:10.1.0.0/16,10.2.0.0/16 B:10.3.0.0/16 C:"},
    {false, {{'A', "", "-10.1.0.0/16 10.1.0.0/16"}}, "Ap:10.1.0.0/16,10.2.0.0/16 B:10.3.0.0/16 C:"},
    {false, {{'A', "", "10.1.0.0/16 -10.1.0.0/16"}}, "Ap:10.2.0.0/16 B:10.3.0.0/16 C:"},
    {false,
     {{'A', "", "-10.1.0.0/16"}, {'B', "", "10.1.0.0/16"}},
     "Ap:10.2.0.0/16 B:10.1.0.0/16,10.3.0.0/16 C:"},
    {false, {{'A', "x", ""}, {'B', "", "10.1.0.0/16"}}, "B:10.1.0.0/16,10.3.0.0/16 C:"},
    /* 15 */
    {false,
     {{'B', "", "10.9.0.0/16"}, {'C', "", "10.9.0.0/16"}},
     "Ap:10.1.0.0/16,10.2.0.0/16 B:10.3.0.0/16 C:10.9.0.0/16"},
    {true, {{'A', "", "10.1.0.0/16"}, {'E', "e", "10.2.3.4/32"}}, "A:10.1.0.0/16 Ee:10.2.3.4/32"},
    {true, {{'A', "u", "10.1.0.0/16"}}, ""},
    {true, {{'A', "x", "10.1.0.0/16"}}, ""},
    {false, {{'A', "x", ""}, {'A', "", "10.1.0.0/16"}}, "B:10.3.0.0/16 C: A:10.1.0.0/16"},
    /* 20 */
    {false,
     {{'A', "", "10.8.0.0/16"}, {'A', "r", "10.9.0.0/16"}, {'A', "", "10.4.0.0/16"}},
     "Ap:10.4.0.0/16,10.9.0.0/16 B:10.3.0.0/16 C:"},
    {false,
     {{'C', "", "fd00::1/64 1.2.3.4/8"}},
     "Ap:10.1.0.0/16,10.2.0.0/16 B:10.3.0.0/16 C:1.0.0.0/8,fd00::/64"},
    {false, {{'A', "pke", ""}, {'B', "p", ""}}, "Akpe:10.1.0.0/16,10.2.0.0/16 Bp:10.3.0.0/16 C:"},
    /* a peer named more than once: in order, and still all or nothing */
    {false,
     {{'A', "", "10.9.0.0/16"}, {'B', "", "10.9.0.0/16"}, {'A', "k", "-10.9.0.0/16"}},
     "Akp:10.1.0.0/16,10.2.0.0/16 B:10.3.0.0/16,10.9.0.0/16 C:"},
    {false,
     {{'A', "", "10.9.0.0/16"}, {'B', "", "10.9.0.0/16"}, {'A', "", "10.9.0.0/16"}},
     "Ap:10.1.0.0/16,10.2.0.0/16,10.9.0.0/16 B:10.3.0.0/16 C:"},
    /* 25 */
    {false,
     {{'D', "", "10.1.0.0/16"}, {'D', "x", ""}, {'E', "", "10.9.0.0/16"}},
     "Ap:10.2.0.0/16 B:10.3.0.0/16 C: E:10.9.0.0/16"},
    {false,
     {{'A', "x", ""}, {'A', "u", "10.9.0.0/16"}, {'A', "x", ""}, {'A', "k", "10.2.0.0/16"}},
     "B:10.3.0.0/16 C: Ak:10.2.0.0/16"},
    {true,
     {{'A', "u", ""}, {'A', "", "10.2.0.0/16"}, {'A', "u", "10.9.0.0/16"}},
     "A:10.2.0.0/16,10.9.0.0/16"},
    {false,
     {{'A', "", "-10.1.0.0/16 10.9.0.0/16"}, {'B', "", "10.1.0.0/16"}, {'A', "r", "10.9.0.0/16"}},
     "Ap:10.9.0.0/16 B:10.1.0.0/16,10.3.0.0/16 C:"},
    {false,
     {{'A', "", "10.9.0.0/16"}, {'A', "x", ""}, {'A', "", "10.8.0.0/16"}, {'A', "x", ""}},
     "B:10.3.0.0/16 C:"},
};

static const struct peer_row before[] = {
    {'A', "p", "10.1.0.0/16 10.2.0.0/16"}, {'B', "", "10.3.0.0/16"}, {'C', "", ""}, {0}};
static const char before_text[] = "Ap:10.1.0.0/16,10.2.0.0/16 B:10.3.0.0/16 C:";

static int apply(struct change *change)
{
    struct sim_host *host = &sim.hosts[0];
    struct wg_sink sink = sim_sink(host);
    int result = wg_device_configure(host->dev, &change->config, sim_time(&sim), &sink);
    wg_garbage_free(wg_device_take_garbage(host->dev));
    return result;
}

static void start(struct change *change)
{
    build(change, true, before);
    ck_assert_int_eq(apply(change), 0);
    assert_state(before_text);
}

START_TEST(changes_have_the_meaning_of_set)
{
    struct change change;
    start(&change);
    build(&change, table[_i].replace_peers, table[_i].rows);
    ck_assert_int_eq(apply(&change), 0);
    assert_state(table[_i].after);
}
END_TEST

static bool lose_all(struct sim *s, struct sim_datagram *datagram)
{
    (void)s;
    (void)datagram;
    return false;
}

START_TEST(refused_memory_changes_nothing)
{
    struct change change;
    long n = 0;
    sim.filter = lose_all; /* the network takes no memory */
    for (;; n++) {
        start(&change);
        build(&change, table[_i].replace_peers, table[_i].rows);
        allowed_allocations = n;
        int result = apply(&change);
        allowed_allocations = -1;
        if (result == 0)
            break;
        ck_assert_int_eq(result, -ENOMEM);
        assert_state(before_text);
        ck_assert_int_eq(apply(&change), 0); /* nor does anything block another attempt */
        assert_state(table[_i].after);
    }
    ck_assert_int_gt(n, 0);
    assert_state(table[_i].after);
}
END_TEST

START_TEST(prefixes_that_cannot_be_change_nothing)
{
    static const struct ip_prefix bad[] = {
        {{4, {10}}, 33}, {{6, {0xfd}}, 129}, {{0, {10}}, 8}, {{5, {10}}, 8}};
    struct change change;
    start(&change);
    build(&change, true, (struct peer_row[]){{'E', "", "10.9.0.0/16 10.8.0.0/16"}, {0}});
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        change.ips[0][1].prefix = bad[i];
        ck_assert_int_eq(apply(&change), -EINVAL);
        assert_state(before_text);
    }
}
END_TEST

START_TEST(refused_memory_leaves_the_key)
{
    struct change change;
    struct wg_device_info info;
    start(&change);
    build(&change, false, (const struct peer_row[]){{'F', "", "10.9.0.0/16"}, {0}});
    change.config.has_private_key = true;
    memset(change.config.private_key, 1, WG_KEY_LEN);
    allowed_allocations = 1;
    int result = apply(&change);
    allowed_allocations = -1;
    ck_assert_int_eq(result, -ENOMEM);
    ck_assert_int_eq(wg_device_info(sim.hosts[0].dev, &info), 0);
    ck_assert_mem_eq(info.public_key, sim.hosts[0].public_key, WG_KEY_LEN);
    wg_device_info_fini(&info);
    assert_state(before_text);
}
END_TEST

static struct sim_datagram caught[3];

/* Takes the first message of each type from the network. */
static bool catch_first(struct sim *s, struct sim_datagram *datagram)
{
    uint8_t type = datagram->bytes[0];
    (void)s;
    if (type > 2 || caught[type].len != 0)
        return true;
    caught[type] = *datagram;
    return false;
}

static void hand_over_without_memory(uint8_t type, int to)
{
    struct wg_sink sink = sim_sink(&sim.hosts[to]);
    struct wg_endpoint from = {.remote = caught[type].from};
    unsigned sent = sim.hosts[to].sent.responses + sim.hosts[to].sent.data;
    allowed_allocations = 0;
    wg_device_handshake(sim.hosts[to].dev, caught[type].bytes, caught[type].len, &from, false,
                        sim_time(&sim), &sink);
    allowed_allocations = -1;
    ck_assert_uint_eq(sim.hosts[to].sent.responses + sim.hosts[to].sent.data, sent);
}

START_TEST(refused_memory_of_info_and_handshakes_does_no_harm)
{
    sim_connect(&sim, 0, 1);
    for (long n = 0; n < 2; n++) {
        struct wg_device_info info;
        allowed_allocations = n;
        int result = wg_device_info(sim.hosts[0].dev, &info);
        allowed_allocations = -1;
        ck_assert_int_eq(result, -ENOMEM);
        ck_assert_ptr_null(info.peers);
        ck_assert_uint_eq(info.peer_count, 0);
    }
    allowed_allocations = 0;
    enum wg_outbound_verdict verdict = sim_send(&sim, 0, 1, 1, 100);
    allowed_allocations = -1;
    ck_assert_int_eq(verdict, WG_OUT_DROP);
    /* allocation fails for the initiation and then the response; the next ones get through */
    sim.filter = catch_first;
    sim_send(&sim, 0, 1, 5, 100);
    sim_run(&sim, SIM_S(1));
    hand_over_without_memory(1, 1);
    sim_run(&sim, SIM_S(5));
    hand_over_without_memory(2, 0);
    ck_assert_uint_eq(sim.hosts[1].delivered, 0);
    sim_run(&sim, SIM_S(5));
    ck_assert_uint_eq(sim.hosts[1].delivered, 1);
    ck_assert_uint_eq(sim.hosts[0].sent.initiations, 3);
}
END_TEST

START_TEST(own_key_is_no_peer)
{
    struct wg_peer_config peer = {.has_keepalive = true, .keepalive_s = 25};
    struct wg_device_config config = {.peers = &peer, .peer_count = 1};
    memcpy(peer.public_key, sim.hosts[0].public_key, WG_KEY_LEN);
    sim_configure(&sim, 0, &config);
    assert_state("");
    /* a peer's key that becomes ours removes the peer */
    sim_add_peer(&sim, 0, 1, true);
    sim_add_peer(&sim, 0, 2, true);
    struct wg_device_config key = {.has_private_key = true};
    memcpy(key.private_key, sim.hosts[1].private_key, WG_KEY_LEN);
    sim_configure(&sim, 0, &key);
    struct wg_device_info info;
    ck_assert_int_eq(wg_device_info(sim.hosts[0].dev, &info), 0);
    ck_assert_uint_eq(info.peer_count, 1);
    ck_assert_mem_eq(info.peers[0].public_key, sim.hosts[2].public_key, WG_KEY_LEN);
    ck_assert_mem_eq(info.public_key, sim.hosts[1].public_key, WG_KEY_LEN);
    wg_device_info_fini(&info);
}
END_TEST

START_TEST(key_change_voids_sessions)
{
    sim_connect(&sim, 0, 1);
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_MS(100));
    struct wg_device_config key = {.has_private_key = true};
    memcpy(key.private_key, sim.hosts[0].private_key, WG_KEY_LEN);
    sim_configure(&sim, 0, &key); /* the same: nothing happens */
    ck_assert_int_eq(sim_send(&sim, 0, 1, 2, 100), WG_OUT_SEND);
    sim_run(&sim, SIM_MS(100));
    memcpy(key.private_key, sim.hosts[2].private_key, WG_KEY_LEN);
    sim_configure(&sim, 0, &key);
    ck_assert_int_eq(sim_send(&sim, 1, 0, 3, 100), WG_OUT_SEND);
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_eq(sim.hosts[0].delivered, 0);
    ck_assert_int_eq(sim_send(&sim, 0, 1, 4, 100), WG_OUT_STAGED);
    sim_run(&sim, SIM_S(1));
    ck_assert_uint_eq(sim.hosts[1].delivered, 2); /* the peer does not know that key */
    memcpy(key.private_key, sim.hosts[0].private_key, WG_KEY_LEN);
    sim_configure(&sim, 0, &key);
    sim_run(&sim, SIM_S(6));
    ck_assert_uint_eq(sim.hosts[1].delivered, 3);
    ck_assert_uint_eq(sim.hosts[1].log[2], 4);
    memset(key.private_key, 0, WG_KEY_LEN);
    sim_configure(&sim, 0, &key);
    struct wg_device_info info;
    ck_assert_int_eq(wg_device_info(sim.hosts[0].dev, &info), 0);
    ck_assert(!info.has_private_key);
    ck_assert(bytes_is_zero_ct(info.private_key, WG_KEY_LEN));
    wg_device_info_fini(&info);
}
END_TEST

START_TEST(replaced_peer_loses_its_session)
{
    sim_connect(&sim, 0, 1);
    sim_send(&sim, 0, 1, 1, 100);
    sim_run(&sim, SIM_MS(100));
    ck_assert_uint_ne(sim_info(&sim, 0, 1).last_handshake_ns, 0);
    struct wg_peer_config peer = {.has_endpoint = true, .endpoint = sim.hosts[1].address};
    struct wg_device_config config = {.replace_peers = true, .peers = &peer, .peer_count = 1};
    memcpy(peer.public_key, sim.hosts[1].public_key, WG_KEY_LEN);
    sim_configure(&sim, 0, &config);
    ck_assert_uint_eq(sim_info(&sim, 0, 1).last_handshake_ns, 0);
    ck_assert_int_eq(sim_send(&sim, 0, 1, 1, 100), WG_OUT_NO_PEER);
}
END_TEST

START_TEST(many_peers_load_fast)
{
    enum { COUNT = 10000 };
    struct wg_device_config config = {.replace_peers = true, .peer_count = COUNT};
    config.peers = calloc(COUNT, sizeof *config.peers);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct wg_peer_config *peer = &config.peers[i];
        store_be32(peer->public_key, i + 1);
        peer->allowed_ips = calloc(1, sizeof *peer->allowed_ips);
        peer->allowed_ip_count = 1;
        peer->allowed_ips[0].prefix = (struct ip_prefix){{4, {10}}, 32};
        store_be32(peer->allowed_ips[0].prefix.addr.bytes, UINT32_C(0x0a000000) + i);
    }
    sim_configure(&sim, 0, &config);
    struct wg_device_info info;
    ck_assert_int_eq(wg_device_info(sim.hosts[0].dev, &info), 0);
    ck_assert_uint_eq(info.peer_count, COUNT);
    wg_device_info_fini(&info);
    ck_assert_uint_eq(wg_device_deadline(sim.hosts[0].dev), WG_NEVER);
    wg_device_config_fini(&config);
    ck_assert_ptr_null(config.peers);
}
END_TEST

START_TEST(mapped_endpoints_become_ipv4)
{
    struct wg_peer_config peer = {.has_endpoint = true};
    union endpoint expected;
    ck_assert(endpoint_parse(&peer.endpoint, "[::ffff:198.51.100.7]:1234"));
    ck_assert(endpoint_parse(&expected, "198.51.100.7:1234"));
    sim_configure_peer(&sim, 0, 1, peer);
    struct wg_peer_info info = sim_info(&sim, 0, 1);
    ck_assert(endpoint_equal(&info.endpoint, &expected));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("config");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, changes_have_the_meaning_of_set, 0, ARRAY_LEN(table));
    tcase_add_loop_test(tc, refused_memory_changes_nothing, 0, ARRAY_LEN(table));
    tcase_add_test(tc, prefixes_that_cannot_be_change_nothing);
    tcase_add_test(tc, refused_memory_leaves_the_key);
    tcase_add_test(tc, refused_memory_of_info_and_handshakes_does_no_harm);
    tcase_add_test(tc, own_key_is_no_peer);
    tcase_add_test(tc, mapped_endpoints_become_ipv4);
    tcase_add_test(tc, key_change_voids_sessions);
    tcase_add_test(tc, replaced_peer_loses_its_session);
    tcase_add_test(tc, many_peers_load_fast);
    return unit_run(tc);
}
