#ifndef CONTROL_CLUSTER_RECORD_SUM_H
#define CONTROL_CLUSTER_RECORD_SUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A checksum at the end of each protobuf record in the store. Redis loads an append-only file with
 * a flipped byte without a word. The sum covers key, field and value, and is a protobuf field of its
 * own (number 2047, fixed64), which readers that do not know it skip. */

struct record_op;

enum { RECORD_SUM_BYTES = 10 };

/* Whether records of this key carry a sum: those whose values are protobuf. */
bool record_sum_applies(const struct record_op *op);

/* Writes the value with its sum, op->len + RECORD_SUM_BYTES bytes. */
void record_sum_seal(const struct record_op *op, uint8_t *out);

/* Takes the sum out of `value`, which op->value points to, wherever in it the sum stands: fields
 * that another program appended stay. Records without a sum, as older versions wrote them, pass.
 * False if the bytes are not those that were sealed. */
bool record_sum_open(struct record_op *op, uint8_t *value);

#endif
