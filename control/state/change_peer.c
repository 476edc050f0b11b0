#include "base/err.h"
#include "control/state/change_build.h"
#include "control/state/ipam.h"
#include "control/state/record_time.h"
#include "control/state/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- authorization ---- */

static enum grpc_code authorize(struct change *change, const struct state *state, const char *id,
                                const uint8_t *secret, size_t len, uint64_t now_ns, struct err *err)
{
    enum grpc_code code = change_need_cluster(state, err);
    if (code != GRPC_OK)
        return code;
    if (access_check_id(id, "peer id", err) != 0)
        return GRPC_INVALID_ARGUMENT;
    if (state_node(state, id) != NULL)
        return REFUSE(err, GRPC_ALREADY_EXISTS, "the id is that of a node");
    if (state_authorization(state, id) != NULL)
        return GRPC_OK;
    Pb__Authorization record = PB__AUTHORIZATION__INIT;
    Google__Protobuf__Timestamp created = record_time(now_ns);
    record.id = change_text(id);
    record.created = &created;
    record.wire_secret.data = (uint8_t *)(uintptr_t)secret; /* packing does not write */
    record.wire_secret.len = len;
    change_add_message(change, RECORD_HSET, RECORD_KEY_AUTHORIZED, id, &record.base);
    return GRPC_OK;
}

enum grpc_code change_authorize_peer_secret(struct change *change, const struct state *state,
                                            const char *id, const uint8_t *secret, size_t len,
                                            uint64_t now_ns, struct err *err)
{
    change_begin(change, state);
    return change_finish(change, authorize(change, state, id, secret, len, now_ns, err), err);
}

enum grpc_code change_authorize_peer(struct change *change, const struct state *state,
                                     const char *id, uint64_t now_ns, struct err *err)
{
    return change_authorize_peer_secret(change, state, id, NULL, 0, now_ns, err);
}

static void free_address(struct change *change, const struct state *state, const char *id,
                         const struct ip_addr *addr)
{
    char name[IP_ADDR_TEXT];
    const char *owner = addr->family == 0 ? NULL : state_address_owner(state, addr);
    if (owner != NULL && strcmp(owner, id) == 0)
        change_add(change, RECORD_HDEL, RECORD_KEY_PEERIPS, ip_addr_format(addr, name), NULL, 0);
}

static enum grpc_code deauthorize(struct change *change, const struct state *state, const char *id,
                                  struct err *err)
{
    enum grpc_code code = change_need_cluster(state, err);
    if (code != GRPC_OK)
        return code;
    const struct state_peer *peer = state_peer(state, id);
    if (state_authorization(state, id) != NULL)
        change_add(change, RECORD_HDEL, RECORD_KEY_AUTHORIZED, id, NULL, 0);
    else if (peer == NULL)
        return REFUSE(err, GRPC_NOT_FOUND, "this id is not authorized");
    if (peer != NULL) {
        free_address(change, state, id, &peer->address);
        free_address(change, state, id, &peer->address6);
        change_add_del(change, RECORD_KEY_PEERS, id);
    }
    return GRPC_OK;
}

enum grpc_code change_deauthorize_peer(struct change *change, const struct state *state,
                                       const char *id, struct err *err)
{
    change_begin(change, state);
    return change_finish(change, deauthorize(change, state, id, err), err);
}

static enum grpc_code rekey(struct change *change, const struct state *state, const char *id,
                            struct err *err)
{
    enum grpc_code code = change_need_cluster(state, err);
    if (code != GRPC_OK)
        return code;
    const struct state_authorization *have = state_authorization(state, id);
    if (have == NULL)
        return REFUSE(err, GRPC_NOT_FOUND, "this id is not authorized");
    if (state_peer(state, id) == NULL || have->pb->rekey)
        return GRPC_OK; /* no key is bound yet, or the next connect may already bring a new one */
    Pb__Authorization record = *have->pb;
    record.rekey = true;
    record.rekeys++;
    change_add_message(change, RECORD_HSET, RECORD_KEY_AUTHORIZED, id, &record.base);
    return GRPC_OK;
}

enum grpc_code change_rekey_peer(struct change *change, const struct state *state, const char *id,
                                 struct err *err)
{
    change_begin(change, state);
    return change_finish(change, rekey(change, state, id, err), err);
}

/* Gives a peer its name: the administrator's, else its own if nobody else has that. */
static void put_name(struct change *change, const struct state *state,
                     const struct state_peer *peer, const char *given)
{
    char name[ACCESS_NAME_MAX + 1];
    Pb__Peer record = *peer->pb;
    record.name = change_text(given);
    if (given[0] == '\0' && record.own_name[0] != '\0' &&
        change_claim_name(state, peer->id, record.own_name, name, NULL) == GRPC_OK)
        record.name = name;
    if (strcmp(record.name, peer->name) != 0)
        change_add_message(change, RECORD_SET, RECORD_KEY_PEERS, peer->id, &record.base);
}

