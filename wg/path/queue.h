#ifndef WG_PATH_QUEUE_H
#define WG_PATH_QUEUE_H

#include "wg/wg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Handshake messages from the receiving thread to the slow one: bounded, one producer, one
 * consumer, no lock. A source (an IPv4 address, an IPv6 /64) may have as many messages waiting as
 * there is room left: alone it fills half of the queue, and always leaves room for the others. */

enum { QUEUE_LIMIT = 4096 }; /* messages */

struct queue_message {
    struct wg_endpoint from;
    size_t len;
    uint8_t bytes[WG_HANDSHAKE_MAX];
};

struct queue;

/* Returns 0 or -ENOMEM. `seed` is random and secret, so that nobody can choose sources that count as
 * somebody else's. */
int queue_create(struct queue **out, uint64_t seed);
void queue_destroy(struct queue *queue);

/* Producer: copies the message. False when the queue is full, the source has too many in it, or
 * `len` is above WG_HANDSHAKE_MAX. */
bool queue_push(struct queue *queue, const uint8_t *bytes, size_t len,
                const struct wg_endpoint *from);

/* Consumer: the oldest message, valid until queue_pop, or NULL. */
const struct queue_message *queue_front(struct queue *queue);
void queue_pop(struct queue *queue);

size_t queue_len(struct queue *queue);

/* How many of the messages begin a handshake. */
size_t queue_initiations(struct queue *queue);

#endif
