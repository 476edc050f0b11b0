#include "wg/ip.h"

#include "base/bytes.h"

enum { IPV4_HEADER = 20, IPV6_HEADER = 40, NOT_ECT = 0, ECT_1 = 1, ECT_0 = 2, CE = IP_ECN_CE };

bool ip_packet_read(struct ip_packet *out, const uint8_t *bytes, size_t len)
{
    if (len >= IPV4_HEADER && bytes[0] >> 4 == 4) {
        out->family = 4;
        out->ecn = bytes[1] & IP_ECN_MASK;
        out->len = load_be16(bytes + 2);
        out->source = bytes + 12;
        out->destination = bytes + 16;
        return out->len >= IPV4_HEADER;
    }
    if (len >= IPV6_HEADER && bytes[0] >> 4 == 6) {
        out->family = 6;
        out->ecn = bytes[1] >> 4 & IP_ECN_MASK;
        out->len = (size_t)load_be16(bytes + 4) + IPV6_HEADER;
        out->source = bytes + 8;
        out->destination = bytes + 24;
        return true;
    }
    return false;
}

/* Updates the checksum for the changed word (RFC 1624, equation 3). */
static void set_ecn4(uint8_t *bytes, uint8_t ecn)
{
    uint16_t before = load_be16(bytes);
    bytes[1] = (uint8_t)((bytes[1] & ~IP_ECN_MASK) | ecn);
    uint16_t after = load_be16(bytes);
    uint32_t sum = (uint16_t)~load_be16(bytes + 10) + (uint32_t)(uint16_t)~before + after;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    store_be16(bytes + 10, (uint16_t)~sum);
}

static void set_ecn6(uint8_t *bytes, uint8_t ecn)
{
    bytes[1] = (uint8_t)((bytes[1] & ~(IP_ECN_MASK << 4)) | ecn << 4);
}

bool ip_packet_combine_ecn(uint8_t *bytes, uint8_t outer)
{
    bool is_v4 = bytes[0] >> 4 == 4;
    uint8_t inner = (is_v4 ? bytes[1] : bytes[1] >> 4) & IP_ECN_MASK;
    outer &= IP_ECN_MASK;
    if (inner == NOT_ECT)
        return outer != CE;
    uint8_t ecn = inner;
    if (outer == CE || (inner == ECT_0 && outer == ECT_1))
        ecn = outer;
    if (ecn != inner)
        (is_v4 ? set_ecn4 : set_ecn6)(bytes, ecn);
    return true;
}
