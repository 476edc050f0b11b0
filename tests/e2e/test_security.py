"""The promises of docs/security.md, seen from outside: dropped rights, and where secrets are. TLS: test_security_tls.py."""
import base64
import os
import pathlib
import re
import signal
import sys
import time
import unittest
import uuid

from lab import leaks
from lab.labtest import BIN, InLab
from lab.netns import Failure, Lab, wait_until
from lab.story import Network, table

KEPT = 1 << 12 | 1 << 10  # CAP_NET_ADMIN, CAP_NET_BIND_SERVICE


def filtered():
    """Whether this build has the system call filter: one with sanitizers has none."""
    return not re.search(r"/(asan|tsan|coverage)/", f"{BIN}/")


def status(pid, task=None):
    text = pathlib.Path(f"/proc/{pid}/task/{task}/status" if task else f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.split("\n") if ":\t" in line)


def tasks(pid):
    return [entry.name for entry in pathlib.Path(f"/proc/{pid}/task").iterdir()]


def descendants(pid):
    """Processes below this one, by name."""
    found = {}
    for task in tasks(pid):
        for child in pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text().split():
            found[status(child)["Name"]] = int(child)
            found.update(descendants(child))
    return found


class Rights(InLab):
    least_privilege = False

    def setUp(self):
        super().setUp()
        self.net = Network(self.lab, self.least_privilege)

    def connect(self):
        net = self.net
        net.start_node()
        net.authorize()
        self.peer = net.start_peer()
        self.peer.wait_for("connected")
        [self.node_pid], [self.peer_pid] = net.node.pids(), self.peer.pids()

    def reaches(self, timeout=10):
        wait_until(lambda: self.net.client.run(["ping", "-c1", "-W1", "router"], check=False).returncode == 0,
                   timeout, "the client does not reach the router by its name")

    def check_confined(self, pid):
        self.assertGreater(len(tasks(pid)), 2, "its threads are what this looks at")
        for task in tasks(pid):
            with self.subTest(pid=pid, task=task):
                seen = status(pid, task)
                for field in ("CapPrm", "CapEff", "CapBnd"):
                    self.assertEqual(int(seen[field], 16), KEPT, field)
                for field in ("CapInh", "CapAmb"):
                    self.assertEqual(int(seen[field], 16), 0, field)
                self.assertEqual(seen["NoNewPrivs"], "1")
                self.assertEqual(seen["Seccomp"], "2" if filtered() else "0")

    def test_given_up(self):
        self.connect()
        self.assertEqual(status(self.node_pid)["Uid"].split(), ["0"] * 4)
        self.check_confined(self.node_pid)
        self.check_confined(self.peer_pid)
        below = descendants(self.node_pid)
        self.assertEqual(set(below), {"heimdall-tools", "heimdall-redis", "redis-server"})
        self.assertEqual(set(descendants(self.peer_pid)), {"heimdall-tools"})
        redis = status(below["redis-server"])
        self.assertEqual(int(redis["CapEff"], 16) & ~(KEPT if self.least_privilege else 0), 0)
        if not self.least_privilege:
            self.assertNotEqual(redis["Uid"].split()[0], "0")
            self.assertEqual(int(status(below["heimdall-redis"])["CapBnd"], 16), 0xeb)
        self.assertEqual(int(status(below["heimdall-tools"])["CapEff"], 16), 1 << 12)
        self.assertNotIn("on this host, continuing", self.net.node.output())

    def test_still_works(self):
        """Redis killed, the interface deleted, DNS rebound, the firewall changed, the resolver restored"""
        net = self.net
        resolver = net.router.resolv_conf(), net.client.resolv_conf()
        self.connect()
        self.reaches()
        os.kill(descendants(self.node_pid)["redis-server"], signal.SIGKILL)
        net.node.wait_for("the store takes changes", count=2)
        net.hctl("routes", "create", "--node-id", net.node_id(), "--network", "192.168.50.0/24")
        wait_until(lambda: net.client.run(["ping", "-c1", "-W1", "192.168.50.10"], check=False).returncode == 0, 10,
                   "the new route is not used")
        net.router.run(["ip", "link", "del", "darknet"])
        self.reaches(20)
        self.assertIn("10.11.0.1", net.router.run(["dig", "+short", "+time=2", "@10.11.0.1", "router.heimdall"]).stdout)
        self.assertIn("heimdall", net.router.sh("nft list tables"))
        self.assertEqual((self.peer.stop(), net.node.stop()), (0, 0))
        self.assertEqual((net.router.resolv_conf(), net.client.resolv_conf()), resolver)
        self.assertNotIn("heimdall", net.router.sh("nft list tables"))
        self.assertEqual(net.router.programs(), [])

    @unittest.skipUnless(filtered(), "a filter is what this looks at")
    def test_no_call_is_refused(self):
        """A whole life under strace: the filter allows every call, so nothing fails silently"""
        net = self.net
        strace = ["strace", "-f", "-Z", "-qq", "-o", "/tmp/calls"]
        node = net.router.start([*strace, "heimdall", "-D", "--name", "router", "--metrics-address", "172.17.0.2:9100"])
        node.wait_for("hctl peers authorize", timeout=20)
        net.authorize()
        peer = net.client.start([*strace, "hpeer", "-D", "--name", "client", "--addr", "tcp://172.17.0.2:9000", "--id", net.id])
        peer.wait_for("connected", timeout=20)
        net.hctl("routes", "create", "--node-id", net.node_id(), "--network", "192.168.50.0/24")
        for transport in ("+notcp", "+tcp"):
            net.client.run(["dig", transport, "+time=2", "+tries=1", "@10.11.0.1", "router.heimdall", "other.example"], check=False)
        net.client.run(["python3", "-c", "import urllib.request; urllib.request.urlopen('http://172.17.0.2:9100/metrics').read()"])
        net.router.sh("kill -KILL $(pgrep -x redis-server)")
        node.wait_for("the store takes changes", count=2)
        for host in (net.router, net.client):
            host.sh("ip link set eth0 mtu 1400; ip link del darknet")
        self.reaches(20)
        net.hctl("peers", "deauthorize", net.id)
        peer.wait_for("not authorized")
        for process, name in ((peer, "hpeer"), (node, "heimdall")):
            process.host.sh(f"kill $(pgrep -xo {name})")
            self.assertEqual(process.popen.wait(30), 0)
            calls = process.host.sh("grep -E 'EPERM|EACCES|ENOSYS|SIGSYS' /tmp/calls | grep -v clone3 || true")
            self.assertEqual(calls, "", name)
            self.assertIn("EAGAIN", process.host.sh("cat /tmp/calls"), "calls are not seen")

    def test_helpers_killed(self):
        """Without a helper the node could change nothing: it ends, and its next start has everything"""
        net = self.net
        self.connect()
        for helper in ("heimdall-tools", "heimdall-redis"):
            os.kill(descendants(self.node_pid)[helper], signal.SIGKILL)
            self.assertEqual(net.node.popen.wait(20), 1)
            self.assertIn("so that its supervisor restarts it", net.node.output())
            wait_until(lambda: net.router.programs() == [], 5, lambda: f"left running: {net.router.programs()}")
            net.start_node()
            [self.node_pid] = net.node.pids()
        self.assertIn(net.id, net.hctl("peers", "authorized").stdout)
        self.reaches(20)
        self.assertEqual(net.node.stop(), 0)

    def test_daemon_killed(self):
        """Nothing outlives it"""
        self.connect()
        os.kill(self.node_pid, signal.SIGKILL)
        wait_until(lambda: self.net.router.programs() == [], 5, lambda: f"left: {self.net.router.programs()}")


