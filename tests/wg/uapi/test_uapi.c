#include "wg/uapi/uapi.h"

#include "base/bytes.h"
#include "tests/unit.h"

#include <errno.h>
#include <string.h>

#define KEY1 "b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33"
#define KEY2 "58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376"
#define PSK  "188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52"
#define PRIV "e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a"
#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"
#define PEER "public_key=" KEY1 "\n"

static const char full_request[] = "set=1\n"
                                   "private_key=" PRIV "\n"
                                   "listen_port=12912\n"
                                   "fwmark=51820\n"
                                   "replace_peers=true\n"
                                   "public_key=" KEY1 "\n"
                                   "update_only=true\n"
                                   "preshared_key=" PSK "\n"
                                   "endpoint=[abcd:23::33%2]:51820\n"
                                   "persistent_keepalive_interval=25\n"
                                   "replace_allowed_ips=true\n"
                                   "protocol_version=1\n"
                                   "allowed_ip=192.168.4.4/32\n"
                                   "allowed_ip=-10.0.0.0/8\n"
                                   "allowed_ip=fd00::/64\n"
                                   "public_key=" KEY2 "\n"
                                   "remove=true\n"
                                   "endpoint=5.152.198.39:51820\n"
                                   "\n";

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *former, size_t size);
void *__wrap_realloc(void *former, size_t size);
static long allowed_allocations = -1; /* -1: any number */

static bool is_refused(void)
{
    return allowed_allocations >= 0 && allowed_allocations-- == 0;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_refused() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *former, size_t size)
{
    return is_refused() ? NULL : __real_realloc(former, size);
}

static int parse(struct wg_device_config *out, const char *text)
{
    return uapi_parse_set(out, text, strlen(text));
}

START_TEST(full_request_is_read)
{
    struct wg_device_config c;
    ck_assert_int_eq(parse(&c, full_request), 0);
    ck_assert(c.has_private_key && c.has_listen_port && c.has_fwmark && c.replace_peers);
    ck_assert_uint_eq(c.private_key[0], 0xe8);
    ck_assert_uint_eq(c.private_key[31], 0x7a);
    ck_assert_uint_eq(c.listen_port, 12912);
    ck_assert_uint_eq(c.fwmark, 51820);
    ck_assert_uint_eq(c.peer_count, 2);
    const struct wg_peer_config *a = &c.peers[0], *b = &c.peers[1];
    ck_assert(a->update_only && a->replace_allowed_ips && a->has_preshared_key && !a->remove);
    ck_assert(a->has_endpoint && a->has_keepalive);
    ck_assert_uint_eq(a->public_key[0], 0xb8);
    ck_assert_uint_eq(a->preshared_key[0], 0x18);
    ck_assert_uint_eq(a->keepalive_s, 25);
    char text[ENDPOINT_TEXT], prefix[IP_PREFIX_TEXT];
    ck_assert_str_eq(endpoint_format(&a->endpoint, text), "[abcd:23::33%2]:51820");
    static const char *const ips[] = {"192.168.4.4/32", "10.0.0.0/8", "fd00::/64"};
    ck_assert_uint_eq(a->allowed_ip_count, ARRAY_LEN(ips));
    for (size_t i = 0; i < ARRAY_LEN(ips); i++) {
        ck_assert_str_eq(ip_prefix_format(&a->allowed_ips[i].prefix, prefix), ips[i]);
        ck_assert_int_eq(a->allowed_ips[i].remove, i == 1);
    }
    ck_assert(b->remove && !b->update_only && !b->has_preshared_key && !b->has_keepalive);
    ck_assert_str_eq(endpoint_format(&b->endpoint, text), "5.152.198.39:51820");
    wg_device_config_fini(&c);
}
END_TEST

static bool is_empty(const struct wg_device_config *config)
{
    return bytes_is_zero_ct(config, sizeof *config);
}

