#include "dns/wire.h"

#include "base/bytes.h"

#include <stdio.h>
#include <string.h>

enum {
    POINTER = 0xc0,
    POINTER_LIMIT = 0x4000, /* the first offset that a pointer cannot reach */
    RECORD_FIXED_LEN = 10,  /* type, class, ttl, rdata length */
    OPT_LEN = 11,           /* an OPT record without options */
    OPT_DO = 0x8000,
};

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

bool dns_name_read(struct dns_name *out, const uint8_t *message, size_t len, size_t *offset)
{
    size_t at = *offset;
    size_t segment = at; /* each pointer points before its segment, so this shrinks */
    bool jumped = false;
    size_t used = 0;
    while (at < len) {
        uint8_t count = message[at];
        if ((count & POINTER) == POINTER) {
            if (at + 2 > len)
                return false;
            size_t target = load_be16(message + at) & (POINTER_LIMIT - 1);
            if (target >= segment || target < DNS_HEADER_LEN)
                return false;
            if (!jumped)
                *offset = at + 2;
            jumped = true;
            segment = target;
            at = target;
            continue;
        }
        if (count > DNS_LABEL_MAX || at + 1 + count > len || used + 1 + count > DNS_NAME_MAX)
            return false;
        memcpy(out->bytes + used, message + at, (size_t)count + 1);
        used += (size_t)count + 1;
        at += (size_t)count + 1;
        if (count != 0)
            continue;
        out->len = (uint8_t)used;
        if (!jumped)
            *offset = at;
        return true;
    }
    return false;
}

bool dns_name_from_text(struct dns_name *out, const char *text)
{
    size_t used = 0;
    if (strcmp(text, ".") == 0)
        text = "";
    while (*text != '\0') {
        size_t count = strcspn(text, ".");
        /* leave one octet for the root */
        if (count == 0 || count > DNS_LABEL_MAX || used + 1 + count >= DNS_NAME_MAX)
            return false;
        out->bytes[used] = (uint8_t)count;
        memcpy(out->bytes + used + 1, text, count);
        used += count + 1;
        text += count;
        if (*text == '.')
            text++;
    }
    out->bytes[used] = 0;
    out->len = (uint8_t)(used + 1);
    return true;
}

const char *dns_name_to_text(const struct dns_name *name, char out[DNS_TEXT_MAX])
{
    char *to = out;
    for (size_t at = 0; name->bytes[at] != 0; at += (size_t)name->bytes[at] + 1) {
        for (size_t i = 1; i <= name->bytes[at]; i++) {
            uint8_t c = name->bytes[at + i];
            if (c <= ' ' || c >= 0x7f)
                to += sprintf(to, "\\%03u", c);
            else if (strchr(".\\\"();@$", c) != NULL)
                to += sprintf(to, "\\%c", c);
            else
                *to++ = (char)c;
        }
        *to++ = '.';
    }
    if (to == out)
        *to++ = '.';
    *to = '\0';
    return out;
}

void dns_name_lower(struct dns_name *name)
{
    /* length octets are below 'A' */
    for (size_t i = 0; i < name->len; i++)
        name->bytes[i] = lower(name->bytes[i]);
}

bool dns_name_equal(const struct dns_name *a, const struct dns_name *b)
{
    if (a->len != b->len)
        return false;
    for (size_t i = 0; i < a->len; i++)
        if (lower(a->bytes[i]) != lower(b->bytes[i]))
            return false;
    return true;
}

/* Checks the option list of RFC 6891 section 6.1.2. */
static bool options_valid(const uint8_t *rdata, size_t len)
{
    size_t at = 0;
    while (at + 4 <= len)
        at += 4 + (size_t)load_be16(rdata + at + 2);
    return at == len;
}

static bool read_opt(struct dns_query *out, const struct dns_name *owner, const uint8_t *fixed)
{
    uint16_t size = load_be16(fixed + 2);
    uint32_t ttl = load_be32(fixed + 4);
    if (out->edns || owner->len != 1 ||
        !options_valid(fixed + RECORD_FIXED_LEN, load_be16(fixed + 8)))
        return false;
    out->edns = true;
    out->edns_version = (uint8_t)(ttl >> 16);
    out->edns_do = (ttl & OPT_DO) != 0;
    out->udp_size = size < DNS_UDP_PLAIN ? DNS_UDP_PLAIN : size;
    return true;
}

