#include "tun/tun.h"

#include "tests/unit.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_readable(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    return poll(&pollfd, 1, 0) == 1;
}

static int read_into(struct tun *tun, uint8_t *bytes, size_t capacity, size_t *len)
{
    struct tun_packet packet = {.bytes = bytes, .capacity = capacity, .len = 12345};
    int rc = tun_read(tun, &packet);
    *len = packet.len;
    return rc;
}

static int write_of(struct tun *tun, uint8_t *bytes, size_t len)
{
    return tun_write(tun, &(struct tun_packet){.bytes = bytes, .len = len});
}

START_TEST(packets_keep_bounds_and_order)
{
    struct tun *a;
    struct tun *b;
    static uint8_t out[TUN_PACKET_MAX];
    static uint8_t in[TUN_PACKET_MAX];
    static const size_t lens[] = {1, 20, 1420, TUN_PACKET_MAX};
    size_t len;
    ck_assert_int_eq(tun_memory(&a, &b), 0);
    ck_assert_int_eq(read_into(a, in, sizeof in, &len), -EAGAIN);
    ck_assert(!is_readable(tun_fd(b)));
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        memset(out, (int)i + 1, lens[i]);
        ck_assert_int_eq(write_of(a, out, lens[i]), 0);
    }
    ck_assert(is_readable(tun_fd(b)));
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        ck_assert_int_eq(read_into(b, in, sizeof in, &len), 0);
        ck_assert_uint_eq(len, lens[i]);
        ck_assert_uint_eq(in[0], i + 1);
        ck_assert_uint_eq(in[len - 1], i + 1);
    }
    ck_assert_int_eq(read_into(b, in, sizeof in, &len), -EAGAIN);
    tun_close(a);
    tun_close(b);
}
END_TEST

START_TEST(limits)
{
    struct tun *a;
    struct tun *b;
    static uint8_t bytes[TUN_PACKET_MAX + 1];
    size_t len;
    ck_assert_int_eq(tun_memory(&a, &b), 0);
    ck_assert_int_eq(write_of(a, bytes, 0), -EINVAL);
    ck_assert_int_eq(write_of(a, bytes, sizeof bytes), -EINVAL);
    ck_assert_int_eq(write_of(a, bytes, 65), 0);
    ck_assert_int_eq(write_of(a, bytes, 64), 0);
    ck_assert_int_eq(read_into(b, bytes, 64, &len), -EMSGSIZE);
    ck_assert_int_eq(read_into(b, bytes, 64, &len), 0);
    ck_assert_uint_eq(len, 64);
    int rc = 0;
    for (int i = 0; i < 100000 && rc == 0; i++)
        rc = write_of(a, bytes, 1500);
    ck_assert_int_eq(rc, -EAGAIN);
    tun_close(a);
    tun_close(b);
}
END_TEST

START_TEST(other_end_closed)
{
    struct tun *a;
    struct tun *b;
    uint8_t bytes[64] = {0};
    size_t len;
    ck_assert_int_eq(tun_memory(&a, &b), 0);
    tun_close(b);
    ck_assert(is_readable(tun_fd(a)));
    ck_assert_int_eq(read_into(a, bytes, sizeof bytes, &len), -EBADFD);
    ck_assert_int_eq(write_of(a, bytes, sizeof bytes), -EBADFD);
    tun_close(a);
    tun_close(NULL);
}
END_TEST

START_TEST(link_events)
{
    struct tun *a;
    struct tun *b;
    uint32_t mtu;
    ck_assert_int_eq(tun_memory(&a, &b), 0);
    ck_assert(tun_is_up(a));
    ck_assert_int_eq(tun_mtu(a, &mtu), 0);
    ck_assert_uint_eq(mtu, 1500);
    ck_assert_int_eq(tun_memory_set_link(a, true, 1500), 0);
    ck_assert(!is_readable(tun_events_fd(a)));
    ck_assert_int_eq(tun_memory_set_link(a, false, 1400), 0);
    ck_assert(is_readable(tun_events_fd(a)));
    ck_assert_int_eq(tun_events_read(a), TUN_EVENT_DOWN | TUN_EVENT_MTU);
    ck_assert_int_eq(tun_events_read(a), 0);
    ck_assert_int_eq(tun_mtu(a, &mtu), 0);
    ck_assert_uint_eq(mtu, 1400);
    ck_assert_int_eq(write_of(a, (uint8_t[]){1}, 1), -EIO);
    ck_assert_int_eq(tun_memory_set_link(a, true, 1400), 0);
    ck_assert_int_eq(tun_memory_set_link(a, false, 1400), 0);
    ck_assert_int_eq(tun_memory_set_link(a, true, 1400), 0);
    ck_assert_int_eq(tun_events_read(a), TUN_EVENT_UP);
    ck_assert(!is_readable(tun_events_fd(b)));
    tun_close(a);
    tun_close(b);
}
END_TEST

/* tun_fd.c */
START_TEST(adopted_socket)
{
    int fds[2];
    struct tun *tun;
    uint8_t bytes[64] = {7};
    size_t len;
    uint32_t mtu;
    ck_assert_int_eq(socketpair(AF_UNIX, _i == 0 ? SOCK_DGRAM : SOCK_SEQPACKET, 0, fds), 0);
    ck_assert_int_eq(tun_adopt(&tun, fds[0], NULL), 0);
    ck_assert_str_eq(tun_name(tun), "fd");
    ck_assert_uint_eq(tun_ifindex(tun), 0);
    ck_assert_int_eq(tun_events_fd(tun), -1);
    ck_assert_int_eq(tun_events_read(tun), 0);
    ck_assert_int_eq(tun_mtu(tun, &mtu), 0);
    ck_assert(tun_is_up(tun));
    ck_assert_int_eq(read_into(tun, bytes, sizeof bytes, &len), -EAGAIN);
    ck_assert_int_eq(write_of(tun, bytes, 20), 0);
    ck_assert_int_eq(recv(fds[1], bytes, sizeof bytes, 0), 20);
    ck_assert_int_eq(send(fds[1], bytes, 30, 0), 30);
    ck_assert_int_eq(read_into(tun, bytes, sizeof bytes, &len), 0);
    ck_assert_uint_eq(len, 30);
    close(fds[1]);
    ck_assert_int_eq(write_of(tun, bytes, 20), -EBADFD);
    tun_close(tun);
}
END_TEST

START_TEST(adopt_refuses_streams)
{
    int fds[2];
    struct tun *tun;
    struct err err;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    ck_assert_int_eq(tun_adopt(&tun, fds[0], &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "neither a TUN nor a socket that carries packets"));
    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(tun_adopt(&tun, fds[0], &err), -EINVAL);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("tun_mem");
    tcase_add_test(tc, packets_keep_bounds_and_order);
    tcase_add_test(tc, limits);
    tcase_add_test(tc, other_end_closed);
    tcase_add_test(tc, link_events);
    tcase_add_loop_test(tc, adopted_socket, 0, 2);
    tcase_add_test(tc, adopt_refuses_streams);
    return unit_run(tc);
}
