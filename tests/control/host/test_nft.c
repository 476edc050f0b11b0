#include "control/host/nft.h"

#include "tests/tun/netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct ip_prefix overlays[4];
static struct ip_prefix peers[2];
static struct ip_prefix inbound;

static struct nft_config make_config(void)
{
    static const char *const texts[] = {"10.51.0.0/16", "10.11.0.1/16", "fd00:51::/64",
                                        "fd00:11::/64"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        ck_assert(ip_prefix_parse(&overlays[i], texts[i]));
    ck_assert(ip_prefix_parse(&inbound, "192.168.50.0/24"));
    peers[0] = overlays[0];
    peers[1] = overlays[2];
    return (struct nft_config){
        .table = "heimdall",
        .tunnel = "darknet",
        .overlays = overlays,
        .overlay_count = 4,
        .peer_networks = peers,
        .peer_network_count = 2,
        .inbound = &inbound,
        .inbound_count = 1,
        .clamp_mss = true,
    };
}

static void apply(const struct nft_config *config)
{
    struct err err;
    int rc = nft_apply(config, &err);
    ck_assert_msg(rc == 0, "%s", err.text);
}

static void list_table(char *out, size_t size)
{
    run_out(out, size, "nft -s list table inet heimdall");
}

static const char listing[] =
    "table inet heimdall {\n"
    "\tchain forward {\n"
    "\t\ttype filter hook forward priority filter; policy accept;\n"
    "\t\tiifname \"darknet\" oifname \"darknet\" ip saddr 10.51.0.0/16 ip daddr 10.51.0.0/16 drop\n"
    "\t\tiifname \"darknet\" oifname \"darknet\" ip6 saddr fd00:51::/64 ip6 daddr fd00:51::/64 "
    "drop\n"
    "\t\tiifname != \"darknet\" oifname \"darknet\" ct state established,related accept\n"
    "\t\tiifname != \"darknet\" oifname \"darknet\" ip saddr 192.168.50.0/24 fib saddr . iif oif "
    "exists accept\n"
    "\t\tiifname != \"darknet\" oifname \"darknet\" drop\n"
    "\t}\n"
    "\n"
    "\tchain spoofed {\n"
    "\t\ttype filter hook prerouting priority filter; policy accept;\n"
    "\t\tiifname != \"darknet\" ip saddr 10.51.0.0/16 fib saddr oifname \"darknet\" drop\n"
    "\t\tiifname != \"darknet\" ip saddr 10.11.0.0/16 fib saddr oifname \"darknet\" drop\n"
    "\t\tiifname != \"darknet\" ip6 saddr fd00:51::/64 fib saddr oifname \"darknet\" drop\n"
    "\t\tiifname != \"darknet\" ip6 saddr fd00:11::/64 fib saddr oifname \"darknet\" drop\n"
    "\t}\n"
    "\n"
    "\tchain mss {\n"
    "\t\ttype filter hook forward priority mangle; policy accept;\n"
    "\t\toifname \"darknet\" tcp flags syn tcp option maxseg size set rt mtu\n"
    "\t\tiifname \"darknet\" tcp flags syn tcp option maxseg size set rt mtu\n"
    "\t}\n"
    "\n"
    "\tchain postrouting {\n"
    "\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
    "\t\toifname != \"darknet\" oifname != \"lo\" ip saddr 10.51.0.0/16 masquerade\n"
    "\t\toifname != \"darknet\" oifname != \"lo\" ip saddr 10.11.0.0/16 masquerade\n"
    "\t\toifname != \"darknet\" oifname != \"lo\" ip6 saddr fd00:51::/64 masquerade\n"
    "\t\toifname != \"darknet\" oifname != \"lo\" ip6 saddr fd00:11::/64 masquerade\n"
    "\t}\n"
    "}\n";

START_TEST(table_is_replaced_as_a_whole)
{
    static char out[8192];
    struct nft_config config = make_config();
    netns_enter();
    apply(&config);
    list_table(out, sizeof out);
    ck_assert_str_eq(out, listing);
    apply(&config);
    list_table(out, sizeof out);
    ck_assert_str_eq(out, listing);
    config.peer_to_peer = true;
    config.clamp_mss = false;
    config.interface = "eth0";
    config.overlay_count = 1;
    apply(&config);
    list_table(out, sizeof out);
    ck_assert_ptr_null(strstr(out, "daddr 10.51.0.0/16 drop"));
    ck_assert_ptr_null(strstr(out, "maxseg"));
    ck_assert_ptr_null(strstr(out, "ip6"));
    ck_assert_ptr_nonnull(strstr(out, "\t\toifname \"eth0\" ip saddr 10.51.0.0/16 masquerade\n"));
}
END_TEST

START_TEST(removed_alone)
{
    static char out[8192];
    struct nft_config config = make_config();
    netns_enter();
    run("nft add table inet other && nft add chain inet other c");
    run("nft add table ip heimdall");
    apply(&config);
    ck_assert_int_eq(nft_remove("heimdall", NULL), 0);
    ck_assert_int_eq(nft_remove("heimdall", NULL), 0);
    run_out(out, sizeof out, "nft list ruleset");
    ck_assert_str_eq(out, "table inet other {\n\tchain c {\n\t}\n}\ntable ip heimdall {\n}\n");
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    ck_assert_int_eq(errno, ECHILD);
}
END_TEST

static const struct {
    const char *table;
    const char *tunnel;
} hostile[] = {
    {"", "darknet"},          {"a b", "darknet"}, {"x; flush ruleset", "darknet"},
    {"9heimdall", "darknet"}, {"heimdall", ""},   {"heimdall", "dark*"},
    {"heimdall", NULL},
};

START_TEST(names_refused)
{
    char out[256];
    struct err err;
    struct nft_config config = make_config();
    netns_enter();
    config.table = hostile[_i].table;
    config.tunnel = hostile[_i].tunnel;
    ck_assert_int_eq(nft_apply(&config, &err), -EINVAL);
    run_out(out, sizeof out, "nft list ruleset");
    ck_assert_str_eq(out, "");
}
END_TEST

/* A refusal by nft changes nothing, and its message is returned. */
START_TEST(refused_by_nft)
{
    static char out[8192];
    struct err err = {0};
    struct nft_config config = make_config();
    netns_enter();
    apply(&config);
    config.interface = "an-interface-name-that-is-too-long";
    ck_assert_int_eq(nft_apply(&config, &err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.text, "nft refused the rules: "));
    ck_assert_uint_gt(strlen(err.text), strlen("nft refused the rules: "));
    ck_assert_ptr_null(strchr(err.text, '\n'));
    list_table(out, sizeof out);
    ck_assert_str_eq(out, listing);
}
END_TEST

START_TEST(not_permitted)
{
    struct err err = {0};
    struct nft_config config = make_config();
    netns_enter();
    ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
    ck_assert_int_eq(nft_apply(&config, &err), -EPERM);
    ck_assert_ptr_nonnull(strstr(err.text, "--cap-add NET_ADMIN"));
}
END_TEST

static void hide_nft(void)
{
    netns_enter();
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount("none", "/usr/sbin", "tmpfs", 0, NULL), 0);
    setenv("PATH", "/usr/sbin:/usr/bin:/bin", 1);
}

