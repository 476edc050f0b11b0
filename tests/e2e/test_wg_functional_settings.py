"""heimdall-wg while its settings change under traffic: keys, peers, ports, marks; and requests that are wrong."""
import re
import time

from lab.wgtest import (DATA, INITIATION, PORT, RESPONSE, WG, End, InLab, handshake_time, key_hex, main, received, uapi,
                    wait_until)


class Requests(InLab):
    def test_error_in_the_middle_changes_nothing(self):
        pair = self.pair(psk=True)
        pair.a.ping(pair.b.inner4)
        host = pair.a.host
        taken = self.udp(host, "0.0.0.0", 40404)
        stranger = key_hex(host.sh("wg genkey | wg pubkey").strip())
        steady = [r"rx_bytes=\d+", r"tx_bytes=\d+", r"last_handshake_time_\w+=\d+"]

        def state():
            text = uapi(host, "get=1\n\n")
            for pattern in steady:
                text = re.sub(pattern, "", text)
            return text
        before, shaken = state(), handshake_time(pair.a)
        known = key_hex(pair.b.public)
        for last, code in (("nonsense=1", 22), ("fwmark=x", 22), ("allowed_ip=10.0.0.0/33", 22), ("public_key=00", 22),
                           ("endpoint=1.2.3.4:99999", 22), ("endpoint=name:1", 22), ("protocol_version=2", 22),
                           ("persistent_keepalive_interval=65536", 22), ("preshared_key=" + "0" * 63, 22)):
            request = (f"set=1\nprivate_key={'11' * 32}\nlisten_port=40000\nfwmark=7\nreplace_peers=true\n"
                       f"public_key={known}\nremove=true\npublic_key={stranger}\nallowed_ip=10.1.0.0/16\n{last}\n\n")
            answer = uapi(host, request)
            self.assertRegex(answer, rf"errno=-?{code}\n\n$", last)
            self.assertEqual(state(), before, last)
        answer = uapi(host, f"set=1\nprivate_key={'11' * 32}\nfwmark=7\nlisten_port=40404\nreplace_peers=true\n"
                      f"public_key={stranger}\n\n")
        self.assertRegex(answer, r"errno=-98\n\n$")
        self.assertEqual(state(), before)
        taken.close()
        pair.a.ping(pair.b.inner4)
        self.assertEqual(handshake_time(pair.a), shaken)


