"""What heimdall-wg and another implementation must do together: cases for a unittest.TestCase with `theirs`, the other
program, `bin`, the folder of ours, and `env`, the environment that the other one needs."""
import pathlib
import re
import sys

from lab.netns import Lab, wait_until
from lab.wgpair import PORT, Pair

MEGABYTE = 1 << 20
OURS = "heimdall-wg"
TALK = pathlib.Path(__file__).with_name("talk.py")

# Handshake initiations that leave the host: UDP whose first byte is message type 1. The inner traffic of the tests is
# TCP and ICMP.
COUNT_INITIATIONS = """
nft add table inet seen
nft add chain inet seen out '{ type filter hook output priority 0; }'
nft add rule inet seen out meta l4proto udp @th,64,8 1 counter
"""


def count_initiations(host):
    host.sh(COUNT_INITIATIONS)


def initiations(host):
    return int(re.search(r"packets (\d+)", host.sh("nft list chain inet seen out")).group(1))


def assert_talk(test, output, seconds):
    """The report of talk.py: it kept going, and nothing waited for longer than a lost packet takes to be repeated."""
    rounds, longest = re.search(r"(\d+) rounds, the longest took ([\d.]+) s", output).groups()
    test.assertGreater(int(rounds), seconds * 10)
    test.assertLess(float(longest), 2)


def assert_lost(test, process, most):
    """The summary of a ping."""
    sent, came = re.search(r"(\d+) packets transmitted, (\d+) received", process.output()).groups()
    test.assertLessEqual(int(sent) - int(came), most)