static enum grpc_code rename_peer(struct change *change, const struct state *state, const char *id,
                                  const char *wanted, struct err *err)
{
    char name[ACCESS_NAME_MAX + 1] = "";
    enum grpc_code code = change_need_cluster(state, err);
    if (code != GRPC_OK)
        return code;
    const struct state_authorization *have = state_authorization(state, id);
    if (have == NULL)
        return REFUSE(err, GRPC_NOT_FOUND, "this id is not authorized");
    if (wanted[0] != '\0')
        code = change_claim_name(state, id, wanted, name, err);
    if (code != GRPC_OK || strcmp(have->name, name) == 0)
        return code;
    Pb__Authorization record = *have->pb;
    record.name = name;
    change_add_message(change, RECORD_HSET, RECORD_KEY_AUTHORIZED, id, &record.base);
    if (state_peer(state, id) != NULL)
        put_name(change, state, state_peer(state, id), name);
    return GRPC_OK;
}

enum grpc_code change_rename_peer(struct change *change, const struct state *state, const char *id,
                                  const char *name, struct err *err)
{
    change_begin(change, state);
    return change_finish(change, rename_peer(change, state, id, name, err), err);
}

/* ---- connecting ---- */

/* Checks that the key is the one that the id is bound to, or that it may take its place. */
static enum grpc_code check_key(const struct state *state, const struct change_peer *peer,
                                struct err *err)
{
    uint8_t key[32];
    enum grpc_code code = change_claim_key(state, peer->id, peer->public_key, key, err);
    const struct state_peer *have = state_peer(state, peer->id);
    if (code != GRPC_OK || have == NULL || memcmp(have->public_key, key, sizeof key) == 0 ||
        state_authorization(state, peer->id)->pb->rekey)
        return code;
    return REFUSE(err, GRPC_PERMISSION_DENIED,
                  "the peer id is bound to another WireGuard key: if the key was lost, run on a "
                  "node: hctl peers rekey %s",
                  peer->id);
}

/* Checks what a peer reports of itself. Writes the name that it gets and the one that it gives
 * itself, both in lower case. */
static enum grpc_code check_peer(const struct state *state, const struct change_peer *peer,
                                 char name[ACCESS_NAME_MAX + 1], char own_name[ACCESS_NAME_MAX + 1],
                                 struct err *err)
{
    if (access_check_id(peer->id, "peer id", err) != 0)
        return GRPC_INVALID_ARGUMENT;
    const struct state_authorization *authorization = state_authorization(state, peer->id);
    if (authorization == NULL)
        return REFUSE(err, GRPC_PERMISSION_DENIED,
                      "the peer is not authorized: run on a node: hctl peers authorize %s",
                      peer->id);
    if (peer->public_key[0] == '\0')
        return REFUSE(err, GRPC_FAILED_PRECONDITION,
                      "this hpeer expects the server to make its private key, which never leaves a "
                      "host here: upgrade hpeer");
    enum grpc_code code = check_key(state, peer, err);
    if (code == GRPC_OK)
        code = change_check_version(peer->version, err);
    own_name[0] = '\0';
    if (code == GRPC_OK && peer->name[0] != '\0' &&
        access_check_name(peer->name, own_name, err) != 0)
        code = GRPC_INVALID_ARGUMENT;
    snprintf(name, ACCESS_NAME_MAX + 1, "%s",
             authorization->name[0] != '\0' ? authorization->name : own_name);
    if (code == GRPC_OK && authorization->name[0] == '\0' && own_name[0] != '\0')
        code = change_claim_name(state, peer->id, own_name, name, err);
    return code;
}

static void claim_address(struct change *change, const char *id, const char *addr)
{
    change_add(change, RECORD_HSET, RECORD_KEY_PEERIPS, addr, id, strlen(id));
}

/* The texts that a new peer's record points to. */
struct peer_texts {
    char addr[IP_ADDR_TEXT];
    char addr6[IP_ADDR_TEXT];
    char allowed[IP_PREFIX_TEXT];
    char allowed6[IP_PREFIX_TEXT];
    char *allowed_ips[2];
};

