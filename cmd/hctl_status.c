#include "cmd/hctl_status.h"

#include "base/addr.h"
#include "base/clock.h"
#include "cmd/hctl_condition.h"
#include "cmd/hctl_lookup.h"
#include "cmd/hctl_output.h"
#include "cmd/hctl_pages.h"
#include "cmd/hctl_text.h"
#include "control/state/record.h"
#include "proto/cluster.pb-c.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COUNT(headers) (sizeof(headers) / sizeof((headers)[0]))

/* By the clock that made the answer's other times; older nodes do not tell. */
static int64_t now_of(const Pb__StatusResponse *status)
{
    return status->now != NULL ? status->now->seconds : (int64_t)(clock_realtime_ns() / NS_PER_SEC);
}

static const Pb__Node *node_of(const Pb__StatusResponse *status, const char *id)
{
    for (size_t i = 0; i < status->n_nodes; i++)
        if (status->nodes[i]->node != NULL && strcmp(status->nodes[i]->node->id, id) == 0)
            return status->nodes[i]->node;
    return NULL;
}

/* Returns the name, else the id. */
static const char *called(const char *name, const char *id)
{
    return name[0] != '\0' ? name : id;
}

/* Prints one labelled line; an empty value is left out. */
static void print_fact(const char *label, const char *value)
{
    if (value[0] == '\0')
        return;
    printf("%-16s", label);
    text_put_line(stdout, value);
}

/* ---- status ---- */

static void print_overview(const Pb__StatusResponse *status, int64_t now)
{
    char age[TEXT_AGE];
    char text[256];
    const Pb__Node *self = node_of(status, status->node_id);
    const Pb__Node *master = node_of(status, status->master_id);
    print_fact("Node:", self != NULL ? called(self->name, self->id) : "");
    print_fact("Node id:", status->node_id);
    print_fact("Cluster id:", status->cluster_id);
    print_fact("Version:", status->version);
    if (status->started != NULL)
        print_fact("Started:", text_age(age, status->started, now));
    print_fact("Master:", master != NULL ? called(master->name, master->id) : status->master_id);
    snprintf(text, sizeof text, "epoch %" PRIu64 ", revision %" PRIu64, status->epoch, status->rev);
    print_fact("State:", text);
}

/* Nodes and peers have the same columns. */
struct row {
    const char *name;
    const char *address;
    const char *state;
    const char *endpoint;
    const Pb__TunnelStatus *tunnel; /* NULL: none */
    const char *version;
};

static void set_row(struct table *table, size_t at, const struct row *row, int64_t now)
{
    char age[TEXT_AGE];
    char bytes[TEXT_BYTES];
    table_set(table, at, 0, row->name);
    table_set(table, at, 1, row->address);
    table_set(table, at, 2, row->state);
    table_set(table, at, 3, row->endpoint);
    if (row->tunnel != NULL) {
        table_set(table, at, 4, text_age(age, row->tunnel->last_handshake, now));
        table_set(table, at, 5, text_bytes(bytes, row->tunnel->rx_bytes));
        table_set(table, at, 6, text_bytes(bytes, row->tunnel->tx_bytes));
    }
    table_set(table, at, 7, row->version);
}

static enum grpc_code print_nodes(const struct invocation *invocation,
                                  const Pb__StatusResponse *status, int64_t now, struct err *err)
{
    static const char *const headers[] = {"NODE",      "ADDRESS",  "STATE", "ENDPOINT",
                                          "HANDSHAKE", "RECEIVED", "SENT",  "VERSION"};
    struct table table;
    table_init(&table, headers, COUNT(headers), status->n_nodes);
    for (size_t i = 0; i < status->n_nodes; i++) {
        const Pb__Node *node = status->nodes[i]->node;
        char endpoint[ENDPOINT_TEXT];
        if (node == NULL)
            continue;
        const Pb__TunnelStatus *tunnel = status->nodes[i]->tunnel;
        const char *state = strcmp(node->id, status->node_id) == 0 ? "answers"
                            : tunnel_works(tunnel, now)            ? "connected"
                                                                   : "no handshake";
        text_endpoint(endpoint, sizeof endpoint, node->endpoint_ip, node->endpoint_port);
        set_row(&table, i,
                &(struct row){called(node->name, node->id), node->gateway_ip, state, endpoint,
                              tunnel, node->version},
                now);
    }
    return output_table(invocation, &table, err);
}

/* Formats the peer's state; for an offline peer, also when it was last seen. */
static void describe(char *out, size_t size, const Pb__PeerStatus *peer, size_t nodes, int64_t now)
{
    char age[TEXT_AGE];
    enum peer_condition condition = peer_condition(peer, nodes, now);
    if (condition == PEER_OFFLINE && peer->peer->last_seen != NULL)
        snprintf(out, size, "offline, seen %s", text_age(age, peer->peer->last_seen, now));
    else
        snprintf(out, size, "%s", peer_condition_text(condition));
}

static enum grpc_code print_peers(const struct invocation *invocation,
                                  const Pb__StatusResponse *status, int64_t now, struct err *err)
{
    static const char *const headers[] = {"PEER",      "ADDRESS",  "STATE", "ENDPOINT",
                                          "HANDSHAKE", "RECEIVED", "SENT",  "VERSION"};
    struct table table;
    table_init(&table, headers, COUNT(headers), status->n_peers);
    for (size_t i = 0; i < status->n_peers; i++) {
        const Pb__Peer *peer = status->peers[i]->peer;
        const Pb__TunnelStatus *tunnel = status->peers[i]->tunnel;
        char state[64];
        if (peer == NULL)
            continue;
        describe(state, sizeof state, status->peers[i], status->n_nodes, now);
        set_row(&table, i,
                &(struct row){called(peer->name, peer->id), peer->peer_ip, state,
                              tunnel != NULL ? tunnel->endpoint : "", tunnel, peer->version},
                now);
    }
    return output_table(invocation, &table, err);
}

