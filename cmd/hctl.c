/* Administers the network. Every command is a row of `commands`: its words, what may follow them,
 * and the function that asks the node and prints the answer. */
#include "base/clock.h"
#include "cmd/hctl_print.h"
#include "cmd/hctl_session.h"
#include "control/config.h"
#include "control/record.h"
#include "proto/heimdall.pb-c.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct route_options {
    const char *node_id;
    const char *network;
};

struct invocation {
    struct ctl_config config;
    struct route_options route;
    struct session *session;
    char **args; /* words behind the command */
    size_t arg_count;
};

struct command {
    const char *group;
    const char *name;
    const char *args; /* for the help */
    const char *help;
    size_t args_min;
    size_t args_max;
    bool has_route_options;
    int (*run)(struct invocation *invocation, struct err *err);
};

enum { ANY_NUMBER = 1024 };

/* ---- printing answers ---- */

enum { COLUMNS = 6 };

/* A table being filled: cells are owned. */
struct table {
    char **cells;
    size_t columns;
    size_t rows;
    bool failed;
};

static void table_init(struct table *table, size_t columns, size_t rows)
{
    *table = (struct table){.columns = columns, .rows = rows};
    table->cells = calloc(columns * rows + 1, sizeof *table->cells);
    table->failed = table->cells == NULL;
}

static void table_set(struct table *table, size_t row, size_t column, const char *text)
{
    if (table->failed)
        return;
    table->cells[row * table->columns + column] = strdup(text != NULL ? text : "");
    table->failed = table->cells[row * table->columns + column] == NULL;
}

static void table_finish(struct table *table, const char *const *headers)
{
    if (table->failed)
        fprintf(stderr, "hctl: out of memory\n");
    else
        print_table(stdout, headers, table->columns, table->cells, table->rows);
    for (size_t i = 0; table->cells != NULL && i < table->columns * table->rows; i++)
        free(table->cells[i]);
    free(table->cells);
}

static const char *key_of(const PB(KeyPair) * keypair)
{
    return keypair != NULL ? keypair->public_key : "";
}

static void format_endpoint(char *out, size_t size, const PB(Node) * node)
{
    bool brackets = strchr(node->endpoint_ip, ':') != NULL;
    if (node->endpoint_ip[0] == '\0')
        out[0] = '\0';
    else
        snprintf(out, size, brackets ? "[%s]:%llu" : "%s:%llu", node->endpoint_ip,
                 (unsigned long long)node->endpoint_port);
}

static void print_nodes(void *ctx, const ProtobufCMessage *message)
{
    static const char *const headers[] = {"ID",      "ADDR",    "ENDPOINT",
                                          "GATEWAY", "UPDATED", "PUBLIC KEY"};
    const PB(NodesResponse) *response = (const PB(NodesResponse) *)message;
    int64_t now = (int64_t)(clock_realtime_ns() / NS_PER_SEC);
    struct table table;
    (void)ctx;
    table_init(&table, COLUMNS, response->n_nodes);
    for (size_t i = 0; i < response->n_nodes; i++) {
        const PB(Node) *node = response->nodes[i];
        char endpoint[ENDPOINT_TEXT];
        char age[40] = "";
        format_endpoint(endpoint, sizeof endpoint, node);
        if (node->updated != NULL)
            print_age(age, sizeof age, node->updated->seconds, now);
        table_set(&table, i, 0, node->id);
        table_set(&table, i, 1, node->addr);
        table_set(&table, i, 2, endpoint);
        table_set(&table, i, 3, node->gateway_ip);
        table_set(&table, i, 4, age);
        table_set(&table, i, 5, key_of(node->keypair));
    }
    table_finish(&table, headers);
}

static void format_allowed(char *out, size_t size, const PB(Peer) * peer)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < peer->n_allowed_ips && len < size; i++)
        len +=
            (size_t)snprintf(out + len, size - len, "%s%s", i > 0 ? "," : "", peer->allowed_ips[i]);
}

static void print_peers(void *ctx, const ProtobufCMessage *message)
{
    static const char *const headers[] = {"ID", "PUBLIC KEY", "ENDPOINT", "ALLOWED", "PEER IP"};
    const PB(PeersResponse) *response = (const PB(PeersResponse) *)message;
    struct table table;
    (void)ctx;
    table_init(&table, 5, response->n_peers);
    for (size_t i = 0; i < response->n_peers; i++) {
        const PB(Peer) *peer = response->peers[i];
        char allowed[1024];
        format_allowed(allowed, sizeof allowed, peer);
        table_set(&table, i, 0, peer->id);
        table_set(&table, i, 1, key_of(peer->keypair));
        table_set(&table, i, 2, peer->endpoint);
        table_set(&table, i, 3, allowed);
        table_set(&table, i, 4, peer->peer_ip);
    }
    table_finish(&table, headers);
}

