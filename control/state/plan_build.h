#ifndef CONTROL_STATE_PLAN_BUILD_H
#define CONTROL_STATE_PLAN_BUILD_H

#include "control/state/plan.h"

#include <stdbool.h>

/* Fills a plan in order of precedence: the first peer that is granted a prefix has it. A failed
 * allocation is remembered until plan_builder_finish, which also puts everything in order. */

struct plan_grant;

struct plan_builder {
    struct plan *plan;
    struct plan_grant *grants;
    size_t grant_count;
    bool failed;
};

void plan_builder_init(struct plan_builder *builder, struct plan *plan);

/* 0 or -ENOMEM. The builder is finished either way. */
int plan_builder_finish(struct plan_builder *builder);

/* Adds a peer; `endpoint` may be unset. Returns its index, for plan_builder_grant. */
size_t plan_builder_peer(struct plan_builder *builder, const uint8_t key[WG_KEY_LEN],
                         const union endpoint *endpoint, uint16_t keepalive_s);

/* The preshared key of the peer that was added last. */
void plan_builder_psk(struct plan_builder *builder, const char *secret,
                      const uint8_t own_key[WG_KEY_LEN], uint64_t round);

/* All below ignore a prefix or address of family 0. */
void plan_builder_grant(struct plan_builder *builder, size_t peer, const struct ip_prefix *prefix);
void plan_builder_route(struct plan_builder *builder, const struct ip_prefix *prefix);
void plan_builder_overlay(struct plan_builder *builder, const struct ip_prefix *prefix);
void plan_builder_own_route(struct plan_builder *builder, const struct ip_prefix *prefix);
void plan_builder_inbound(struct plan_builder *builder, const struct ip_prefix *prefix);
void plan_builder_address(struct plan_builder *builder, const struct ip_addr *addr, uint8_t len);
void plan_builder_peer_network(struct plan_builder *builder, const struct ip_prefix *prefix);
void plan_builder_dns(struct plan_builder *builder, const struct ip_addr *addr);
void plan_builder_name(struct plan_builder *builder, const char *name, const struct ip_addr *addr,
                       const struct ip_addr *addr6);

#endif
