#include "wg/path/refusal.h"

#include "wg/path/shared.h"

#include <stdatomic.h>

/* The answer does not go by way of the interface, as others do: the host would route it back here,
 * and it would be refused like the packet that it answers. */

enum { ROOM = ICMP_MAX + 15 + WG_DATA_OVERHEAD };

void refusal_answer(struct path *path, struct icmp_limit *limit, const uint8_t *packet, size_t len,
                    struct wg_time now)
{
    uint8_t sealed[ROOM];
    uint8_t *plain = sealed + WG_HEADER_LEN;
    atomic_fetch_add_explicit(&path->prohibited, 1, memory_order_relaxed);
    size_t answer_len = icmp_build(plain, ICMP_PROHIBITED, packet, len);
    if (answer_len == 0 || !icmp_limit_allow(limit, now.boot_ns))
        return;
    struct wg_outbound answer = {
        .plain = plain, .len = answer_len, .sealed = sealed, .is_answer = true};
    wg_device_seal(path->device, &answer, 1, now);
    if (answer.verdict != WG_OUT_SEND)
        return;
    struct udp_message message = {
        .bytes = sealed, .len = answer.sealed_len, .endpoint = &answer.endpoint, .ds = answer.ds};
    if (path_send(path, &message, 1) == 1 && !message.refused)
        wg_outbound_sent(&answer);
}