class Interop:
    theirs = bin = None
    env = {}
    changes_peers = True  # their program can change a peer that it has
    changes_port = True  # while it runs
    keeps_sessions = True  # while peers and allowed IPs change around them

    def pair(self, lab, ours_first, outer="4", psk=False):
        first, second = (OURS, self.theirs) if ours_first else (self.theirs, OURS)
        return Pair(lab, first, second, outer, psk, self.env)

    def in_each_order(self, check, outer="4", psk=False):
        """Calls check(pair, our end, their end), first with ours as end `a`, then with theirs."""
        for ours_first in (True, False):
            with self.subTest(initiator=OURS if ours_first else self.theirs), Lab(self.bin) as lab:
                pair = self.pair(lab, ours_first, outer, psk)
                check(pair, *((pair.a, pair.b) if ours_first else (pair.b, pair.a)))

    def check_content(self, outer, psk, size=4 * MEGABYTE):
        def check(pair, _ours, _theirs):
            for end in (pair.a, pair.b):
                count_initiations(end.host)
            pair.a.ping(pair.b.inner4)  # `a` initiates: nothing was sent before
            pair.b.ping(pair.a.inner6)
            self.assertEqual((initiations(pair.a.host) > 0, initiations(pair.b.host)), (True, 0))
            pair.transfer(size)
            pair.transfer(size, inner="6", reverse=True)
            for end in (pair.a, pair.b):
                # boringtun tells how long ago that was, which is nothing for the first second
                wait_until(lambda: end.show("latest-handshakes").split()[1] != "0", 3, "no handshake is told of")
        self.in_each_order(check, outer, psk)

    def test_ipv4(self):
        self.check_content("4", False)

    def test_ipv4_with_preshared_key(self):
        self.check_content("4", True)

    def test_ipv6(self):
        self.check_content("6", False)

    def test_ipv6_with_preshared_key(self):
        self.check_content("6", True)

    def check_bulk(self, size, timeout=60):
        with Lab(self.bin) as lab:
            self.pair(lab, True).transfer(size, timeout=timeout)

    def test_bulk(self):
        self.check_bulk(50 * MEGABYTE)

    def test_roaming(self):
        """One end's address or port changes, and the other follows as soon as it hears from there."""
        def check(pair, ours, theirs):
            pair.a.ping(pair.b.inner4)
            for end, other in ((ours, theirs), (theirs, ours)):
                self.assert_follows(end, other)
        self.in_each_order(check)

    def assert_follows(self, end, other):
        number = end.number
        end.host.sh(f"ip addr del 192.0.2.{number}/24 dev eth0; ip addr add 192.0.2.{number + 10}/24 dev eth0")
        self.reach(end, other)
        self.assertEqual(other.show("endpoints").split()[1], f"192.0.2.{number + 10}:{PORT}")
        other.ping(end.inner4)
        is_ours = pathlib.Path(end.process.argv[0]).name == OURS
        if self.changes_port or is_ours:
            end.set("listen-port", 40000 + number)
            self.reach(end, other)
            self.assertEqual(other.show("endpoints").split()[1], f"192.0.2.{number + 10}:{40000 + number}")
            other.ping(end.inner4)
        if self.changes_peers or is_ours:
            self.assert_follows_family(end, other)
        end.host.sh(f"ip addr add 192.0.2.{number}/24 dev eth0")

    def assert_follows_family(self, end, other):
        """Only the end that moves is told of the other family, and then moves back."""
        end.set("peer", other.public, "endpoint", f"[{other.outer6}]:{self.port_of(other)}")
        self.reach(end, other)
        self.assertEqual(other.show("endpoints").split()[1], f"[{end.outer6}]:{self.port_of(end)}")
        self.reach(other, end)
        end.set("peer", other.public, "endpoint", f"{self.address_of(other)}:{self.port_of(other)}")
        self.reach(end, other)

    @staticmethod
    def port_of(end):
        return end.show("listen-port")

    @staticmethod
    def address_of(end):
        return re.search(r"inet ([\d.]+)/24", end.host.sh("ip -4 addr show dev eth0")).group(1)

    @staticmethod
    def reach(end, other, timeout=8):
        """Packets may be lost while a socket, an address or a neighbour changes: what counts is that it goes on soon."""
        wait_until(lambda: end.host.run(["ping", "-c1", "-W1", other.inner4], check=False).returncode == 0, timeout,
                   "not reached after the move")

    def config(self, pair, end, allowed="", extra=""):
        other = pair.b if end is pair.a else pair.a
        return (f"[Interface]\nPrivateKey = {end.private}\nListenPort = {PORT}\n"
                f"[Peer]\nPublicKey = {other.public}\nAllowedIPs = {other.inner4}/32, {other.inner6}/128{allowed}\n"
                f"Endpoint = {other.outer4}:{PORT}\n" + (f"PresharedKey = {pair.psk}\n" if pair.psk else "") + extra)

    def test_syncconf(self):
        """wg syncconf on both ends: a peer comes and goes, an allowed IP too, and traffic goes on over one session."""
        def check(pair, ours, theirs):
            pair.a.ping(pair.b.inner4)
            stranger = pair.a.host.sh("wg genkey | wg pubkey").strip()
            shaken = ours.show("latest-handshakes")
            for end in (ours, theirs) if self.changes_peers else (ours,):
                ping = pair.a.host.start(["ping", "-i", "0.02", "-c", "75", "-W", "5", pair.b.inner4])
                for extra in (f"[Peer]\nPublicKey = {stranger}\nAllowedIPs = 10.99.0.0/16\n", ""):
                    end.host.run(["tee", "/tmp/wg0.conf"], input=self.config(pair, end, ", 10.88.0.0/16", extra))
                    end.host.sh("wg syncconf wg0 /tmp/wg0.conf")
                    self.assertEqual(len(end.show("peers").split()), 2 if extra else 1)
                    self.assertIn("10.88.0.0/16", end.show("allowed-ips"))
                self.assertEqual(ping.popen.wait(20), 0)
                if self.keeps_sessions:
                    # wireguard-go opens its sockets anew, for the port that it has: what waits in the former is lost.
                    assert_lost(self, ping, 0 if end is ours else 2)
            if self.keeps_sessions:
                self.assertEqual(ours.show("latest-handshakes"), shaken)
            # Who still has a session sends into it for 15 s before it starts another.
            self.reach(pair.a, pair.b, 20)
        self.in_each_order(check, psk=True)

    def test_wg_quick(self):
        """Both ends brought up and down by wg-quick alone."""
        with Lab(self.bin) as lab:
            hosts = lab.host("a"), lab.host("b")
            lab.link(hosts[0], "192.0.2.1/24", hosts[1], "192.0.2.2/24")
            keys = [(private, hosts[0].run(["wg", "pubkey"], input=private).stdout.strip())
                    for private in (hosts[0].sh("wg genkey").strip() for _ in range(2))]
            psk = hosts[0].sh("wg genpsk").strip()
            for number, (host, program) in enumerate(zip(hosts, (OURS, self.theirs)), 1):
                host.run(["tee", "/tmp/wgq.conf"], input=(
                    f"[Interface]\nAddress = 10.9.0.{number}/24, fd00:9::{number}/64\nListenPort = {PORT}\n"
                    f"PrivateKey = {keys[number - 1][0]}\n[Peer]\nPublicKey = {keys[2 - number][1]}\n"
                    f"PresharedKey = {psk}\nAllowedIPs = 10.9.0.0/24, fd00:9::/64, 10.77.0.0/16\n"
                    f"Endpoint = 192.0.2.{3 - number}:{PORT}\n"))
                host.run(["wg-quick", "up", "/tmp/wgq.conf"],
                         env={"WG_QUICK_USERSPACE_IMPLEMENTATION": program, **self.env})
            hosts[0].run(["ping", "-c1", "-W5", "10.9.0.2"])
            hosts[1].run(["ping", "-c1", "-W5", "fd00:9::1"])
            for host in hosts:
                host.run(["wg-quick", "down", "/tmp/wgq.conf"])
                wait_until(lambda: "wgq" not in host.sh("ip -o link"), 10, "the interface is still there")