START_TEST(missing)
{
    struct err err = {0};
    struct nft_config config = make_config();
    hide_nft();
    ck_assert_int_eq(nft_apply(&config, &err), -ENOENT);
    ck_assert_str_eq(err.text, "nft is missing: install the package nftables");
    ck_assert_int_eq(nft_remove("heimdall", NULL), -ENOENT);
}
END_TEST

START_TEST(not_in_the_path)
{
    struct nft_config config = make_config();
    netns_enter();
    setenv("PATH", "/nowhere", 1);
    apply(&config);
}
END_TEST

START_TEST(hanging_is_ended)
{
    struct err err = {0};
    struct nft_config config = make_config();
    hide_nft();
    FILE *file = fopen("/usr/sbin/nft", "w");
    ck_assert_ptr_nonnull(file);
    fputs("#!/bin/sh\nexec sleep 60\n", file);
    fclose(file);
    run("chmod 755 /usr/sbin/nft");
    ck_assert_int_eq(nft_apply(&config, &err), -ETIMEDOUT);
    ck_assert_str_eq(err.text, "nft did not end within 5 s");
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}
END_TEST

/* ---- what the rules do to packets: three hosts, the node in the middle */

static void middle_host(void)
{
    netns_enter();
    run("sysctl -qw net.ipv4.ip_forward=1");
    run("mkdir -p /run/netns");
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount("none", "/run/netns", "tmpfs", 0, NULL), 0);
    run("ip netns add peer && ip netns add out");
    run("ip link add darknet type veth peer name p0 netns peer");
    run("ip link add eth0 type veth peer name o0 netns out");
    run("ip addr add 10.51.0.1/24 dev darknet && ip link set darknet mtu 1300 up");
    run("ip addr add 192.0.2.1/24 dev eth0 && ip link set eth0 up");
    run("ip -n peer addr add 10.51.0.2/24 dev p0 && ip -n peer addr add 10.51.1.3/32 dev p0");
    run("ip -n peer link set p0 up && ip -n peer link set lo up");
    run("ip -n peer route add default via 10.51.0.1");
    run("ip -n out addr add 192.0.2.9/24 dev o0 && ip -n out link set o0 up");
    run("ip route add 10.51.1.3/32 dev darknet");
}

