#include "tun/tun.h"

#include "base/bytes.h"
#include "tests/tun/netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAIT_MS = 3000 };

static struct tun *open_tun(const char *name)
{
    struct err err;
    struct tun *tun;
    int rc = tun_open(&tun, name, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
    return tun;
}

static struct tun *open_addressed(const char *name)
{
    struct tun *tun = open_tun(name);
    run("sysctl -qw net.ipv6.conf.%s.disable_ipv6=1 2>/dev/null || true", name);
    run("ip addr add 10.9.0.1/24 dev %s && ip link set %s up", name, name);
    return tun;
}

static bool wait_readable(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    return poll(&pollfd, 1, WAIT_MS) == 1;
}

/* The bits of all events until one of `wanted` comes. */
static int wait_event(struct tun *tun, int wanted)
{
    int bits = 0;
    while ((bits & wanted) != wanted) {
        ck_assert_msg(wait_readable(tun_events_fd(tun)), "no event %d, only %d", wanted, bits);
        int rc = tun_events_read(tun);
        ck_assert_int_ge(rc, 0);
        bits |= rc;
    }
    return bits;
}

static int udp_socket(const char *addr, uint16_t port)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, addr, &sin.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&sin, sizeof sin), 0);
    return fd;
}

static void send_udp(int fd, const char *addr, uint16_t port, const char *text)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, addr, &sin.sin_addr);
    ck_assert_int_eq(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&sin, sizeof sin),
                     (ssize_t)strlen(text));
}

static uint16_t ip_checksum(const uint8_t *bytes, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i += 2)
        sum += load_be16(bytes + i);
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* An IPv4 UDP packet without UDP checksum; returns its length. */
static size_t make_udp(uint8_t *out, const char *from, const char *to, uint16_t port,
                       const char *text)
{
    size_t len = 28 + strlen(text);
    memset(out, 0, 28);
    out[0] = 0x45;
    store_be16(out + 2, (uint16_t)len);
    out[8] = 64;
    out[9] = IPPROTO_UDP;
    inet_pton(AF_INET, from, out + 12);
    inet_pton(AF_INET, to, out + 16);
    store_be16(out + 10, ip_checksum(out, 20));
    store_be16(out + 20, 7);
    store_be16(out + 22, port);
    store_be16(out + 24, (uint16_t)(len - 20));
    memcpy(out + 28, text, len - 28);
    return len;
}

static void check_traffic(struct tun *tun)
{
    uint8_t bytes[2048];
    struct tun_packet packet = {.bytes = bytes, .capacity = sizeof bytes};
    ck_assert_int_eq(tun_read(tun, &packet), -EAGAIN);

    int fd = udp_socket("10.9.0.1", 4000);
    send_udp(fd, "10.9.0.2", 5000, "out of the TUN");
    ck_assert(wait_readable(tun_fd(tun)));
    ck_assert_int_eq(tun_read(tun, &packet), 0);
    ck_assert_uint_eq(packet.len, 28 + 14);
    ck_assert_int_eq(packet.gso, TUN_GSO_NONE);
    ck_assert_uint_eq(bytes[0], 0x45);
    ck_assert_uint_eq(load_be16(bytes + 22), 5000);
    ck_assert_mem_eq(bytes + 28, "out of the TUN", 14);
    ck_assert_int_eq(tun_read(tun, &packet), -EAGAIN);

    packet.len = make_udp(bytes, "10.9.0.2", "10.9.0.1", 4000, "into the TUN");
    ck_assert_int_eq(tun_write(tun, &packet), 0);
    char text[64];
    ck_assert(wait_readable(fd));
    ck_assert_int_eq(recv(fd, text, sizeof text, 0), 12);
    ck_assert_mem_eq(text, "into the TUN", 12);
    close(fd);
}

START_TEST(packets_both_ways)
{
    netns_enter();
    struct tun *tun = open_addressed("t0");
    ck_assert_str_eq(tun_name(tun), "t0");
    ck_assert_uint_eq(tun_ifindex(tun), 2);
    check_traffic(tun);
    tun_close(tun);
    ck_assert_int_ne(system("ip link show t0 >/dev/null 2>&1"), 0);
}
END_TEST

