"""heimdall-wg: source and destination addresses of packets, and what happens when either changes."""
import time

from lab.wgtest import DATA, PORT, WG, End, InLab, Relay, main, wait_until

LONG = "2001:db8::"


def endpoint_of(end, other):
    """The endpoint that `end` has for `other`."""
    shown = dict(line.split() for line in end.show("endpoints").split("\n"))
    return shown[other.public]


class Source(InLab):
    def start_anew(self, a, b, address):
        """Configures the peers again: `a` has an endpoint for `b`, and `b` must learn that of `a`."""
        for end, other in ((a, b), (b, a)):
            end.set("peer", other.public, "remove")
            end.set("peer", other.public, "allowed-ips", f"{other.inner4}/32,{other.inner6}/128")
        a.set("peer", b.public, "endpoint", f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}")

    def assert_spoken_from(self, a, b, address):
        text = f"[{address}]" if ":" in address else address
        self.start_anew(a, b, address)
        tap = self.tap(a.host)
        a.ping(b.inner4, count=3)
        b.ping(a.inner4, count=2)
        answers = [p for p in tap.wireguard() if p.dest in (a.outer4, a.outer6)]
        self.assertGreaterEqual(len(answers), 5)
        self.assertEqual({p.source for p in answers}, {address})
        self.assertEqual(endpoint_of(a, b), f"{text}:{PORT}")

    def test_several_addresses(self):
        pair = self.pair()
        pair.b.host.sh("ip addr add 192.0.2.22/24 dev eth0; ip addr add 2001:db8::22/64 dev eth0 nodad")
        pair.b.host.settle()
        for address in ("192.0.2.22", "2001:db8::22", "192.0.2.2", "2001:db8::2"):
            with self.subTest(address=address):
                self.assert_spoken_from(pair.a, pair.b, address)

    def test_address_on_another_device(self):
        pair = self.pair()
        pair.b.host.sh("ip link add other0 type bridge; ip link set other0 up; ip addr add 10.50.0.1/24 dev other0; "
                       "ip addr add 2001:db8:50::1/64 dev other0 nodad")
        pair.b.host.settle()
        pair.a.host.sh("ip route add 10.50.0.0/24 via 192.0.2.2; ip route add 2001:db8:50::/64 via 2001:db8::2")
        for address in ("10.50.0.1", "2001:db8:50::1"):
            with self.subTest(address=address):
                self.assert_spoken_from(pair.a, pair.b, address)

    def test_address_taken_away(self):
        pair = self.pair()
        pair.b.host.sh("ip addr add 192.0.2.22/24 dev eth0; ip addr add 2001:db8::22/64 dev eth0 nodad")
        pair.b.host.settle()
        for address, left in (("192.0.2.22", "192.0.2.2"), ("2001:db8::22", "2001:db8::2")):
            with self.subTest(address=address):
                self.assert_spoken_from(pair.a, pair.b, address)
                pair.b.host.sh(f"ip addr del {address}/{64 if ':' in address else 24} dev eth0")
                tap = self.tap(pair.b.host)
                start = time.monotonic()
                pair.b.ping(pair.a.inner4, count=2)
                self.assertLess(time.monotonic() - start, 2)
                self.assertEqual({p.source for p in tap.wireguard() if p.dport == PORT and p.dest.endswith("1")}, {left})

    def two_ways(self):
        """Two cables from a to b; a answers at 10.66.0.1 over both; b's default route is the first."""
        pair = self.pair()
        self.lab.link(pair.a.host, "198.51.100.1/24", pair.b.host, "198.51.100.2/24", "eth1", "eth1")
        pair.a.host.sh("ip addr add 10.66.0.1/32 dev lo")
        for end in (pair.a, pair.b):
            end.host.sh("for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done")
        pair.b.host.sh("ip route add default via 192.0.2.1")
        pair.b.set("peer", pair.a.public, "endpoint", f"10.66.0.1:{PORT}")
        pair.b.ping(pair.a.inner4)
        return pair

    def test_default_route_changed(self):
        pair = self.two_ways()
        pair.b.host.sh("ip route replace default via 198.51.100.1")
        pair.a.host.sh("ip link set eth0 down")
        tap = self.tap(pair.b.host, "eth1")
        start = time.monotonic()
        pair.b.ping(pair.a.inner4, count=3)
        self.assertLess(time.monotonic() - start, 2)
        sent = [p.source for p in tap.wireguard(kind=DATA) if p.dest == "10.66.0.1"]
        self.assertEqual(sent[-1], "198.51.100.2")  # the first may have been quicker than the news
        self.assertEqual(endpoint_of(pair.a, pair.b), f"198.51.100.2:{PORT}")

    def test_default_route_changed_ipv6(self):
        pair = self.two_ways()
        pair.a.host.sh("ip addr add 2001:db8:66::1/128 dev lo; ip addr add 2001:db8:1::1/64 dev eth1 nodad")
        pair.b.host.sh("ip addr add 2001:db8:1::2/64 dev eth1 nodad; ip -6 route add default via 2001:db8::1")
        for end in (pair.a, pair.b):
            end.host.settle()
        pair.b.set("peer", pair.a.public, "endpoint", f"[2001:db8:66::1]:{PORT}")
        pair.b.ping(pair.a.inner4)
        pair.b.host.sh("ip -6 route replace default via 2001:db8:1::1")
        pair.a.host.sh("ip link set eth0 down")
        tap = self.tap(pair.b.host, "eth1")
        wait_until(lambda: pair.b.host.run(["ping", "-c1", "-W1", pair.a.inner4], check=False).returncode == 0, 4, "no")
        sent = [p.source for p in tap.wireguard(kind=DATA) if p.dest == "2001:db8:66::1"]
        self.assertEqual(sent[-1], "2001:db8:1::2")

    def test_new_mark(self):
        """It leads another way: the remembered source address does not stay."""
        pair = self.two_ways()
        pair.b.host.sh("ip rule add fwmark 9 lookup 99; ip route add default via 198.51.100.1 table 99")
        pair.b.ping(pair.a.inner4)
        tap = self.tap(pair.b.host, "eth1")
        pair.b.set("fwmark", 9)
        pair.b.ping(pair.a.inner4)
        sent = {p.source for p in tap.wireguard(kind=DATA) if p.dest == "10.66.0.1"}
        self.assertEqual(sent, {"198.51.100.2"})

    def test_way_back_through_another_interface(self):
        """Asymmetric routes: comes in by eth0, goes out by eth1, from the address that was the destination."""
        pair = self.two_ways()
        pair.b.host.sh("ip route replace default via 198.51.100.1")
        pair.a.host.sh("ip route add 192.0.2.2/32 dev eth0 src 10.66.0.1")
        tap = self.tap(pair.b.host, "eth1")
        self.start_anew(pair.a, pair.b, "192.0.2.2")
        pair.a.ping(pair.b.inner4, count=3)
        self.assertEqual({p.source for p in tap.wireguard() if p.dest == "10.66.0.1"}, {"192.0.2.2"})


