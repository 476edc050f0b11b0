"""heimdall-wg with the kernel's own WireGuard at the other end: Debian's kernel in a virtual machine, in software emulation,
whose network card is a TAP in the namespace of our host. See guest.sh and init."""
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "e2e"))

from lab.labtest import LabTest  # noqa: E402
from lab.netns import Failure, wait_until  # noqa: E402
from lab.wginterop import TALK, assert_lost, assert_talk, count_initiations, initiations  # noqa: E402
from lab.wgpair import PORT, End  # noqa: E402

MEGABYTE = 1 << 20

QEMU = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot",
        "-serial", "stdio", "-netdev", "tap,id=cable,ifname=eth0,script=no,downscript=no",
        "-device", "virtio-net-pci,netdev=cable,romfile=", "-append", "console=ttyS0 quiet panic=-1"]

# Passes standard input to the guest's shell as one script and prints its output.
ASK = """
import socket, sys
with socket.create_connection(("192.0.2.2", 23), timeout=float(sys.argv[1])) as sock:
    sock.sendall(sys.stdin.buffer.read())
    sock.shutdown(socket.SHUT_WR)
    while data := sock.recv(65536):
        sys.stdout.buffer.write(data)
"""

# Prints the SHA-256 of what one client sends; or sends a file.
TAKE = """
import hashlib, socket, sys
with socket.create_server((sys.argv[1], 5001), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET) as server:
    print("listening", flush=True)
    sock, _ = server.accept()
    digest = hashlib.sha256()
    while data := sock.recv(65536):
        digest.update(data)
    print("got", digest.hexdigest(), flush=True)
"""
GIVE = """
import hashlib, os, socket, sys
data = os.urandom(int(sys.argv[2]))
with socket.create_connection((sys.argv[1], 5002), timeout=60) as sock:
    sock.sendall(data)
print(hashlib.sha256(data).hexdigest())
"""


class Guest:
    """The virtual machine, with as much of netns.Host as the tests use."""

    def __init__(self, host, folder):
        self.host = host
        host.sh("ip tuntap add eth0 mode tap; ip addr add 192.0.2.1/24 dev eth0; "
                "ip addr add 2001:db8::1/64 dev eth0 nodad; ip link set eth0 addrgenmode none up")
        self.console = host.start([*QEMU, "-kernel", f"{folder}/vmlinuz", "-initrd", f"{folder}/initramfs"])
        self.kernel = re.search(r"guest: ready, kernel (\S+)", self.console.wait_for("guest: ready, kernel ", 180)).group(1)
        wait_until(lambda: self.answers("true"), 30, "the guest's shell does not answer")

    def answers(self, script):
        return self.host.run([sys.executable, "-c", ASK, "5"], check=False, input=script).returncode == 0

    def sh(self, script, check=True, timeout=60):
        """Runs a script in the guest; returns its output."""
        text = self.host.run([sys.executable, "-c", ASK, str(timeout)], timeout=timeout + 5,
                             input=f"(set -e\n{script}\n) </dev/null 2>&1\nstatus=$?; echo; echo status=$status\n").stdout
        said, _, status = text.rpartition("\nstatus=")
        if check and status.strip() != "0":
            raise Failure(f"guest# {script}\n{text}")
        return said


class GuestEnd(End):
    """The end of the tunnel in the guest; wg0 is recreated."""

    def __init__(self, guest, number):
        self.host, self.number = guest, number
        self.private, self.public = guest.sh("k=$(wg genkey); echo $k; echo $k | wg pubkey").split()
        self.inner4, self.inner6 = f"10.9.0.{number}", f"fd00:9::{number}"
        self.outer4, self.outer6 = f"192.0.2.{number}", f"2001:db8::{number}"
        guest.sh("ip link del wg0 2>/dev/null || true; ip link add wg0 type wireguard")

    def up(self):
        self.host.sh(f"ip addr add {self.inner4}/24 dev wg0; ip addr add {self.inner6}/64 dev wg0; "
                     "ip link set wg0 mtu 1420 up")

    def ping(self, address, count=1, check=True):
        return ", 0% packet loss" in self.host.sh(f"ping -c {count} -W 10 {address}", check)


class Tunnel:
    """Ours on the host of the TAP, the kernel's in the guest."""

    def __init__(self, guest, outer="4", psk=False):
        self.ours, self.theirs = End(guest.host, 1, "heimdall-wg"), GuestEnd(guest, 2)
        self.psk = guest.sh("wg genpsk").strip()
        for end, other in ((self.ours, self.theirs), (self.theirs, self.ours)):
            address = other.outer4 if outer == "4" else f"[{other.outer6}]"
            end.set("listen-port", PORT, "private-key", "key:" + end.private, "peer", other.public,
                    *(["preshared-key", "key:" + self.psk] if psk else []),
                    "endpoint", f"{address}:{PORT}", "allowed-ips", f"{other.inner4}/32,{other.inner6}/128")
            end.up()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ours.process.stop()