START_TEST(too_long_is_dropped)
{
    netns_enter();
    struct tun *tun = open_addressed("t0");
    uint8_t bytes[64];
    struct tun_packet packet = {.bytes = bytes, .capacity = sizeof bytes};
    int fd = udp_socket("10.9.0.1", 4000);
    send_udp(fd, "10.9.0.2", 5000, "0123456789012345678901234567890123456"); /* 65 bytes */
    send_udp(fd, "10.9.0.2", 5000, "012345678901234567890123456789012345");  /* 64 */
    ck_assert_int_eq(tun_read(tun, &packet), -EMSGSIZE);
    ck_assert_int_eq(tun_read(tun, &packet), 0);
    ck_assert_uint_eq(packet.len, 64);
    close(fd);
    tun_close(tun);
}
END_TEST

START_TEST(removal_is_ebadfd)
{
    netns_enter();
    struct tun *tun = open_addressed("t0");
    uint8_t bytes[2048];
    struct tun_packet packet = {.bytes = bytes, .capacity = sizeof bytes};
    ck_assert_int_eq(tun_read(tun, &packet), -EAGAIN);
    run("ip link del t0");
    ck_assert_msg(wait_readable(tun_fd(tun)), "poll does not wake on removal");
    ck_assert_int_eq(tun_read(tun, &packet), -EBADFD);
    packet.len = 20;
    ck_assert_int_eq(tun_write(tun, &packet), -EBADFD);
    uint32_t mtu;
    ck_assert_int_eq(tun_mtu(tun, &mtu), -EBADFD);
    for (int i = 0; i < 3; i++) /* it came up, it went down */
        ck_assert_int_ge(tun_events_read(tun), 0);
    ck_assert_int_eq(tun_events_read(tun), 0);
    tun_close(tun);
}
END_TEST

START_TEST(a_removed_interface_is_made_anew)
{
    netns_enter();
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    run("mount --make-rprivate /");
    struct tun *tun = open_addressed("t0");
    struct err err = {0};
    uint32_t before = tun_ifindex(tun);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(tun_reopen(tun, &err), 0); /* it is there */
        ck_assert_uint_eq(tun_ifindex(tun), before);
        run("ip link del t0");
        /* without the device file, which a confined program does not see */
        run("mount -t tmpfs none /dev/net");
        ck_assert_msg(tun_reopen(tun, &err) == 0, "%s", err.text);
        run("umount /dev/net");
        ck_assert_uint_ne(tun_ifindex(tun), before);
        before = tun_ifindex(tun);
        ck_assert(!tun_is_up(tun));
        run("sysctl -qw net.ipv6.conf.t0.disable_ipv6=1 2>/dev/null || true");
        run("ip addr add 10.9.0.1/24 dev t0 && ip link set t0 up");
        while (!tun_is_up(tun)) {
            ck_assert_msg(wait_readable(tun_events_fd(tun)), "it does not say that it is up");
            ck_assert_int_ge(tun_events_read(tun), 0);
        }
        check_traffic(tun);
    }
    run("ip link del t0 && ip link add t0 type veth peer name other");
    ck_assert_int_lt(tun_reopen(tun, &err), 0);
    ck_assert_msg(strstr(err.text, "ip link delete t0") != NULL, "%s", err.text);
    tun_close(tun);
}
END_TEST

START_TEST(quick_changes_are_all_told)
{
    netns_enter();
    struct tun *tun = open_tun("t0");
    run("ip link set t0 up; ip link set t0 down; ip link set t0 up");
    ck_assert_int_eq(wait_event(tun, TUN_EVENT_UP), TUN_EVENT_UP);
    ck_assert_int_eq(wait_event(tun, TUN_EVENT_DOWN), TUN_EVENT_DOWN);
    ck_assert_int_eq(wait_event(tun, TUN_EVENT_UP), TUN_EVENT_UP);
    tun_close(tun);
}
END_TEST

START_TEST(link_events)
{
    netns_enter();
    struct tun *tun = open_tun("t0");
    uint32_t mtu = 0;
    ck_assert(!tun_is_up(tun));
    ck_assert_int_eq(tun_events_read(tun), 0);
    run("ip link set t0 up");
    ck_assert_int_eq(wait_event(tun, TUN_EVENT_UP), TUN_EVENT_UP);
    ck_assert(tun_is_up(tun));
    run("ip link set t0 mtu 1380");
    ck_assert_int_eq(tun_mtu(tun, &mtu), 0);
    ck_assert_uint_eq(mtu, 1380);
    ck_assert_int_eq(wait_event(tun, TUN_EVENT_MTU), TUN_EVENT_MTU);
    run("ip link set t0 down");
    ck_assert_int_eq(wait_event(tun, TUN_EVENT_DOWN), TUN_EVENT_DOWN);
    ck_assert(!tun_is_up(tun));
    struct tun_packet packet = {.bytes = (uint8_t[]){0x45, 0, 0, 20}, .len = 4};
    ck_assert_int_eq(tun_write(tun, &packet), -EIO);
    tun_close(tun);
}
END_TEST

