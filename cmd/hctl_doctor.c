/* The node answers its own checks; the way to it is tried from here. Both are one list. */
#include "cmd/hctl_doctor.h"

#include "base/addr.h"
#include "base/clock.h"
#include "cmd/hctl_output.h"
#include "cmd/hctl_path.h"
#include "cmd/hctl_text.h"
#include "proto/cluster.pb-c.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    LOCAL_CHECKS = 5,
    TEXT = 320,
    ATTEMPTS = 4,
    SETTLE_MS = 100,  /* for a datagram on its way */
    CLOCK_OFF_S = 60, /* the difference that status reports, too */
};

/* Checks that are made here. */
struct local {
    size_t count;
    Pb__Check checks[LOCAL_CHECKS];
    char what[LOCAL_CHECKS][TEXT];
    char remedy[LOCAL_CHECKS][TEXT];
};

struct visit {
    struct invocation *invocation;
    uint8_t nonce[TAP_NONCE_LEN];
    char nonce_text[2 * TAP_NONCE_LEN + 1];
    struct local local;
    const Pb__DoctorResponse *node;
    uint64_t reached;
    uint64_t asked_ns; /* real time of the first question */
};

static char *text_of(const char *text)
{
    return (char *)(uintptr_t)text; /* protobuf-c's messages have no const */
}

/* The next check, without a remedy: all is well, until told otherwise. */
static void local_add(struct local *local, const char *name, const char *result, const char *remedy,
                      const char *format, ...) __attribute__((format(printf, 5, 6)));

static void local_add(struct local *local, const char *name, const char *result, const char *remedy,
                      const char *format, ...)
{
    va_list args;
    size_t i = local->count++;
    Pb__Check *check = &local->checks[i];
    va_start(args, format);
    vsnprintf(local->what[i], TEXT, format, args);
    va_end(args);
    snprintf(local->remedy[i], TEXT, "%s", remedy);
    pb__check__init(check);
    check->name = text_of(name);
    check->result = text_of(result);
    check->what = local->what[i];
    check->remedy = local->remedy[i];
}

/* ---- the way to the node ---- */

static enum grpc_code on_reached(void *ctx, const ProtobufCMessage *message, struct err *err)
{
    struct visit *visit = ctx;
    (void)err;
    visit->reached = ((const Pb__DoctorResponse *)message)->reached_bytes;
    return GRPC_OK;
}

static enum grpc_code ask_reached(struct visit *visit, struct err *err)
{
    Pb__DoctorRequest request = PB__DOCTOR_REQUEST__INIT;
    request.only_reached = true;
    return session_call(visit->invocation->session, SESSION_CLUSTER "Doctor", &request.base,
                        &pb__doctor_response__descriptor, on_reached, visit, err);
}

/* Sends datagrams of this length until one has come. */
static enum grpc_code send_until(struct visit *visit, int fd, size_t len, struct err *err)
{
    enum grpc_code code = GRPC_OK;
    for (int i = 0; i < ATTEMPTS && code == GRPC_OK && visit->reached < len; i++) {
        (void)path_udp_send(fd, visit->nonce, len);
        usleep((useconds_t)SETTLE_MS * 1000 / (i == 0 ? 5 : 1));
        code = ask_reached(visit, err);
    }
    return code;
}

static void report_udp(struct visit *visit, size_t room, const char *endpoint)
{
    struct local *local = &visit->local;
    char remedy[TEXT];
    if (visit->reached == 0) {
        snprintf(remedy, sizeof remedy,
                 "allow UDP to %s in every firewall on the path, and forward the port where the "
                 "node is behind NAT",
                 endpoint);
        local_add(local, "udp", "problem", remedy, "no datagram from here reaches the node at %s",
                  endpoint);
        return;
    }
    local_add(local, "udp", "ok", "", "datagrams reach the node at %s", endpoint);
    if (visit->reached < room)
        local_add(local, "path-mtu", "problem",
                  "let ICMP \"fragmentation needed\" and \"packet too big\" pass on the path, or "
                  "lower the MTU of this host's route to the node",
                  "datagrams of %zu bytes are lost on the way to the node without a word", room);
    else
        local_add(local, "path-mtu", "ok", "", "datagrams of %zu bytes reach the node", room);
}

static enum grpc_code try_udp(struct visit *visit, struct err *err)
{
    union endpoint endpoint;
    const char *text = visit->node->endpoint;
    if (!endpoint_parse(&endpoint, text)) {
        local_add(&visit->local, "udp", "unknown", "", "the node has no endpoint yet");
        return GRPC_OK;
    }
    int fd = path_udp_open(&endpoint);
    if (fd < 0) {
        local_add(&visit->local, "udp", "problem", "check this host's routes",
                  "this host cannot send to %s: %s", text, strerror(-fd));
        return GRPC_OK;
    }
    enum grpc_code code = send_until(visit, fd, TAP_DATAGRAM_LEN, err);
    size_t room = path_udp_room(fd, &endpoint);
    if (code == GRPC_OK && visit->reached > 0)
        code = send_until(visit, fd, room, err);
    if (visit->reached < room && path_udp_room(fd, &endpoint) < room) {
        room = path_udp_room(fd, &endpoint); /* the path has said that it takes less */
        if (code == GRPC_OK)
            code = send_until(visit, fd, room, err);
    }
    close(fd);
    if (code == GRPC_OK)
        report_udp(visit, room, text);
    return code;
}