class Endpoint(InLab):
    def test_link_local_keeps_its_scope(self):
        pair = self.pair()
        for n, end in ((1, pair.a), (2, pair.b)):
            end.host.sh(f"ip link add trap type bridge; ip link set trap up; ip addr add fe80::9/64 dev trap nodad; "
                        f"ip addr add fe80::{n}/64 dev eth0 nodad")
            end.host.settle()
        pair.a.set("peer", pair.b.public, "endpoint", f"[fe80::2%eth0]:{PORT}")
        tap = self.tap(pair.a.host)
        pair.a.ping(pair.b.inner4, count=2)
        pair.b.ping(pair.a.inner4, count=2)
        self.assertEqual({p.source for p in tap.wireguard()}, {"fe80::1", "fe80::2"})
        for end, other, address in ((pair.a, pair.b, "fe80::2"), (pair.b, pair.a, "fe80::1")):
            self.assertRegex(endpoint_of(end, other), rf"^\[{address}%(eth0|\d+)\]:{PORT}$")

    def test_first_packet_over_another_family(self):
        pair = self.pair()
        pair.a.ping(pair.b.inner4)
        for address, expected in ((f"[{pair.b.outer6}]", pair.b.outer6), (pair.b.outer4, pair.b.outer4)):
            tap = self.tap(pair.a.host)
            pair.a.set("peer", pair.b.public, "endpoint", f"{address}:{PORT}")
            pair.a.ping(pair.b.inner4)
            sent = [p for p in tap.wireguard() if p.source in (pair.a.outer4, pair.a.outer6)]
            self.assertEqual(sent[0].dest, expected)
            self.assertEqual(sent[0].kind, DATA)
            self.assertEqual({p.dest for p in sent}, {expected})

    def test_roaming(self):
        pair = self.pair()
        pair.a.ping(pair.b.inner4)
        host = pair.a.host

        def moved(address):
            """b learns the address from a's next packet, and sends to it."""
            wait_until(lambda: pair.a.ping(pair.b.inner4, check=False), 5, "no answer after roaming")
            text = f"[{address}]" if ":" in address else address
            self.assertEqual(endpoint_of(pair.b, pair.a), f"{text}:{PORT}")
            tap = self.tap(host)
            pair.b.ping(pair.a.inner4)
            self.assertIn(address, {p.dest for p in tap.wireguard()})

        host.sh("ip addr del 192.0.2.1/24 dev eth0; ip addr add 192.0.2.9/24 dev eth0")
        moved("192.0.2.9")
        pair.a.set("peer", pair.b.public, "endpoint", f"[{pair.b.outer6}]:{PORT}")
        moved("2001:db8::1")
        host.sh("ip addr del 2001:db8::1/64 dev eth0; ip addr add 2001:db8::9/64 dev eth0 nodad")
        moved("2001:db8::9")
        pair.a.set("peer", pair.b.public, "endpoint", f"{pair.b.outer4}:{PORT}")
        moved("192.0.2.9")

    def test_nat_that_forgets(self):
        """The other side's port changes unannounced; either side sends first."""
        pair = self.pair()
        middle = self.lab.host("middle")
        self.lab.link(pair.a.host, "203.0.113.1/24", middle, "203.0.113.9/24", "eth1", "eth0")
        self.lab.link(pair.b.host, "198.51.100.2/24", middle, "198.51.100.9/24", "eth1", "eth1")
        relay = Relay(middle, ("198.51.100.2", PORT))
        self.addCleanup(relay.close)
        pair.a.set("peer", pair.b.public, "endpoint", f"203.0.113.9:{PORT}")
        pair.a.ping(pair.b.inner4)
        before = endpoint_of(pair.b, pair.a)
        self.assertTrue(before.startswith("198.51.100.9:"))
        relay.rebind()
        pair.a.ping(pair.b.inner4, count=2)
        self.assertNotEqual(endpoint_of(pair.b, pair.a), before)
        pair.b.ping(pair.a.inner4)


