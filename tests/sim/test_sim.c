#include "base/bytes.h"
#include "tests/unit.h"
#include "tests/wg/harness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Runs two or more devices through a long life on a bad network, decided by a seed. Times of faults
 * and of peace alternate. During faults, datagrams are lost, duplicated, delayed and reordered,
 * host 0 roams over both address families, hosts sleep, restart, go down and are under load. In
 * peace every pair must have a session within BOUND, and then lose nothing. At all times: no packet
 * arrives twice, at the wrong host or changed; no datagram shows plaintext; a host that sleeps or
 * is down is silent.
 *
 * SIM_SEEDS=N plays N seeds, SIM_SEED=S only seed S. */

enum {
    DEFAULT_SEEDS = 24,
    ROUNDS = 6,
    MAX_PACKETS = 200000,
    HEADER = 24, /* of the packets: IPv4 and a number */
    PEACE_S = 60,
    BOUND_S = 30,
    SLOWEST_S = 8, /* no datagram takes longer */
};

struct packet {
    uint8_t from;
    uint8_t to;
    bool has_arrived;
    uint64_t sent_ns;
};

static struct sim sim;
static uint64_t seed_now;
static struct packet packets[MAX_PACKETS];
static uint32_t packet_count;
static bool is_down[SIM_MAX_HOSTS];
static uint64_t wakes_at[SIM_MAX_HOSTS];
static uint64_t last_arrival_ns;
static uint64_t slowest_recovery_ns;
static uint64_t virtual_ns;
static uint64_t datagrams;
static union endpoint home; /* where all others believe */

#define FAIL(...)                                                                                  \
    do {                                                                                           \
        printf("seed %" PRIu64 " at %.3f s: ", seed_now, (double)sim.now / NS_PER_SEC);            \
        printf(__VA_ARGS__);                                                                       \
        printf(" (SIM_SEED=%" PRIu64 " plays it again)\n", seed_now);                              \
        fflush(stdout);                                                                            \
        ck_abort_msg("seed %" PRIu64 " fails", seed_now);                                          \
    } while (0)

static uint64_t below(uint64_t limit)
{
    return sim_random(&sim) % limit;
}

static bool chance(unsigned percent)
{
    return below(100) < percent;
}

/* The content of the harness's packets climbs by 7 from byte to byte, which no ciphertext does. */
static bool shows_plaintext(const struct sim_datagram *datagram)
{
    unsigned run = 0;
    for (size_t i = 1; i < datagram->len; i++) {
        bool climbs = (uint8_t)(datagram->bytes[i] - datagram->bytes[i - 1]) == 7;
        run = climbs ? run + 1 : 0;
        if (run >= 8)
            return true;
    }
    return false;
}

static bool inspect(struct sim *s, struct sim_datagram *datagram)
{
    datagrams++;
    if (shows_plaintext(datagram))
        FAIL("a datagram shows plaintext");
    for (int i = 0; i < s->host_count; i++) {
        if (is_down[i] && endpoint_equal(&datagram->from, &s->hosts[i].address))
            FAIL("host %d is down and sends", i);
    }
    return true;
}

static void on_packet(struct sim *s, int at, const uint8_t *bytes, size_t len)
{
    (void)s;
    if (len < HEADER)
        FAIL("host %d got %zu bytes", at, len);
    uint32_t number = load_be32(bytes + HEADER - 4);
    if (number >= packet_count)
        FAIL("host %d got packet %u, which nobody sent", at, number);
    struct packet *packet = &packets[number];
    if (packet->to != at || bytes[15] != packet->from + 1 || bytes[19] != at + 1)
        FAIL("host %d got packet %u from %d to %d", at, number, packet->from, packet->to);
    if (packet->has_arrived)
        FAIL("host %d got packet %u twice", at, number);
    packet->has_arrived = true;
    last_arrival_ns = sim.now;
}

static bool is_able(int host)
{
    return !sim.hosts[host].is_asleep && !is_down[host];
}