static void print_problems(const Pb__StatusResponse *status)
{
    if (status->n_problems == 0)
        printf("\nAll is well.\n");
    else
        printf("\nPROBLEMS\n");
    for (size_t i = 0; i < status->n_problems; i++) {
        printf("- ");
        text_put_line(stdout, status->problems[i]->what);
        if (status->problems[i]->remedy[0] == '\0')
            continue;
        printf("  -> ");
        text_put_line(stdout, status->problems[i]->remedy);
    }
}

static enum grpc_code print_status(const struct invocation *invocation,
                                   const Pb__StatusResponse *status, struct err *err)
{
    int64_t now = now_of(status);
    print_overview(status, now);
    putchar('\n');
    enum grpc_code code = print_nodes(invocation, status, now, err);
    if (code == GRPC_OK && status->n_peers > 0) {
        putchar('\n');
        code = print_peers(invocation, status, now, err);
    } else if (code == GRPC_OK)
        printf("\nNo peer is authorized: hctl peers authorize makes an id for one.\n");
    if (code == GRPC_OK)
        print_problems(status);
    return code;
}

static enum grpc_code on_status(void *ctx, const ProtobufCMessage *message, struct err *err)
{
    struct invocation *invocation = ctx;
    const Pb__StatusResponse *status = (const Pb__StatusResponse *)message;
    invocation->has_problems = status->n_problems > 0;
    return invocation->config.json ? output_json(message, err)
                                   : print_status(invocation, status, err);
}

static enum grpc_code
ask_status(struct invocation *invocation,
           enum grpc_code (*answer)(void *ctx, const ProtobufCMessage *response, struct err *err),
           struct err *err)
{
    Pb__StatusRequest request = PB__STATUS_REQUEST__INIT;
    return pages_call(invocation->session, SESSION_CLUSTER "Status", &request.base,
                      &pb__status_response__descriptor, answer, invocation, err);
}

enum grpc_code status_show(struct invocation *invocation, struct err *err)
{
    return ask_status(invocation, on_status, err);
}

/* ---- one peer ---- */

static void print_peer_tunnel(const Pb__TunnelStatus *tunnel, int64_t now)
{
    char age[TEXT_AGE];
    char received[TEXT_BYTES];
    char sent[TEXT_BYTES];
    char text[64];
    print_fact("Endpoint:", tunnel->endpoint);
    print_fact("Last handshake:", text_age(age, tunnel->last_handshake, now));
    snprintf(text, sizeof text, "%s received, %s sent", text_bytes(received, tunnel->rx_bytes),
             text_bytes(sent, tunnel->tx_bytes));
    print_fact("Traffic:", text);
}

static void print_clock(int64_t ahead_s)
{
    char text[64];
    snprintf(text, sizeof text, "%" PRId64 " s %s the node's", ahead_s < 0 ? -ahead_s : ahead_s,
             ahead_s < 0 ? "behind" : "ahead of");
    print_fact("Clock:", text);
}

static void print_peer(const Pb__PeerStatus *status, size_t nodes, int64_t now)
{
    const Pb__Peer *peer = status->peer;
    char age[TEXT_AGE];
    print_fact("Name:", peer->name);
    if (strcmp(peer->own_name, peer->name) != 0)
        print_fact("Calls itself:", peer->own_name);
    print_fact("Id:", peer->id);
    print_fact("State:", peer_condition_text(peer_condition(status, nodes, now)));
    print_fact("Address:", peer->peer_ip);
    print_fact("IPv6 address:", peer->peer_ip6);
    print_fact("Public key:", peer->keypair != NULL ? peer->keypair->public_key : "");
    if (status->rekey)
        print_fact("New key:", "its next connection may bring one");
    if (status->tunnel != NULL)
        print_peer_tunnel(status->tunnel, now);
    if (peer->last_seen != NULL)
        print_fact("Last seen:", text_age(age, peer->last_seen, now));
    for (size_t i = 0; i < peer->n_allowed_ips; i++)
        print_fact(i == 0 ? "Allowed:" : "", peer->allowed_ips[i]);
    if (peer->no_ipv6)
        print_fact("IPv6:", "switched off on its host");
    if (peer->keypair != NULL)
        print_fact("Preshared key:", peer->psk_version != 0 ? "yes" : "none: its hpeer is too old");
    if (status->clock_ahead_s != 0)
        print_clock(status->clock_ahead_s);
    print_fact("Version:", peer->version);
}

static enum grpc_code on_peer(void *ctx, const ProtobufCMessage *message, struct err *err)
{
    const struct invocation *invocation = ctx;
    const Pb__StatusResponse *status = (const Pb__StatusResponse *)message;
    const Pb__PeerStatus *found = NULL;
    enum grpc_code code = lookup_peer_status(status, invocation->args[0], &found, err);
    if (code != GRPC_OK)
        return code;
    if (invocation->config.json)
        return output_json(&found->base, err);
    print_peer(found, status->n_nodes, now_of(status));
    return GRPC_OK;
}

enum grpc_code peers_show(struct invocation *invocation, struct err *err)
{
    return ask_status(invocation, on_peer, err);
}
