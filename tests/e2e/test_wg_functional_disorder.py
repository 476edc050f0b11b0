"""heimdall-wg on a network that loses, repeats, reorders and forges, and against strangers."""
import os
import struct
import threading
import time

from lab.wgtest import (COOKIE, DATA, INITIATION, PORT, RESPONSE, WG, End, InLab, Relay, main, received)


class Disorder(InLab):
    """A relay between the two ends that acts as a bad network or an attacker."""

    def setUp(self):
        super().setUp()
        self.pair_ = pair = self.pair()
        self.relay = None
        middle = self.lab.host("middle")
        self.lab.link(pair.a.host, "203.0.113.1/24", middle, "203.0.113.9/24", "eth1", "eth0")
        self.lab.link(pair.b.host, "198.51.100.2/24", middle, "198.51.100.9/24", "eth1", "eth1")
        self.relay = Relay(middle, ("198.51.100.2", PORT))
        self.addCleanup(self.relay.close)
        pair.b.set("peer", pair.a.public, "endpoint", "198.51.100.77:9")  # to be learned
        pair.a.set("peer", pair.b.public, "endpoint", f"203.0.113.9:{PORT}")
        self.sender = self.udp(pair.a.host, pair.a.inner4)
        self.taker = self.udp(pair.b.host, pair.b.inner4, 7000)

    def send(self, *payloads):
        for payload in payloads:
            self.sender.sendto(payload, (self.pair_.b.inner4, 7000))
            time.sleep(0.0005)

    def test_replay(self):
        record = []

        def rule(from_left, data):
            if from_left:
                record.append(data)
            return [data]
        self.relay.rule = rule
        self.pair_.a.ping(self.pair_.b.inner4)
        payloads = [b"%d" % n for n in range(200)]
        self.send(*payloads)
        self.assertEqual(received(self.taker, 200), payloads)
        before, handshake = self.pair_.b.show("transfer"), self.pair_.b.show("latest-handshakes")
        for _ in range(2):
            self.relay.inject(True, *record)  # the initiation too
        self.assertEqual(received(self.taker), [])
        self.assertEqual(self.pair_.b.show("transfer"), before)
        self.assertEqual(self.pair_.b.show("latest-handshakes"), handshake)
        self.send(b"still here")
        self.assertEqual(received(self.taker, 1), [b"still here"])

    def test_replay_from_elsewhere_moves_nobody(self):
        record = []
        self.relay.rule = lambda from_left, data: (from_left and record.append(data)) or [data]
        self.pair_.a.ping(self.pair_.b.inner4)
        before = self.pair_.b.show("endpoints")
        other = self.udp(self.relay.host, "198.51.100.9")
        for data in record:
            other.sendto(data, ("198.51.100.2", PORT))
        time.sleep(0.3)
        self.assertEqual(self.pair_.b.show("endpoints"), before)

    def test_reordering(self):
        self.pair_.a.ping(self.pair_.b.inner4)
        held = []

        def rule(from_left, data):
            if not from_left:
                return [data]
            held.append(data)
            if len(held) < 50:
                return []
            out = held[::-1]
            held.clear()
            return out
        self.relay.rule = rule
        payloads = [b"%d" % n for n in range(200)]
        self.send(*payloads)
        self.assertEqual(sorted(received(self.taker, 200)), sorted(payloads))

    def test_duplication(self):
        self.relay.rule = lambda from_left, data: [data] * 3
        self.pair_.a.ping(self.pair_.b.inner4)
        payloads = [b"%d" % n for n in range(200)]
        self.send(*payloads)
        self.assertEqual(received(self.taker, 200), payloads)

    def test_tampering(self):
        """A flipped bit anywhere: not delivered, and the session goes on."""
        self.pair_.a.ping(self.pair_.b.inner4)
        count = [0]

        def rule(from_left, data):
            if not from_left:
                return [data]
            place = count[0] % len(data)
            count[0] += 1
            return [data[:place] + bytes([data[place] ^ 1]) + data[place + 1:], data[:-1], data + b"\0", data[:20]]
        self.relay.rule = rule
        self.send(*[b"x%d" % n for n in range(100)])
        self.assertEqual(received(self.taker), [])
        self.relay.rule = None
        self.send(b"whole")
        self.assertEqual(received(self.taker, 1), [b"whole"])

    def test_lost_handshake_is_repeated(self):
        lost = []

        def rule(from_left, data):
            if data[0] == INITIATION and not lost:
                lost.append(data)
                return []
            return [data]
        self.relay.rule = rule
        start = time.monotonic()
        self.send(b"patience")
        self.assertEqual(received(self.taker, 1)[:1], [b"patience"])
        self.assertTrue(4.5 < time.monotonic() - start < 16)

    def test_half_lost(self):
        """TCP through a tunnel that loses, duplicates and reorders; content checked."""
        state = {"n": 0, "held": None}

        def rule(from_left, data):
            state["n"] += 1
            out = [] if state["n"] % 23 == 0 else [data, data] if state["n"] % 17 == 0 else [data]
            if state["n"] % 11 == 0:
                out, state["held"] = ([state["held"]] if state["held"] else []), data
            return out
        self.relay.rule = rule
        self.pair_.transfer(300_000)