static uint32_t send_one(int from, int to)
{
    if (packet_count == MAX_PACKETS)
        FAIL("too many packets for the test");
    packets[packet_count] =
        (struct packet){.from = (uint8_t)from, .to = (uint8_t)to, .sent_ns = sim.now};
    sim_send(&sim, from, to, packet_count, HEADER + 16 + below(1300));
    return packet_count++;
}

/* ---- faults ---- */

/* Configures the host with all others, by their configured addresses; roaming is not known
 * there. */
static void introduce_all_to(int host)
{
    union endpoint now = sim.hosts[0].address;
    sim.hosts[0].address = home;
    for (int of = 0; of < sim.host_count; of++) {
        if (of != host)
            sim_add_peer(&sim, host, of, true);
    }
    sim.hosts[0].address = now;
}

static void roam(void)
{
    struct ip_addr addr = {.family = 4, .bytes = {198, 51, 100, (uint8_t)below(256)}};
    if (chance(50))
        addr =
            (struct ip_addr){.family = 6, .bytes = {0x20, 1, 0xd, 0xb8, [15] = (uint8_t)below(9)}};
    endpoint_from_addr(&sim.hosts[0].address, &addr, (uint16_t)(1 + below(60000)));
}

static void fall_asleep(int host)
{
    static const uint64_t longest[] = {SIM_S(3), SIM_S(100), SIM_S(2000)};
    sim.hosts[host].is_asleep = true;
    wakes_at[host] = sim.now + 1 + below(longest[below(ARRAY_LEN(longest))]);
}

static void set_down(int host, bool down)
{
    sim_set_up(&sim, host, !down);
    is_down[host] = down;
}

static void restart(int host)
{
    sim_restart(&sim, host);
    introduce_all_to(host);
}

static void wake_sleepers(bool all)
{
    for (int i = 0; i < sim.host_count; i++) {
        if (sim.hosts[i].is_asleep && (all || wakes_at[i] <= sim.now))
            sim.hosts[i].is_asleep = false;
    }
}

static void cause_trouble(void)
{
    int host = (int)below((uint64_t)sim.host_count);
    if (chance(5))
        roam();
    if (is_down[host] && chance(20))
        set_down(host, false);
    if (!is_able(host))
        return;
    if (chance(4))
        fall_asleep(host);
    else if (chance(4))
        restart(host);
    else if (chance(3))
        set_down(host, true);
    else if (chance(10))
        sim.hosts[host].under_load = !sim.hosts[host].under_load;
}

static void make_weather(void)
{
    static const unsigned losses[] = {0, 5, 20, 50, 90, 100};
    static const uint64_t jitters[] = {0, SIM_MS(1), SIM_MS(50), SIM_MS(1000), SIM_S(7)};
    sim.loss_percent = losses[below(ARRAY_LEN(losses))];
    sim.duplicate_percent = chance(50) ? (unsigned)below(100) : 0;
    sim.jitter_ns = jitters[below(ARRAY_LEN(jitters))];
}

static void be_at_war(void)
{
    static const uint64_t paces[] = {SIM_MS(100), SIM_S(2), SIM_S(60)};
    uint64_t end = sim.now + SIM_S(60 + below(900));
    make_weather();
    while (sim.now < end) {
        if (chance(5))
            make_weather();
        cause_trouble();
        int from = (int)below((uint64_t)sim.host_count);
        int to = (int)below((uint64_t)sim.host_count);
        for (uint64_t burst = below(4); burst > 0 && from != to && is_able(from); burst--)
            (void)send_one(from, to);
        sim_run(&sim, 1 + below(paces[below(10) / 4]));
        wake_sleepers(false);
    }
    for (int i = 0; i < 3; i++) /* to the last */
        cause_trouble();
    if (chance(30))
        restart((int)below((uint64_t)sim.host_count));
}

/* ---- peace ---- */