/* The first, the second, and every later piece of memory refused: an error, and nothing is left. */
START_TEST(refused_memory_leaves_nothing)
{
    struct wg_device_config c;
    int n = 0;
    for (;; n++) {
        allowed_allocations = n;
        int result = parse(&c, full_request);
        allowed_allocations = -1;
        if (result == 0)
            break;
        ck_assert_int_eq(result, -ENOMEM);
        ck_assert(is_empty(&c));
    }
    ck_assert_int_ge(n, 4);
    wg_device_config_fini(&c);
}
END_TEST

/* What a set may look like, beyond the full one. */
static const char *const accepted[] = {
    "set=1\n\n",
    "set=1\nprivate_key=" ZERO "\n\n",
    "set=1\nlisten_port=0\nfwmark=0\n\n",
    "set=1\nfwmark=4294967295\nlisten_port=65535\n\n",
    "set=1\n" PEER "\n",
    "set=1\n" PEER "persistent_keepalive_interval=0\n\n",
    "set=1\n" PEER "allowed_ip=0.0.0.0/0\nallowed_ip=::/0\n\n",
    "set=1\n" PEER PEER "\n", /* the same peer twice: applied in order */
    "set=1\n" PEER "remove=true\n" PEER "remove=true\n\n",
    "set=1\n" PEER "allowed_ip=1.2.3.4\n\n",
};

START_TEST(request_is_accepted)
{
    struct wg_device_config c;
    ck_assert_msg(parse(&c, accepted[_i]) == 0, "%s", accepted[_i]);
    wg_device_config_fini(&c);
}
END_TEST

static const char *const refused[] = {
    "",
    "\n",
    "set=1\n",
    "set=2\n\n",
    "get=1\n\n",
    "set=1\nset=1\n\n",
    "set=1\nunknown=1\n\n",
    "set=1\nlisten_port\n\n",
    "set=1\n=1\n\n",
    "set=1\nlisten_port=\n\n",
    "set=1\nlisten_port=65536\n\n",
    "set=1\nlisten_port=-1\n\n",
    "set=1\nlisten_port=+1\n\n",
    "set=1\nlisten_port=01\n\n",
    "set=1\nlisten_port= 1\n\n",
    "set=1\nlisten_port=1 \n\n",
    "set=1\nlisten_port=0x10\n\n",
    "set=1\nlisten_port=1\nlisten_port=1\n\n",
    "set=1\nfwmark=4294967296\n\n",
    "set=1\nfwmark=99999999999999999999999\n\n",
    "set=1\nreplace_peers=false\n\n",
    "set=1\nreplace_peers=1\n\n",
    "set=1\nprivate_key=" ZERO "0\n\n",
    "set=1\nprivate_key=00\n\n",
    "set=1\nprivate_key=g0000000000000000000000000000000000000000000000000000000000000000\n\n",
    "set=1\nendpoint=1.2.3.4:5\n\n",
    "set=1\nallowed_ip=1.2.3.4/32\n\n",
    "set=1\nremove=true\n\n",
    "set=1\n" PEER "listen_port=1\n\n",
    "set=1\n" PEER "private_key=" ZERO "\n\n",
    "set=1\n" PEER "replace_peers=true\n\n",
    "set=1\npublic_key=" KEY1 "0\n\n",
    "set=1\npublic_key=\n\n",
    "set=1\n" PEER "endpoint=1.2.3.4\n\n",
    "set=1\n" PEER "endpoint=1.2.3.4:0\n\n",
    "set=1\n" PEER "endpoint=1.2.3.4:65536\n\n",
    "set=1\n" PEER "endpoint=host.example:1\n\n",
    "set=1\n" PEER "endpoint=::1:1\n\n",
    "set=1\n" PEER "persistent_keepalive_interval=65536\n\n",
    "set=1\n" PEER "persistent_keepalive_interval=off\n\n",
    "set=1\n" PEER "preshared_key=" PSK "\npreshared_key=" PSK "\n\n",
    "set=1\n" PEER "endpoint=1.2.3.4:1\nendpoint=1.2.3.4:1\n\n",
    "set=1\n" PEER "allowed_ip=1.2.3.4/33\n\n",
    "set=1\n" PEER "allowed_ip=--1.2.3.4/32\n\n",
    "set=1\n" PEER "allowed_ip=-\n\n",
    "set=1\n" PEER "allowed_ip=::/129\n\n",
    "set=1\n" PEER "protocol_version=2\n\n",
    "set=1\n" PEER "remove=false\n\n",
    "set=1\n" PEER "rx_bytes=1\n\n",
    "set=1\n\nlisten_port=1\n\n",
    "set=1\r\nlisten_port=1\r\n\r\n\n\n",
};