class Keys(InLab):
    def test_preshared_key_changed_live(self):
        pair = self.pair()
        pair.a.ping(pair.b.inner4)
        secret = pair.a.host.sh("wg genpsk").strip()
        for end, other in ((pair.a, pair.b), (pair.b, pair.a)):
            end.set("peer", other.public, "preshared-key", "key:" + secret)
        pair.a.ping(pair.b.inner4, count=2)  # the session goes on
        pair.a.set_link("down")
        pair.a.set_link("up")
        tap = self.tap(pair.a.host)
        pair.a.ping(pair.b.inner4)
        self.assertIn(RESPONSE, {p.kind for p in tap.wireguard()})
        self.assertEqual(pair.a.show("preshared-keys").split()[1], secret)

    def test_recovers_from_a_mismatch(self):
        pair = self.pair(psk=True)
        pair.b.set("peer", pair.a.public, "preshared-key", "key:" + pair.a.host.sh("wg genpsk").strip())
        self.assertFalse(pair.a.host.run(["ping", "-c2", "-i0.2", "-W1", pair.b.inner4], check=False).returncode == 0)
        self.assertEqual(handshake_time(pair.a), 0)
        pair.b.set("peer", pair.a.public, "preshared-key", "key:" + pair.psk)
        start = time.monotonic()
        wait_until(lambda: pair.a.host.run(["ping", "-c1", "-W1", pair.b.inner4], check=False).returncode == 0, 12, "no")
        self.assertLess(time.monotonic() - start, 8)

    def test_sessions_end_with_the_private_key(self):
        pair = self.pair()
        taker = self.udp(pair.a.host, pair.a.inner4, 7000)
        sender = self.udp(pair.b.host, pair.b.inner4)
        pair.b.ping(pair.a.inner4)
        private = pair.a.host.sh("wg genkey").strip()
        public = pair.a.host.run(["wg", "pubkey"], input=private).stdout.strip()
        pair.a.set("private-key", "key:" + private)
        sender.sendto(b"old session", (pair.a.inner4, 7000))
        self.assertEqual(received(taker), [])
        tap = self.tap(pair.a.host)
        pair.a.host.run(["ping", "-c1", "-W1", pair.b.inner4], check=False)
        self.assertNotIn(DATA, {p.kind for p in tap.wireguard("192.0.2.1")})
        pair.b.set("peer", pair.a.public, "remove")
        pair.b.set("peer", public, "allowed-ips", f"{pair.a.inner4}/32,{pair.a.inner6}/128", "endpoint",
                   f"192.0.2.1:{PORT}")
        pair.b.ping(pair.a.inner4)
        sender.sendto(b"new session", (pair.a.inner4, 7000))
        self.assertEqual(received(taker, 1), [b"new session"])

    def test_sessions_end_with_the_peer(self):
        pair = self.pair()
        taker = self.udp(pair.a.host, pair.a.inner4, 7000)
        sender = self.udp(pair.b.host, pair.b.inner4)
        pair.b.ping(pair.a.inner4)
        pair.a.set("peer", pair.b.public, "remove")
        sender.sendto(b"removed", (pair.a.inner4, 7000))
        self.assertEqual(received(taker), [])
        pair.a.set("peer", pair.b.public, "allowed-ips", f"{pair.b.inner4}/32", "endpoint", f"192.0.2.2:{PORT}")
        sender.sendto(b"old session", (pair.a.inner4, 7000))
        self.assertEqual(received(taker), [])
        tap = self.tap(pair.a.host)
        pair.a.ping(pair.b.inner4)
        self.assertEqual(tap.wireguard("192.0.2.1")[0].kind, INITIATION)
        sender.sendto(b"new session", (pair.a.inner4, 7000))
        self.assertEqual(received(taker, 1), [b"new session"])

    def test_peer_moved_with_its_allowed_ip(self):
        """b's address moves to c, which then gets its packets, and is the only accepted source."""
        a, b, c = (self.lab.host(name) for name in "abc")
        self.lab.switch((a, "192.0.2.1/24"), (b, "192.0.2.2/24"), (c, "192.0.2.3/24"))
        ends = a, b, c = [End(host, number, WG) for number, host in enumerate((a, b, c), 1)]
        for end in ends:
            end.set("listen-port", PORT, "private-key", "key:" + end.private)
            end.up()
        for end in (b, c):
            end.host.sh("ip addr add 10.9.0.50/32 dev wg0")
            end.set("peer", a.public, "endpoint", f"192.0.2.1:{PORT}", "allowed-ips", "10.9.0.1/32")
            a.set("peer", end.public, "endpoint", f"{end.outer4}:{PORT}")
        taker = self.udp(a.host, a.inner4, 7000)
        for owner, other in ((b, c), (c, b), (b, c)):
            a.set("peer", owner.public, "allowed-ips", "10.9.0.50/32")
            tap = self.tap(a.host)
            a.ping("10.9.0.50")
            self.assertEqual({p.dest for p in tap.wireguard("192.0.2.1", DATA)}, {owner.outer4})
            for end, text in ((other, b"liar"), (owner, b"owner")):
                self.udp(end.host, "10.9.0.50").sendto(text, (a.inner4, 7000))
            self.assertEqual(received(taker, 1, settle=0.6), [b"owner"])


