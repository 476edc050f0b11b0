#include "dns/answer.h"

#include "base/bytes.h"
#include "dns/zone.h"

#include <string.h>

enum {
    TYPE_TKEY = 249,
    TYPE_TSIG = 250,
    TYPE_MAILB = 253,
    TYPE_MAILA = 254,
    /* SOA timers. Nothing transfers this zone, so only the minimum matters. */
    SOA_REFRESH = 3600,
    SOA_RETRY = 600,
    SOA_EXPIRE = 86400,
};

struct response {
    const struct zone *zone;
    const struct dns_query *query;
    enum dns_transport transport;
    struct dns_writer writer;
    struct zone_match match;
    size_t answers;
};

size_t answer_limit(const struct dns_query *query, enum dns_transport transport, size_t capacity)
{
    size_t limit = transport == DNS_TCP ? DNS_MESSAGE_MAX : query->udp_size;
    if (transport == DNS_UDP && limit > DNS_UDP_EDNS)
        limit = DNS_UDP_EDNS;
    return limit < capacity ? limit : capacity;
}

size_t answer_error(const struct dns_query *query, uint16_t rcode, bool recursion, uint8_t *out)
{
    struct dns_writer writer;
    dns_writer_init(&writer, out, DNS_UDP_PLAIN, query, true);
    return dns_writer_finish(&writer, query, recursion ? DNS_FLAG_RA : 0, rcode);
}

/* The header alone: the question is missing or malformed. */
static size_t header_only(const struct dns_query *query, uint16_t rcode, uint8_t *out)
{
    struct dns_query bare = {.id = query->id, .flags = query->flags};
    struct dns_writer writer;
    dns_writer_init(&writer, out, DNS_UDP_PLAIN, &bare, false);
    return dns_writer_finish(&writer, &bare, 0, rcode);
}

/* The rcode that refuses a question of any name, or 0. */
static uint16_t question_fault(const struct dns_query *query)
{
    if (query->edns_version > 0)
        return DNS_BADVERS;
    if (query->type == 0 || query->type == DNS_TYPE_OPT)
        return DNS_FORMERR;
    if (query->type >= TYPE_TKEY && query->type < DNS_TYPE_ANY) {
        bool transfer = query->type == DNS_TYPE_AXFR || query->type == DNS_TYPE_IXFR;
        return transfer ? DNS_REFUSED : DNS_NOTIMP;
    }
    return query->class == DNS_CLASS_IN ? 0 : DNS_REFUSED;
}

/* ANY over UDP is one RRset, over TCP all of them (RFC 8482 sections 4.1 and 4.4). */
static bool wants(const struct response *response, uint16_t type)
{
    if (response->query->type != DNS_TYPE_ANY)
        return response->query->type == type;
    return response->transport == DNS_TCP || response->answers == 0;
}

static void write_record(struct response *response, enum dns_section section,
                         const struct dns_name *owner, const struct zone_record *record)
{
    struct dns_writer *writer = &response->writer;
    struct dns_record_mark mark =
        dns_writer_begin(writer, owner, record->type, DNS_CLASS_IN, zone_ttl(response->zone));
    if (record->type == DNS_TYPE_SRV) {
        uint8_t fixed[6];
        store_be16(fixed, record->srv.priority);
        store_be16(fixed + 2, record->srv.weight);
        store_be16(fixed + 4, record->srv.port);
        dns_writer_bytes(writer, fixed, sizeof fixed);
        dns_writer_name(writer, record->srv.target, false);
    } else {
        dns_writer_bytes(writer, record->addr, record->type == DNS_TYPE_A ? 4 : 16);
    }
    dns_writer_end(writer, section, mark);
}

static void write_one_name(struct response *response, const struct dns_name *owner, uint16_t type,
                           const struct dns_name *name)
{
    struct dns_record_mark mark =
        dns_writer_begin(&response->writer, owner, type, DNS_CLASS_IN, zone_ttl(response->zone));
    dns_writer_name(&response->writer, name, true);
    dns_writer_end(&response->writer, DNS_ANSWER, mark);
    response->answers++;
}

/* The SOA of the zone that holds the name. In a denial its TTL is the negative TTL (RFC 2308
 * section 3). */