/* Echo requests that a host has received; "": the one in the middle. */
static int received_by(const char *exec)
{
    char out[64];
    run_out(out, sizeof out, "%s cat /proc/net/snmp | awk '/^Icmp: [0-9]/ {print $10}'", exec);
    return atoi(out);
}

static int listen_in(const char *ns, const char *addr)
{
    char path[64];
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(7777)};
    snprintf(path, sizeof path, "/run/netns/%s", ns);
    FILE *own = fopen("/proc/self/ns/net", "r");
    FILE *other = fopen(path, "r");
    ck_assert(own != NULL && other != NULL);
    ck_assert_int_eq(setns(fileno(other), CLONE_NEWNET), 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(setns(fileno(own), CLONE_NEWNET), 0);
    fclose(own);
    fclose(other);
    inet_pton(AF_INET, addr, &sin.sin_addr);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&sin, sizeof sin), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    return fd;
}

START_TEST(masquerades_and_clamps)
{
    struct nft_config config = make_config();
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    char text[INET_ADDRSTRLEN];
    int mss = 0;
    middle_host();
    int listener = listen_in("out", "192.0.2.9");
    apply(&config);
    run("timeout 5 ip netns exec peer bash -c 'exec 3<>/dev/tcp/192.0.2.9/7777'");
    int fd = accept(listener, (struct sockaddr *)&from, &len);
    ck_assert_int_ge(fd, 0);
    ck_assert_str_eq(inet_ntop(AF_INET, &from.sin_addr, text, sizeof text), "192.0.2.1");
    close(fd);
    close(listener);

    /* in the other direction, a connection into the tunnel learns what fits through it */
    ck_assert(ip_prefix_parse(&inbound, "192.0.2.0/24"));
    apply(&config);
    run("ip -n out route add 10.51.0.0/16 via 192.0.2.1");
    listener = listen_in("peer", "10.51.0.2");
    run("timeout 5 ip netns exec out bash -c 'exec 3<>/dev/tcp/10.51.0.2/7777'");
    fd = accept(listener, NULL, NULL);
    ck_assert_int_ge(fd, 0);
    len = sizeof mss;
    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, &len), 0);
    ck_assert_int_le(mss, 1300 - 40);
    close(fd);
    close(listener);
}
END_TEST

/* Packets from outside enter the overlay as answers, or from a network that may open connections, by
 * the interface that leads back there. */