class Sockets(InLab):
    def test_port_zero_takes_a_free_one(self):
        pair = self.pair()
        second = pair.a.host.start([WG, "-f", "wg1"])
        wait_until(lambda: "wg1" in pair.a.host.sh("wg show interfaces"), 10, "no wg1")
        pair.a.set("listen-port", 0)
        pair.a.host.sh("wg set wg1 listen-port 0; ip link set wg1 up")

        def taken():
            return pair.a.show("listen-port"), pair.a.host.sh("wg show wg1 listen-port").strip()
        wait_until(lambda: "0" not in taken(), 5, "no port is taken")
        ports = taken()
        self.assertNotEqual(*ports)
        pair.a.ping(pair.b.inner4)
        self.assertEqual(pair.b.show("endpoints").split()[1], f"192.0.2.1:{ports[0]}")
        pair.a.set_link("down")
        pair.a.set_link("up")
        self.assertEqual(pair.a.show("listen-port"), ports[0])
        second.stop()

    def test_port_and_mark_changed_under_traffic(self):
        pair = self.pair()
        pair.a.ping(pair.b.inner4)
        # The other side learns the new port from the next packet out of it: there must be one, also while iperf3 is
        # only waiting for an answer.
        pair.a.set("peer", pair.b.public, "persistent-keepalive", 1)
        pair.a.host.sh("nft add table inet t; nft 'add chain inet t c { type filter hook output priority 0; }'; "
                       "nft 'add rule inet t c meta mark 0x77 udp sport 51900-51999 counter'; "
                       "nft 'add rule inet t c meta mark 0 udp dport 51820 counter'")

        def counts():
            """Packets with the mark, and without."""
            return [int(n) for n in re.findall(r"packets (\d+)", pair.a.host.sh("nft list ruleset"))]

        def more(which, wanted):
            before = counts()[which]
            wait_until(lambda: counts()[which] >= before + wanted, 10, f"no packets {('with', 'without')[which]} the mark")
        listener = pair.b.host.start(["iperf3", "-s", "-1", "-B", pair.b.inner4])
        wait_until(lambda: ":5201" in pair.b.host.sh("ss -tln"), 10, "iperf3 does not listen")
        client = pair.a.host.start(["iperf3", "-c", pair.b.inner4, "-t", "8", "-b", "20M", "--bidir"])
        more(1, 100)
        shaken = handshake_time(pair.a)
        for number in range(12):
            pair.a.set("listen-port", 51900 + number)
            pair.a.set("fwmark", "0x77" if number % 2 == 0 else 0)
            more(number % 2, 20)
        self.assertIsNone(client.popen.poll(), "iperf3 ended before the last change: " + client.output())
        self.assertEqual(client.popen.wait(20), 0, client.output())
        self.assertEqual(listener.popen.wait(10), 0, listener.output())
        self.assertEqual(handshake_time(pair.a), shaken)
        self.assertEqual(pair.b.show("endpoints").split()[1], "192.0.2.1:51911")
        pair.a.set("fwmark", "0x77")
        before = counts()
        pair.a.set("listen-port", 51950)
        pair.a.ping(pair.b.inner4, count=3)
        marked, bare = (now - then for now, then in zip(counts(), before))
        self.assertGreaterEqual(marked, 3)
        self.assertEqual(bare, 0)  # new sockets have the mark from the start

    def test_mark_routes_around_the_tunnel(self):
        """A default route into the tunnel, and the mark past it: as wg-quick and our node do."""
        pair = self.pair()
        pair.a.host.sh("ip route add default dev wg0 table 7; ip rule add not fwmark 77 table 7; "
                       "ip rule add table main suppress_prefixlength 0")
        pair.a.set("fwmark", 77, "peer", pair.b.public, "allowed-ips", "0.0.0.0/0")
        pair.b.host.sh("ip addr add 198.51.100.99/32 dev lo")
        pair.a.ping("198.51.100.99", count=2)

    def test_several_devices(self):
        a, b = self.lab.host("a"), self.lab.host("b")
        self.lab.link(a, "192.0.2.1/24", b, "192.0.2.2/24")
        keys = {}
        for host in (a, b):
            for n in range(4):
                host.start([WG, "-f", f"wg{n}"])
                private = host.sh("wg genkey").strip()
                keys[host, n] = private, host.run(["wg", "pubkey"], input=private).stdout.strip()
        for n, host, other, number in ((n, h, o, i) for n in range(4) for h, o, i in ((a, b, 1), (b, a, 2))):
            wait_until(lambda: f"wg{n}" in host.sh("wg show interfaces"), 10, "no interface")
            host.run(["tee", "/tmp/key"], input=keys[host, n][0])
            host.sh(f"wg set wg{n} private-key /tmp/key listen-port {52000 + n} peer {keys[other, n][1]} allowed-ips "
                    f"10.{n}.0.0/16 endpoint 192.0.2.{3 - number}:{52000 + n}; ip addr add 10.{n}.0.{number}/24 dev wg{n}; "
                    f"ip link set wg{n} up")
        for n in range(4):
            a.run(["ping", "-c1", "-W5", f"10.{n}.0.2"])
            b.run(["ping", "-c1", "-W5", f"10.{n}.0.1"])


if __name__ == "__main__":
    main()