class Underlay(InLab):
    def test_outer_fragments(self):
        for outer in ("4", "6"):
            with self.subTest(outer=outer), self.fresh_lab():
                pair = self.pair(outer)
                for end in (pair.a, pair.b):
                    end.host.sh("ip link set eth0 mtu 1280; ip link set wg0 mtu 4000")
                tap = self.tap(pair.a.host)
                for end, other in ((pair.a, pair.b), (pair.b, pair.a)):
                    end.host.run(["ping", "-c2", "-i0.1", "-W2", "-M", "do", "-s", "3900", other.inner4])
                self.assertGreater(len([p for p in tap.packets() if p.fragment]), 12)

    def test_router_with_a_smaller_mtu(self):
        """A small MTU beyond our own link: the router fragments IPv4, and reports it for IPv6."""
        for outer in ("4", "6"):
            with self.subTest(outer=outer), self.fresh_lab():
                a, b, router = (self.lab.host(name) for name in ("a", "b", "router"))
                self.lab.link(a, "192.0.2.1/24 2001:db8::1/64", router, "192.0.2.9/24 2001:db8::9/64")
                self.lab.link(b, "198.51.100.2/24 2001:db8:1::2/64", router, "198.51.100.9/24 2001:db8:1::9/64",
                              "eth0", "eth1")
                router.sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; "
                          "ip link set eth1 mtu 1300; "
                          "for i in 0 1; do ip addr add fe80::9/64 dev eth$i nodad; done")
                router.settle()
                a.sh("ip route add default via 192.0.2.9; ip -6 route add default via 2001:db8::9")
                b.sh("ip route add default via 198.51.100.9; ip -6 route add default via 2001:db8:1::9; "
                     "ip link set eth0 mtu 1300")
                ends = End(a, 1, WG), End(b, 2, WG)
                where = {"4": ("192.0.2.1", "198.51.100.2"), "6": ("[2001:db8::1]", "[2001:db8:1::2]")}[outer]
                for end, other, address in ((ends[0], ends[1], where[1]), (ends[1], ends[0], where[0])):
                    end.set("listen-port", PORT, "private-key", "key:" + end.private, "peer", other.public, "endpoint",
                            f"{address}:{PORT}", "allowed-ips", f"{other.inner4}/32,{other.inner6}/128")
                    end.up()
                a.run(["ping", "-c1", "-W5", ends[1].inner4])
                wait_until(lambda: a.run(["ping", "-c1", "-W1", "-M", "do", "-s", "1392", ends[1].inner4],
                                         check=False).returncode == 0, 5, "large packets do not arrive")

    def test_ipv6_switched_off(self):
        a, b = self.lab.host("a"), self.lab.host("b")
        for host in (a, b):
            host.sh("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; "
                    "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
        self.lab.link(a, "192.0.2.1/24", b, "192.0.2.2/24")
        ends = End(a, 1, WG), End(b, 2, WG)
        for end, other in (ends, reversed(ends)):
            end.set("listen-port", PORT, "private-key", "key:" + end.private, "peer", other.public, "endpoint",
                    f"{other.outer4}:{PORT}", "allowed-ips", f"{other.inner4}/32")
            end.host.sh(f"ip addr add {end.inner4}/24 dev wg0; ip link set wg0 up")
        ends[0].ping("10.9.0.2", count=2)
        self.assertNotRegex(ends[0].process.output(), "WARN|ERRO")


if __name__ == "__main__":
    main()
