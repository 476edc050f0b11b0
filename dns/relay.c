#include "dns/relay.h"

#include "base/bytes.h"

#include <string.h>

enum { RECORD_FIXED_LEN = 10 };

/* The position of names in rdata that may arrive compressed (RFC 3597 section 4). All other rdata
 * is copied. */
static const struct layout {
    uint16_t type;
    uint8_t before; /* octets before the names */
    uint8_t names;
    bool compress; /* only the types of RFC 1035 may be sent compressed */
} layouts[] = {
    {2, 0, 1, true},   {3, 0, 1, true},   {4, 0, 1, true},   {5, 0, 1, true},   {6, 0, 2, true},
    {7, 0, 1, true},   {8, 0, 1, true},   {9, 0, 1, true},   {12, 0, 1, true},  {14, 0, 2, true},
    {15, 2, 1, true},  {17, 0, 2, false}, {18, 2, 1, false}, {21, 2, 1, false}, {26, 2, 2, false},
    {33, 6, 1, false}, {36, 2, 1, false}, {39, 0, 1, false},
};

static struct layout layout_of(uint16_t type)
{
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
        if (layouts[i].type == type)
            return layouts[i];
    return (struct layout){.type = type};
}

struct record {
    struct dns_name owner;
    uint16_t type;
    uint16_t class;
    uint32_t ttl;
    size_t rdata; /* offset */
    size_t end;
};

static bool read_record(struct record *out, const uint8_t *message, size_t len, size_t *offset)
{
    if (!dns_name_read(&out->owner, message, len, offset) || len - *offset < RECORD_FIXED_LEN)
        return false;
    const uint8_t *fixed = message + *offset;
    out->type = load_be16(fixed);
    out->class = load_be16(fixed + 2);
    out->ttl = load_be32(fixed + 4);
    out->rdata = *offset + RECORD_FIXED_LEN;
    out->end = out->rdata + load_be16(fixed + 8);
    *offset = out->end;
    return out->end <= len;
}

static bool write_rdata(struct dns_writer *writer, const uint8_t *message,
                        const struct record *record)
{
    struct layout layout = layout_of(record->type);
    size_t at = record->rdata + layout.before;
    if (at > record->end)
        return false;
    dns_writer_bytes(writer, message + record->rdata, layout.before);
    for (uint8_t i = 0; i < layout.names; i++) {
        struct dns_name name;
        if (!dns_name_read(&name, message, record->end, &at))
            return false;
        dns_writer_name(writer, &name, layout.compress);
    }
    dns_writer_bytes(writer, message + at, record->end - at);
    return true;
}

/* OPT is valid for one hop. Signatures go to clients that asked for them. */
static bool is_for_client(const struct dns_query *query, uint16_t type)
{
    if (type == DNS_TYPE_OPT)
        return false;
    bool dnssec = type == DNS_TYPE_RRSIG || type == DNS_TYPE_NSEC || type == DNS_TYPE_NSEC3;
    return !dnssec || query->edns_do || query->type == type || query->type == DNS_TYPE_ANY;
}

static bool copy_section(struct dns_writer *writer, const struct dns_query *query,
                         enum dns_section section, const uint8_t *message, size_t len,
                         size_t *offset)
{
    size_t count = load_be16(message + 6 + 2 * (size_t)section);
    for (size_t i = 0; i < count; i++) {
        struct record record;
        if (!read_record(&record, message, len, offset))
            return false;
        if (!is_for_client(query, record.type))
            continue;
        struct dns_record_mark mark =
            dns_writer_begin(writer, &record.owner, record.type, record.class, record.ttl);
        if (!write_rdata(writer, message, &record))
            return false;
        dns_writer_end(writer, section, mark);
    }
    return true;
}

/* Checks that the header and the question answer this query. */
static bool check_question(const struct dns_query *query, const uint8_t *message, size_t len,
                           size_t *offset)
{
    struct dns_name name;
    if (len < DNS_HEADER_LEN || !(load_be16(message + 2) & DNS_FLAG_QR) ||
        load_be16(message + 4) != 1)
        return false;
    if (!dns_name_read(&name, message, len, offset) || len - *offset < 4)
        return false;
    uint16_t type = load_be16(message + *offset);
    uint16_t class = load_be16(message + *offset + 2);
    *offset += 4;
    return dns_name_equal(&name, &query->name) && type == query->type && class == query->class;
}

size_t relay_response(const struct dns_query *query, enum dns_transport transport,
                      const uint8_t *message, size_t len, uint8_t *out, size_t capacity)
{
    size_t offset = DNS_HEADER_LEN;
    struct dns_writer writer;
    if (!check_question(query, message, len, &offset))
        return answer_error(query, DNS_SERVFAIL, true, out);
    dns_writer_init(&writer, out, answer_limit(query, transport, capacity), query, true);
    bool valid = copy_section(&writer, query, DNS_ANSWER, message, len, &offset) &&
                 copy_section(&writer, query, DNS_AUTHORITY, message, len, &offset);
    bool truncated = writer.full;
    valid = valid && copy_section(&writer, query, DNS_ADDITIONAL, message, len, &offset);
    if (!valid)
        return answer_error(query, DNS_SERVFAIL, true, out);
    /* additional records that do not fit do not truncate (RFC 2181 section 9) */
    writer.full = truncated;
    return dns_writer_finish(&writer, query, DNS_FLAG_RA, load_be16(message + 2) & 0xf);
}
