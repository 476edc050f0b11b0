#include "base/bytes.h"
#include "dns/answer.h"
#include "dns/relay.h"
#include "dns/zone.h"
#include "fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

/* Queries of any bytes, upstream answers of any bytes, names of any text. A small reader of the
 * harness's own checks the output: well formed, within the limit, an answer to the question, and
 * never a message that asks for an answer itself. */

static const struct zone *the_zone(void)
{
    static struct zone *zone;
    struct zone_config config = {
        .domain = "heimdall", .ns = "router", .serial = 3, .ttl = 30, .negative_ttl = 5};
    struct ip_addr addr;
    struct ip_prefix network;
    if (zone != NULL)
        return zone;
    struct zone_builder *builder = zone_builder_create(&config);
    require(builder != NULL && ip_addr_parse(&addr, "10.51.0.2"));
    require(zone_builder_add_host(builder, "router", &addr) == 0);
    for (int i = 0; i < 100; i++) {
        ip_addr_add(&addr, 1);
        require(zone_builder_add_host(builder, "many", &addr) == 0);
    }
    require(ip_addr_parse(&addr, "fd00::1"));
    require(zone_builder_add_host(builder, "router", &addr) == 0);
    require(zone_builder_add_srv(builder, "_x._tcp.router", 1, 2, 3, "many") == 0);
    require(ip_prefix_parse(&network, "10.51.0.0/16"));
    require(zone_builder_add_network(builder, &network) == 0);
    zone = zone_build(builder);
    require(zone != NULL);
    return zone;
}

/* Walks a name whose pointers must shrink. */
static void walk_name(const uint8_t *message, size_t len, size_t *offset)
{
    struct dns_name name;
    size_t before = *offset;
    require(dns_name_read(&name, message, len, offset));
    require(*offset > before && *offset <= len && name.len >= 1);
    require(name.bytes[name.len - 1] == 0);
}

static void check_response(const struct dns_query *query, const uint8_t *out, size_t out_len,
                           size_t limit)
{
    require(out_len >= DNS_HEADER_LEN && out_len <= limit);
    require(load_be16(out) == query->id && (load_be16(out + 2) & DNS_FLAG_QR) != 0);
    size_t questions = load_be16(out + 4);
    size_t opts = 0;
    size_t offset = DNS_HEADER_LEN;
    require(questions <= 1);
    for (size_t i = 0; i < questions; i++) {
        walk_name(out, out_len, &offset);
        require(memcmp(out + DNS_HEADER_LEN, query->name.bytes, query->name.len) == 0);
        require(out_len - offset >= 4 && load_be16(out + offset) == query->type);
        offset += 4;
    }
    size_t records = (size_t)load_be16(out + 6) + load_be16(out + 8) + load_be16(out + 10);
    for (size_t i = 0; i < records; i++) {
        walk_name(out, out_len, &offset);
        require(out_len - offset >= 10);
        opts += load_be16(out + offset) == DNS_TYPE_OPT;
        size_t rdata = load_be16(out + offset + 8);
        offset += 10;
        require(out_len - offset >= rdata);
        offset += rdata;
    }
    require(offset == out_len && opts == query->edns);
    struct dns_query again;
    require(dns_query_parse(&again, out, out_len) == DNS_PARSE_IGNORE);
}

static void check_query(struct input *input)
{
    uint8_t what = input_byte(input);
    static uint8_t out[DNS_MESSAGE_MAX];
    struct dns_query query;
    size_t out_len = 0;
    size_t upstream_len;
    struct answer_context context = {.zone = what & 1 ? the_zone() : NULL,
                                     .transport = what & 2 ? DNS_TCP : DNS_UDP,
                                     .recursion = (what & 4) != 0};
    uint8_t *upstream = input_blob(input, 1024, &upstream_len);
    uint8_t *message = malloc(input->left + 1);
    size_t len = input->left;
    size_t capacity = what & 2 ? DNS_MESSAGE_MAX : DNS_UDP_EDNS;
    require(message != NULL);
    input_fill(input, message, len);
    enum answer_verdict verdict =
        answer_query(&context, message, len, &query, out, capacity, &out_len);
    if (verdict == ANSWER_DROP) {
        require(len < DNS_HEADER_LEN || (message[2] & 0x80) != 0);
    } else if (verdict == ANSWER_REPLY) {
        bool is_known = dns_query_parse(&query, message, len) == DNS_PARSE_OK;
        require(is_known || (out[3] & 15) == DNS_FORMERR || (out[3] & 15) == DNS_NOTIMP);
        if (is_known)
            check_response(&query, out, out_len, answer_limit(&query, context.transport, capacity));
        else
            require(out_len <= capacity && load_be16(out) == load_be16(message));
    } else {
        require(context.recursion && (query.flags & DNS_FLAG_RD) != 0);
        /* an upstream repeats our question, then sends any bytes */
        uint8_t *whole = malloc(len + upstream_len + 1);
        require(whole != NULL);
        size_t question = DNS_HEADER_LEN + (size_t)query.name.len + 4;
        memcpy(whole, message, question);
        if (upstream_len > 0)
            memcpy(whole + question, upstream, upstream_len);
        whole[2] |= 0x80;
        if (upstream_len >= 3)
            for (size_t i = 0; i < 3; i++)
                store_be16(whole + 6 + 2 * i, whole[question + i] % 8);
        memmove(whole + question, whole + question + (upstream_len >= 3 ? 3 : 0),
                upstream_len >= 3 ? upstream_len - 3 : 0);
        size_t whole_len = question + (upstream_len >= 3 ? upstream_len - 3 : upstream_len);
        uint8_t *exact = malloc(whole_len);
        require(exact != NULL);
        memcpy(exact, whole, whole_len);
        size_t n = relay_response(&query, context.transport, exact, whole_len, out, capacity);
        check_response(&query, out, n, answer_limit(&query, context.transport, capacity));
        n = answer_error(&query, DNS_SERVFAIL, true, out);
        check_response(&query, out, n, DNS_UDP_PLAIN);
        free(exact);
        free(whole);
    }
    free(message);
    free(upstream);
}

static void check_name(struct input *input)
{
    struct dns_name name;
    struct dns_name again;
    char text[DNS_TEXT_MAX];
    char *given = input_text(input, 300);
    if (dns_name_from_text(&name, given)) {
        require(name.len >= 1 && name.bytes[name.len - 1] == 0);
        dns_name_to_text(&name, text);
        require(strlen(text) + 1 <= sizeof text && text[strlen(text) - 1] == '.');
        if (strchr(text, '\\') == NULL)
            require(dns_name_from_text(&again, text) && again.len == name.len &&
                    memcmp(again.bytes, name.bytes, name.len) == 0);
        again = name;
        dns_name_lower(&again);
        require(dns_name_equal(&name, &again));
        size_t offset = 0;
        require(dns_name_read(&again, name.bytes, name.len, &offset) && offset == name.len);
    }
    free(given);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    if (input_byte(&input) % 8 == 0)
        check_name(&input);
    else
        check_query(&input);
    return 0;
}