static bool read_record(struct dns_query *out, const uint8_t *message, size_t len, size_t *offset,
                        bool additional)
{
    struct dns_name owner;
    if (!dns_name_read(&owner, message, len, offset) || len - *offset < RECORD_FIXED_LEN)
        return false;
    const uint8_t *fixed = message + *offset;
    size_t rdata_len = load_be16(fixed + 8);
    if (len - *offset - RECORD_FIXED_LEN < rdata_len)
        return false;
    *offset += RECORD_FIXED_LEN + rdata_len;
    if (load_be16(fixed) != DNS_TYPE_OPT)
        return true;
    return additional && read_opt(out, &owner, fixed);
}

static bool read_body(struct dns_query *out, const uint8_t *message, size_t len)
{
    size_t offset = DNS_HEADER_LEN;
    size_t before = (size_t)load_be16(message + 6) + load_be16(message + 8);
    size_t records = before + load_be16(message + 10);
    if (load_be16(message + 4) != 1 || !dns_name_read(&out->name, message, len, &offset) ||
        len - offset < 4)
        return false;
    out->type = load_be16(message + offset);
    out->class = load_be16(message + offset + 2);
    offset += 4;
    for (size_t i = 0; i < records; i++)
        if (!read_record(out, message, len, &offset, i >= before))
            return false;
    return offset == len;
}

enum dns_parse dns_query_parse(struct dns_query *out, const uint8_t *message, size_t len)
{
    if (len < DNS_HEADER_LEN || len > DNS_MESSAGE_MAX)
        return DNS_PARSE_IGNORE;
    out->id = load_be16(message);
    out->flags = load_be16(message + 2);
    out->opcode = (out->flags >> 11) & 0xf;
    out->edns = false;
    out->edns_do = false;
    out->edns_version = 0;
    out->udp_size = DNS_UDP_PLAIN;
    if (out->flags & DNS_FLAG_QR)
        return DNS_PARSE_IGNORE;
    if (out->opcode != 0)
        return DNS_PARSE_NOTIMP;
    if (read_body(out, message, len))
        return DNS_PARSE_OK;
    /* fields of a broken message are not reliable */
    out->edns = false;
    out->udp_size = DNS_UDP_PLAIN;
    return DNS_PARSE_FORMERR;
}

static void remember(struct dns_writer *writer, size_t offset)
{
    if (offset < POINTER_LIMIT &&
        writer->name_count < sizeof writer->names / sizeof writer->names[0])
        writer->names[writer->name_count++] = (uint16_t)offset;
}

static void put(struct dns_writer *writer, const void *bytes, size_t len)
{
    if (writer->full || writer->limit - writer->len < len) {
        writer->full = true;
        return;
    }
    if (len > 0)
        memcpy(writer->out + writer->len, bytes, len);
    writer->len += len;
}

void dns_writer_init(struct dns_writer *writer, uint8_t *out, size_t limit,
                     const struct dns_query *query, bool question)
{
    writer->out = out;
    writer->limit = limit - (query->edns ? OPT_LEN : 0);
    writer->full = false;
    writer->name_count = 0;
    memset(out, 0, DNS_HEADER_LEN);
    store_be16(out, query->id);
    writer->len = DNS_HEADER_LEN;
    if (!question)
        return;
    out[5] = 1;
    for (size_t at = 0; query->name.bytes[at] != 0; at += (size_t)query->name.bytes[at] + 1)
        remember(writer, DNS_HEADER_LEN + at);
    /* at most 255 + 4 octets, which the smallest limit holds */
    put(writer, query->name.bytes, query->name.len);
    store_be16(out + writer->len, query->type);
    store_be16(out + writer->len + 2, query->class);
    writer->len += 4;
}

