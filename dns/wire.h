#ifndef DNS_WIRE_H
#define DNS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The wire format of RFC 1035 section 4 with EDNS (RFC 6891): a strict reader of queries, and a
 * writer of responses that compresses names and knows when to truncate. No allocation, no clock. */

enum {
    DNS_HEADER_LEN = 12,
    DNS_NAME_MAX = 255,      /* octets, with the root's zero */
    DNS_LABEL_MAX = 63,      /* octets */
    DNS_TEXT_MAX = 1024,     /* longest presentation form of a name, with its NUL */
    DNS_UDP_PLAIN = 512,     /* the largest UDP response without EDNS */
    DNS_UDP_EDNS = 1232,     /* what we offer, and our largest response over UDP */
    DNS_MESSAGE_MAX = 65535, /* over TCP */
};

enum dns_type {
    DNS_TYPE_A = 1,
    DNS_TYPE_NS = 2,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_SOA = 6,
    DNS_TYPE_PTR = 12,
    DNS_TYPE_MX = 15,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_SRV = 33,
    DNS_TYPE_OPT = 41,
    DNS_TYPE_RRSIG = 46,
    DNS_TYPE_NSEC = 47,
    DNS_TYPE_NSEC3 = 50,
    DNS_TYPE_IXFR = 251,
    DNS_TYPE_AXFR = 252,
    DNS_TYPE_ANY = 255,
};

enum { DNS_CLASS_IN = 1 };

enum dns_rcode {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
    DNS_BADVERS = 16,
};

enum dns_flag {
    DNS_FLAG_QR = 0x8000,
    DNS_FLAG_AA = 0x0400,
    DNS_FLAG_TC = 0x0200,
    DNS_FLAG_RD = 0x0100,
    DNS_FLAG_RA = 0x0080,
    DNS_FLAG_AD = 0x0020,
    DNS_FLAG_CD = 0x0010,
};

/* An uncompressed name in wire form. */
struct dns_name {
    uint8_t len; /* octets in `bytes`, 1..255 */
    uint8_t bytes[DNS_NAME_MAX];
};

struct dns_query {
    uint16_t id;
    uint16_t flags; /* the second header word as it came */
    uint8_t opcode;
    struct dns_name name; /* spelled as in the question */
    uint16_t type;
    uint16_t class;
    bool edns;
    bool edns_do;
    uint8_t edns_version;
    uint16_t udp_size; /* the client's limit over UDP: 512..65535 */
};

enum dns_parse {
    DNS_PARSE_OK,
    DNS_PARSE_IGNORE,  /* no header, or a response: never answered */
    DNS_PARSE_FORMERR, /* id, flags and opcode are set */
    DNS_PARSE_NOTIMP,  /* an opcode other than QUERY: id, flags and opcode are set */
};

/* Parses a whole message that must be a query with exactly one question. */
enum dns_parse dns_query_parse(struct dns_query *out, const uint8_t *message, size_t len);

/* Reads a name at *offset and moves *offset behind it. Each compression pointer must point before
 * the segment that it ends. False when malformed or over 255 octets. */
bool dns_name_read(struct dns_name *out, const uint8_t *message, size_t len, size_t *offset);

/* From text such as "web.example" or "web.example."; escapes are not accepted. False when a label
 * is empty or over 63 octets, or the name over 255. The empty text and "." are the root. */
bool dns_name_from_text(struct dns_name *out, const char *text);

/* With \DDD and \C escapes (RFC 1035 section 5.1) and the final dot. */
const char *dns_name_to_text(const struct dns_name *name, char out[DNS_TEXT_MAX]);

/* ASCII letters to lower case (RFC 4343). */
void dns_name_lower(struct dns_name *name);
bool dns_name_equal(const struct dns_name *a, const struct dns_name *b);

/* Builds a response in the caller's memory. A record that does not fit is left out and sets `full`.
 * The response stays valid, so that the caller can set TC and send it. */
struct dns_writer {
    uint8_t *out;
    size_t len;
    size_t limit; /* without the room for OPT */
    bool full;
    uint16_t names[32]; /* offsets of names and their suffixes that can be pointed to */
    uint8_t name_count;
};

/* Starts a response with the query's id, opcode, RD and CD, and its question when `question`.
 * `limit` is at least 512. */
void dns_writer_init(struct dns_writer *writer, uint8_t *out, size_t limit,
                     const struct dns_query *query, bool question);

enum dns_section { DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL };

/* A record whose rdata is raw bytes. */
void dns_writer_record(struct dns_writer *writer, enum dns_section section,
                       const struct dns_name *owner, uint16_t type, uint16_t class, uint32_t ttl,
                       const void *rdata, size_t rdata_len);

/* The same in pieces, for rdata that contains names: begin, then bytes and names, then end. */
struct dns_record_mark {
    size_t start;
    size_t rdata;
    uint8_t name_count;
};
struct dns_record_mark dns_writer_begin(struct dns_writer *writer, const struct dns_name *owner,
                                        uint16_t type, uint16_t class, uint32_t ttl);
void dns_writer_bytes(struct dns_writer *writer, const void *bytes, size_t len);

/* `compress` is for rdata where RFC 3597 section 4 allows it. */
void dns_writer_name(struct dns_writer *writer, const struct dns_name *name, bool compress);
void dns_writer_end(struct dns_writer *writer, enum dns_section section,
                    struct dns_record_mark mark);

/* Sets rcode and further flags (DNS_FLAG_*), appends OPT when the query had one, sets TC when
 * `full`. Returns the length of the message. */
size_t dns_writer_finish(struct dns_writer *writer, const struct dns_query *query, uint16_t flags,
                         uint16_t rcode);

#endif
