#ifndef CMD_HCTL_LOOKUP_H
#define CMD_HCTL_LOOKUP_H

#include "cmd/hctl_session.h"
#include "control/state/access.h"
#include "proto/cluster.pb-c.h"

#include <stddef.h>

/* Finds peers and nodes by id, name or the beginning of an id. */

enum { LOOKUP_PREFIX_MIN = 8 }; /* the length of ids in logs */

struct lookup_entry {
    const char *id;
    const char *name; /* "": none */
};

enum lookup_outcome { LOOKUP_FOUND, LOOKUP_NONE, LOOKUP_MANY };

/* Finds the entry with this id, else the one with this name, else the only one whose id begins with
 * the word. */
enum lookup_outcome lookup_find(const struct lookup_entry *entries, size_t count, const char *word,
                                size_t *place);

/* Finds the peer that the word names in a status. NOT_FOUND, or INVALID_ARGUMENT when the ids of
 * several begin with it. */
enum grpc_code lookup_peer_status(const Pb__StatusResponse *status, const char *word,
                                  const Pb__PeerStatus **out, struct err *err);

/* Asks the node for the id behind a name or the beginning of an id. Codes as above. */
enum grpc_code lookup_peer(struct session *session, const char *word, char id[ACCESS_ID_MAX + 1],
                           struct err *err);
enum grpc_code lookup_node(struct session *session, const char *word, char id[ACCESS_ID_MAX + 1],
                           struct err *err);

#endif
