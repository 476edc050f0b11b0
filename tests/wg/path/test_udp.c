#include "wg/path/udp.h"

#include "tests/unit.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

/* Both back ends over the loopback interface, whose 127.0.0.0/8 gives us many addresses. */

enum { MESSAGES = 100 };

static const struct {
    const struct udp_io *(*io)(void);
    const char *addr;
    enum udp_family family;
} runs[] = {
    {udp_io_native, "127.0.0.1", UDP_IPV4},
    {udp_io_portable, "127.0.0.1", UDP_IPV4},
    {udp_io_native, "::1", UDP_IPV6},
    {udp_io_portable, "::1", UDP_IPV6},
};

static struct udp *a, *b;
static uint8_t *room;

static void setup(void)
{
    room = malloc((size_t)UDP_BATCH * UDP_DATAGRAM_MAX);
    a = b = NULL;
}

static void teardown(void)
{
    udp_close(a);
    udp_close(b);
    free(room);
}

static void open_pair(const struct udp_io *io)
{
    ck_assert_int_eq(udp_open(&a, 0, 0, io), 0);
    ck_assert_int_eq(udp_open(&b, 0, 0, io), 0);
}

static struct wg_endpoint endpoint_of(const char *addr, uint16_t port)
{
    struct ip_addr ip;
    struct wg_endpoint endpoint = {0};
    ck_assert(ip_addr_parse(&ip, addr));
    endpoint_from_addr(&endpoint.remote, &ip, port);
    return endpoint;
}

/* Receives at least one datagram within a second. */
static size_t receive(struct udp *udp, enum udp_family family, struct wg_inbound *in, size_t count)
{
    struct pollfd fd = {.fd = udp_fd(udp, family), .events = POLLIN};
    for (size_t i = 0; i < count; i++)
        in[i].bytes = room + i * UDP_DATAGRAM_MAX;
    ck_assert_int_eq(poll(&fd, 1, 1000), 1);
    return udp_receive(udp, family, in, count);
}

/* Returns whether the source was refused. */
static bool send_one(struct udp *udp, const struct wg_endpoint *to, uint8_t ds)
{
    struct udp_message message = {
        .bytes = (const uint8_t *)"hello", .len = 5, .endpoint = to, .ds = ds};
    ck_assert_uint_eq(udp_send(udp, &message, 1), 1);
    return message.source_refused;
}

static void assert_marks(const struct udp *udp, uint32_t mark)
{
    for (int family = 0; family < UDP_FAMILIES; family++) {
        uint32_t is = 99;
        socklen_t len = sizeof is;
        int fd = udp_fd(udp, (enum udp_family)family);
        ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_MARK, &is, &len), 0);
        ck_assert_uint_eq(is, mark);
    }
}

/* From the start, and changed later; it takes CAP_NET_ADMIN. */
START_TEST(sockets_are_marked)
{
    ck_assert_int_eq(udp_open(&a, 0, 7, udp_io_portable()), -EOPNOTSUPP);
    ck_assert_int_eq(udp_open(&a, 0, 7, udp_io_native()), 0);
    assert_marks(a, 7);
    ck_assert_int_eq(udp_set_fwmark(a, 7, 8), 0);
    assert_marks(a, 8);
    ck_assert_int_eq(udp_set_fwmark(a, 8, 0), 0);
    assert_marks(a, 0);
}
END_TEST

START_TEST(batch_arrives_in_order)
{
    open_pair(runs[_i].io());
    struct wg_endpoint to = endpoint_of(runs[_i].addr, udp_port(b));
    static uint8_t bytes[MESSAGES][1500];
    struct udp_message messages[MESSAGES];
    for (size_t i = 0; i < MESSAGES; i++) {
        memset(bytes[i], (int)i, sizeof bytes[i]);
        messages[i] = (struct udp_message){.bytes = bytes[i], .len = 10 * i, .endpoint = &to};
    }
    ck_assert_uint_eq(udp_send(a, messages, MESSAGES), MESSAGES);
    static struct wg_inbound in[MESSAGES];
    for (size_t got = 0; got < MESSAGES;) {
        size_t count = receive(b, runs[_i].family, in, MESSAGES);
        ck_assert_uint_gt(count, 0);
        ck_assert_uint_le(count, UDP_BATCH);
        for (size_t i = 0; i < count; i++, got++) {
            ck_assert_uint_eq(in[i].len, 10 * got);
            ck_assert_mem_eq(in[i].bytes, bytes[got], in[i].len);
            ck_assert_uint_eq(endpoint_port(&in[i].from.remote), udp_port(a));
            ck_assert_uint_eq(in[i].ds, 0);
        }
    }
    ck_assert_uint_eq(udp_receive(b, runs[_i].family, in, 1), 0);
}
END_TEST

START_TEST(ds_and_ecn_are_carried)
{
    open_pair(runs[_i].io());
    struct wg_endpoint to = endpoint_of(runs[_i].addr, udp_port(b));
    for (unsigned ds = 0; ds < 256; ds++) {
        struct wg_inbound in;
        send_one(a, &to, (uint8_t)ds);
        ck_assert_uint_eq(receive(b, runs[_i].family, &in, 1), 1);
        ck_assert_uint_eq(in.ds, ds);
    }
}
END_TEST

START_TEST(longest_datagram_arrives)
{
    open_pair(runs[_i].io());
    struct wg_endpoint to = endpoint_of(runs[_i].addr, udp_port(b));
    static uint8_t bytes[65507];
    struct udp_message message = {.bytes = bytes, .len = sizeof bytes, .endpoint = &to};
    ck_assert_uint_eq(udp_send(a, &message, 1), 1);
    struct wg_inbound in;
    ck_assert_uint_eq(receive(b, runs[_i].family, &in, 1), 1);
    ck_assert_uint_eq(in.len, sizeof bytes);
}
END_TEST

