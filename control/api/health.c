#include "control/api/health.h"

#include "base/list.h"
#include "control/rpc/server.h"
#include "proto/health.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct rpc_health {
    const struct rpc_server *server;
    struct list watchers;
    bool shutting_down;
};

struct watcher {
    struct list link;
    struct rpc_call *call;
    bool known; /* the server has the service */
};

static void fill(Pb__HealthCheckResponse *response, const struct rpc_health *health, bool known)
{
    pb__health_check_response__init(response);
    if (!known)
        response->status = PB__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
    else if (health->shutting_down)
        response->status = PB__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
    else
        response->status = PB__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
}

static bool knows(const struct rpc_health *health, const char *service)
{
    return service[0] == '\0' || rpc_server_has_service(health->server, service);
}

static void handle_health_check(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    const struct rpc_health *health = ctx;
    const Pb__HealthCheckRequest *request = (const void *)message;
    Pb__HealthCheckResponse response;
    if (!knows(health, request->service)) {
        rpc_call_fail(call, GRPC_NOT_FOUND, "there is no such service here");
        return;
    }
    fill(&response, health, true);
    rpc_call_reply(call, &response.base);
}

static void health_watcher_free(struct watcher *watcher)
{
    list_remove(&watcher->link);
    free(watcher);
}

static void health_watch_cancelled(void *ctx, struct rpc_call *call)
{
    (void)call;
    health_watcher_free(ctx);
}

static void watcher_tell(const struct rpc_health *health, struct watcher *watcher)
{
    Pb__HealthCheckResponse response;
    struct rpc_call *call = watcher->call;
    fill(&response, health, watcher->known);
    if (rpc_call_send(call, &response.base) == 0)
        return;
    health_watcher_free(watcher);
    rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
}

/* The first answer comes at once. An unknown service may appear later, so the stream stays open. */
static void handle_health_watch(void *ctx, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct rpc_health *health = ctx;
    const Pb__HealthCheckRequest *request = (const void *)message;
    struct watcher *watcher = calloc(1, sizeof *watcher);
    if (watcher == NULL) {
        rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    watcher->call = call;
    watcher->known = knows(health, request->service);
    list_append(&health->watchers, &watcher->link);
    rpc_call_on_cancel(call, health_watch_cancelled, watcher);
    watcher_tell(health, watcher);
}

void rpc_health_shut_down(struct rpc_health *health)
{
    if (health == NULL)
        return;
    health->shutting_down = true;
    list_for_each_safe (pos, &health->watchers)
        watcher_tell(health, container_of(pos, struct watcher, link));
}

int rpc_health_create(struct rpc_health **out, struct rpc_server *server)
{
    static const struct rpc_method methods[] = {
        {"/grpc.health.v1.Health/Check", RPC_UNARY, TRANSPORT_NODE | TRANSPORT_ADMIN,
         &pb__health_check_request__descriptor, &pb__health_check_response__descriptor,
         handle_health_check},
        {"/grpc.health.v1.Health/Watch", RPC_SERVER_STREAM, TRANSPORT_NODE | TRANSPORT_ADMIN,
         &pb__health_check_request__descriptor, &pb__health_check_response__descriptor,
         handle_health_watch},
    };
    *out = NULL;
    struct rpc_health *health = calloc(1, sizeof *health);
    if (health == NULL)
        return -ENOMEM;
    health->server = server;
    list_init(&health->watchers);
    int code = rpc_server_add(server, methods, sizeof methods / sizeof methods[0], health);
    if (code < 0) {
        free(health);
        return code;
    }
    *out = health;
    return 0;
}

void rpc_health_destroy(struct rpc_health *health)
{
    if (health == NULL)
        return;
    list_for_each_safe (pos, &health->watchers)
        health_watcher_free(container_of(pos, struct watcher, link));
    free(health);
}
