#include "control/state/plan_peer.h"

#include "base/bytes.h"
#include "base/err.h"
#include "control/state/plan.h"
#include "control/state/plan_build.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static const union endpoint no_endpoint;

static int bad_answer(struct err *err, const char *what, const char *text)
{
    return err_set(err, -EINVAL, "the node's answer makes no sense: %s \"%.80s\"", what, text);
}

static int take_allowed_ips(struct plan_builder *builder, size_t index, const Pb__Peer *node,
                            bool is_exit, struct err *err)
{
    for (size_t i = 0; i < node->n_allowed_ips; i++) {
        struct ip_prefix prefix;
        if (!ip_prefix_parse(&prefix, node->allowed_ips[i]) || !ip_prefix_is_masked(&prefix))
            return bad_answer(err, "network", node->allowed_ips[i]);
        if (prefix.len == 0 && !is_exit)
            continue;
        if (prefix.len == 0)
            builder->plan->exit = PLAN_EXIT_ON;
        plan_builder_grant(builder, index, &prefix);
        plan_builder_route(builder, &prefix);
    }
    return 0;
}

/* Ids and names are both unique among nodes. */
static bool is_named(const Pb__Peer *node, const char *name)
{
    return name != NULL && (strcmp(node->id, name) == 0 || strcasecmp(node->name, name) == 0);
}

static int take_node(struct plan_builder *builder, const Pb__Peer *node, const char *exit_node,
                     struct err *err)
{
    uint8_t key[WG_KEY_LEN];
    union endpoint endpoint = no_endpoint;
    const char *text = node->keypair == NULL ? "" : node->keypair->public_key;
    if (strlen(text) != BASE64_KEY_LEN || !bytes_from_base64(key, sizeof key, text))
        return bad_answer(err, "public key", text);
    if (node->endpoint[0] != '\0' && !endpoint_parse(&endpoint, node->endpoint))
        return bad_answer(err, "endpoint", node->endpoint);
    for (size_t i = 0; i < builder->plan->peer_count; i++)
        if (memcmp(builder->plan->peers[i].public_key, key, sizeof key) == 0)
            return bad_answer(err, "the same key twice", text);
    size_t index = plan_builder_peer(builder, key, &endpoint, PLAN_KEEPALIVE_S);
    bool is_exit = is_named(node, exit_node);
    if (is_exit && builder->plan->exit == PLAN_EXIT_UNKNOWN)
        builder->plan->exit = PLAN_EXIT_UNPUBLISHED;
    return take_allowed_ips(builder, index, node, is_exit, err);
}

static int take_address(struct plan_builder *builder, const char *text, uint8_t family,
                        struct err *err)
{
    struct ip_prefix prefix;
    if (!ip_prefix_parse(&prefix, text) || prefix.addr.family != family)
        return bad_answer(err, "address", text);
    plan_builder_address(builder, &prefix.addr, prefix.len);
    return 0;
}

static int take_dns(struct plan_builder *builder, const Pb__ConnectResponse *response,
                    struct err *err)
{
    for (size_t i = 0; i < response->n_dns; i++) {
        struct ip_addr addr;
        if (!ip_addr_parse(&addr, response->dns[i]))
            return bad_answer(err, "resolver", response->dns[i]);
        plan_builder_dns(builder, &addr);
    }
    return 0;
}

int plan_of_peer(const Pb__ConnectResponse *response, const char *exit_node, struct plan *out,
                 struct err *err)
{
    struct plan_builder builder;
    plan_builder_init(&builder, out);
    out->exit = exit_node == NULL ? PLAN_EXIT_OFF : PLAN_EXIT_UNKNOWN;
    int rc = take_address(&builder, response->address, 4, err);
    if (rc == 0 && response->address6[0] != '\0')
        rc = take_address(&builder, response->address6, 6, err);
    for (size_t i = 0; rc == 0 && i < response->n_peers; i++)
        rc = take_node(&builder, response->peers[i], exit_node, err);
    if (rc == 0)
        rc = take_dns(&builder, response, err);
    int finished = plan_builder_finish(&builder);
    if (rc == 0 && finished != 0)
        rc = err_set(err, finished, "out of memory");
    return rc;
}