START_TEST(other_interfaces_are_no_events)
{
    netns_enter();
    struct tun *tun = open_tun("t0");
    run("ip link add d0 type ifb && ip link set d0 up && ip link set d0 mtu 1300 && ip link del "
        "d0");
    wait_readable(tun_events_fd(tun));
    ck_assert_int_eq(tun_events_read(tun), 0);
    ck_assert(!tun_is_up(tun));
    tun_close(tun);
}
END_TEST

START_TEST(lost_messages_are_made_up_for)
{
    netns_enter();
    struct tun *tun = open_tun("t0");
    run("for i in $(seq 400); do echo link set t0 mtu $((1300 + i)); done | ip -batch -");
    run("ip link set t0 up && ip link set t0 mtu 1400");
    ck_assert_int_eq(wait_event(tun, TUN_EVENT_UP | TUN_EVENT_MTU), TUN_EVENT_UP | TUN_EVENT_MTU);
    uint32_t mtu;
    ck_assert_int_eq(tun_mtu(tun, &mtu), 0);
    ck_assert_uint_eq(mtu, 1400);
    tun_close(tun);
}
END_TEST

/* Keeps a second namespace alive through a sleeping child, for `ip link set t0 netns PID`. */
static pid_t make_other_namespace(void)
{
    int ready[2];
    ck_assert_int_eq(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char ok = unshare(CLONE_NEWNET) == 0 ? 1 : 0;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (write(ready[1], &ok, 1) == 1)
            pause();
        _exit(0);
    }
    char ok = 0;
    ck_assert(read(ready[0], &ok, 1) == 1 && ok);
    return pid;
}

/* Keeps CAP_NET_ADMIN alone, as a container does. */
static void drop_other_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    data[0].effective = data[0].permitted = 1u << CAP_NET_ADMIN;
    ck_assert_int_eq(syscall(SYS_capset, &header, data), 0);
}

/* With the right to follow it, and without. */
START_TEST(moved_to_another_namespace)
{
    netns_enter();
    run("ip link add d0 type ifb"); /* so that the index is taken on the other side */
    struct tun *tun = open_addressed("t0");
    ck_assert_int_eq(wait_event(tun, TUN_EVENT_UP), TUN_EVENT_UP);
    pid_t pid = make_other_namespace();
    char ns[64];
    snprintf(ns, sizeof ns, "nsenter -t %d -n", (int)pid);
    run("%s ip link add name d1 index %u type ifb", ns, tun_ifindex(tun));
    run("ip link set t0 netns %d", (int)pid);

    /* another process, which keeps all its rights, changes the link on the other side */
    int go[2];
    ck_assert_int_eq(pipe(go), 0);
    pid_t helper = fork();
    if (helper == 0) {
        char c;
        close(go[1]);
        while (read(go[0], &c, 1) == 1)
            run(c == 'u' ? "%s ip link set t0 up" : "%s ip link set t0 mtu 1333", ns);
        _exit(0);
    }
    if (_i == 1)
        drop_other_capabilities();
    wait_event(tun, TUN_EVENT_DOWN);
    uint8_t bytes[2048];
    struct tun_packet packet = {.bytes = bytes, .capacity = sizeof bytes};
    ck_assert_int_eq(tun_read(tun, &packet), -EAGAIN);
    ck_assert_int_eq(write(go[1], "u", 1), 1);
    ck_assert_int_eq(wait_event(tun, TUN_EVENT_UP), TUN_EVENT_UP);
    ck_assert(tun_is_up(tun));
    if (_i == 0) {
        uint32_t mtu;
        ck_assert_uint_ne(tun_ifindex(tun), 3);
        ck_assert_int_eq(write(go[1], "m", 1), 1);
        wait_event(tun, TUN_EVENT_MTU);
        ck_assert_int_eq(tun_mtu(tun, &mtu), 0);
        ck_assert_uint_eq(mtu, 1333);
    }
    close(go[1]);
    kill(pid, SIGKILL);
    while (wait(NULL) > 0)
        ;
    tun_close(tun);
}
END_TEST