static void print_authorized(void *ctx, const ProtobufCMessage *message)
{
    static const char *const headers[] = {"ID"};
    const PB(AuthorizedPeersResponse) *response = (const PB(AuthorizedPeersResponse) *)message;
    struct table table;
    (void)ctx;
    table_init(&table, 1, response->n_ids);
    for (size_t i = 0; i < response->n_ids; i++)
        table_set(&table, i, 0, response->ids[i]);
    table_finish(&table, headers);
}

static void print_routes(void *ctx, const ProtobufCMessage *message)
{
    static const char *const headers[] = {"NODE", "NETWORK"};
    const PB(RoutesResponse) *response = (const PB(RoutesResponse) *)message;
    struct table table;
    (void)ctx;
    table_init(&table, 2, response->n_routes);
    for (size_t i = 0; i < response->n_routes; i++) {
        table_set(&table, i, 0, response->routes[i]->node_id);
        table_set(&table, i, 1, response->routes[i]->network);
    }
    table_finish(&table, headers);
}

static void print_as_json(void *ctx, const ProtobufCMessage *message)
{
    (void)ctx;
    if (print_json(stdout, message) < 0)
        fprintf(stderr, "hctl: out of memory\n");
}

/* ---- commands ---- */

static int list(struct invocation *invocation, const char *method,
                const ProtobufCMessageDescriptor *request,
                const ProtobufCMessageDescriptor *response,
                void (*print)(void *ctx, const ProtobufCMessage *message), struct err *err)
{
    union {
        ProtobufCMessage base;
        PB(NodesRequest) nodes;
        PB(PeersRequest) peers;
        PB(RoutesRequest) routes;
        PB(AuthorizedPeersRequest) authorized;
    } empty;
    protobuf_c_message_init(request, &empty);
    return session_call(invocation->session, method, &empty.base, response,
                        invocation->config.json ? print_as_json : print, NULL, err);
}

static int nodes_list(struct invocation *invocation, struct err *err)
{
    return list(invocation, "Nodes", &PB_FN(nodes_request__descriptor),
                &PB_FN(nodes_response__descriptor), print_nodes, err);
}

static int peers_list(struct invocation *invocation, struct err *err)
{
    return list(invocation, "Peers", &PB_FN(peers_request__descriptor),
                &PB_FN(peers_response__descriptor), print_peers, err);
}

static int peers_authorized(struct invocation *invocation, struct err *err)
{
    return list(invocation, "AuthorizedPeers", &PB_FN(authorized_peers_request__descriptor),
                &PB_FN(authorized_peers_response__descriptor), print_authorized, err);
}

static int routes_list(struct invocation *invocation, struct err *err)
{
    return list(invocation, "Routes", &PB_FN(routes_request__descriptor),
                &PB_FN(routes_response__descriptor), print_routes, err);
}

static int change(struct invocation *invocation, const char *method,
                  const ProtobufCMessage *request, const char *about, struct err *err)
{
    struct err cause;
    int code = session_call(invocation->session, method, request,
                            &google__protobuf__empty__descriptor, NULL, NULL, &cause);
    return code < 0 ? err_set(err, code, "%s: %s", about, cause.text) : 0;
}

static int peers_authorize(struct invocation *invocation, struct err *err)
{
    int code = 0;
    for (size_t i = 0; i < invocation->arg_count && code == 0; i++) {
        PB(AuthorizePeerRequest) request;
        PB_FN(authorize_peer_request__init)(&request);
        request.id = invocation->args[i];
        code = change(invocation, "AuthorizePeer", &request.base, request.id, err);
    }
    return code;
}

static int peers_deauthorize(struct invocation *invocation, struct err *err)
{
    int code = 0;
    for (size_t i = 0; i < invocation->arg_count && code == 0; i++) {
        PB(DeauthorizePeerRequest) request;
        PB_FN(deauthorize_peer_request__init)(&request);
        request.id = invocation->args[i];
        code = change(invocation, "DeauthorizePeer", &request.base, request.id, err);
    }
    return code;
}

static int routes_create(struct invocation *invocation, struct err *err)
{
    char node_id[256];
    char network[256];
    PB(CreateRouteRequest) request;
    snprintf(node_id, sizeof node_id, "%s", invocation->route.node_id);
    snprintf(network, sizeof network, "%s", invocation->route.network);
    PB_FN(create_route_request__init)(&request);
    request.node_id = node_id;
    request.network = network;
    return change(invocation, "CreateRoute", &request.base, network, err);
}

static int routes_delete(struct invocation *invocation, struct err *err)
{
    PB(DeleteRouteRequest) request;
    PB_FN(delete_route_request__init)(&request);
    request.network = invocation->args[0];
    return change(invocation, "DeleteRoute", &request.base, request.network, err);
}

