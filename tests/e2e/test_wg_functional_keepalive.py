"""heimdall-wg: what an idle device sends, and that a device that is down sends nothing."""
import socket
import time

from lab.wgtest import INITIATION, PORT, WG, End, InLab, handshake_time, main, wait_until, within


class Keepalive(InLab):
    def bare_pair(self):
        """b is ready; a is configured except for what the test leaves out."""
        a, b = self.lab.host("a"), self.lab.host("b")
        self.lab.link(a, "192.0.2.1/24 2001:db8::1/64", b, "192.0.2.2/24 2001:db8::2/64")
        a, b = End(a, 1, WG), End(b, 2, WG)
        b.set("listen-port", PORT, "private-key", "key:" + b.private, "peer", a.public, "allowed-ips", a.inner4 + "/32")
        b.up()
        a.set("listen-port", PORT, "peer", b.public, "allowed-ips", b.inner4 + "/32", "endpoint", f"192.0.2.2:{PORT}",
              "persistent-keepalive", 1)
        return a, b

    def assert_starts(self, a, b, change):
        tap = self.tap(a.host)
        time.sleep(1.3)
        self.assertEqual(tap.wireguard(), [])
        change()
        wait_until(lambda: handshake_time(b) > 0, 1, "the keepalive did not start")
        self.assertGreater(handshake_time(a), 0)

    def test_set_before_the_key(self):
        a, b = self.bare_pair()
        a.up()
        a.process.wait_for("state=up")
        self.assert_starts(a, b, lambda: a.set("private-key", "key:" + a.private))

    def test_set_before_the_link_is_up(self):
        a, b = self.bare_pair()
        a.set("private-key", "key:" + a.private)
        self.assert_starts(a, b, a.up)

    def test_set_last(self):
        a, b = self.bare_pair()
        a.set("peer", b.public, "persistent-keepalive", 0)
        a.set("private-key", "key:" + a.private)
        a.up()
        a.process.wait_for("state=up")
        self.assert_starts(a, b, lambda: a.set("peer", b.public, "persistent-keepalive", 25))

    def test_set_before_the_endpoint(self):
        a, b = self.bare_pair()
        a.set("peer", b.public, "remove")
        a.set("private-key", "key:" + a.private, "peer", b.public, "persistent-keepalive", 1)
        a.up()
        a.process.wait_for("state=up")
        self.assert_starts(a, b, lambda: a.set("peer", b.public, "endpoint", f"192.0.2.2:{PORT}"))

    def test_interval(self):
        a, b = self.bare_pair()
        a.set("private-key", "key:" + a.private)
        a.up()
        wait_until(lambda: handshake_time(b) > 0, 2, "no handshake")
        time.sleep(0.2)
        tap = self.tap(a.host)
        sent = [len(p.payload) for p in tap.wireguard(settle=4.5)]
        self.assertEqual(set(sent), {32})
        self.assertIn(len(sent), (4, 5))
        a.set("peer", b.public, "persistent-keepalive", "off")
        time.sleep(0.2)
        tap.clear()
        self.assertEqual(tap.wireguard(settle=2.5), [])

    def test_passive_only_when_due(self):
        """Acknowledges data 10 s after it when nothing was sent back; never when something was."""
        pair = self.pair()
        quiet, busy = pair, None
        sender = self.udp(pair.a.host, pair.a.inner4)
        self.udp(pair.b.host, pair.b.inner4, 7000)
        pair.a.ping(pair.b.inner4)
        time.sleep(0.1)
        tap = self.tap(pair.a.host)
        tap.clear()
        start = time.monotonic()
        sender.sendto(b"one way", (pair.b.inner4, 7000))
        time.sleep(9.3 - (time.monotonic() - start))
        self.assertEqual([p.source for p in tap.wireguard()], ["192.0.2.1"])
        wait_until(lambda: len(tap.wireguard()) == 2, 3, "no passive keepalive")
        self.assertTrue(9.5 < time.monotonic() - start < 14)
        self.assertEqual((tap.seen[-1].source, len(tap.seen[-1].payload)), ("192.0.2.2", 32))
        tap.clear()
        pair.a.ping(pair.b.inner4)
        time.sleep(0.1)
        self.assertEqual(len(tap.wireguard()), 2)
        # the answer to the ping was answered by nothing: that is due once, from a
        tap.clear()
        self.assertEqual([(p.source, len(p.payload)) for p in tap.wireguard(settle=11.5)], [("192.0.2.1", 32)])
        del quiet, busy


class Down(InLab):
    def test_sends_nothing(self):
        """With any configuration, and any traffic towards it; its port is closed."""
        pair = self.pair()
        pair.a.ping(pair.b.inner4)
        pair.a.set_link("down")
        tap = self.tap(pair.a.host)
        tap.clear()
        pair.a.set("peer", pair.b.public, "persistent-keepalive", 1)
        pair.a.set("listen-port", PORT + 1)
        pair.a.set("listen-port", PORT, "private-key", "key:" + pair.a.private)
        pair.b.host.run(["ping", "-c3", "-i0.2", "-W1", pair.a.inner4], check=False)
        self.assertEqual(tap.wireguard("192.0.2.1", settle=1.2), [])
        self.assertTrue(any(p.proto == 1 and p.source == "192.0.2.1" for p in tap.seen), "no ICMP port unreachable")
        own = within(pair.a.host, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.addCleanup(own.close)
        own.bind(("0.0.0.0", PORT))
        own.close()
        self.assertEqual(pair.a.show("listen-port"), str(PORT))
        pair.a.set_link("up")
        pair.a.ping(pair.b.inner4)

    def test_sessions_end_with_the_link(self):
        pair = self.pair()
        pair.a.ping(pair.b.inner4)
        tap = self.tap(pair.a.host)
        for _ in range(10):  # each time the port is given back and taken again at once
            ups = pair.a.process.output().count("state=up")
            time.sleep(0.05)  # the timestamps of two initiations within 17 ms are the same, and the second is refused
            pair.a.host.sh("ip link set wg0 down; ip link set wg0 up")
            pair.a.process.wait_for("state=up", count=ups + 1)
            pair.a.ping(pair.b.inner4)
        self.assertNotIn("cannot open", pair.a.process.output())
        self.assertEqual(tap.wireguard("192.0.2.1")[0].kind, INITIATION)


if __name__ == "__main__":
    main()