class Junk(InLab):
    def run_flood(self, level):
        """Sends junk of all kinds for one second; returns the lines that the program logged meanwhile."""
        lab = self.lab
        end = End(lab.host("target"), 2, WG, env={"LOG_LEVEL": level})
        stranger_host = lab.host("stranger")
        lab.link(stranger_host, "192.0.2.1/24", end.host, "192.0.2.2/24")
        stranger = End(stranger_host, 1, WG)
        end.set("listen-port", PORT, "private-key", "key:" + end.private)
        end.up()
        stranger.set("private-key", "key:" + stranger.private, "peer", end.public, "endpoint", f"192.0.2.2:{PORT}",
                     "allowed-ips", "0.0.0.0/0")
        stranger.up()
        stranger.host.start(["ping", "-c2", "-i0.5", "10.9.0.2"])
        written = len(end.process.output().splitlines())
        memory = self.memory(end)
        sock = self.udp(stranger_host, "192.0.2.1")
        stop, sent = time.monotonic() + 1, 0
        while time.monotonic() < stop:
            for kind, length in ((INITIATION, 148), (RESPONSE, 92), (COOKIE, 64), (DATA, 200), (9, 50)):
                sock.sendto(struct.pack("<I", kind) + os.urandom(length - 4), ("192.0.2.2", PORT))
                sent += 1
        time.sleep(0.3)
        self.assertGreater(sent, 1000)
        self.assertEqual(end.show("transfer"), "")
        if b"__tsan_init" not in (lab.bin / WG).read_bytes():  # whose shadow memory grows with every page
            self.assertLess(self.memory(end) - memory, 4096)
        end.show("listen-port")
        return end.process.output().splitlines()[written:]

    def memory(self, end):
        with open(f"/proc/{end.process.pids()[0]}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def test_silent_unless_debugging(self):
        self.assertEqual(self.run_flood("info"), [])

    def test_told_at_debug_level_with_a_limit(self):
        lines = [line for line in self.run_flood("debug") if "dropped" in line]
        self.assertTrue(any("192.0.2.1" in line for line in lines))
        self.assertTrue(1 <= len(lines) <= 6, lines)


class SlowUplink(InLab):
    def test_holds_up_no_other_peer(self):
        """One peer is behind 1 Mbit/s and is sent much more; another one's packets do not wait for it."""
        pair = self.pair()
        slow = self.lab.host("slow")
        self.lab.link(pair.a.host, "198.51.100.1/24", slow, "198.51.100.2/24", "eth1", "eth0")
        pair.a.host.sh("tc qdisc add dev eth1 root tbf rate 1mbit burst 3000 limit 2000000")
        other = End(slow, 3, WG)
        other.set("listen-port", PORT, "private-key", "key:" + other.private, "peer", pair.a.public,
                  "allowed-ips", "10.9.0.1/32")
        other.up()
        pair.a.set("peer", other.public, "endpoint", f"198.51.100.2:{PORT}", "allowed-ips", "10.9.0.3/32")
        pair.a.ping(pair.b.inner4)
        pair.a.ping(other.inner4)
        sender, stop = self.udp(pair.a.host, pair.a.inner4), threading.Event()

        def flood():
            while not stop.is_set():
                for _ in range(20):
                    sender.sendto(bytes(1300), (other.inner4, 7000))
                time.sleep(0.002)
        thread = threading.Thread(target=flood)
        thread.start()
        time.sleep(1)  # the queue is full by then
        said = pair.a.host.sh(f"ping -q -c 100 -i 0.02 -W 2 {pair.b.inner4}")
        stop.set()
        thread.join()
        self.assertIn(" 0% packet loss", said)
        self.assertLess(float(said.split("=")[-1].split("/")[1]), 10, said)


if __name__ == "__main__":
    main()