class RightsOfFew(Rights):
    """The same with only two rights at the start."""
    least_privilege = True


class Unprivileged(unittest.TestCase):
    """An unprivileged user with the two rights, as a service manager grants them."""

    USER = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", "+net_admin,+net_bind_service",
            "--ambient-caps", "+net_admin,+net_bind_service"]

    def test_works(self):
        with Lab(BIN) as lab:
            net = Network(lab)
            net.router.sh("mount -t tmpfs tmpfs /dev/net; mknod -m 666 /dev/net/tun c 10 200; chmod 777 /run/wireguard; "
                          f"install -m 755 {lab.bin}/heimdall /tmp; install -d -o 65534 /tmp/data")
            net.node = net.router.start([*self.USER, "/tmp/heimdall", "-D", "--name", "router", "--data-dir", "/tmp/data"])
            net.node.wait_for("hctl peers authorize", timeout=20)
            self.assertNotIn("on this host, continuing", net.node.output())
            [pid] = net.node.pids()
            seen = status(pid)
            self.assertEqual((int(seen["CapEff"], 16), int(seen["CapAmb"], 16), seen["NoNewPrivs"]), (KEPT, 0, "1"))
            self.assertIn("heimdall", net.router.sh("nft list tables"))
            net.router.run(["hctl", "--data-dir", "/tmp/data", "peers", "authorize", net.id])
            net.start_peer().wait_for("connected")
            net.client.run(["ping", "-c1", "-W2", "10.11.0.1"])
            self.assertEqual(net.node.stop(), 0)
            self.assertNotIn("heimdall", net.router.sh("nft list tables"))


