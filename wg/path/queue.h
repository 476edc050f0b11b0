#ifndef WG_PATH_QUEUE_H
#define WG_PATH_QUEUE_H

#include "wg/wg.h"

#include <stdbool.h>
#include <stddef.h>

/* Handshake messages from the receiving thread to the slow one: bounded, one producer, one
 * consumer, no lock. */

enum { QUEUE_LIMIT = 4096 }; /* messages */

struct queue_message {
    struct wg_endpoint from;
    size_t len;
    uint8_t bytes[WG_HANDSHAKE_MAX];
};

struct queue;

/* Returns 0 or -ENOMEM. */
int queue_create(struct queue **out);
void queue_destroy(struct queue *queue);

/* Producer: copies the message. False when the queue is full or `len` above WG_HANDSHAKE_MAX. */
bool queue_push(struct queue *queue, const uint8_t *bytes, size_t len,
                const struct wg_endpoint *from);

/* Consumer: the oldest message, valid until queue_pop, or NULL. */
const struct queue_message *queue_front(struct queue *queue);
void queue_pop(struct queue *queue);

size_t queue_len(struct queue *queue);

#endif