START_TEST(request_is_refused_and_leaves_nothing)
{
    struct wg_device_config c;
    memset(&c, 0x55, sizeof c);
    ck_assert_msg(parse(&c, refused[_i]) == -EINVAL, "%s", refused[_i]);
    ck_assert(c.peers == NULL && c.peer_count == 0 && !c.has_private_key);
}
END_TEST

START_TEST(nul_in_a_value_is_refused)
{
    static const char text[] = "set=1\nlisten_port=1\0002\n\n";
    struct wg_device_config c;
    ck_assert_int_eq(uapi_parse_set(&c, text, sizeof text - 1), -EINVAL);
}
END_TEST

START_TEST(long_value_is_refused)
{
    char text[400] = "set=1\nlisten_port=";
    memset(text + strlen(text), '1', 300);
    memcpy(text + strlen(text), "\n\n", 2);
    struct wg_device_config c;
    ck_assert_int_eq(parse(&c, text), -EINVAL);
}
END_TEST

START_TEST(request_cut_anywhere_is_incomplete)
{
    size_t whole = sizeof full_request - 1;
    for (size_t len = 0; len < whole; len++) {
        ck_assert_uint_eq(uapi_request_len(full_request, len, 0), 0);
        for (size_t back = 0; back < 3 && back <= len; back++)
            ck_assert_uint_eq(uapi_request_len(full_request, whole, len - back), whole);
        struct wg_device_config c;
        char *cut = malloc(len + 1); /* exactly as long as it claims, for the sanitizer */
        memcpy(cut, full_request, len);
        ck_assert_int_eq(uapi_parse_set(&c, cut, len), -EINVAL);
        free(cut);
    }
    ck_assert_uint_eq(uapi_request_len(full_request, whole, 0), whole);
    ck_assert_uint_eq(uapi_request_len("get=1\n\nget=1\n\n", 14, 0), 7);
    ck_assert_uint_eq(uapi_request_len("\nset=1\n\n", 8, 0), 1);
}
END_TEST

static const struct {
    const char *text;
    int rc;
    enum uapi_operation operation;
} operations[] = {
    {"get=1\n\n", 0, UAPI_GET},       {"set=1\n\n", 0, UAPI_SET},
    {"set=1\nx=y\n\n", 0, UAPI_SET},  {"get=1\nx=y\n\n", -EINVAL, UAPI_GET},
    {"get=2\n\n", -EPROTO, UAPI_GET}, {"\n", -EPROTO, UAPI_GET},
    {"get\n\n", -EPROTO, UAPI_GET},   {"GET / HTTP/1.1\n\n", -EPROTO, UAPI_GET},
};

START_TEST(operation_is_told)
{
    enum uapi_operation operation = UAPI_GET;
    const char *text = operations[_i].text;
    ck_assert_int_eq(uapi_parse_operation(&operation, text, strlen(text)), operations[_i].rc);
    if (operations[_i].rc == 0)
        ck_assert_int_eq(operation, operations[_i].operation);
}
END_TEST

static const char *formatted(struct buffer *out)
{
    buffer_append(out, "", 1);
    ck_assert(!buffer_failed(out));
    return (const char *)buffer_data(out);
}

