"""heimdall-wg against itself, driven by wg(8) and wg-quick."""
import pathlib
import secrets
import signal
import sys
import time
import unittest

from lab.labtest import BIN, InLab
from lab.netns import Lab, wait_until
from lab.wgpair import PORT, End, Pair
from lab.wgtest import uapi

MEGABYTE = 1 << 20


class Traffic(InLab):
    def test_content_both_ways(self):
        for outer, psk in (("4", False), ("6", True)):
            with self.subTest(outer=outer, psk=psk), Lab(BIN) as lab:
                pair = Pair(lab, "heimdall-wg", "heimdall-wg", outer, psk)
                pair.a.ping(pair.b.inner4)
                pair.a.ping(pair.b.inner6)
                pair.transfer(10 * MEGABYTE)
                pair.transfer(10 * MEGABYTE, inner="6", reverse=True)
                received, sent = map(int, pair.a.show("transfer").split()[1:])
                self.assertGreater(received, 20 * MEGABYTE)
                self.assertGreater(sent, 20 * MEGABYTE)

    def test_unreachable_is_told(self):
        pair = Pair(self.lab, "heimdall-wg", "heimdall-wg")
        for address in ("10.9.0.77", "fd00:9::77"):
            said = pair.a.host.run(["ping", "-c1", "-W2", address], check=False).stdout
            self.assertRegex(said, "(Destination Host|Address) [Uu]nreachable")

    def test_wrong_preshared_key_and_recovery(self):
        pair = Pair(self.lab, "heimdall-wg", "heimdall-wg", psk=True)
        wrong = pair.a.host.sh("wg genpsk").strip()
        pair.b.set("peer", pair.a.public, "preshared-key", "key:" + wrong)
        self.assertFalse(pair.a.host.run(["ping", "-c1", "-W1", pair.b.inner4], check=False).returncode == 0)
        pair.b.set("peer", pair.a.public, "preshared-key", "key:" + pair.psk)
        wait_until(lambda: pair.a.ping(pair.b.inner4, check=False), 15, "no recovery")

    def test_roaming_and_port_change(self):
        pair = Pair(self.lab, "heimdall-wg", "heimdall-wg")
        pair.a.ping(pair.b.inner4)
        pair.a.set("listen-port", 40000)
        self.assertEqual(pair.a.show("listen-port"), "40000")
        pair.a.ping(pair.b.inner4)
        self.assertEqual(pair.b.show("endpoints").split()[1], "192.0.2.1:40000")
        pair.a.host.sh("ip addr del 192.0.2.1/24 dev eth0; ip addr add 192.0.2.9/24 dev eth0")
        pair.a.ping(pair.b.inner4, count=2)
        self.assertEqual(pair.b.show("endpoints").split()[1], "192.0.2.9:40000")

    def test_link_down_sends_nothing(self):
        pair = Pair(self.lab, "heimdall-wg", "heimdall-wg")
        pair.a.ping(pair.b.inner4)
        pair.a.set_link("down")
        sent = "nstat -asz UdpOutDatagrams | tail -n1"
        before = pair.a.host.sh(sent)
        pair.b.host.run(["ping", "-c3", "-i0.2", "-W1", pair.a.inner4], check=False)
        self.assertEqual(pair.a.host.sh(sent), before)
        pair.a.host.sh("ip link set wg0 up")
        pair.a.ping(pair.b.inner4)

    def test_idle_device_does_not_wake_up(self):
        end = End(self.lab.host("idle"), 1, "heimdall-wg")
        end.set("private-key", "key:" + end.private)
        peers = "".join(f"public_key={secrets.token_hex(32)}\nallowed_ip=10.1.{n >> 8}.{n & 255}/32\n" for n in range(10000))
        self.assertEqual(uapi(end.host, f"set=1\n{peers}\n"), "errno=0\n\n")
        end.up()
        pid = end.process.pids()[0]

        def switches():
            """Of the main thread and the path's own; a sanitizer's runtime adds one that does not count."""
            tasks = [task for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
                     if task.name == str(pid) or (task / "comm").read_text().strip().endswith("-wg0")]
            self.assertEqual(len(tasks), 4)
            return sum(int(line.split()[1]) for task in tasks
                       for line in (task / "status").read_text().split("\n") if "voluntary_ctxt" in line)

        time.sleep(3)  # the kernel's own IPv6 router solicitations and reports go out first
        least = 1000
        for _ in range(4):
            before = switches()
            time.sleep(2)
            least = min(least, switches() - before)
        self.assertEqual(least, 0)


