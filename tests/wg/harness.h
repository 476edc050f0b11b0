#ifndef TESTS_WG_HARNESS_H
#define TESTS_WG_HARNESS_H

#include "base/addr.h"
#include "base/clock.h"
#include "wg/wg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A few devices on a virtual network with a virtual clock. The seed decides everything, so a
 * failure repeats. Host i is reached at 192.0.2.(i+1):51820 and owns 10.0.0.(i+1)/32 and
 * fd00::(i+1)/128 inside. */

enum { SIM_HOSTS = 3, SIM_MAX_HOSTS = 8, SIM_LOG = 4096, SIM_DATAGRAM = 2048, SIM_QUEUE = 4096 };

#define SIM_MS(n) ((n)*NS_PER_MS)
#define SIM_S(n)  ((n)*NS_PER_SEC)
#define SIM_START SIM_S(UINT64_C(1000))
#define SIM_EPOCH SIM_S(UINT64_C(1700000000))
#define SIM_DELAY SIM_MS(10)

struct sim_datagram {
    uint64_t arrives_ns;
    uint64_t order;
    union endpoint from;
    union endpoint to;
    uint8_t ds;
    size_t len;
    uint8_t bytes[SIM_DATAGRAM];
};

/* Messages that a host has sent to the network, by type; empty data apart. */
struct sim_sent {
    unsigned initiations;
    unsigned responses;
    unsigned cookies;
    unsigned data;
    unsigned empty;
    uint64_t last_ns;
};

struct sim_host {
    struct sim *sim;
    struct wg_device *dev;
    union endpoint address;
    uint8_t private_key[WG_KEY_LEN];
    uint8_t public_key[WG_KEY_LEN];
    uint64_t boot_offset_ns; /* offset of its boot clock from the simulation's */
    bool under_load;
    bool is_asleep; /* sends and receives nothing, but its clocks go on */
    unsigned wakes; /* calls of env.wake */
    bool is_woken;
    unsigned runs; /* calls of wg_device_run */
    struct sim_sent sent;
    unsigned dropped; /* datagrams dropped as worthless */
    unsigned delivered;
    uint32_t log[SIM_LOG]; /* numbers of the packets delivered, in order */
    uint8_t last_packet[SIM_DATAGRAM];
    size_t last_len;
};

struct sim {
    uint64_t now;
    uint64_t random;
    uint64_t order;
    unsigned loss_percent;
    unsigned duplicate_percent;
    uint64_t jitter_ns; /* added to the delay, so that datagrams pass one another */
    bool (*filter)(struct sim *sim, struct sim_datagram *datagram); /* false: lost */
    void *filter_ctx;
    /* an inner packet has arrived */
    void (*on_packet)(struct sim *sim, int at, const uint8_t *packet, size_t len);
    int host_count;
    struct sim_host hosts[SIM_MAX_HOSTS];
    struct sim_datagram *queue[SIM_QUEUE];
    size_t queued;
};

/* With SIM_HOSTS hosts. */
void sim_init(struct sim *sim, uint64_t seed);
void sim_init_hosts(struct sim *sim, uint64_t seed, int count);
void sim_fini(struct sim *sim);
uint64_t sim_random(struct sim *sim);
struct wg_time sim_time(const struct sim *sim);

/* On the clocks of one host. */
struct wg_time sim_host_time(const struct sim_host *host);
struct wg_sink sim_sink(struct sim_host *host);

/* Restarts a host's program, with its key and without peers. */
void sim_restart(struct sim *sim, int at);
void sim_set_up(struct sim *sim, int at, bool up);

/* Configures host `of` as a peer of host `at`: endpoint if requested, both inner addresses. */
void sim_add_peer(struct sim *sim, int at, int of, bool with_endpoint);

/* Configures all hosts as peers of each other, with endpoints. */
void sim_connect(struct sim *sim, int a, int b);
void sim_configure(struct sim *sim, int at, const struct wg_device_config *config);
void sim_configure_peer(struct sim *sim, int at, int of, struct wg_peer_config config);
void sim_remove_peer(struct sim *sim, int at, int of);
void sim_set_preshared_key(struct sim *sim, int at, int of, uint8_t byte);
void sim_set_keepalive(struct sim *sim, int at, int of, uint16_t seconds);

/* An inner IPv4 packet with a number and a content made of it, from one host to another. */
size_t sim_make_packet(uint8_t out[SIM_DATAGRAM], int from, int to, uint32_t number, size_t len);
enum wg_outbound_verdict sim_send(struct sim *sim, int from, int to, uint32_t number, size_t len);
enum wg_outbound_verdict sim_send_bytes(struct sim *sim, int from, const uint8_t *packet,
                                        size_t len);

/* The endpoint and source that host `from`, which has a session, would use for host `to`. */
struct wg_endpoint sim_way(struct sim *sim, int from, int to);

/* A packet from one host to another at its address 198.51.100.N on interface 5, at once. */
void sim_speak_to(struct sim *sim, int from, int to, uint8_t n);

/* Delivers one datagram to the host with its address, at once. */
void sim_deliver(struct sim *sim, struct sim_datagram *datagram);

/* Lets time pass. */
void sim_run(struct sim *sim, uint64_t for_ns);

/* The info of `of` at `at`, without the prefixes. */
struct wg_peer_info sim_info(struct sim *sim, int at, int of);

#endif