class Refused(unittest.TestCase):
    """A container runtime that allows less than the daemon asks for."""

    # Loads a filter that refuses prctl(PR_CAPBSET_DROP) and all of seccomp, then becomes the program.
    RUNTIME = """
import ctypes, os, sys
lib = ctypes.CDLL("libseccomp.so.2")
lib.seccomp_init.restype = ctypes.c_void_p
class Cmp(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]
lib.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p]
lib.seccomp_load.argtypes = [ctypes.c_void_p]
ctx, eperm = lib.seccomp_init(0x7fff0000), 0x00050001
number = lambda name: lib.seccomp_syscall_resolve_name(name)
for option in (22, 24):  # PR_SET_SECCOMP, PR_CAPBSET_DROP
    assert lib.seccomp_rule_add_array(ctx, eperm, number(b"prctl"), 1, ctypes.byref(Cmp(0, 4, option, 0))) == 0
assert lib.seccomp_rule_add_array(ctx, eperm, number(b"seccomp"), 0, None) == 0
assert lib.seccomp_load(ctx) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""

    def test_warned_once(self):
        with Lab(BIN) as lab:
            net = Network(lab)
            net.node = net.router.start(["python3", "-c", self.RUNTIME, "heimdall", "-D", "--name", "router"])
            said = net.node.wait_for("hctl peers authorize", timeout=20)
            self.assertEqual(said.count("cannot give up all other rights"), 1)
            if filtered():
                self.assertEqual(said.count("cannot filter system calls"), 1)
            net.authorize()
            self.assertEqual(net.node.stop(), 0)


def memory_of(pid):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, access = line.split()[:2]
            if access[:2] != "rw":
                continue
            start, end = (int(word, 16) for word in span.split("-"))
            memory.seek(start)
            try:
                yield memory.read(end - start)
            except OSError:
                continue


class Secrets(unittest.TestCase):
    @unittest.skipUnless(filtered(), "a sanitizer's shadow memory is too much to search")
    def test_ids_are_hidden(self):
        """A peer's memory holds what it was ever sent: no other peer's id, and no cluster key"""
        with Lab(BIN) as lab:
            net = Network(lab)
            other = str(uuid.uuid4())
            net.start_node("--allow-peer-to-peer")
            net.authorize()
            net.authorize(other)
            first = net.start_peer()
            first.wait_for("connected")
            net.server.run(["ip", "route", "add", "default", "via", "192.168.50.1"])
            second = net.start_peer(host=net.server, name="second", peer_id=other)
            second.wait_for("connected")
            wait_until(lambda: net.client.run(["ping", "-c1", "-W2", "second.heimdall"], check=False).returncode == 0, 10,
                       "the first peer does not reach the second")
            [pid] = first.pids()
            seen = b"".join(memory_of(pid))
            self.assertIn(net.id.encode(), seen, "not where this looks")
            self.assertNotIn(other.encode(), seen)
            self.assertNotIn(net.router.sh("cat /var/lib/heimdall/cluster.key").strip().encode(), seen)

    def test_where_secrets_are(self):
        """Private keys and the cluster key are in their files only; a peer never gets other peers' ids"""
        with Lab(BIN) as lab:
            net = Network(lab)
            other = str(uuid.uuid4())
            net.start_node()
            net.authorize()
            net.authorize(other)
            peer = net.start_peer()
            peer.wait_for("connected")
            keys = {path: path.read_text().strip() for path in lab.dir.rglob("*.key")}
            self.assertEqual({path.name for path in keys}, {"wireguard.key", "cluster.key"})
            answers = [net.hctl("-o", "json", *words).stdout for words in (("nodes", "list"), ("peers", "list"))]
            files = [path for path in lab.dir.rglob("*") if path.is_file() and path not in keys]
            self.assertTrue([path for path in files if path.name.endswith(".aof")], "Redis' file was not searched")
            contents = [(str(path), path.read_bytes()) for path in files]
            contents += [("answer", answer.encode()) for answer in answers]
            for key in keys.values():
                forms = [key.encode()]
                if key.endswith("="):
                    forms += [base64.b64decode(key), base64.b64decode(key).hex().encode()]
                for form in forms:
                    for place, content in contents:
                        self.assertNotIn(form, content, place)
            self.assertIn(f"peer={net.id[:8]}", net.node.output())

    OTHER = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]

    def test_other_users(self):
        """Other users of the host reach neither files nor sockets; Redis wants a password that is stored nowhere"""
        with Lab(BIN) as lab:
            net = Network(lab)
            net.router.sh("install -d -m 777 /var/lib/heimdall")  # made by somebody with less care
            net.start_node()
            net.authorize()
            net.start_peer().wait_for("connected")
            for host, folder in ((net.router, "/var/lib/heimdall"), (net.client, "/var/lib/heimdall-peer")):
                self.assertEqual(host.sh(f"find {folder} -maxdepth 1 -perm /077 ! -name redis"), "")
                for argv in (["ls", folder], ["cat", f"{folder}/wireguard.key"], ["cat", f"{folder}/id"]):
                    done = host.run([*self.OTHER, *argv], check=False)
                    self.assertIn("Permission denied", done.stderr)
            net.router.sh(f"install -m 755 {lab.bin}/hctl /tmp")
            done = net.router.run([*self.OTHER, "/tmp/hctl", "-a", "unix:///var/lib/heimdall/control.sock", "nodes", "list"], check=False)
            self.assertEqual((done.returncode != 0, done.stdout), (True, ""), done.stderr)
            for user in ([], self.OTHER):
                done = net.router.run([*user, "redis-cli", "-s", "/var/lib/heimdall/redis/redis.sock", "keys", "*"], check=False)
                self.assertRegex(done.stdout + done.stderr, "NOAUTH|Permission denied")
                self.assertNotIn("heimdall:", done.stdout)
            shown = net.router.sh("for pid in $(pgrep heimdall; pgrep redis); do cat /proc/$pid/cmdline /proc/$pid/environ; done")
            self.assertIn("redis-server", shown)
            self.assertNotRegex(shown, "[0-9a-f]{32}")  # a password has 48 of them
            self.assertEqual(net.router.sh("grep -raE 'requirepass|masterauth|^user |[0-9a-f]{48}' /var/lib/heimdall || true"), "")


