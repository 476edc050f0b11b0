#include "wg/path/udp_cmsg.h"

#include "tests/unit.h"

#include <netinet/in.h>
#include <string.h>

/* What is encoded for sending, read with the system's own macros. */

static struct wg_endpoint endpoint;
static union udp_cmsg_buffer room;
static struct msghdr msg;

static void encode(const char *remote, const char *source, uint32_t ifindex, uint8_t ds,
                   bool refused)
{
    memset(&endpoint, 0, sizeof endpoint);
    ck_assert(endpoint_parse(&endpoint.remote, remote));
    if (source != NULL)
        ck_assert(ip_addr_parse(&endpoint.source, source));
    endpoint.ifindex = ifindex;
    struct udp_message message = {.endpoint = &endpoint, .ds = ds, .source_refused = refused};
    memset(&msg, 0, sizeof msg);
    udp_cmsg_encode(&msg, &room, &message);
}

/* Copies the data of the control message of this type; false when there is none. */
static bool find(int level, int type, void *out, size_t len)
{
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg); cmsg != NULL; cmsg = CMSG_NXTHDR(&msg, cmsg)) {
        if (cmsg->cmsg_level == level && cmsg->cmsg_type == type) {
            ck_assert_uint_eq(cmsg->cmsg_len, CMSG_LEN(len));
            memcpy(out, CMSG_DATA(cmsg), len);
            return true;
        }
    }
    return false;
}

static const struct {
    const char *remote;
    const char *source;
    bool refused;
    bool has_source;
    unsigned ifindex; /* that is told */
} sources[] = {
    {"192.0.2.1:1", "10.0.0.1", false, true, 0},
    {"192.0.2.1:1", NULL, false, false, 0},
    {"192.0.2.1:1", "10.0.0.1", true, false, 0},
    {"192.0.2.1:1", "2001:db8::1", false, false, 0}, /* of another family */
    {"[2001:db8::2]:1", "10.0.0.1", false, false, 0},
    {"[2001:db8::2]:1", "2001:db8::1", false, true, 0},
    {"[2001:db8::2]:1", "2001:db8::1", true, false, 0},
    {"[2001:db8::2]:1", "fe80::1", false, true, 7}, /* means nothing without */
    {"[fe80::2%7]:1", "fe80::1", false, true, 7},
};

START_TEST(source_is_told)
{
    bool ipv6 = sources[_i].remote[0] == '[';
    struct in_pktinfo four = {0};
    struct in6_pktinfo six = {0};
    encode(sources[_i].remote, sources[_i].source, 7, 0, sources[_i].refused);
    ck_assert_int_eq(find(IPPROTO_IP, IP_PKTINFO, &four, sizeof four),
                     sources[_i].has_source && !ipv6);
    ck_assert_int_eq(find(IPPROTO_IPV6, IPV6_PKTINFO, &six, sizeof six),
                     sources[_i].has_source && ipv6);
    if (!sources[_i].has_source) {
        ck_assert_ptr_null(msg.msg_control);
        return;
    }
    ck_assert_mem_eq(ipv6 ? (void *)&six.ipi6_addr : (void *)&four.ipi_spec_dst,
                     endpoint.source.bytes, ipv6 ? 16 : 4);
    ck_assert_uint_eq(ipv6 ? six.ipi6_ifindex : (unsigned)four.ipi_ifindex, sources[_i].ifindex);
}
END_TEST

START_TEST(marks_are_told)
{
    int value = 0;
    encode("192.0.2.1:1", "10.0.0.1", 7, 0x88, false);
    ck_assert(find(IPPROTO_IP, IP_TOS, &value, sizeof value));
    ck_assert_int_eq(value, 0x88);
    encode("[2001:db8::2]:1", "2001:db8::1", 7, 3, false);
    ck_assert(find(IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof value));
    ck_assert_int_eq(value, 3);
    encode("192.0.2.1:1", "10.0.0.1", 7, 0, false);
    ck_assert(!find(IPPROTO_IP, IP_TOS, &value, sizeof value));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("udp_cmsg");
    tcase_add_loop_test(tc, source_is_told, 0, ARRAY_LEN(sources));
    tcase_add_test(tc, marks_are_told);
    return unit_run(tc);
}
