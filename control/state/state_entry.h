#ifndef CONTROL_STATE_STATE_ENTRY_H
#define CONTROL_STATE_STATE_ENTRY_H

#include "control/state/state.h"

/* Parses the values of records into the entries of a state, for state.c only. NULL when the value
 * is damaged (*damaged is set) or memory is short. `name` is what names the record: the rest of its
 * key, or its field. */

/* An entry of heimdall:peerips. */
struct state_address {
    struct ip_addr addr;
    char *owner;
};

struct state_node *state_node_parse(const char *name, const uint8_t *value, size_t len,
                                    bool *damaged);
struct state_peer *state_peer_parse(const char *name, const uint8_t *value, size_t len,
                                    bool *damaged);
struct state_route *state_route_parse(const char *name, const uint8_t *value, size_t len,
                                      bool *damaged);
struct state_network *state_network_parse(const char *name, const uint8_t *value, size_t len,
                                          bool *damaged);
struct state_authorization *state_authorization_parse(const char *name, const uint8_t *value,
                                                      size_t len, bool *damaged);
struct state_request *state_request_parse(const char *name, const uint8_t *value, size_t len,
                                          bool *damaged);
struct state_address *state_address_parse(const char *name, const uint8_t *value, size_t len,
                                          bool *damaged);

void state_node_free(struct state_node *node);
void state_peer_free(struct state_peer *peer);
void state_route_free(struct state_route *route);
void state_network_free(struct state_network *network);
void state_authorization_free(struct state_authorization *authorization);
void state_request_free(struct state_request *request);
void state_address_free(struct state_address *address);

/* One field of heimdall:meta; false when it is damaged. Unknown fields are ignored. */
bool state_settings_parse(struct state_settings *settings, const char *field, const uint8_t *value,
                          size_t len);

#endif