class Kernel(LabTest):
    @classmethod
    def setUpClass(cls):
        script = pathlib.Path(__file__).with_name("guest.sh")
        folder = subprocess.run([script], stdout=subprocess.PIPE, text=True, check=True, timeout=600).stdout.strip()
        cls.share_lab()
        cls.guest = Guest(cls.lab.host("ours"), folder)
        print("the guest runs Linux", cls.guest.kernel, flush=True)

    def tunnel(self, *args):
        return self.enterContext(Tunnel(self.guest, *args))

    def check_transfer(self, tunnel, ours, theirs, size=4 * MEGABYTE):
        """Random bytes from the guest to a server of ours, and from us to a server of the guest's."""
        taker = tunnel.ours.host.start([sys.executable, "-c", TAKE, ours])
        taker.wait_for("listening")
        sent = self.guest.sh(f"dd if=/dev/urandom of=/tmp/sent bs=65536 count={size >> 16} 2>/dev/null; "
                             f"sha256sum </tmp/sent; nc {ours} 5001 </tmp/sent", timeout=120).split()[0]
        taker.wait_for("got " + sent, 30)
        self.guest.sh("nc -l -p 5002 >/tmp/got 2>/dev/null & until netstat -ltn | grep -q :5002; do usleep 50000; done")
        digest = tunnel.ours.host.run([sys.executable, "-c", GIVE, theirs, str(size)], timeout=120).stdout.strip()
        wait_until(lambda: self.guest.sh("sha256sum </tmp/got").split()[0] == digest, 60, "the content differs", every=1)

    def check(self, outer, psk, ours_first):
        tunnel = self.tunnel(outer, psk)
        ours, theirs = tunnel.ours, tunnel.theirs
        self.addCleanup(ours.host.sh, "nft delete table inet seen")
        count_initiations(ours.host)
        first, second = (ours, theirs) if ours_first else (theirs, ours)
        first.ping(second.inner4)
        second.ping(first.inner6)
        self.assertEqual(initiations(ours.host) > 0, ours_first)
        self.check_transfer(tunnel, ours.inner4, theirs.inner4)
        self.check_transfer(tunnel, ours.inner6, theirs.inner6)

    def test_ipv4_started_by_us(self):
        self.check("4", False, True)

    def test_ipv4_started_by_the_kernel_with_preshared_key(self):
        self.check("4", True, False)

    def test_ipv6_started_by_us_with_preshared_key(self):
        self.check("6", True, True)

    def test_ipv6_started_by_the_kernel(self):
        self.check("6", False, False)

    def test_wrong_preshared_key_and_recovery(self):
        tunnel = self.tunnel("4", True)
        ours, theirs = tunnel.ours, tunnel.theirs
        ours.set("peer", theirs.public, "preshared-key", "key:" + self.guest.sh("wg genpsk").strip())
        self.assertFalse(ours.host.run(["ping", "-c1", "-W2", theirs.inner4], check=False).returncode == 0)
        ours.set("peer", theirs.public, "preshared-key", "key:" + tunnel.psk)
        wait_until(lambda: ours.ping(theirs.inner4, check=False), 20, "no recovery")

    def test_roaming(self):
        tunnel = self.tunnel()
        ours, theirs = tunnel.ours, tunnel.theirs
        ours.ping(theirs.inner4)
        for end, other, name in ((ours, theirs, "ours"), (theirs, ours, "the kernel's")):
            with self.subTest(moves=name):
                end.set("listen-port", 40000)
                end.ping(other.inner4)
                self.assertEqual(other.show("endpoints").split()[1], f"192.0.2.{end.number}:40000")
                end.set("peer", other.public, "endpoint", f"[{other.outer6}]:{other.show('listen-port')}")
                end.ping(other.inner4)
                self.assertEqual(other.show("endpoints").split()[1], f"[2001:db8::{end.number}]:40000")
                other.ping(end.inner6)
                end.set("peer", other.public, "endpoint", f"{other.outer4}:{other.show('listen-port')}")
                end.ping(other.inner4)

    def check_rekey(self, ours_first, seconds=200):
        tunnel = self.tunnel("4", True)
        ours, theirs = tunnel.ours, tunnel.theirs
        self.addCleanup(ours.host.sh, "nft delete table inet seen")
        count_initiations(ours.host)
        (ours if ours_first else theirs).ping((theirs if ours_first else ours).inner4)
        before = ours.show("latest-handshakes")
        self.guest.sh("nc -ll -p 7 -e /bin/cat >/dev/null 2>&1 & until netstat -ltn | grep -q :7; do usleep 50000; done")
        talk = ours.host.start([sys.executable, TALK, "talk", theirs.inner4, "7", str(seconds)])
        ping = ours.host.start(["ping", "-q", "-i", "0.1", "-c", str(seconds * 10), "-W", "5", theirs.inner6])
        for process in (talk, ping):
            self.assertEqual(process.popen.wait(seconds + 60), 0, process.output())
        assert_talk(self, talk.output(), seconds)
        assert_lost(self, ping, 0)
        self.assertNotEqual(ours.show("latest-handshakes"), before)
        self.assertIn(initiations(ours.host), (2, 3) if ours_first else (0,))

    def test_rekey_started_by_us(self):
        self.check_rekey(True)

    def test_rekey_started_by_the_kernel(self):
        self.check_rekey(False)


if __name__ == "__main__":
    unittest.main(verbosity=2)
