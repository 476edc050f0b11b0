#include "cmd/hctl_problems.h"

#include "base/addr.h"
#include "cmd/hctl_text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A session is renewed every two minutes while anything is sent, and peers send keepalives; the
 * protocol gives one up after three. */
enum { HANDSHAKE_OLD_S = 180 };

static bool is_recent(const Heimdall__V1__TunnelStatus *tunnel, int64_t now)
{
    return tunnel != NULL && tunnel->last_handshake != NULL &&
           now - tunnel->last_handshake->seconds <= HANDSHAKE_OLD_S;
}

/* An empty one is not known. */
static bool is_other(const char *version, const char *ours)
{
    return version[0] != '\0' && strcmp(version, ours) != 0;
}

enum peer_condition peer_condition(const Heimdall__V1__PeerStatus *peer, int64_t now)
{
    if (peer->peer == NULL || peer->peer->keypair == NULL ||
        peer->peer->keypair->public_key[0] == '\0')
        return PEER_NEVER;
    if (is_recent(peer->tunnel, now))
        return PEER_CONNECTED;
    return peer->watching ? PEER_NO_HANDSHAKE : PEER_OFFLINE;
}

const char *peer_condition_text(enum peer_condition condition)
{
    switch (condition) {
    case PEER_NEVER:
        return "never connected";
    case PEER_CONNECTED:
        return "connected";
    case PEER_NO_HANDSHAKE:
        return "no handshake";
    case PEER_OFFLINE:
        return "offline";
    }
    return "";
}

/* ---- problems ---- */

/* Those that one problem is about: the first few by name. */
struct crowd {
    char names[256];
    size_t count;
};

enum { NAMED = 3 };

static void crowd_add(struct crowd *crowd, const char *name, const char *version)
{
    size_t len = strlen(crowd->names);
    if (crowd->count++ < NAMED)
        snprintf(crowd->names + len, sizeof crowd->names - len, "%s%.63s%s%.16s",
                 len > 0 ? ", " : "", name, version[0] != '\0' ? " with " : "", version);
}

/* Adds ": a, b, c and 4 more". */
static const char *crowd_text(struct crowd *crowd)
{
    size_t len = strlen(crowd->names);
    if (crowd->count > NAMED)
        snprintf(crowd->names + len, sizeof crowd->names - len, " and %zu more",
                 crowd->count - NAMED);
    return crowd->names;
}

/* There is room for it. */
static int add(struct problems *problems, const char *what, const char *remedy)
{
    Heimdall__V1__Problem *problem = malloc(sizeof *problem);
    if (problem == NULL)
        return -ENOMEM;
    heimdall__v1__problem__init(problem);
    problem->what = strdup(what);
    problem->remedy = strdup(remedy);
    problems->all[problems->count++] = problem;
    return problem->what != NULL && problem->remedy != NULL ? 0 : -ENOMEM;
}

static int find_silent(struct problems *problems, const Heimdall__V1__StatusResponse *status,
                       int64_t now)
{
    struct crowd crowd = {0};
    char what[512];
    char remedy[512];
    char endpoint[ENDPOINT_TEXT] = "this node";
    for (size_t i = 0; i < status->n_peers; i++)
        if (peer_condition(status->peers[i], now) == PEER_NO_HANDSHAKE)
            crowd_add(&crowd, status->peers[i]->peer->name, "");
    for (size_t i = 0; i < status->n_nodes; i++) {
        const Dev__Ehazlett__Heimdall__Api__V1__Node *node = status->nodes[i]->node;
        if (node != NULL && strcmp(node->id, status->node_id) == 0)
            text_endpoint(endpoint, sizeof endpoint, node->endpoint_ip, node->endpoint_port);
    }
    if (crowd.count == 0)
        return 0;
    snprintf(what, sizeof what, "connected, but without a handshake in the tunnel: %s",
             crowd_text(&crowd));
    snprintf(remedy, sizeof remedy,
             "let UDP through from there to %s, and the answers back; the log of hpeer says more",
             endpoint);
    return add(problems, what, remedy);
}

static int find_versions(struct problems *problems, const Heimdall__V1__StatusResponse *status,
                         int64_t now)
{
    struct crowd crowd = {0};
    char what[512];
    for (size_t i = 0; i < status->n_nodes; i++) {
        const Dev__Ehazlett__Heimdall__Api__V1__Node *node = status->nodes[i]->node;
        if (node != NULL && is_other(node->version, status->version))
            crowd_add(&crowd, node->name, node->version);
    }
    for (size_t i = 0; i < status->n_peers; i++) {
        const Dev__Ehazlett__Heimdall__Api__V1__Peer *peer = status->peers[i]->peer;
        if (peer_condition(status->peers[i], now) != PEER_NEVER &&
            is_other(peer->version, status->version))
            crowd_add(&crowd, peer->name, peer->version);
    }
    if (crowd.count == 0)
        return 0;
    snprintf(what, sizeof what, "another version than this node's %.16s: %s", status->version,
             crowd_text(&crowd));
    return add(problems, what, "install the same version everywhere, the nodes first");
}

int problems_find(struct problems *out, const Heimdall__V1__StatusResponse *status, int64_t now)
{
    enum { OURS = 2 };
    *out = (struct problems){.count = status->n_problems, .borrowed = status->n_problems};
    out->all = calloc(status->n_problems + OURS, sizeof *out->all);
    if (out->all == NULL) {
        out->count = out->borrowed = 0;
        return -ENOMEM;
    }
    for (size_t i = 0; i < status->n_problems; i++)
        out->all[i] = status->problems[i];
    int code = find_silent(out, status, now);
    return code < 0 ? code : find_versions(out, status, now);
}

void problems_fini(struct problems *problems)
{
    for (size_t i = problems->borrowed; i < problems->count; i++) {
        free(problems->all[i]->what);
        free(problems->all[i]->remedy);
        free(problems->all[i]);
    }
    free(problems->all);
    *problems = (struct problems){0};
}