/* The answer to a received datagram leaves from the address that it was sent to. */
START_TEST(source_sticks)
{
    open_pair(runs[_i].io());
    bool ipv4 = runs[_i].family == UDP_IPV4;
    struct wg_endpoint to = endpoint_of(ipv4 ? "127.0.0.77" : "::1", udp_port(b));
    struct wg_inbound in;
    send_one(a, &to, 0);
    ck_assert_uint_eq(receive(b, runs[_i].family, &in, 1), 1);
    char text[IP_ADDR_TEXT];
    ck_assert_str_eq(ip_addr_format(&in.from.source, text), ipv4 ? "127.0.0.77" : "::1");
    ck_assert_uint_ne(in.from.ifindex, 0);
    struct wg_endpoint back = in.from;
    ck_assert(!send_one(b, &back, 0));
    ck_assert_uint_eq(receive(a, runs[_i].family, &in, 1), 1);
    struct ip_addr from;
    endpoint_addr(&in.from.remote, &from);
    ck_assert_str_eq(ip_addr_format(&from, text), ipv4 ? "127.0.0.77" : "::1");
}
END_TEST

START_TEST(refused_source_is_told_and_sent_without)
{
    open_pair(runs[_i].io());
    struct wg_endpoint to = endpoint_of(runs[_i].addr, udp_port(b));
    ck_assert(ip_addr_parse(&to.source, runs[_i].family == UDP_IPV4 ? "192.0.2.1" : "2001:db8::1"));
    to.ifindex = 1;
    struct wg_inbound in;
    ck_assert(send_one(a, &to, 0));
    ck_assert_uint_eq(receive(b, runs[_i].family, &in, 1), 1);
    ck_assert_uint_eq(udp_refused(a), 0);
}
END_TEST

START_TEST(unsendable_message_does_not_stop_the_others)
{
    open_pair(runs[_i].io());
    struct wg_endpoint to = endpoint_of(runs[_i].addr, udp_port(b)), none = {0};
    struct wg_endpoint nowhere =
        endpoint_of(runs[_i].family == UDP_IPV4 ? "255.255.255.255" : "::", 9);
    static uint8_t bytes[70000];
    struct udp_message messages[] = {
        {.bytes = bytes, .len = 1, .endpoint = &none},
        {.bytes = bytes, .len = 1, .endpoint = &nowhere},
        {.bytes = bytes, .len = sizeof bytes, .endpoint = &to},
        {.bytes = bytes, .len = 44, .endpoint = &to},
    };
    ck_assert_uint_eq(udp_send(a, messages, ARRAY_LEN(messages)), ARRAY_LEN(messages));
    ck_assert_uint_eq(udp_refused(a), runs[_i].family == UDP_IPV4 ? 3 : 2); /* "::" is here */
    struct wg_inbound in;
    ck_assert_uint_eq(receive(b, runs[_i].family, &in, 1), 1);
    ck_assert_uint_eq(in.len, 44);
}
END_TEST

/* A received "port unreachable" must not be taken for a failure of the next send or receive. */
START_TEST(icmp_errors_are_not_seen)
{
    open_pair(runs[_i].io());
    struct wg_endpoint closed = endpoint_of(runs[_i].addr, udp_port(b));
    udp_close(b);
    ck_assert_int_eq(udp_open(&b, 0, 0, runs[_i].io()), 0);
    struct wg_endpoint to = endpoint_of(runs[_i].addr, udp_port(b));
    struct wg_inbound in;
    for (int i = 0; i < 3; i++) {
        send_one(a, &closed, 0);
        send_one(a, &to, 0);
        ck_assert_uint_eq(receive(b, runs[_i].family, &in, 1), 1);
    }
}
END_TEST

START_TEST(families_share_a_port_which_is_then_taken)
{
    const struct udp_io *io = runs[_i].io();
    ck_assert_int_eq(udp_open(&a, 0, 0, io), 0);
    ck_assert_int_ne(udp_fd(a, UDP_IPV4), -1);
    ck_assert_int_ne(udp_fd(a, UDP_IPV6), -1);
    ck_assert_int_eq(udp_open(&b, udp_port(a), 0, io), -EADDRINUSE);
    uint16_t port = udp_port(a);
    udp_close(a);
    a = NULL;
    ck_assert_int_eq(udp_open(&b, port, 0, io), 0);
    ck_assert_uint_eq(udp_port(b), port);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("udp");
    tcase_add_checked_fixture(tc, setup, teardown);
    if (unit_is_root())
        tcase_add_test(tc, sockets_are_marked);
    tcase_add_loop_test(tc, batch_arrives_in_order, 0, ARRAY_LEN(runs));
    tcase_add_loop_test(tc, ds_and_ecn_are_carried, 0, ARRAY_LEN(runs));
    tcase_add_loop_test(tc, longest_datagram_arrives, 0, ARRAY_LEN(runs));
    tcase_add_loop_test(tc, source_sticks, 0, ARRAY_LEN(runs));
    tcase_add_loop_test(tc, refused_source_is_told_and_sent_without, 0, ARRAY_LEN(runs));
    tcase_add_loop_test(tc, unsendable_message_does_not_stop_the_others, 0, ARRAY_LEN(runs));
    tcase_add_loop_test(tc, icmp_errors_are_not_seen, 0, ARRAY_LEN(runs));
    tcase_add_loop_test(tc, families_share_a_port_which_is_then_taken, 0, 2);
    return unit_run(tc);
}
