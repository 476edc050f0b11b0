#include "control/daemon/metrics.h"

#include "base/clock.h"
#include "wg/path/path.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const struct metrics_label none = {.name = NULL};

/* ---- the process ---- */

static double resident_bytes(void)
{
    char line[128] = ""; /* pages: total, resident, ... */
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    (void)!fgets(line, sizeof line, file);
    (void)fclose(file);
    const char *resident = line + strcspn(line, " ");
    return (double)strtoul(resident, NULL, 10) * (double)sysconf(_SC_PAGESIZE);
}

static double open_files(void)
{
    double count = -3; /* "." and "..", and this folder itself */
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL)
        return 0;
    while (readdir(folder) != NULL)
        count++;
    (void)closedir(folder);
    return count;
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

void metrics_of_process(struct metrics_text *text, const char *program)
{
    struct rusage usage = {0};
    struct rlimit files = {0};
    (void)getrusage(RUSAGE_SELF, &usage);
    (void)getrlimit(RLIMIT_NOFILE, &files);
    metrics_family(text, "heimdall_build_info", METRICS_GAUGE, "Program and version; always 1.");
    metrics_sample(text, (struct metrics_label){"program", program},
                   (struct metrics_label){"version", HEIMDALL_VERSION}, 1);
    metrics_single(text, "process_cpu_seconds_total", METRICS_COUNTER,
                   "Processor time of all threads.",
                   seconds(usage.ru_utime) + seconds(usage.ru_stime));
    metrics_single(text, "process_resident_memory_bytes", METRICS_GAUGE, "Resident memory.",
                   resident_bytes());
    metrics_single(text, "process_open_fds", METRICS_GAUGE, "Open files and sockets.",
                   open_files());
    metrics_single(text, "process_max_fds", METRICS_GAUGE, "Limit of open files and sockets.",
                   (double)files.rlim_cur);
}

/* ---- the tunnel ---- */

/* Buckets of handshake ages. A session lives 180 s, so younger ones work now. */
static const struct {
    const char *label;
    uint64_t below_s;
} ages[] = {{"3m", 180}, {"1h", 3600}, {"1d", 86400}, {"older", UINT64_MAX / NS_PER_SEC}};

enum { AGES = sizeof ages / sizeof ages[0] };

static size_t age_of(const struct wg_peer_info *peer, uint64_t now_ns)
{
    uint64_t age_ns =
        peer->last_handshake_boot_ns < now_ns ? now_ns - peer->last_handshake_boot_ns : 0;
    size_t i = 0;
    while (i < AGES - 1 && age_ns >= ages[i].below_s * NS_PER_SEC)
        i++;
    return i;
}

void metrics_of_tunnel(struct metrics_text *text, struct metrics_tunnel *totals,
                       const struct path_info *info)
{
    uint64_t rx = 0;
    uint64_t tx = 0;
    uint64_t by_age[AGES] = {0};
    uint64_t never = 0;
    uint64_t now_ns = clock_boottime_ns();
    for (size_t i = 0; i < info->device.peer_count; i++) {
        const struct wg_peer_info *peer = &info->device.peers[i];
        rx += peer->rx_bytes;
        tx += peer->tx_bytes;
        if (peer->last_handshake_boot_ns == 0)
            never++;
        else
            by_age[age_of(peer, now_ns)]++;
    }
    metrics_family(text, "heimdall_tunnel_peers", METRICS_GAUGE,
                   "WireGuard peers by the age of their last handshake.");
    for (size_t i = 0; i < AGES; i++)
        metrics_sample(text, (struct metrics_label){"handshake", ages[i].label}, none,
                       (double)by_age[i]);
    metrics_sample(text, (struct metrics_label){"handshake", "never"}, none, (double)never);
    metrics_single(text, "heimdall_tunnel_receive_bytes_total", METRICS_COUNTER,
                   "Bytes received through the tunnel, as WireGuard counts them.",
                   (double)metrics_total(&totals->rx, rx));
    metrics_single(text, "heimdall_tunnel_transmit_bytes_total", METRICS_COUNTER,
                   "Bytes sent through the tunnel, as WireGuard counts them.",
                   (double)metrics_total(&totals->tx, tx));
    metrics_family(text, "heimdall_tunnel_dropped_datagrams_total", METRICS_COUNTER,
                   "Datagrams lost inside this host: not sent, the tunnel's own that were routed "
                   "back into it, and packets between peers that are kept apart.");
    metrics_sample(text, (struct metrics_label){"reason", "not_sent"}, none, (double)info->dropped);
    metrics_sample(text, (struct metrics_label){"reason", "own"}, none, (double)info->looped);
    metrics_sample(text, (struct metrics_label){"reason", "between_peers"}, none,
                   (double)info->prohibited);
    metrics_single(text, "heimdall_tunnel_up", METRICS_GAUGE,
                   "1 while the tunnel's interface is up.", info->up ? 1 : 0);
}
