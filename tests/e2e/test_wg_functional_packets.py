"""heimdall-wg: packets on the wire, packets delivered at the other end, and ICMP for those that cannot be."""
import operator
import os
import select
import socket
import struct
import time

from lab.wgtest import (DATA, HANDSHAKE_DS, INITIATION, PORT, RESPONSE, InLab, key_hex, main, received, uapi, wait_until,
                    within)

OVERHEAD = 32


class Marks(InLab):
    def send(self, host, source, dest, ds):
        ipv6 = ":" in dest
        sock = self.udp(host, source)
        sock.setsockopt(*((socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if ipv6 else (socket.IPPROTO_IP, socket.IP_TOS)), ds)
        sock.sendto(b"marked", (dest, 7000))

    def test_copied_out(self):
        """Handshakes are AF41; data carries the inner ECN, and nothing of the inner DSCP."""
        for outer in ("4", "6"):
            with self.subTest(outer=outer), self.fresh_lab():
                pair = self.pair(outer)
                tap = self.tap(pair.a.host)
                pair.a.ping(pair.b.inner4)
                shakes = [p for p in tap.wireguard() if p.kind in (INITIATION, RESPONSE)]
                self.assertEqual([p.ds for p in shakes], [HANDSHAKE_DS] * 2)
                for inner in ("4", "6"):
                    for ecn in range(4):
                        tap.clear()
                        self.send(pair.a.host, getattr(pair.a, "inner" + inner), getattr(pair.b, "inner" + inner),
                                  46 << 2 | ecn)
                        own = getattr(pair.a, "outer" + outer)
                        self.assertEqual([p.ds for p in tap.wireguard(own, DATA, least=1)], [ecn])

    def test_first_packet_keeps_its_mark(self):
        """Packets staged for the handshake arrive, too."""
        pair = self.pair()
        tap = self.tap(pair.a.host)
        self.send(pair.a.host, pair.a.inner4, pair.b.inner4, 46 << 2 | 2)
        self.assertEqual(tap.wireguard("192.0.2.1", DATA, least=1)[0].ds, 2)

    def test_combined_in(self):
        """RFC 6040: a congested path marks packets that can be marked, and loses those that cannot."""
        for outer in ("4", "6"):
            with self.subTest(outer=outer), self.fresh_lab():
                pair = self.pair(outer)
                pair.a.ping(pair.b.inner4)
                for inner in ("4", "6"):
                    dest = getattr(pair.b, "inner" + inner)
                    taker = self.udp(pair.b.host, dest, 7000)
                    if inner == "4":
                        taker.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
                    else:
                        taker.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
                    for mark, expected in (("ce", {0: None, 1: 3, 2: 3, 3: 3}), ("ect1", {0: 0, 1: 1, 2: 1, 3: 3}),
                                           ("not-ect", {0: 0, 1: 1, 2: 2, 3: 3})):
                        rule = f"{'ip' if outer == '4' else 'ip6'} ecn set {mark}"
                        pair.a.host.sh("nft flush ruleset; nft add table inet t; "
                                       "nft 'add chain inet t c { type filter hook output priority mangle; }'; "
                                       f"nft add rule inet t c oifname eth0 udp dport {PORT} {rule}")
                        for ecn, seen in expected.items():
                            self.send(pair.a.host, getattr(pair.a, "inner" + inner), dest, 10 << 2 | ecn)
                            got = None
                            if select.select([taker], [], [], 0.15 if seen is None else 2)[0]:
                                ds = taker.recvmsg(100, 100)[1][0][2][0]
                                self.assertEqual(ds >> 2, 10)
                                got = ds & 3
                            self.assertEqual(got, seen, f"inner {inner}, {ecn} in {mark}")


class Wire(InLab):
    def test_padding(self):
        """Up to 16 bytes, but never past the MTU, which the program follows when it changes."""
        pair = self.pair()
        pair.a.ping(pair.b.inner4)
        tap = self.tap(pair.a.host)
        sock = self.udp(pair.a.host, pair.a.inner4)
        self.udp(pair.b.host, pair.b.inner4, 7000)

        def sent(length):
            """The payloads of the datagrams that carry a packet of that length."""
            tap.clear()
            sock.sendto(bytes(length - 28), (pair.b.inner4, 7000))
            return [len(p.payload) for p in tap.wireguard("192.0.2.1", DATA, settle=0.05, least=1)]
        for mtu in (1420, 1337, 600):
            pair.a.host.sh(f"ip link set wg0 mtu {mtu}")
            wait_until(lambda: sent(mtu - 1) == [mtu + OVERHEAD], 5, "the MTU is not followed")
            for length in (28, 29, 32, 33, 44, 48, 500, mtu - 17, mtu - 9, mtu - 1, mtu):
                padded = min((length + 15) // 16 * 16, mtu)
                self.assertEqual(sent(length), [padded + OVERHEAD], f"{length} at MTU {mtu}")

    def test_counters_are_what_crossed_the_wire(self):
        pair = self.pair()
        taps = [self.tap(end.host) for end in (pair.a, pair.b)]
        pair.a.ping(pair.b.inner4, count=5)
        pair.b.ping(pair.a.inner6, count=5)
        pair.a.host.run(["ping", "-c3", "-i0.1", "-s", "5000", pair.b.inner4])
        pair.transfer(200_000)

        def counts(end, other, tap):
            """The counters of the end, and those of the tap."""
            sums = [sum(len(p.payload) for p in tap.wireguard(side.outer4)) for side in (other, end)]
            return [int(n) for n in end.show("transfer").split()[1:]], sums
        for row in ((pair.a, pair.b, taps[0]), (pair.b, pair.a, taps[1])):
            # the last ones may be in flight
            wait_until(lambda: operator.eq(*counts(*row)), 3, lambda: "counted and seen: %s, %s" % counts(*row))

    def test_dropped_counts_nothing(self):
        """Junk, replays and packets for unknown indices do not count as a peer's traffic."""
        pair = self.pair()
        pair.a.ping(pair.b.inner4)
        time.sleep(0.2)
        before = pair.b.show("transfer")
        sock = self.udp(pair.a.host, "192.0.2.1", 7777)
        for kind in range(6):
            for length in (0, 1, 4, 32, 64, 92, 148, 1000):
                sock.sendto((struct.pack("<I", kind) + os.urandom(1000))[:length], ("192.0.2.2", PORT))
        pair.b.host.run(["ping", "-c1", "-W1", "10.9.0.99"], check=False)
        time.sleep(0.2)
        self.assertEqual(pair.b.show("transfer"), before)
        self.assertEqual(pair.b.show("endpoints").split()[1], f"192.0.2.1:{PORT}")


class AllowedIps(InLab):
    def test_source_filter_for_each_packet(self):
        pair = self.pair()
        pair.a.host.sh("ip addr add 10.9.0.77/24 dev wg0; ip addr add fd00:9::77/64 dev wg0 nodad")
        pair.a.host.settle()
        takers = {"4": self.udp(pair.b.host, pair.b.inner4, 7000), "6": self.udp(pair.b.host, pair.b.inner6, 7000)}
        for family, own, other in (("4", pair.a.inner4, "10.9.0.77"), ("6", pair.a.inner6, "fd00:9::77")):
            good, bad = self.udp(pair.a.host, own), self.udp(pair.a.host, other)
            dest = getattr(pair.b, "inner" + family), 7000
            for number in range(10):
                good.sendto(b"good%d" % number, dest)
                bad.sendto(b"bad%d" % number, dest)
            self.assertEqual(received(takers[family], 10, settle=1), [b"good%d" % n for n in range(10)])
            pair.b.set("peer", pair.a.public, "allowed-ips",
                       f"{pair.a.inner4}/32,{pair.a.inner6}/128,10.9.0.77/32,fd00:9::77/128")
            bad.sendto(b"allowed now", dest)
            self.assertEqual(received(takers[family], 1), [b"allowed now"])
            pair.b.set("peer", pair.a.public, "allowed-ips", f"{pair.a.inner4}/32,{pair.a.inner6}/128")
            bad.sendto(b"no more", dest)
            self.assertEqual(received(takers[family]), [])

    def test_one_taken_away(self):
        """`-` in front: wg(8) of Debian does not know it."""
        pair = self.pair()
        pair.a.ping(pair.b.inner4)
        pair.a.ping(pair.b.inner6)
        public = key_hex(pair.b.public)
        self.assertEqual(uapi(pair.a.host, f"set=1\npublic_key={public}\nupdate_only=true\nallowed_ip=-{pair.b.inner4}/32\n"
                              "allowed_ip=-10.99.0.0/16\n\n"), "errno=0\n\n")
        self.assertEqual(pair.a.show("allowed-ips").split()[1:], [f"{pair.b.inner6}/128"])
        said = pair.a.host.run(["ping", "-c1", "-W2", pair.b.inner4], check=False).stdout
        self.assertIn("Destination Host Unreachable", said)
        self.assertFalse(pair.b.host.run(["ping", "-c1", "-W1", pair.a.inner4], check=False).returncode == 0)
        pair.a.ping(pair.b.inner6)
        # Removing it from one peer does not remove it from its owner.
        other = pair.a.host.sh("wg genkey | wg pubkey").strip()
        uapi(pair.a.host, f"set=1\npublic_key={key_hex(other)}\nallowed_ip=-{pair.b.inner6}/128\n\n")
        pair.a.ping(pair.b.inner6)


class Unreachable(InLab):
    def test_no_peer_and_no_endpoint(self):
        pair = self.pair()
        nowhere = pair.a.host.sh("wg genkey | wg pubkey").strip()
        pair.a.set("peer", nowhere, "allowed-ips", "10.9.0.50/32,fd00:9::50/128")
        for what in ("50", "77"):
            for dest in ("10.9.0." + what, "fd00:9::" + what):
                said = pair.a.host.run(["ping", "-c1", "-W2", dest], check=False).stdout
                self.assertRegex(said, "(Destination Host|Address) [Uu]nreachable", dest)
                sock = within(pair.a.host, lambda ipv6=":" in dest: socket.socket(
                    socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_STREAM))
                self.addCleanup(sock.close)
                sock.settimeout(5)
                start = time.monotonic()
                with self.assertRaises(OSError) as raised:
                    sock.connect((dest, 80))
                self.assertNotIsInstance(raised.exception, TimeoutError)
                self.assertLess(time.monotonic() - start, 4)

    def test_through_nat(self):
        """A client behind the host, masqueraded into the tunnel, gets the answer, too."""
        pair = self.pair()
        client, host = self.lab.host("client"), pair.a.host
        self.lab.link(client, "172.16.0.2/24 fd00:16::2/64", host, "172.16.0.1/24 fd00:16::1/64", "eth0", "lan0")
        client.sh("ip route add default via 172.16.0.1; ip -6 route add default via fd00:16::1")
        host.sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; "
                "ip addr add fe80::9/64 dev lan0 nodad; nft add table inet n; "
                "nft 'add chain inet n post { type nat hook postrouting priority srcnat; }'; "
                "nft add rule inet n post oifname wg0 masquerade")
        host.settle()
        client.run(["ping", "-c1", "-W5", pair.b.inner4])
        client.run(["ping", "-c1", "-W5", pair.b.inner6])
        nowhere = host.sh("wg genkey | wg pubkey").strip()
        pair.a.set("peer", nowhere, "allowed-ips", "10.9.0.50/32,fd00:9::50/128")  # and no endpoint
        for dest in ("10.9.0.77", "fd00:9::77", "10.9.0.50", "fd00:9::50"):
            said = client.run(["ping", "-c1", "-W2", dest], check=False).stdout
            self.assertRegex(said, "(Destination Host|Address) [Uu]nreachable", dest)


if __name__ == "__main__":
    main()