/* Compares the name at `offset` of the output with `name`. */
static bool same_name(const struct dns_writer *writer, size_t offset, const uint8_t *name)
{
    const uint8_t *at = writer->out + offset;
    for (;;) {
        while ((*at & POINTER) == POINTER)
            at = writer->out + (load_be16(at) & (POINTER_LIMIT - 1));
        size_t count = *at;
        if (count != *name)
            return false;
        if (count == 0)
            return true;
        for (size_t i = 1; i <= count; i++)
            if (lower(at[i]) != lower(name[i]))
                return false;
        at += count + 1;
        name += count + 1;
    }
}

static size_t find_name(const struct dns_writer *writer, const uint8_t *name)
{
    for (size_t i = 0; i < writer->name_count; i++)
        if (same_name(writer, writer->names[i], name))
            return writer->names[i];
    return 0;
}

void dns_writer_name(struct dns_writer *writer, const struct dns_name *name, bool compress)
{
    size_t at = 0;
    size_t known = 0;
    while (name->bytes[at] != 0) {
        known = compress ? find_name(writer, name->bytes + at) : 0;
        if (known != 0)
            break;
        at += (size_t)name->bytes[at] + 1;
    }
    size_t start = writer->len;
    if (known == 0) {
        put(writer, name->bytes, name->len);
    } else {
        uint8_t pointer[2];
        store_be16(pointer, (uint16_t)(known | (POINTER << 8)));
        put(writer, name->bytes, at);
        put(writer, pointer, sizeof pointer);
    }
    if (writer->full)
        return;
    for (size_t i = 0; i < at; i += (size_t)name->bytes[i] + 1)
        remember(writer, start + i);
}

void dns_writer_bytes(struct dns_writer *writer, const void *bytes, size_t len)
{
    put(writer, bytes, len);
}

struct dns_record_mark dns_writer_begin(struct dns_writer *writer, const struct dns_name *owner,
                                        uint16_t type, uint16_t class, uint32_t ttl)
{
    struct dns_record_mark mark = {.start = writer->len, .name_count = writer->name_count};
    uint8_t fixed[RECORD_FIXED_LEN] = {0};
    store_be16(fixed, type);
    store_be16(fixed + 2, class);
    store_be32(fixed + 4, ttl);
    dns_writer_name(writer, owner, true);
    put(writer, fixed, sizeof fixed);
    mark.rdata = writer->len;
    return mark;
}

void dns_writer_end(struct dns_writer *writer, enum dns_section section,
                    struct dns_record_mark mark)
{
    if (writer->full) {
        writer->len = mark.start;
        writer->name_count = mark.name_count;
        return;
    }
    store_be16(writer->out + mark.rdata - 2, (uint16_t)(writer->len - mark.rdata));
    uint8_t *count = writer->out + 6 + 2 * (size_t)section;
    store_be16(count, (uint16_t)(load_be16(count) + 1));
}

void dns_writer_record(struct dns_writer *writer, enum dns_section section,
                       const struct dns_name *owner, uint16_t type, uint16_t class, uint32_t ttl,
                       const void *rdata, size_t rdata_len)
{
    struct dns_record_mark mark = dns_writer_begin(writer, owner, type, class, ttl);
    put(writer, rdata, rdata_len);
    dns_writer_end(writer, section, mark);
}

size_t dns_writer_finish(struct dns_writer *writer, const struct dns_query *query, uint16_t flags,
                         uint16_t rcode)
{
    uint16_t kept = query->flags & (0x7800 | DNS_FLAG_RD | DNS_FLAG_CD);
    if (writer->full)
        flags |= DNS_FLAG_TC;
    store_be16(writer->out + 2, (uint16_t)(DNS_FLAG_QR | kept | flags | (rcode & 0xf)));
    if (!query->edns)
        return writer->len;
    uint8_t opt[OPT_LEN] = {0}; /* the root as owner */
    store_be16(opt + 1, DNS_TYPE_OPT);
    store_be16(opt + 3, DNS_UDP_EDNS);
    store_be32(opt + 5, ((uint32_t)(rcode >> 4) << 24) | (query->edns_do ? OPT_DO : 0));
    memcpy(writer->out + writer->len, opt, sizeof opt);
    store_be16(writer->out + 10, (uint16_t)(load_be16(writer->out + 10) + 1));
    return writer->len + sizeof opt;
}