static const struct command commands[] = {
    {"nodes", "list", "", "list the nodes", 0, 0, false, nodes_list},
    {"peers", "list", "", "list the peers that have connected", 0, 0, false, peers_list},
    {"peers", "authorized", "", "list the ids that may connect", 0, 0, false, peers_authorized},
    {"peers", "authorize", "ID...", "let peers connect", 1, ANY_NUMBER, false, peers_authorize},
    {"peers", "deauthorize", "ID...", "cut peers off and free their addresses", 1, ANY_NUMBER,
     false, peers_deauthorize},
    {"routes", "list", "", "list the published networks", 0, 0, false, routes_list},
    {"routes", "create", "--node-id ID --network CIDR", "publish a network behind a node", 0, 0,
     true, routes_create},
    {"routes", "delete", "CIDR", "withdraw a network", 1, 1, false, routes_delete},
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

/* ---- the command line ---- */

static const struct option route_rows[] = {
    {"node-id", 0, NULL, &option_text, NULL, "id of the node that the network is behind",
     offsetof(struct route_options, node_id)},
    {"network", 0, NULL, &option_text, NULL, "the network, as 192.168.50.0/24",
     offsetof(struct route_options, network)},
};

static void print_usage(struct ctl_config *config)
{
    struct option_set set = config_ctl_set(config);
    printf("hctl - administers a peer-to-peer private network\n\n"
           "usage: hctl [options] COMMAND\n\ncommands:\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s %s", commands[i].group, commands[i].name,
                 commands[i].args);
        printf("  %-44s %s\n", left, commands[i].help);
    }
    printf("\noptions:\n");
    options_print_help(stdout, &set);
}

static const struct command *find_command(char **words, size_t count, struct err *err)
{
    bool group_known = false;
    if (count == 0) {
        err_set(err, -EINVAL, "expects a command: --help lists them");
        return NULL;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].group, words[0]) != 0)
            continue;
        group_known = true;
        if (count > 1 && strcmp(commands[i].name, words[1]) == 0)
            return &commands[i];
    }
    if (!group_known)
        err_set(err, -EINVAL, "unknown command \"%s\": --help lists the commands", words[0]);
    else if (count == 1)
        err_set(err, -EINVAL, "command \"%s\" needs a second word: --help lists the commands",
                words[0]);
    else
        err_set(err, -EINVAL, "unknown command \"%s %s\": --help lists the commands", words[0],
                words[1]);
    return NULL;
}

static enum options_outcome check_args(const struct command *command,
                                       const struct invocation *invocation, struct err *err)
{
    if (invocation->arg_count < command->args_min || invocation->arg_count > command->args_max) {
        err_set(err, -EINVAL, "usage: hctl %s %s%s%s", command->group, command->name,
                command->args[0] != '\0' ? " " : "", command->args);
        return OPTIONS_BAD;
    }
    if (command->has_route_options &&
        (invocation->route.node_id == NULL || invocation->route.network == NULL)) {
        err_set(err, -EINVAL, "option %s is missing: hctl %s %s %s",
                invocation->route.node_id == NULL ? "--node-id" : "--network", command->group,
                command->name, command->args);
        return OPTIONS_BAD;
    }
    return OPTIONS_OK;
}

/* Global options, the command's two words, then its own options and words in any order. */
static enum options_outcome read_command_line(struct invocation *invocation, int argc, char **argv,
                                              const struct command **command, struct err *err)
{
    int next;
    *command = NULL;
    enum options_outcome outcome = config_read_ctl(&invocation->config, argc, argv, &next, err);
    if (outcome != OPTIONS_OK)
        return outcome;
    for (int i = next; i < argc; i++)
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0)
            return OPTIONS_HELP;
    *command = find_command(argv + next, (size_t)(argc - next), err);
    if (*command == NULL)
        return OPTIONS_BAD;
    next += 2;
    struct option_set sets[] = {
        config_ctl_set(&invocation->config),
        {.rows = route_rows,
         .count = sizeof route_rows / sizeof route_rows[0],
         .out = &invocation->route},
    };
    int first = next;
    outcome =
        options_parse(sets, (*command)->has_route_options ? 2 : 1, argc, argv, &next, false, err);
    invocation->args = argv + first;
    invocation->arg_count = (size_t)(next - first);
    if (outcome == OPTIONS_OK && !config_complete_ctl(&invocation->config, err))
        outcome = OPTIONS_BAD;
    return outcome == OPTIONS_OK ? check_args(*command, invocation, err) : outcome;
}

static int run(struct invocation *invocation, const struct command *command, struct err *err)
{
    config_apply_log(&invocation->config.log);
    int code = session_open(&invocation->session, &invocation->config, err);
    if (code == 0)
        code = command->run(invocation, err);
    session_close(invocation->session);
    return code;
}

int main(int argc, char **argv)
{
    struct invocation invocation = {0};
    const struct command *command;
    struct err err = {0};
    enum options_outcome outcome = read_command_line(&invocation, argc, argv, &command, &err);
    if (outcome == OPTIONS_HELP)
        print_usage(&invocation.config);
    int code = EXIT_SUCCESS;
    if (outcome != OPTIONS_OK)
        code = config_report_usage(outcome, "hctl", &err);
    else if (run(&invocation, command, &err) < 0) {
        fprintf(stderr, "hctl: %s\n", err.text);
        code = EXIT_FAILURE;
    }
    config_ctl_fini(&invocation.config);
    return code;
}
