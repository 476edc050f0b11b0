#ifndef WG_PATH_REFUSAL_H
#define WG_PATH_REFUSAL_H

#include "wg/path/icmp.h"
#include "wg/wg.h"

#include <stddef.h>
#include <stdint.h>

struct path;

/* Counts an inner packet between hosts that are kept apart, and sends "administratively prohibited"
 * through the tunnel to where it came from. The caller may read path->udp. */
void refusal_answer(struct path *path, struct icmp_limit *limit, const uint8_t *packet, size_t len,
                    struct wg_time now);

#endif