class Configuration(InLab):
    def setUp(self):
        super().setUp()
        self.end = End(self.lab.host("one"), 1, "heimdall-wg")

    def test_show_and_setconf(self):
        host = self.end.host
        peer = host.sh("wg genkey | wg pubkey").strip()
        psk = host.sh("wg genpsk").strip()
        config = (f"[Interface]\nListenPort = {PORT}\nFwMark = 0x4d\nPrivateKey = {self.end.private}\n\n"
                  f"[Peer]\nPublicKey = {peer}\nPresharedKey = {psk}\nAllowedIPs = 10.0.0.0/8, fd00::/64\n"
                  "Endpoint = [2001:db8::9]:1234\nPersistentKeepalive = 25\n")
        host.run(["tee", "/tmp/conf"], input=config)
        for verb in ("setconf", "syncconf"):
            host.sh(f"wg {verb} wg0 /tmp/conf")
            shown = [line for line in host.sh("wg showconf wg0").split("\n") if line]
            self.assertEqual(sorted(shown), sorted(line for line in config.split("\n") if line))
        self.end.set("peer", peer, "remove")
        self.assertEqual(self.end.show("peers"), "")

    def test_moved_allowed_ip_and_own_key(self):
        one, two = (self.end.host.sh("wg genkey | wg pubkey").strip() for _ in range(2))
        self.end.set("private-key", "key:" + self.end.private, "peer", one, "allowed-ips", "10.0.0.1/32",
                     "peer", two, "allowed-ips", "10.0.0.2/32")
        self.end.set("peer", two, "allowed-ips", "10.0.0.1/32,10.0.0.2/32")
        table = dict(line.split(None, 1) for line in self.end.show("allowed-ips").split("\n"))
        self.assertEqual(table[one], "(none)")
        self.assertEqual(set(table[two].split()), {"10.0.0.1/32", "10.0.0.2/32"})
        self.end.set("peer", self.end.public, "allowed-ips", "10.0.0.3/32")
        self.assertNotIn(self.end.public, self.end.show("peers"))

    def test_busy_port_changes_nothing(self):
        self.end.set("listen-port", PORT)
        self.end.up()  # a port is held while the link is up
        other = self.end.host.start(["heimdall-wg", "-f", "wg1"])
        wait_until(lambda: "wg1" in self.end.host.sh("wg show interfaces"), 10, "no wg1")
        self.end.host.sh("wg set wg1 listen-port 40001 fwmark 7")
        done = self.end.host.run(["wg", "set", "wg1", "listen-port", str(PORT), "fwmark", "8"], check=False)
        self.assertIn("Address already in use", done.stderr)
        self.assertEqual(self.end.host.sh("wg show wg1 listen-port").strip(), "40001")
        self.assertEqual(self.end.host.sh("wg show wg1 fwmark").strip(), "0x7")
        self.assertEqual(other.stop(), 0)

    def test_malformed_request_changes_nothing(self):
        self.end.set("listen-port", PORT)
        script = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('/run/wireguard/wg0.sock'); "
                  "s.sendall(sys.stdin.buffer.read()); s.settimeout(5); sys.stdout.write(s.recv(100).decode())")
        for request, answer in (
                ("set=1\nlisten_port=40000\nfwmark=x\n\n", "errno=-22\n\n"),
                ("set=1\nlisten_port=40000\npublic_key=00\n\n", "errno=-22\n\n"),
                ("set=1\nlisten_port=40000\nwhat=1\n\n", "errno=-22\n\n"),
                ("nonsense\n\n", "errno=-71\n\n")):
            with self.subTest(request=request):
                said = self.end.host.run([sys.executable, "-c", script], input=request).stdout
                self.assertEqual(said, answer)
                self.assertEqual(self.end.show("listen-port"), str(PORT))