static void try_tcp(struct visit *visit)
{
    static const char scheme[] = "tcp://";
    union endpoint endpoint;
    char remedy[TEXT];
    const char *addr = visit->node->addr;
    if (strncmp(addr, scheme, strlen(scheme)) != 0 ||
        !endpoint_parse(&endpoint, addr + strlen(scheme))) {
        local_add(&visit->local, "tcp", "unknown", "", "the node has no address for peers yet");
        return;
    }
    int code = session_is_tcp(visit->invocation->session) ? 0 : path_tcp_try(&endpoint);
    if (code == 0) {
        local_add(&visit->local, "tcp", "ok", "", "the control API is reached at %s", addr);
        return;
    }
    snprintf(
        remedy, sizeof remedy,
        "allow TCP to %s in every firewall on the path, and forward the port where the node is "
        "behind NAT",
        addr + strlen(scheme));
    local_add(&visit->local, "tcp", "problem", remedy, "the control API is not reached at %s: %s",
              addr, strerror(-code));
}

/* ---- the two hosts ---- */

static void compare_clocks(struct visit *visit)
{
    const Google__Protobuf__Timestamp *now = visit->node->now;
    int64_t here = (int64_t)(clock_realtime_ns() / NS_PER_SEC);
    int64_t then = (int64_t)(visit->asked_ns / NS_PER_SEC);
    if (now == NULL)
        return;
    int64_t off = now->seconds > here   ? now->seconds - here
                  : now->seconds < then ? now->seconds - then
                                        : 0;
    if (off > CLOCK_OFF_S || off < -CLOCK_OFF_S)
        local_add(&visit->local, "clock", "problem", "synchronize both clocks, with NTP",
                  "the node's clock is %" PRId64 " s %s of this host's", off < 0 ? -off : off,
                  off < 0 ? "behind" : "ahead");
    else
        local_add(&visit->local, "clock", "ok", "", "the node's clock agrees with this host's");
}

static void compare_versions(struct visit *visit)
{
    if (strcmp(visit->node->version, HEIMDALL_VERSION) != 0)
        local_add(&visit->local, "hctl-version", "problem",
                  "install the same version on both hosts", "hctl is %s, the node is %s",
                  HEIMDALL_VERSION, visit->node->version);
}

/* ---- output ---- */

static void print_check(const Pb__Check *check)
{
    bool problem = strcmp(check->result, "problem") == 0;
    printf("%-8s  %-12s  ", problem ? "PROBLEM" : check->result, check->name);
    text_put_line(stdout, check->what);
    if (check->remedy[0] == '\0')
        return;
    printf("%-8s  %-12s  -> ", "", "");
    text_put_line(stdout, check->remedy);
}

static enum grpc_code print_checks(struct visit *visit, struct err *err)
{
    size_t node_count = visit->node->n_checks;
    size_t count = node_count + visit->local.count;
    size_t problems = 0;
    Pb__DoctorResponse all = *visit->node;
    all.checks = calloc(count + 1, sizeof *all.checks);
    if (all.checks == NULL) {
        err_set(err, -ENOMEM, "out of memory");
        return GRPC_RESOURCE_EXHAUSTED;
    }
    all.n_checks = count;
    all.reached_bytes = visit->reached;
    for (size_t i = 0; i < count; i++) {
        all.checks[i] =
            i < node_count ? visit->node->checks[i] : &visit->local.checks[i - node_count];
        problems += strcmp(all.checks[i]->result, "problem") == 0;
    }
    enum grpc_code code = GRPC_OK;
    if (visit->invocation->config.json)
        code = output_json(&all.base, err);
    for (size_t i = 0; i < count && !visit->invocation->config.json; i++)
        print_check(all.checks[i]);
    if (!visit->invocation->config.json && problems == 0)
        printf("\nNo problem was found.\n");
    visit->invocation->has_problems = problems > 0;
    free(all.checks);
    return code;
}

static Pb__DoctorResponse *copy(const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(len + 1);
    Pb__DoctorResponse *out = NULL;
    if (packed != NULL)
        out = pb__doctor_response__unpack(NULL, protobuf_c_message_pack(message, packed), packed);
    free(packed);
    return out;
}

static enum grpc_code on_examined(void *ctx, const ProtobufCMessage *message, struct err *err)
{
    struct visit *visit = ctx;
    visit->node = copy(message);
    if (visit->node != NULL)
        return GRPC_OK;
    err_set(err, -ENOMEM, "out of memory");
    return GRPC_RESOURCE_EXHAUSTED;
}

enum grpc_code doctor_run(struct invocation *invocation, struct err *err)
{
    struct visit visit = {.invocation = invocation, .asked_ns = clock_realtime_ns()};
    Pb__DoctorRequest request = PB__DOCTOR_REQUEST__INIT;
    if (getrandom(visit.nonce, sizeof visit.nonce, 0) != (ssize_t)sizeof visit.nonce) {
        err_set(err, -EIO, "no random bytes");
        return GRPC_UNAVAILABLE;
    }
    for (size_t i = 0; i < TAP_NONCE_LEN; i++)
        snprintf(visit.nonce_text + 2 * i, 3, "%02x", visit.nonce[i]);
    request.nonce = visit.nonce_text;
    enum grpc_code code = session_call(invocation->session, SESSION_CLUSTER "Doctor", &request.base,
                                       &pb__doctor_response__descriptor, on_examined, &visit, err);
    if (code == GRPC_OK) {
        compare_clocks(&visit);
        compare_versions(&visit);
        try_tcp(&visit);
        code = try_udp(&visit, err);
    }
    if (code == GRPC_OK)
        code = print_checks(&visit, err);
    pb__doctor_response__free_unpacked((Pb__DoctorResponse *)(uintptr_t)visit.node, NULL);
    return code;
}