class LongInterop:
    """What takes minutes."""

    SECONDS = 200  # a session is renewed by who started it after 120 s, and dropped by everyone after 180 s

    def test_gigabyte_each_way(self):
        self.check_bulk(1 << 30, timeout=400)

    def check_rekey(self, ours_first):
        """Traffic in both directions while the session's starter renews it: nothing lost, nothing delayed."""
        with Lab(self.bin) as lab:
            pair = self.pair(lab, ours_first, psk=True)
            for end in (pair.a, pair.b):
                count_initiations(end.host)
            pair.a.ping(pair.b.inner4)
            before = pair.a.show("latest-handshakes")
            echo = pair.b.host.start([sys.executable, TALK, "echo", pair.b.inner4, "7"])
            echo.wait_for("listening")
            talk = pair.a.host.start([sys.executable, TALK, "talk", pair.b.inner4, "7", str(self.SECONDS)])
            pings = [end.host.start(["ping", "-q", "-i", "0.1", "-c", str(self.SECONDS * 10), "-W", "5", other.inner6])
                     for end, other in ((pair.a, pair.b), (pair.b, pair.a))]
            for process in (talk, *pings):
                self.assertEqual(process.popen.wait(self.SECONDS + 60), 0, process.output())
            assert_talk(self, talk.output(), self.SECONDS)
            for ping in pings:
                assert_lost(self, ping, 0)
            self.assertNotEqual(pair.a.show("latest-handshakes"), before)
            # One to begin with and one after 120 s. Others repeat some although they have been answered.
            self.assertGreaterEqual(initiations(pair.a.host), 2)
            if ours_first:
                self.assertLessEqual(initiations(pair.a.host), 3)
            self.assertEqual(initiations(pair.b.host), 0)

    def test_rekey_started_by_us(self):
        self.check_rekey(True)

    def test_rekey_started_by_them(self):
        self.check_rekey(False)