class Lifetime(InLab):
    def setUp(self):
        super().setUp()
        self.host = self.lab.host("one")

    def left_behind(self):
        return (self.host.sh("ls /run/wireguard").split(), "wg0" in self.host.sh("ip -o link"),
                [name for name in self.host.programs() if name.startswith("heimdall")])

    def assert_ends(self, *how):
        """Daemonizes, then the command given must make the program end and clean up."""
        self.assertEqual(self.host.run(["heimdall-wg", "wg0"]).returncode, 0)
        self.host.sh("wg show wg0")  # ready when the parent has returned
        self.assertEqual(self.left_behind(), (["wg0.sock"], True, ["heimdall-wg"]))
        self.host.run(how)
        wait_until(lambda: self.left_behind() == ([], False, []), 10, lambda: f"left: {self.left_behind()}")

    def test_interface_removed(self):
        self.assert_ends("ip", "link", "del", "wg0")

    def test_socket_removed(self):
        self.assert_ends("rm", "/run/wireguard/wg0.sock")

    def test_terminated(self):
        self.assert_ends("pkill", "-TERM", "heimdall-wg")

    def test_interrupted_in_the_foreground(self):
        end = End(self.host, 1, "heimdall-wg")
        self.assertEqual(end.process.stop(signal.SIGINT), 0)
        self.assertEqual(self.left_behind(), ([], False, []))

    def test_second_program_is_refused(self):
        end = End(self.host, 1, "heimdall-wg")
        done = self.host.run(["heimdall-wg", "wg0"], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertNotEqual(done.stderr, "")
        self.host.sh("wg show wg0")
        self.assertTrue(end.process.alive())

    def test_killed_program_is_replaced(self):
        end = End(self.host, 1, "heimdall-wg")
        end.process.stop(signal.SIGKILL)
        self.assertEqual(self.left_behind()[0], ["wg0.sock"])
        self.assertEqual(self.host.run(["heimdall-wg", "wg0"]).returncode, 0)
        self.host.sh("wg show wg0")

    def test_usage(self):
        for argv, code in ((["-h"], 0), (["-v"], 0), ([], 2), (["a", "b"], 2), (["--no"], 2), (["-x", "wg0"], 2),
                           (["a-name-that-is-too-long"], 2), (["../wg0"], 2)):
            with self.subTest(argv=argv):
                done = self.host.run(["heimdall-wg", *argv], check=False)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertTrue((done.stdout if code == 0 else done.stderr).strip())

    def test_descriptors_handed_in(self):
        """WG_TUN_FD and WG_UAPI_FD, as programs that drop their rights before they start us use them."""
        script = ("import fcntl, os, socket, struct, sys\n"
                  "tun = os.open('/dev/net/tun', os.O_RDWR)\n"
                  "fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH22x', b'wg0', 0x1001))\n"
                  "uapi = socket.socket(socket.AF_UNIX)\n"
                  "uapi.bind('/run/wireguard/wg0.sock')\n"
                  "uapi.listen()\n"
                  "for fd in tun, uapi.fileno(): os.set_inheritable(fd, True)\n"
                  "os.environ.update(WG_TUN_FD=str(tun), WG_UAPI_FD=str(uapi.fileno()), WG_PROCESS_FOREGROUND='1')\n"
                  "os.execvp('setpriv', ['setpriv', '--bounding-set=-all', '--inh-caps=-all', 'heimdall-wg', 'wg0'])\n")
        process = self.host.start([sys.executable, "-c", script], env={"LOG_LEVEL": "verbose"})
        process.wait_for("device started")
        self.host.sh("ip link set wg0 up; wg set wg0 listen-port 40000")
        self.assertEqual(self.host.sh("wg show wg0 listen-port").strip(), "40000")
        self.assertEqual(process.stop(), 0)
        self.assertEqual(self.left_behind(), ([], False, []))
        for variable in ("WG_TUN_FD", "WG_UAPI_FD"):
            done = self.host.run(["heimdall-wg", "wg0"], check=False, env={variable: "99"})
            self.assertEqual(done.returncode, 2)
            self.assertIn(variable, done.stderr)

    def test_no_permission(self):
        done = self.host.run(["setpriv", "--bounding-set=-all", "--inh-caps=-all", "heimdall-wg", "wg0"], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("NET_ADMIN", done.stderr)


class Quick(InLab):
    def test_up_and_down(self):
        a, b = self.lab.host("a"), self.lab.host("b")
        self.lab.link(a, "192.0.2.1/24", b, "192.0.2.2/24")
        env = {"WG_QUICK_USERSPACE_IMPLEMENTATION": "heimdall-wg"}
        keys = [(private, a.run(["wg", "pubkey"], input=private).stdout.strip())
                for private in (a.sh("wg genkey").strip() for _ in range(2))]
        for number, host in enumerate((a, b), 1):
            private, other = keys[number - 1][0], keys[2 - number][1]
            config = (f"[Interface]\nAddress = 10.9.0.{number}/24\nListenPort = {PORT}\nPrivateKey = {private}\n"
                      f"[Peer]\nPublicKey = {other}\nAllowedIPs = 10.9.0.0/24, 10.77.0.0/16\n"
                      f"Endpoint = 192.0.2.{3 - number}:{PORT}\n")
            host.run(["tee", "/tmp/wgq.conf"], input=config)
            host.run(["wg-quick", "up", "/tmp/wgq.conf"], env=env)
        a.run(["ping", "-c1", "-W5", "10.9.0.2"])
        self.assertIn("10.77.0.0/16", a.sh("ip route"))
        self.assertIn("mtu 1420", a.sh("ip link show wgq"))
        for host in (a, b):
            host.run(["wg-quick", "down", "/tmp/wgq.conf"], env=env)
            self.assertNotIn("wgq", host.sh("ip -o link"))
            wait_until(lambda: not [n for n in host.programs() if n.startswith("heimdall")], 10, "still running")
            self.assertEqual(host.sh("ls /run/wireguard").strip(), "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