class Search(unittest.TestCase):
    """The search of the logs for secrets, which ends every lab."""

    def test_a_leak_is_found(self):
        def leak():
            with Lab(BIN) as lab:
                net = Network(lab)
                net.start_node()
                net.router.start(["cat", "/var/lib/heimdall/cluster.key"]).popen.wait(5)
        self.assertRaisesRegex(Failure, "router: cat logged cluster.key", leak)

    def test_a_sanitizers_report_is_found(self):
        def report():
            with Lab(BIN) as lab:
                lab.host("a").start(["echo", "x.c:1:2: runtime error: overflow"]).popen.wait(5)
        self.assertRaisesRegex(Failure, "a: a sanitizer reports of echo", report)

    def test_what_it_knows(self):
        """Keys of both kinds and ids, wherever they were given, in each spelling"""
        key, peer = base64.b64encode(bytes(range(32))).decode(), str(uuid.uuid4())
        log = f"INF connected peer={peer}"
        for told, said, argv, found in (
                (["hpeer", "--id", peer], log, ["heimdall"], True), (["hctl", "peers", "authorize", peer], log, ["heimdall"], True),
                (["heimdall", "--id", peer], log, ["heimdall"], False), (["hpeer", "--id", peer], log, ["hctl"], False),
                (["hpeer", "--id", peer], f"WRN Run on a node: hctl peers authorize {peer}", ["hpeer"], False),
                (["hpeer", "--id", peer], f"WRN Run on a node: hctl peers authorize {peer}", ["heimdall"], True),
                (["hctl", "--cluster-key", peer], log, ["hctl"], True), (["wg", "genkey"], key, ["heimdall-wg"], True),
                (["wg", "genpsk"], bytes(range(32)).hex(), ["heimdall-wg"], True), (["wg", "show"], key, ["heimdall-wg"], False)):
            with self.subTest(told=told, said=said, argv=argv):
                secrets = leaks.Secrets()
                secrets.told(told, None)
                secrets.answered("host", told, key, "")
                self.assertEqual(bool(list(secrets.in_texts([("host", argv, f"one\n{said}\n")]))), found)

    def test_nobody_goes_without(self):
        """Only a lab starts the project's programs"""
        texts = {path.stem: path.read_text() for path in pathlib.Path(__file__).parent.rglob("*.py")}

        def uses_lab(name):
            return name == "netns" or any(uses_lab(other) for other in re.findall(r"(?m)^from lab\.(\w+) import", texts.get(name, "")))
        for name, text in texts.items():
            if name.startswith("test_"):
                started = [line for line in text.split("\n") if "subprocess." in line and "BIN" in line and '"-h"' not in line]
                self.assertEqual((uses_lab(name), started), (True, []), name)


class Page(unittest.TestCase):
    """docs/security.md"""

    def test_its_tests_exist(self):
        tests = pathlib.Path(__file__).parents[1]
        named = re.findall(r"`(test_\w+)\.(py|c)(?::([\w.]+))?`", (tests.parent / "docs/security.md").read_text())
        self.assertGreater(len(named), 40)
        for file, kind, name in named:
            with self.subTest(file=file, name=name):
                [path] = tests.rglob(f"{file}.{kind}")
                words = [f"START_TEST({name})"] if kind == "c" else [
                    f"def {word}(" if word.startswith("test_") else f"class {word}(" for word in name.split(".") if word]
                for word in words:
                    self.assertIn(word, path.read_text())


if __name__ == "__main__":
    unittest.main(verbosity=2)