/* A process that watches an interface does not keep the namespace that the interface was moved
 * to: both go with the last process there. */
START_TEST(a_namespace_that_ends_takes_the_interface_along)
{
    netns_enter();
    struct tun *tun = open_addressed("t0");
    ck_assert_int_eq(wait_event(tun, TUN_EVENT_UP), TUN_EVENT_UP);
    pid_t pid = make_other_namespace();
    run("ip link set t0 netns %d", (int)pid);
    wait_event(tun, TUN_EVENT_DOWN);
    run("nsenter -t %d -n ip link set t0 up", (int)pid);
    ck_assert_int_eq(wait_event(tun, TUN_EVENT_UP), TUN_EVENT_UP);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    uint8_t bytes[2048];
    struct tun_packet packet = {.bytes = bytes, .capacity = sizeof bytes};
    int rc = -EAGAIN;
    for (int i = 0; i < 10 && rc != -EBADFD; i++) { /* it may have a packet or two of its own */
        ck_assert_msg(wait_readable(tun_fd(tun)), "the interface outlives its namespace");
        rc = tun_read(tun, &packet);
    }
    ck_assert_int_eq(rc, -EBADFD);
    for (int i = 0; i < 3; i++)
        ck_assert_int_ge(tun_events_read(tun), 0);
    ck_assert(!tun_is_up(tun));
    tun_close(tun);
}
END_TEST

/* Moved away and back, it is watched without a timer again. */
START_TEST(an_interface_that_comes_back_is_followed)
{
    netns_enter();
    struct tun *tun = open_addressed("t0");
    ck_assert_int_eq(wait_event(tun, TUN_EVENT_UP), TUN_EVENT_UP);
    pid_t pid = make_other_namespace();
    run("ip link set t0 netns %d", (int)pid);
    wait_event(tun, TUN_EVENT_DOWN);
    run("nsenter -t %d -n ip link set t0 netns %d", (int)pid, (int)getpid());
    run("ip link set t0 up");
    ck_assert_int_eq(wait_event(tun, TUN_EVENT_UP), TUN_EVENT_UP);
    run("ip link set t0 mtu 1333");
    wait_event(tun, TUN_EVENT_MTU);
    uint32_t mtu;
    ck_assert_int_eq(tun_mtu(tun, &mtu), 0);
    ck_assert_uint_eq(mtu, 1333);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    tun_close(tun);
}
END_TEST

/* As the kernel's and wireguard-go's; a persistent interface keeps what it has. */
START_TEST(new_interfaces_have_mtu_1420)
{
    netns_enter();
    uint32_t mtu = 0;
    struct tun *tun = open_tun("t0");
    ck_assert_int_eq(tun_mtu(tun, &mtu), 0);
    ck_assert_uint_eq(mtu, 1420);
    tun_close(tun);
    run("ip tuntap add t0 mode tun && ip link set t0 mtu 1333");
    tun = open_tun("t0");
    ck_assert_int_eq(tun_mtu(tun, &mtu), 0);
    ck_assert_uint_eq(mtu, 1333);
    tun_close(tun);
}
END_TEST

static int raw_tun(const char *name, short flags)
{
    struct ifreq ifr = {.ifr_flags = flags};
    memcpy(ifr.ifr_name, name, strlen(name));
    int fd = open("/dev/net/tun", O_RDWR);
    ck_assert_int_eq(ioctl(fd, TUNSETIFF, &ifr), 0);
    return fd;
}

/* Plain, and with a virtio header and offloads from a former life. */
START_TEST(adopts_a_descriptor)
{
    netns_enter();
    int fd = raw_tun("t7", _i == 0 ? IFF_TUN | IFF_NO_PI : IFF_TUN | IFF_NO_PI | IFF_VNET_HDR);
    if (_i == 1)
        ck_assert_int_eq(ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4), 0);
    struct tun *tun;
    ck_assert_int_eq(tun_adopt(&tun, fd, NULL), 0);
    ck_assert_str_eq(tun_name(tun), "t7");
    run("sysctl -qw net.ipv6.conf.t7.disable_ipv6=1 2>/dev/null || true");
    run("ip addr add 10.9.0.1/24 dev t7 && ip link set t7 up");
    ck_assert_int_eq(wait_event(tun, TUN_EVENT_UP), TUN_EVENT_UP);
    check_traffic(tun);
    tun_close(tun);
}
END_TEST

