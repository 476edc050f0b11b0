#include "control/api/doctor.h"

#include "base/bytes.h"
#include "control/api/env.h"
#include "control/api/facts.h"
#include "control/api/live.h"
#include "control/api/problems.h"
#include "control/rpc/server.h"
#include "control/state/record_time.h"
#include "control/state/state.h"
#include "proto/cluster.pb-c.h"
#include "wg/path/tap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct doctor {
    const struct api_env *env;
    const struct watch_peer *watch;
};

/* A call that waits for the probes. */
struct visit {
    struct doctor *doctor;
    struct rpc_call *call;
};

/* The answer with what it points at. */
struct diagnosis {
    Pb__DoctorResponse pb;
    Google__Protobuf__Timestamp now;
    char endpoint[ENDPOINT_TEXT];
    size_t count;
    Pb__Check *list[PROBLEMS_MAX];
    Pb__Check checks[PROBLEMS_MAX];
    struct problems problems[PROBLEMS_MAX]; /* of each check */
};

static char *text_of(const char *text)
{
    return (char *)(uintptr_t)text; /* protobuf-c's messages have no const */
}

static Pb__Check *check_next(struct diagnosis *diagnosis, const char *name)
{
    Pb__Check *check = &diagnosis->checks[diagnosis->count];
    pb__check__init(check);
    check->name = text_of(name);
    diagnosis->list[diagnosis->count++] = check;
    return check;
}

static void run_checks(struct diagnosis *diagnosis, const struct report_facts *facts)
{
    for (size_t i = 0; i < problems_check_count(); i++) {
        struct problems *problems = &diagnosis->problems[i];
        const char *name;
        const char *fine;
        problems_check(problems, i, facts, &name, &fine);
        if (problems->count == 0 && diagnosis->count < PROBLEMS_MAX) {
            Pb__Check *check = check_next(diagnosis, name);
            check->result = text_of("ok");
            check->what = text_of(fine);
        }
        for (size_t p = 0; p < problems->count && diagnosis->count < PROBLEMS_MAX; p++) {
            Pb__Check *check = check_next(diagnosis, name);
            check->result = text_of("problem");
            check->what = problems->what[p];
            check->remedy = problems->remedy[p];
        }
    }
}

static void describe_node(struct diagnosis *diagnosis, const struct report_facts *facts)
{
    const struct state_node *self = state_node(facts->state, facts->node_id);
    diagnosis->pb.version = text_of(facts->version);
    diagnosis->now = record_time(facts->now_ns);
    diagnosis->pb.now = &diagnosis->now;
    if (self == NULL)
        return;
    diagnosis->pb.addr = self->pb->addr;
    if (endpoint_is_set(&self->endpoint))
        diagnosis->pb.endpoint = text_of(endpoint_format(&self->endpoint, diagnosis->endpoint));
}

static void diagnose(const struct doctor *doctor, struct diagnosis *diagnosis,
                     const struct state *state, const struct live *live)
{
    const struct api_env *env = doctor->env;
    struct report_host host = {.interface_name = ""};
    env->host(env->ctx, &host);
    struct report_facts facts = {
        .state = state,
        .live = live,
        .host = &host,
        .node_id = env->node_id,
        .version = HEIMDALL_VERSION,
        .now_ns = live->now_ns,
    };
    pb__doctor_response__init(&diagnosis->pb);
    run_checks(diagnosis, &facts);
    describe_node(diagnosis, &facts);
    diagnosis->pb.checks = diagnosis->list;
    diagnosis->pb.n_checks = diagnosis->count;
    diagnosis->pb.reached_bytes = tap_reached(env->tap(env->ctx));
}

static void on_checked(void *ctx)
{
    struct visit *visit = ctx;
    const struct doctor *doctor = visit->doctor;
    const struct state *state = doctor->env->state(doctor->env->ctx);
    struct diagnosis *diagnosis = calloc(1, sizeof *diagnosis);
    struct live live;
    if (state == NULL) {
        rpc_call_fail(visit->call, GRPC_UNAVAILABLE, "this node is still starting");
    } else if (diagnosis == NULL) {
        rpc_call_fail(visit->call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    } else {
        live_init_now(&live, doctor->env, doctor->watch);
        diagnose(doctor, diagnosis, state, &live);
        rpc_call_reply(visit->call, &diagnosis->pb.base);
        live_fini(&live);
    }
    free(diagnosis);
    free(visit);
}

static void visit_cancelled(void *ctx, struct rpc_call *call)
{
    struct visit *visit = ctx;
    (void)call;
    visit->doctor->env->checkup_forget(visit->doctor->env->ctx, visit);
    free(visit);
}

static bool read_nonce(uint8_t out[TAP_NONCE_LEN], const char *text)
{
    for (size_t i = 0; i < TAP_NONCE_LEN; i++) {
        char pair[3] = {text[0], text[0] != '\0' ? text[1] : '\0', '\0'};
        char *end;
        if (pair[1] == '\0' || strspn(pair, "0123456789abcdef") != 2)
            return false;
        out[i] = (uint8_t)strtoul(pair, &end, 16);
        text += 2;
    }
    return text[0] == '\0';
}

static void handle_doctor(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct doctor *doctor = ctx;
    const struct api_env *env = doctor->env;
    const Pb__DoctorRequest *request = (const Pb__DoctorRequest *)message;
    struct tap *tap = env->tap(env->ctx);
    uint8_t nonce[TAP_NONCE_LEN];
    if (request->only_reached) {
        Pb__DoctorResponse response = PB__DOCTOR_RESPONSE__INIT;
        response.reached_bytes = tap_reached(tap);
        rpc_call_reply(call, &response.base);
        return;
    }
    if (request->nonce[0] != '\0') {
        if (!read_nonce(nonce, request->nonce)) {
            rpc_call_fail(call, GRPC_INVALID_ARGUMENT, "nonce is not 32 hexadecimal digits");
            return;
        }
        tap_expect(tap, nonce);
    }
    struct visit *visit = calloc(1, sizeof *visit);
    if (visit == NULL) {
        rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    *visit = (struct visit){doctor, call};
    rpc_call_on_cancel(call, visit_cancelled, visit);
    env->checkup(env->ctx, on_checked, visit);
}

int doctor_create(struct doctor **out, struct rpc_server *server, const struct api_env *env,
                  const struct watch_peer *watch)
{
    static const struct rpc_method method = {
        "/heimdall.v1.Cluster/Doctor",    RPC_UNARY,
        TRANSPORT_NODE | TRANSPORT_ADMIN, &pb__doctor_request__descriptor,
        &pb__doctor_response__descriptor, handle_doctor};
    *out = NULL;
    struct doctor *doctor = calloc(1, sizeof *doctor);
    if (doctor == NULL)
        return -ENOMEM;
    doctor->env = env;
    doctor->watch = watch;
    int code = rpc_server_add(server, &method, 1, doctor);
    if (code < 0) {
        free(doctor);
        return code;
    }
    *out = doctor;
    return 0;
}

void doctor_destroy(struct doctor *doctor)
{
    free(doctor);
}
