#ifndef CONTROL_STATE_STATE_ENTRY_H
#define CONTROL_STATE_STATE_ENTRY_H

#include "control/state/state.h"

/* Makes the entries of a state from the values of records, strictly: NULL when the value is damaged
 * (*damaged is set) or memory is short. `name` is what names the record: its key's rest or its
 * field. For state.c only. */

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
struct state_address *state_address_parse(const char *name, const uint8_t *value, size_t len,
                                          bool *damaged);

void state_node_free(struct state_node *node);
void state_peer_free(struct state_peer *peer);
void state_route_free(struct state_route *route);
void state_network_free(struct state_network *network);
void state_authorization_free(struct state_authorization *authorization);
void state_address_free(struct state_address *address);

/* One field of heimdall:meta; false when it is damaged. Fields that are not known are left alone.
 */
bool state_settings_parse(struct state_settings *settings, const char *field, const uint8_t *value,
                          size_t len);

#endif