static enum grpc_code give_address(struct change *change, const struct state *state,
                                   Pb__Peer *record, struct peer_texts *texts, struct err *err)
{
    struct ip_addr addr;
    struct ip_addr addr6;
    if (ipam_peer_address(state, &addr, &addr6) != 0)
        return REFUSE(
            err, GRPC_RESOURCE_EXHAUSTED,
            "no free address is left in the peer network: deauthorize peers that are gone");
    struct ip_prefix host = ip_prefix_host(&addr);
    record->allowed_ips = texts->allowed_ips;
    record->n_allowed_ips = 1;
    record->peer_ip = change_text(ip_addr_format(&addr, texts->addr));
    texts->allowed_ips[0] = change_text(ip_prefix_format(&host, texts->allowed));
    claim_address(change, record->id, record->peer_ip);
    if (addr6.family != 0) {
        struct ip_prefix host6 = ip_prefix_host(&addr6);
        record->n_allowed_ips = 2;
        record->peer_ip6 = change_text(ip_addr_format(&addr6, texts->addr6));
        texts->allowed_ips[1] = change_text(ip_prefix_format(&host6, texts->allowed6));
        claim_address(change, record->id, record->peer_ip6);
    }
    return GRPC_OK;
}

/* A connect alone does not renew last_seen: that would write a record for every reconnect. */
static bool peer_is_current(const struct state_peer *have, const Pb__Peer *record)
{
    const Pb__Peer *pb = have->pb;
    return strcmp(pb->name, record->name) == 0 && strcmp(pb->own_name, record->own_name) == 0 &&
           strcmp(pb->version, record->version) == 0 && pb->no_ipv6 == record->no_ipv6 &&
           pb->psk_version == record->psk_version &&
           strcmp(pb->keypair->public_key, record->keypair->public_key) == 0 &&
           pb->last_seen != NULL && pb->absent_s == 0;
}

/* Ends the permission for another key, which has come. */
static void end_rekey(struct change *change, const struct state *state, const char *id)
{
    Pb__Authorization record = *state_authorization(state, id)->pb;
    record.rekey = false;
    change_add_message(change, RECORD_HSET, RECORD_KEY_AUTHORIZED, id, &record.base);
}

static enum grpc_code connect_peer(struct change *change, const struct state *state,
                                   const struct change_peer *peer, struct err *err)
{
    char name[ACCESS_NAME_MAX + 1];
    char own_name[ACCESS_NAME_MAX + 1];
    struct peer_texts texts;
    enum grpc_code code = change_need_cluster(state, err);
    if (code == GRPC_OK)
        code = check_peer(state, peer, name, own_name, err);
    if (code != GRPC_OK)
        return code;
    const struct state_peer *have = state_peer(state, peer->id);
    Pb__Peer record;
    Pb__KeyPair keypair;
    pb__peer__init(&record);
    pb__key_pair__init(&keypair);
    if (have != NULL)
        record = *have->pb;
    Google__Protobuf__Timestamp now = record_time(peer->now_ns);
    keypair.public_key = change_text(peer->public_key);
    record.id = change_text(peer->id);
    record.name = name;
    record.own_name = own_name;
    record.version = change_text(peer->version);
    record.keypair = &keypair;
    record.last_seen = &now;
    record.absent_s = 0;
    record.no_ipv6 = peer->no_ipv6;
    record.psk_version = peer->psk_version;
    if (have != NULL && peer_is_current(have, &record))
        return GRPC_OK;
    if (have == NULL)
        code = give_address(change, state, &record, &texts, err);
    else if (strcmp(have->pb->keypair->public_key, peer->public_key) != 0)
        end_rekey(change, state, peer->id);
    if (code == GRPC_OK)
        change_add_message(change, RECORD_SET, RECORD_KEY_PEERS, peer->id, &record.base);
    return code;
}

enum grpc_code change_connect_peer(struct change *change, const struct state *state,
                                   const struct change_peer *peer, struct err *err)
{
    change_begin(change, state);
    return change_finish(change, connect_peer(change, state, peer, err), err);
}

enum grpc_code change_peers_seen(struct change *change, const struct state *state,
                                 const struct change_seen *seen, size_t count, struct err *err)
{
    change_begin(change, state);
    for (size_t i = 0; i < count; i++) {
        const struct state_peer *peer = state_peer(state, seen[i].id);
        if (peer == NULL)
            continue;
        Google__Protobuf__Timestamp last_seen = record_time(seen[i].seen_ns);
        Pb__Peer record = *peer->pb;
        record.absent_s = seen[i].absent_s;
        if (seen[i].seen_ns != 0)
            record.last_seen = &last_seen;
        change_add_message(change, RECORD_SET, RECORD_KEY_PEERS, peer->id, &record.base);
    }
    return change_finish(change, GRPC_OK, err);
}
