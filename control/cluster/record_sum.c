#include "control/cluster/record_sum.h"

#include "base/bytes.h"
#include "base/map.h"
#include "control/state/record.h"

#include <string.h>

enum { TAG_BYTES = 2, SUM_TAG = 2047 << 3 | 1 };

static const uint8_t tag_bytes[TAG_BYTES] = {0xf9, 0x7f}; /* SUM_TAG as a varint */

bool record_sum_applies(const struct record_op *op)
{
    const char *name;
    if (op->kind != RECORD_SET && op->kind != RECORD_HSET)
        return false;
    switch (record_key_parse(op->key, op->field, &name)) {
    case RECORD_MASTER:
    case RECORD_NODE:
    case RECORD_NODENETWORK:
    case RECORD_PEER:
    case RECORD_AUTHORIZATION:
    case RECORD_ROUTE:
        return true;
    case RECORD_META:
    case RECORD_PEERIP:
    case RECORD_REQUEST:
    case RECORD_UNKNOWN:
        return false;
    }
    return false;
}

static void sum_of(const struct record_op *op, size_t len, uint8_t out[8])
{
    static const uint8_t zero[16];
    const char *field = op->field == NULL ? "" : op->field;
    uint8_t place[16];
    store_le64(place, map_siphash(zero, op->key, strlen(op->key)));
    store_le64(place + 8, map_siphash(zero, field, strlen(field)));
    store_le64(out, map_siphash(place, op->value, len));
}

void record_sum_seal(const struct record_op *op, uint8_t *out)
{
    if (op->len > 0)
        memcpy(out, op->value, op->len);
    memcpy(out + op->len, tag_bytes, TAG_BYTES);
    sum_of(op, op->len, out + op->len + TAG_BYTES);
}

/* ---- finding it ---- */

/* Reads a varint at *at and moves behind it. */
static bool read_varint(const struct record_op *op, size_t *at, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && *at < op->len; shift += 7) {
        uint8_t byte = op->value[(*at)++];
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return true;
    }
    return false;
}

/* Moves *at behind the value of a field with this tag. */
static bool skip_value(const struct record_op *op, size_t *at, uint64_t tag)
{
    uint64_t len = 0;
    switch (tag & 7) {
    case 0:
        return read_varint(op, at, &len);
    case 1:
        len = 8;
        break;
    case 2:
        if (!read_varint(op, at, &len))
            return false;
        break;
    case 5:
        len = 4;
        break;
    default:
        return false;
    }
    if (len > op->len - *at)
        return false;
    *at += (size_t)len;
    return true;
}

/* Where the sum's field begins; op->len if there is none. A record whose fields cannot be followed
 * any more may still end in one. */
static size_t find_sum(const struct record_op *op)
{
    size_t at = 0;
    uint64_t tag;
    while (at < op->len) {
        size_t begin = at;
        if (!read_varint(op, &at, &tag) || !skip_value(op, &at, tag))
            break;
        if (tag == SUM_TAG && at - begin == RECORD_SUM_BYTES)
            return begin;
    }
    if (op->len >= RECORD_SUM_BYTES &&
        memcmp(op->value + op->len - RECORD_SUM_BYTES, tag_bytes, TAG_BYTES) == 0)
        return op->len - RECORD_SUM_BYTES;
    return op->len;
}

bool record_sum_open(struct record_op *op, uint8_t *value)
{
    uint8_t sum[8];
    if (!record_sum_applies(op))
        return true;
    size_t begin = find_sum(op);
    if (begin == op->len)
        return true;
    sum_of(op, begin, sum);
    if (memcmp(sum, value + begin + TAG_BYTES, sizeof sum) != 0)
        return false;
    memmove(value + begin, value + begin + RECORD_SUM_BYTES, op->len - begin - RECORD_SUM_BYTES);
    op->len -= RECORD_SUM_BYTES;
    return true;
}