static void make_peace(void)
{
    sim.loss_percent = sim.duplicate_percent = 0;
    sim.jitter_ns = 0;
    wake_sleepers(true);
    for (int i = 0; i < sim.host_count; i++) {
        sim.hosts[i].under_load = false;
        if (is_down[i])
            set_down(i, false);
    }
    sim_run(&sim, SIM_S(SLOWEST_S)); /* what is under way still arrives */
}

/* Every host sends to every other once a second. */
static void check_recovery(void)
{
    uint64_t start = sim.now;
    uint32_t first = packet_count;
    for (int second = 0; second < PEACE_S; second++) {
        for (int pair = 0; pair < sim.host_count * sim.host_count; pair++) {
            if (pair / sim.host_count != pair % sim.host_count)
                (void)send_one(pair / sim.host_count, pair % sim.host_count);
        }
        sim_run(&sim, SIM_S(1));
    }
    sim_run(&sim, SIM_MS(100));
    for (uint32_t i = first; i < packet_count; i++) {
        uint64_t age = packets[i].sent_ns - start;
        if (packets[i].has_arrived)
            continue;
        if (age >= SIM_S(BOUND_S))
            FAIL("packet %u from %d to %d is lost %.3f s after the faults", i, packets[i].from,
                 packets[i].to, (double)age / NS_PER_SEC);
        if (age > slowest_recovery_ns)
            slowest_recovery_ns = age;
    }
}

/* After the last keepalive no host sends, and once the keys are wiped no deadline is left. */
static void check_silence(void)
{
    sim_run(&sim, SIM_S(31));
    uint64_t before = datagrams;
    sim_run(&sim, SIM_S(600));
    if (datagrams != before)
        FAIL("%" PRIu64 " datagrams without a reason", datagrams - before);
    for (int i = 0; i < sim.host_count; i++) {
        if (wg_device_deadline(sim.hosts[i].dev) != WG_NEVER)
            FAIL("host %d still has plans", i);
    }
}

static void begin(uint64_t seed)
{
    int count = seed % 4 == 3 ? SIM_MAX_HOSTS : seed % 4 == 2 ? 3 : 2;
    seed_now = seed;
    packet_count = 0;
    memset(is_down, 0, sizeof is_down);
    sim_init_hosts(&sim, seed, count);
    home = sim.hosts[0].address;
    sim.filter = inspect;
    sim.on_packet = on_packet;
    for (int at = 0; at < count; at++) {
        sim.hosts[at].boot_offset_ns = below(SIM_S(1000000));
        introduce_all_to(at);
    }
}

static void play(uint64_t seed)
{
    begin(seed);
    for (int round = 0; round < ROUNDS; round++) {
        be_at_war();
        make_peace();
        check_recovery();
    }
    check_silence();
    virtual_ns += sim.now - SIM_START;
    sim_fini(&sim);
}

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

START_TEST(devices_survive_everything)
{
    uint64_t only = number_from("SIM_SEED", UINT64_MAX);
    uint64_t count = number_from("SIM_SEEDS", DEFAULT_SEEDS);
    for (uint64_t seed = 0; only == UINT64_MAX && seed < count; seed++)
        play(seed);
    if (only != UINT64_MAX)
        play(only);
    printf("%.1f hours of virtual time, %" PRIu64 " datagrams; slowest recovery under %.0f s\n",
           (double)virtual_ns / NS_PER_SEC / 3600, datagrams,
           (double)slowest_recovery_ns / NS_PER_SEC + 1);
}
END_TEST

/* The same seed gives the same result. */
START_TEST(a_seed_replays_exactly)
{
    uint64_t ends[2];
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        datagrams = 0;
        play(2);
        ends[i] = datagrams * 31 + (uint64_t)packet_count * 17 + last_arrival_ns;
    }
    ck_assert_uint_eq(ends[0], ends[1]);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("sim");
    tcase_set_timeout(tc, 0);
    tcase_add_test(tc, devices_survive_everything);
    tcase_add_test(tc, a_seed_replays_exactly);
    return unit_run(tc);
}
