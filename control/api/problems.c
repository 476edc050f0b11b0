#include "control/api/problems.h"

#include "base/clock.h"
#include "base/log.h"
#include "control/api/facts.h"
#include "control/api/live.h"
#include "control/api/watch_peer.h"
#include "control/state/access.h"
#include "control/state/state.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    NAMED_MAX = 5, /* hosts that one problem names; the rest is counted */
    /* wg rejects a session 180 s after its handshake (wg/timers.h), and `hpeer` keeps one up. */
    HANDSHAKE_AGE_MAX_S = 180,
    FIRST_HANDSHAKE_S = 15, /* grace period of a new stream */
    MTU_LEAST = 1280,       /* of IPv6 */
    CLOCK_OFF_S = 60,       /* the difference of clocks that is reported */
};

static void problem_add(struct problems *problems, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void problem_add(struct problems *problems, const char *remedy, const char *format, ...)
{
    va_list args;
    assert(problems->count < PROBLEMS_MAX);
    size_t i = problems->count++;
    va_start(args, format);
    vsnprintf(problems->what[i], PROBLEM_TEXT, format, args);
    va_end(args);
    snprintf(problems->remedy[i], PROBLEM_TEXT, "%s", remedy);
    pb__problem__init(&problems->pb[i]);
    problems->pb[i].what = problems->what[i];
    problems->pb[i].remedy = problems->remedy[i];
    problems->list[i] = &problems->pb[i];
}

/* ---- this host ---- */

static void check_address(struct problems *problems, const struct report_facts *facts)
{
    if (facts->host->address_problem != NULL)
        problem_add(problems,
                    "give the host an address (DHCP, ip addr add), or name one with --addr and "
                    "--endpoint-ip; it is served as soon as it is there",
                    "%s: no other host can connect", facts->host->address_problem);
}

static void check_tunnel(struct problems *problems, const struct report_facts *facts)
{
    char remedy[PROBLEM_TEXT];
    const struct report_host *host = facts->host;
    if (!facts->live->known) {
        problem_add(problems, "give this host more memory",
                    "memory is short: the tunnel's state is unknown");
    } else if (!facts->live->info.up) {
        snprintf(remedy, sizeof remedy, "ip link set %s up", host->interface_name);
        problem_add(problems, remedy, "the interface %s is down: no host can be reached",
                    host->interface_name);
    } else if (facts->live->info.has_no_socket) {
        snprintf(remedy, sizeof remedy,
                 "stop the program that has it (ss -ulnp 'sport = :%u'), or "
                 "choose another one with --endpoint-port",
                 facts->live->info.missing_port);
        problem_add(problems, remedy, "UDP port %u cannot be opened: no host can be reached",
                    facts->live->info.missing_port);
    }
    if (host->tunnel_problem != NULL)
        problem_add(problems, "stop the program that changes it; it is put back by itself",
                    "the interface %s is not as it should be: %s", host->interface_name,
                    host->tunnel_problem);
}

static void check_forward_probe(struct problems *problems, const struct report_host *host,
                                const struct report_probe *probe)
{
    char remedy[PROBLEM_TEXT];
    char network[IP_PREFIX_TEXT];
    const char *name = host->interface_name;
    ip_prefix_format(&probe->network, network);
    snprintf(
        remedy, sizeof remedy,
        "let packets from and to %s pass there: Docker and iptables: iptables -I FORWARD -i %s "
        "-j ACCEPT and the same with -o (with Docker: -I DOCKER-USER); ufw: ufw route allow in "
        "on %s; firewalld: firewall-cmd --permanent --zone=trusted --add-interface=%s; "
        "nftables: accept iifname and oifname %s in the chain with hook forward",
        name, name, name, name, name);
    if (probe->result == REPORT_PROBE_DROPPED || probe->result == REPORT_PROBE_REFUSED)
        problem_add(problems, remedy,
                    "another firewall of this host does not forward what peers send to %s",
                    network);
    /* an exit node refuses what it cannot route, so that nothing leaks: no problem of its own */
    else if (probe->result == REPORT_PROBE_NO_ROUTE && probe->network.len > 0)
        problem_add(problems, "add the route to this host, or withdraw it with hctl routes delete",
                    "this host has no route to %s, which it publishes", network);
}

static void check_forwarding(struct problems *problems, const struct report_facts *facts)
{
    const struct report_host *host = facts->host;
    if (!host->forwards)
        problem_add(problems,
                    "sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1, as root of "
                    "this host",
                    "the kernel does not forward packets: peers reach this host only");
    for (size_t i = 0; i < host->probe_count && host->forwards; i++)
        if (host->probes[i].kind == REPORT_PROBE_FORWARD)
            check_forward_probe(problems, host, &host->probes[i]);
}

static void check_firewall(struct problems *problems, const struct report_facts *facts)
{
    const struct report_host *host = facts->host;
    if (host->firewall_problem != NULL)
        problem_add(problems,
                    "install nftables, give heimdall CAP_NET_ADMIN, and stop what else changes the "
                    "table; it is written again by itself",
                    "the firewall is not set up: %s: networks behind this node are reached only if "
                    "they have a route back",
                    host->firewall_problem);
}

static void check_store(struct problems *problems, const struct report_facts *facts)
{
    char remedy[PROBLEM_TEXT];
    const struct report_host *host = facts->host;
    size_t damaged = state_damaged(facts->state);
    if (host->disk_full)
        problem_add(problems, "free space on it", "the disk of %s is full: nothing can be changed",
                    host->data_dir);
    if (!host->redis_runs || !host->takes_changes) {
        snprintf(remedy, sizeof remedy, "this heals by itself; if it lasts, see %s/redis/redis.log",
                 host->data_dir);
        problem_add(problems, remedy, "%s: nothing can be changed; tunnels and names keep working",
                    host->redis_runs ? "the store does not take changes"
                                     : "redis-server does not run");
    }
    if (damaged > 0)
        problem_add(problems,
                    "the node's log names them: authorize these peers or create these routes again",
                    "%zu damaged records of the store are ignored", damaged);
}

static void check_sockets(struct problems *problems, const struct report_facts *facts)
{
    for (size_t i = 0; i < REPORT_SOCKETS; i++)
        if (facts->host->missing_sockets[i] != NULL)
            problem_add(problems,
                        "stop the program that removes it; it is recreated by itself, and the "
                        "node's log says what fails",
                        "the socket %s was removed: programs of this host cannot use it",
                        facts->host->missing_sockets[i]);
}

static void check_names(struct problems *problems, const struct report_facts *facts)
{
    if (!facts->host->serves_names)
        problem_add(problems,
                    "the node's log says why: free the address, or choose another one with "
                    "--dns-address",
                    "DNS is not served: the network's names cannot be resolved");
}

/* Whether a probe of this kind came through, to any of the node's addresses. */
static bool passes(const struct report_host *host, enum report_probe_kind kind)
{
    bool tried = false;
    for (size_t i = 0; i < host->probe_count; i++) {
        tried = tried || host->probes[i].kind == kind;
        if (host->probes[i].kind == kind && host->probes[i].result != REPORT_PROBE_DROPPED &&
            host->probes[i].result != REPORT_PROBE_REFUSED)
            return true;
    }
    return !tried;
}

static void check_dns_probes(struct problems *problems, const struct report_facts *facts)
{
    char remedy[PROBLEM_TEXT];
    const struct report_host *host = facts->host;
    bool udp = passes(host, REPORT_PROBE_DNS_UDP);
    bool tcp = passes(host, REPORT_PROBE_DNS_TCP);
    if (!host->serves_names || (udp && tcp))
        return;
    snprintf(
        remedy, sizeof remedy,
        "let port 53 of UDP and TCP in on %s: iptables -I INPUT -i %s -j ACCEPT; ufw: ufw allow "
        "in on %s to any port 53; firewalld: firewall-cmd --permanent --zone=trusted "
        "--add-interface=%s; nftables: accept iifname %s in the chain with hook input",
        host->interface_name, host->interface_name, host->interface_name, host->interface_name,
        host->interface_name);
    problem_add(problems, remedy,
                "a firewall of this host does not let DNS queries of peers in (port 53, %s)",
                !udp && !tcp ? "UDP and TCP"
                : udp        ? "TCP"
                             : "UDP");
}

static void check_security(struct problems *problems, const struct report_facts *facts)
{
    if (facts->host->insecure)
        problem_add(problems,
                    "start heimdall without --insecure; other gRPC clients can use certificates "
                    "(--cert, --key, --ca) or the unix socket",
                    "the control API is open to everyone, without TLS");
}

/* ---- other hosts ---- */

/* "a (x), b (y) and 3 more" */
struct naming {
    char text[PROBLEM_TEXT / 2];
    size_t len;
    size_t count;
};

static void naming_add(struct naming *naming, const char *name, const char *id, const char *detail)
{
    char short_id[9];
    if (naming->count++ >= NAMED_MAX || naming->len >= sizeof naming->text)
        return;
    naming->len += (size_t)snprintf(
        naming->text + naming->len, sizeof naming->text - naming->len, "%s%s%s%s%s",
        naming->count > 1 ? ", " : "", name[0] != '\0' ? name : log_short_id(short_id, id),
        detail[0] != '\0' ? " (" : "", detail, detail[0] != '\0' ? ")" : "");
}

static const char *naming_end(struct naming *naming)
{
    if (naming->count > NAMED_MAX && naming->len < sizeof naming->text)
        snprintf(naming->text + naming->len, sizeof naming->text - naming->len, " and %zu more",
                 naming->count - NAMED_MAX);
    return naming->text;
}

static bool differs(const char *version, const struct report_facts *facts)
{
    return version[0] != '\0' && strcmp(version, facts->version) != 0;
}

static void check_versions(struct problems *problems, const struct report_facts *facts)
{
    struct naming nodes = {.len = 0};
    struct naming peers = {.len = 0};
    for (size_t i = 0; i < state_node_count(facts->state); i++) {
        const struct state_node *node = state_node_at(facts->state, i);
        if (strcmp(node->id, facts->node_id) != 0 && differs(node->pb->version, facts))
            naming_add(&nodes, node->name, node->id, node->pb->version);
    }
    for (size_t i = 0; i < state_peer_count(facts->state); i++) {
        const struct state_peer *peer = state_peer_at(facts->state, i);
        if (differs(peer->pb->version, facts))
            naming_add(&peers, peer->name, peer->id, peer->pb->version);
    }
    if (nodes.count > 0)
        problem_add(problems, "upgrade heimdall so that all nodes run one version",
                    "this node runs version %s, other nodes do not: %s", facts->version,
                    naming_end(&nodes));
    if (peers.count > 0)
        problem_add(problems, "upgrade hpeer there, or heimdall here",
                    "this node runs version %s, peers do not: %s", facts->version,
                    naming_end(&peers));
}

/* Whether the peer is connected over TCP while it has no tunnel. */
static bool is_cut_off(const struct report_facts *facts, const struct state_peer *peer)
{
    const struct wg_peer_info *info = live_find(facts->live, peer->public_key);
    const struct watcher *watcher = live_watcher(facts->live, peer->id);
    if (watcher == NULL ||
        live_age_ns(facts->live, watcher->since_ns) < FIRST_HANDSHAKE_S * NS_PER_SEC)
        return false;
    return info == NULL || info->last_handshake_boot_ns == 0 ||
           live_age_ns(facts->live, info->last_handshake_boot_ns) >
               HANDSHAKE_AGE_MAX_S * NS_PER_SEC;
}

static void check_handshakes(struct problems *problems, const struct report_facts *facts)
{
    struct naming peers = {.len = 0};
    char remedy[PROBLEM_TEXT];
    if (!facts->live->known || !facts->live->info.up)
        return;
    for (size_t i = 0; i < state_peer_count(facts->state); i++) {
        const struct state_peer *peer = state_peer_at(facts->state, i);
        if (is_cut_off(facts, peer))
            naming_add(&peers, peer->name, peer->id, "");
    }
    if (peers.count == 0)
        return;
    snprintf(remedy, sizeof remedy, "allow UDP port %u to this host in every firewall on the path",
             facts->live->info.listen_port);
    problem_add(problems, remedy, "connected, but without a tunnel: %s", naming_end(&peers));
}

void problems_add_cut(struct problems *problems, size_t shown, size_t peers)
{
    problem_add(problems, "ask for pages with page_size (field 100), or use a current hctl",
                "only %zu of %zu peers are shown: the answer is full", shown, peers);
}

/* Nothing here depends on equal clocks, but logs and certificates of the two hosts disagree. */
static void check_clocks(struct problems *problems, const struct report_facts *facts)
{
    struct naming peers = {.len = 0};
    for (size_t i = 0; i < state_peer_count(facts->state); i++) {
        const struct state_peer *peer = state_peer_at(facts->state, i);
        const struct watcher *watcher = live_watcher(facts->live, peer->id);
        char detail[48];
        int64_t ahead_s = watcher != NULL ? watcher->clock_ahead_s : 0;
        if (ahead_s > -CLOCK_OFF_S && ahead_s < CLOCK_OFF_S)
            continue;
        snprintf(detail, sizeof detail, "%" PRId64 " s %s", ahead_s < 0 ? -ahead_s : ahead_s,
                 ahead_s < 0 ? "behind" : "ahead");
        naming_add(&peers, peer->name, peer->id, detail);
    }
    if (peers.count > 0)
        problem_add(problems, "synchronize the clocks of this host and of those peers, with NTP",
                    "the clocks of peers differ from this node's: %s", naming_end(&peers));
}

/* Somebody who records such traffic can read it once X25519 is broken. */
static void check_preshared_keys(struct problems *problems, const struct report_facts *facts)
{
    struct naming hosts = {.len = 0};
    for (size_t i = 0; i < state_node_count(facts->state); i++) {
        const struct state_node *node = state_node_at(facts->state, i);
        if (node->pb->psk_version == 0)
            naming_add(&hosts, node->name, node->id, "");
    }
    for (size_t i = 0; i < state_peer_count(facts->state); i++) {
        const struct state_peer *peer = state_peer_at(facts->state, i);
        if (peer->pb->psk_version == 0)
            naming_add(&hosts, peer->name, peer->id, "");
    }
    if (hosts.count > 0)
        problem_add(
            problems, "upgrade hpeer, or heimdall, there",
            "tunnels without a preshared key, which are not safe from quantum computers: %s",
            naming_end(&hosts));
}

/* A node takes its name, also from a peer that chose the same (change_node.c). */
static void check_taken_names(struct problems *problems, const struct report_facts *facts)
{
    struct naming peers = {.len = 0};
    for (size_t i = 0; i < state_peer_count(facts->state); i++) {
        const struct state_peer *peer = state_peer_at(facts->state, i);
        const char *wanted = peer->pb->own_name;
        char detail[ACCESS_NAME_MAX + 48];
        if (peer->name[0] != '\0' || wanted[0] == '\0')
            continue;
        snprintf(detail, sizeof detail, "%s is %s", wanted,
                 state_node_by_name(facts->state, wanted) != NULL ? "a node's" : "taken");
        naming_add(&peers, "", peer->id, detail);
    }
    if (peers.count > 0)
        problem_add(
            problems, "hctl peers rename PEER NAME, or start hpeer there with another --name",
            "peers have no name, because the one that they chose is taken: %s", naming_end(&peers));
}

/* ---- all checks ---- */

static void check_mtu(struct problems *problems, const struct report_facts *facts)
{
    const struct live *live = facts->live;
    char remedy[PROBLEM_TEXT];
    if (!live->known || !live->info.up || live->info.mtu >= MTU_LEAST)
        return;
    snprintf(remedy, sizeof remedy, "ip link set %s mtu 1420, and look for what lowered it",
             facts->host->interface_name);
    problem_add(problems, remedy, "the MTU of %s is %u: IPv6 needs 1280 or more",
                facts->host->interface_name, live->info.mtu);
}

/* The gravest first. */
static const struct {
    const char *name;
    const char *fine; /* what is so when it finds nothing */
    void (*find)(struct problems *problems, const struct report_facts *facts);
} checks[] = {
    {"address", "this host has an address for others", check_address},
    {"tunnel", "the tunnel's interface is up", check_tunnel},
    {"firewall", "the firewall is set up", check_firewall},
    {"forwarding", "packets of peers are forwarded", check_forwarding},
    {"store", "Redis runs and takes changes, its disk has space", check_store},
    {"sockets", "the sockets for programs of this host are there", check_sockets},
    {"dns", "the network's names are served", check_names},
    {"names", "every peer has the name that it chose", check_taken_names},
    {"dns-access", "peers reach DNS over UDP and TCP", check_dns_probes},
    {"security", "the control API is protected by TLS", check_security},
    {"handshakes", "every connected peer has a tunnel", check_handshakes},
    {"mtu", "the tunnel's MTU is large enough", check_mtu},
    {"versions", "all run the same version", check_versions},
    {"clocks", "the clocks of peers agree with this node's", check_clocks},
    {"preshared-keys", "every tunnel has a preshared key", check_preshared_keys},
};

void problems_find(struct problems *out, const struct report_facts *facts)
{
    out->count = 0;
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        checks[i].find(out, facts);
}

size_t problems_check_count(void)
{
    return sizeof checks / sizeof checks[0];
}

void problems_check(struct problems *out, size_t check, const struct report_facts *facts,
                    const char **name, const char **fine)
{
    assert(check < sizeof checks / sizeof checks[0]);
    out->count = 0;
    *name = checks[check].name;
    *fine = checks[check].fine;
    checks[check].find(out, facts);
}
