#include "control/daemon/agent_nodes.h"

#include "base/log.h"
#include "control/daemon/agent_parts.h"
#include "control/host/datadir.h"
#include "control/host/tunnel.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { GRPC_PORT = 9000 };

#define NODES_FILE "nodes" /* of the data dir: addresses, with a blank between two */

static bool contains(const struct address *list, size_t count, const struct address *address)
{
    for (size_t i = 0; i < count; i++)
        if (address_equal(&list[i], address))
            return true;
    return false;
}

static void learn(struct agent *agent, const char *text)
{
    struct address *next = &agent->addresses[agent->address_count];
    if (agent->address_count < AGENT_ADDRESSES_MAX && address_parse(next, text, false, NULL) == 0 &&
        next->kind == ADDRESS_TCP && !contains(agent->addresses, agent->address_count, next))
        agent->address_count++;
}

void agent_nodes_load(struct agent *agent)
{
    char text[DATADIR_TEXT_MAX + 1];
    char *rest = NULL;
    if (datadir_read(agent->datadir, NODES_FILE, text, sizeof text, NULL) < 0)
        return;
    snprintf(agent->nodes_saved, sizeof agent->nodes_saved, "%s", text);
    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        learn(agent, word);
}

/* What does not fit is left out. */
static void save(struct agent *agent)
{
    char text[DATADIR_TEXT_MAX + 1] = "";
    char word[ADDRESS_TEXT];
    struct err err;
    size_t len = 0;
    for (size_t i = 1; i < agent->address_count; i++) {
        size_t more = strlen(address_format(&agent->addresses[i], word)) + (len > 0);
        if (len + more < sizeof text)
            len +=
                (size_t)snprintf(text + len, sizeof text - len, "%s%s", len > 0 ? " " : "", word);
    }
    if (len == 0 || strcmp(text, agent->nodes_saved) == 0)
        return;
    memcpy(agent->nodes_saved, text, len + 1);
    if (datadir_write(agent->datadir, NODES_FILE, text, &err) < 0)
        log_debug("cannot save the nodes' addresses", F_STR("error", err.text));
}

void agent_nodes_learn(struct agent *agent, const Pb__ConnectResponse *response)
{
    agent->address_count = 1;
    for (size_t i = 0; i < response->n_node_addresses; i++)
        learn(agent, response->node_addresses[i]);
    save(agent);
}

/* A node whose host got another address has sent from it since, so that the tunnel knows it while
 * the control connection to the old one is dead. */
static size_t add_met(struct agent *agent, struct address *out, size_t count)
{
    struct path_info info;
    uint16_t port = agent->addresses[0].port != 0 ? agent->addresses[0].port : GRPC_PORT;
    if (tunnel_info(agent->tunnel, &info) < 0)
        return count;
    for (size_t i = 0; i < info.device.peer_count && count < AGENT_CANDIDATES_MAX; i++) {
        struct ip_addr addr;
        struct address *next = &out[count];
        if (!endpoint_is_set(&info.device.peers[i].endpoint))
            continue;
        endpoint_addr(&info.device.peers[i].endpoint, &addr);
        *next = (struct address){.kind = ADDRESS_TCP, .port = port};
        endpoint_from_addr(&next->endpoint, &addr, port);
        ip_addr_format(&addr, next->host);
        count += !contains(out, count, next);
    }
    path_info_fini(&info);
    return count;
}

size_t agent_nodes_candidates(struct agent *agent, struct address out[AGENT_CANDIDATES_MAX])
{
    memcpy(out, agent->addresses, agent->address_count * sizeof *out);
    return add_met(agent, out, agent->address_count);
}