START_TEST(refuses_other_descriptors)
{
    netns_enter();
    struct err err;
    struct tun *tun;
    ck_assert_int_eq(tun_adopt(&tun, 999, &err), -EBADF);
    ck_assert_str_eq(err.text, "descriptor 999 is not open");
    int fd = raw_tun("t8", IFF_TAP | IFF_NO_PI);
    ck_assert_int_eq(tun_adopt(&tun, fd, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "(interface t8) is a TAP"));
    ck_assert_int_eq(fcntl(fd, F_GETFD), 0); /* still ours */
}
END_TEST

static const struct {
    const char *name;
    int rc;
    const char *text;
} bad_names[] = {
    {"", -EINVAL, "interface name \"\" is not valid"},
    {"sixteen-long-abc", -EINVAL, "1 to 15 characters"},
    {"a/b", -EINVAL, "\"a/b\" is not valid"},
    {"..", -EINVAL, "is not valid"},
    {"a b", -EINVAL, "is not valid"},
    {"t%d", -EINVAL, "is not valid"},
    {"lo", -EINVAL, "interface lo exists"},
    {"t1", -EBUSY,
     "interface t1 is in use by another program: stop that, or choose another name "
     "(--interface-name"},
};

START_TEST(names_refused)
{
    netns_enter();
    struct err err = {0};
    struct tun *other = open_tun("t1");
    struct tun *tun = NULL;
    ck_assert_int_eq(tun_open(&tun, bad_names[_i].name, &err), bad_names[_i].rc);
    ck_assert_int_eq(err.code, bad_names[_i].rc);
    ck_assert_msg(strstr(err.text, bad_names[_i].text) != NULL, "%s", err.text);
    ck_assert_ptr_null(tun);
    tun_close(other);
}
END_TEST

START_TEST(device_missing)
{
    netns_enter();
    struct err err = {0};
    struct tun *tun;
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount("none", "/dev/net", "tmpfs", 0, NULL), 0);
    ck_assert_int_eq(tun_open(&tun, "t0", &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, "--device /dev/net/tun --cap-add NET_ADMIN"));
    ck_assert_ptr_nonnull(strstr(err.text, "modprobe tun"));
    /* a device cgroup refuses with EPERM; a mode with EACCES, seen without CAP_DAC_OVERRIDE */
    run("touch /dev/net/tun && chmod 0 /dev/net/tun");
    drop_other_capabilities();
    ck_assert_int_eq(tun_open(&tun, "t0", &err), -EACCES);
    ck_assert_ptr_nonnull(strstr(err.text, "--device /dev/net/tun --cap-add NET_ADMIN"));
}
END_TEST

START_TEST(not_permitted)
{
    netns_enter();
    struct err err = {0};
    struct tun *tun;
    drop_rights();
    int rc = tun_open(&tun, "t0", &err);
    regain_rights();
    ck_assert_msg(rc == -EPERM || rc == -EACCES, "%d", rc);
    ck_assert_ptr_nonnull(strstr(err.text, "--cap-add NET_ADMIN"));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("tun_linux");
    tcase_set_timeout(tc, 20);
    tcase_add_test(tc, packets_both_ways);
    tcase_add_test(tc, too_long_is_dropped);
    tcase_add_test(tc, removal_is_ebadfd);
    tcase_add_test(tc, a_removed_interface_is_made_anew);
    tcase_add_test(tc, link_events);
    tcase_add_test(tc, quick_changes_are_all_told);
    tcase_add_test(tc, other_interfaces_are_no_events);
    tcase_add_test(tc, lost_messages_are_made_up_for);
    tcase_add_loop_test(tc, moved_to_another_namespace, 0, 2);
    tcase_add_test(tc, a_namespace_that_ends_takes_the_interface_along);
    tcase_add_test(tc, an_interface_that_comes_back_is_followed);
    tcase_add_test(tc, new_interfaces_have_mtu_1420);
    tcase_add_loop_test(tc, adopts_a_descriptor, 0, 2);
    tcase_add_test(tc, refuses_other_descriptors);
    tcase_add_loop_test(tc, names_refused, 0, ARRAY_LEN(bad_names));
    tcase_add_test(tc, device_missing);
    tcase_add_test(tc, not_permitted);
    return unit_run_as_root(tc);
}