START_TEST(empty_device_is_formatted)
{
    struct uapi_info info = {0};
    struct buffer out;
    buffer_init(&out);
    uapi_format_get(&out, &info);
    ck_assert_str_eq(formatted(&out), "errno=0\n\n");
    buffer_fini(&out);
}
END_TEST

START_TEST(device_is_formatted)
{
    struct ip_prefix ips[2];
    ck_assert(ip_prefix_parse(&ips[0], "10.0.0.0/24") && ip_prefix_parse(&ips[1], "fd00::1/128"));
    struct wg_peer_info peers[2] = {
        {.keepalive_s = 25,
         .rx_bytes = 7,
         .tx_bytes = UINT64_MAX,
         .last_handshake_ns = UINT64_C(1700000000123456789),
         .allowed_ips = ips,
         .allowed_ip_count = 2},
        {.keepalive_s = 0},
    };
    memset(peers[0].public_key, 0x11, 32);
    memset(peers[0].preshared_key, 0x22, 32);
    ck_assert(endpoint_parse(&peers[0].endpoint, "[2001:db8::1]:51820"));
    memset(peers[1].public_key, 0x33, 32);
    struct uapi_info info = {
        .device = {.has_private_key = true, .peers = peers, .peer_count = 2},
        .listen_port = 51821,
        .fwmark = 77,
    };
    memset(info.device.private_key, 0xab, 32);
    static const char expected[] =
        "private_key=abababababababababababababababababababababababababababababababab\n"
        "listen_port=51821\n"
        "fwmark=77\n"
        "public_key=1111111111111111111111111111111111111111111111111111111111111111\n"
        "preshared_key=2222222222222222222222222222222222222222222222222222222222222222\n"
        "protocol_version=1\n"
        "endpoint=[2001:db8::1]:51820\n"
        "last_handshake_time_sec=1700000000\n"
        "last_handshake_time_nsec=123456789\n"
        "tx_bytes=18446744073709551615\n"
        "rx_bytes=7\n"
        "persistent_keepalive_interval=25\n"
        "allowed_ip=10.0.0.0/24\n"
        "allowed_ip=fd00::1/128\n"
        "public_key=3333333333333333333333333333333333333333333333333333333333333333\n"
        "preshared_key=" ZERO "\n"
        "protocol_version=1\n"
        "last_handshake_time_sec=0\n"
        "last_handshake_time_nsec=0\n"
        "tx_bytes=0\n"
        "rx_bytes=0\n"
        "persistent_keepalive_interval=0\n"
        "errno=0\n\n";
    struct buffer out;
    buffer_init(&out);
    uapi_format_get(&out, &info);
    ck_assert_str_eq(formatted(&out), expected);
    buffer_fini(&out);
}
END_TEST

START_TEST(errno_is_formatted)
{
    struct buffer out;
    buffer_init(&out);
    uapi_format_errno(&out, -EINVAL);
    ck_assert_str_eq(formatted(&out), "errno=-22\n\n");
    buffer_fini(&out);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("uapi");
    tcase_add_test(tc, full_request_is_read);
    tcase_add_test(tc, refused_memory_leaves_nothing);
    tcase_add_loop_test(tc, request_is_accepted, 0, ARRAY_LEN(accepted));
    tcase_add_loop_test(tc, request_is_refused_and_leaves_nothing, 0, ARRAY_LEN(refused));
    tcase_add_test(tc, nul_in_a_value_is_refused);
    tcase_add_test(tc, long_value_is_refused);
    tcase_add_test(tc, request_cut_anywhere_is_incomplete);
    tcase_add_loop_test(tc, operation_is_told, 0, ARRAY_LEN(operations));
    tcase_add_test(tc, empty_device_is_formatted);
    tcase_add_test(tc, device_is_formatted);
    tcase_add_test(tc, errno_is_formatted);
    return unit_run(tc);
}