START_TEST(outside_stays_outside)
{
    static const char ping[] = "ip netns exec out ping -c 1 -W 1 -I %s 10.51.0.2 >/dev/null";
    static const struct {
        const char *inbound; /* "": none */
        const char *from;
        bool passes;
    } cases[] = {
        {"", "192.0.2.9", false},
        {"", "10.51.1.3", false}, /* forged: a peer's */
        {"", "10.11.0.1", false}, /* forged: a node's */
        {"192.0.2.0/24", "192.0.2.9", true},
        {"192.0.2.0/24", "10.51.1.3", false},
        {"198.51.100.0/24", "192.0.2.9", false},
        {"198.51.100.0/24", "198.51.100.9", false}, /* the way back is another one */
        {"10.51.1.0/24", "10.51.1.3", false},
    };
    struct nft_config config = make_config();
    middle_host();
    run("sysctl -qw net.ipv4.conf.all.rp_filter=0; for c in /proc/sys/net/ipv4/conf/*/rp_filter; "
        "do "
        "echo 0 >$c; done");
    run("ip -n out route add 10.51.0.0/16 via 192.0.2.1");
    for (const char *const *addr =
             (const char *const[]){"10.51.1.3", "10.11.0.1", "198.51.100.9", NULL};
         *addr != NULL; addr++) {
        run("ip -n out addr add %s/32 dev lo", *addr);
    }
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char command[128];
        config.inbound_count = ip_prefix_parse(&inbound, cases[i].inbound);
        apply(&config);
        run("ip netns exec peer ping -c 1 -W 5 192.0.2.9 >/dev/null"); /* answers pass */
        snprintf(command, sizeof command, ping, cases[i].from);
        int received = received_by("ip netns exec peer");
        bool passed = system(command) == 0;
        ck_assert_msg(passed == cases[i].passes, "case %zu", i);
        ck_assert_msg((received_by("ip netns exec peer") > received) == cases[i].passes, "case %zu",
                      i);
    }
}
END_TEST

/* The node itself answers no packet from outside into the tunnel. A network of the host's own that
 * lies inside the overlay is no such thing. */
START_TEST(forged_to_the_node)
{
    struct nft_config config = make_config();
    middle_host();
    run("for c in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$c; done");
    run("ip -n out addr add 10.51.1.3/32 dev lo && ip -n out addr add 10.51.7.3/32 dev lo");
    run("ip -n out route add 10.51.0.0/16 via 192.0.2.1 && ip route add 10.51.7.0/24 via "
        "192.0.2.9");
    apply(&config);
    for (int own = 0; own < 2; own++) {
        char command[128];
        int received = received_by("");
        snprintf(command, sizeof command,
                 "ip netns exec out ping -c 1 -W 1 -I 10.51.%d.3 10.51.0.1 >/dev/null",
                 own ? 7 : 1);
        ck_assert((system(command) == 0) == (own == 1));
        ck_assert_int_eq(received_by("") - received, own);
    }
}
END_TEST

START_TEST(peers_are_kept_apart)
{
    struct nft_config config = make_config();
    middle_host();
    /* a second peer behind the same tunnel interface */
    run("ip netns exec peer sysctl -qw net.ipv4.conf.all.accept_local=1 "
        "net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.p0.rp_filter=0");
    run("ip -n peer addr del 10.51.1.3/32 dev p0 && ip -n peer link add br0 type bridge");
    run("ip netns add peer2 && ip link add q0 netns peer2 type veth peer name p1 netns peer");
    run("ip -n peer addr flush dev p0 && ip -n peer link set p0 master br0 && ip -n peer link set "
        "p1 master br0 && ip -n peer link set p1 up && ip -n peer link set br0 up");
    run("ip -n peer addr add 10.51.0.2/32 dev br0 && ip -n peer route add 10.51.0.1 dev br0");
    run("ip -n peer route replace default via 10.51.0.1");
    run("ip -n peer2 addr add 10.51.1.3/32 dev q0 && ip -n peer2 link set q0 up");
    run("ip -n peer2 route add 10.51.0.1 dev q0 && ip -n peer2 route add default via 10.51.0.1");
    run("sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.darknet.send_redirects=0");
    const char ping[] = "ip netns exec peer ping -c 1 -W 1 10.51.1.3 >/dev/null";
    config.peer_to_peer = true;
    apply(&config);
    ck_assert_msg(system(ping) == 0, "peers do not reach each other when they may");
    config.peer_to_peer = false;
    apply(&config);
    ck_assert_msg(system(ping) != 0, "peers reach each other when they may not");
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("nft");
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, table_is_replaced_as_a_whole);
    tcase_add_test(tc, removed_alone);
    tcase_add_loop_test(tc, names_refused, 0, ARRAY_LEN(hostile));
    tcase_add_test(tc, refused_by_nft);
    tcase_add_test(tc, not_permitted);
    tcase_add_test(tc, missing);
    tcase_add_test(tc, not_in_the_path);
    tcase_add_test(tc, hanging_is_ended);
    tcase_add_test(tc, masquerades_and_clamps);
    tcase_add_test(tc, outside_stays_outside);
    tcase_add_test(tc, forged_to_the_node);
    tcase_add_test(tc, peers_are_kept_apart);
    return unit_run(tc);
}