static void write_soa(struct response *response, enum dns_section section)
{
    const struct zone *zone = response->zone;
    const struct dns_name *asked = &response->query->name;
    size_t apex = response->match.apex;
    struct dns_name owner = {.len = (uint8_t)(asked->len - apex)};
    memcpy(owner.bytes, asked->bytes + apex, owner.len);

    uint32_t ttl = zone_ttl(zone);
    if (section == DNS_AUTHORITY && zone_negative_ttl(zone) < ttl)
        ttl = zone_negative_ttl(zone);
    uint8_t times[20];
    store_be32(times, zone_serial(zone));
    store_be32(times + 4, SOA_REFRESH);
    store_be32(times + 8, SOA_RETRY);
    store_be32(times + 12, SOA_EXPIRE);
    store_be32(times + 16, zone_negative_ttl(zone));
    struct dns_record_mark mark =
        dns_writer_begin(&response->writer, &owner, DNS_TYPE_SOA, DNS_CLASS_IN, ttl);
    dns_writer_name(&response->writer, zone_ns(zone), true);
    dns_writer_name(&response->writer, zone_mailbox(zone), true);
    dns_writer_bytes(&response->writer, times, sizeof times);
    dns_writer_end(&response->writer, section, mark);
}

static void write_set(struct response *response, uint16_t type)
{
    if (!wants(response, type))
        return;
    const struct zone_record *record = response->match.records;
    for (; record != NULL; record = record->next) {
        if (record->type != type)
            continue;
        write_record(response, DNS_ANSWER, &response->query->name, record);
        response->answers++;
    }
}

static void write_answers(struct response *response)
{
    const struct dns_name *asked = &response->query->name;
    write_set(response, DNS_TYPE_A);
    write_set(response, DNS_TYPE_AAAA);
    write_set(response, DNS_TYPE_SRV);
    if (wants(response, DNS_TYPE_PTR))
        for (size_t i = 0; i < response->match.ptr_count; i++)
            write_one_name(response, asked, DNS_TYPE_PTR, zone_ptr_name(&response->match, i));
    if (response->match.apex != 0)
        return;
    if (wants(response, DNS_TYPE_SOA)) {
        write_soa(response, DNS_ANSWER);
        response->answers++;
    }
    if (wants(response, DNS_TYPE_NS))
        write_one_name(response, asked, DNS_TYPE_NS, zone_ns(response->zone));
}

static void write_addresses(struct response *response, const struct dns_name *host)
{
    struct zone_match match;
    zone_find(response->zone, host, &match);
    for (const struct zone_record *record = match.records; record != NULL; record = record->next)
        if (record->type != DNS_TYPE_SRV)
            write_record(response, DNS_ADDITIONAL, host, record);
}

/* The addresses of the hosts that the answer names. Those that do not fit are left out without
 * truncating the response (RFC 2181 section 9). */
static void write_additional(struct response *response)
{
    if (response->writer.full)
        return;
    if (response->query->type == DNS_TYPE_SRV) {
        const struct zone_record *record = response->match.records;
        for (; record != NULL; record = record->next)
            if (record->type == DNS_TYPE_SRV)
                write_addresses(response, record->srv.target);
    } else if (response->query->type == DNS_TYPE_NS && response->answers > 0) {
        write_addresses(response, zone_ns(response->zone));
    }
    response->writer.full = false;
}

enum answer_verdict answer_query(const struct answer_context *context, const uint8_t *message,
                                 size_t len, struct dns_query *query, uint8_t *out, size_t capacity,
                                 size_t *out_len)
{
    enum dns_parse parse = dns_query_parse(query, message, len);
    if (parse == DNS_PARSE_IGNORE)
        return ANSWER_DROP;
    if (parse != DNS_PARSE_OK) {
        *out_len = header_only(query, parse == DNS_PARSE_NOTIMP ? DNS_NOTIMP : DNS_FORMERR, out);
        return ANSWER_REPLY;
    }
    uint16_t fault = question_fault(query);
    struct response response = {
        .zone = context->zone, .query = query, .transport = context->transport};
    if (fault == 0 && context->zone != NULL)
        zone_find(context->zone, &query->name, &response.match);
    if (fault == 0 && response.match.kind == ZONE_FOREIGN) {
        if (context->recursion && (query->flags & DNS_FLAG_RD))
            return ANSWER_FORWARD;
        fault = DNS_REFUSED;
    }
    if (fault != 0) {
        *out_len = answer_error(query, fault, context->recursion, out);
        return ANSWER_REPLY;
    }
    dns_writer_init(&response.writer, out, answer_limit(query, context->transport, capacity), query,
                    true);
    if (response.match.kind == ZONE_FOUND)
        write_answers(&response);
    if (response.answers == 0)
        write_soa(&response, DNS_AUTHORITY);
    write_additional(&response);
    *out_len = dns_writer_finish(&response.writer, query,
                                 (uint16_t)(DNS_FLAG_AA | (context->recursion ? DNS_FLAG_RA : 0)),
                                 response.match.kind == ZONE_DENIED ? DNS_NXDOMAIN : DNS_NOERROR);
    return ANSWER_REPLY;
}
