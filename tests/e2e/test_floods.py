"""Attacks on a node's control API from outside: limits hold, memory stays bounded, others are served meanwhile."""
import json
import pathlib
import re
import resource
import subprocess
import time
import unittest
import uuid

from lab.labtest import BIN, LabTest
from lab.netns import PATIENCE
from lab.story import Network

FLOOD = pathlib.Path(__file__).with_name("lab") / "flood.py"
CERTIFICATES = pathlib.Path(__file__).parents[1] / "control/rpc/make_certificates.sh"
ADDR = "tcp://172.17.0.2:9000"
SANITIZED = re.search(r"/(asan|tsan)/", f"{BIN}/")
MIB = 1024  # of the kernel's kB


class Floods(LabTest):
    options = []
    PEER = ""

    @classmethod
    def setUpClass(cls):
        cls.share_lab()
        cls.net = Network(cls.lab)
        cls.start()
        cls.key = cls.net.router.sh("cat /var/lib/heimdall/cluster.key").strip()
        [cls.pid] = cls.net.node.pids()

    @classmethod
    def start(cls):
        cls.net.start_node(*cls.options)

    def memory(self, field):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+)", text).group(1))

    def others_are_served(self):
        """An administrator from elsewhere gets an answer; returns how long that took. A program that a busy machine keeps from
        its handshake loses its place to thousands of newcomers, and retries."""
        begin = time.monotonic()
        for _ in range(3):
            done = self.net.router.run(["hctl", "-a", ADDR, *self.hctl_options(), "nodes", "list"], check=False)
            if done.returncode != 5:
                break
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return time.monotonic() - begin

    def flood(self, kinds, most, seconds=3):
        """Runs attacks at once; returns their reports. `most`: by how many kB the node's memory may grow at its peak."""
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the highest so far is what it is now
        before = self.memory("VmRSS")
        attacks = [self.net.client.start(["python3", "-B", FLOOD, kind, "172.17.0.2", "9000", str(seconds), self.PEER])
                   for kind in kinds.split()]
        worst = self.others_are_served()
        while any(attack.alive() for attack in attacks):
            worst = max(worst, self.others_are_served())
            time.sleep(0.1)
        worst = max(worst, self.others_are_served())
        self.assertLess(worst, 5 * PATIENCE)
        if not SANITIZED:
            self.assertLess(self.memory("VmHWM") - before, most)
        said = [json.loads(attack.output().strip().split("\n")[-1]) for attack in attacks]
        return said if len(said) > 1 else said[0]


class Open(Floods):
    """Without TLS, where nothing precedes HTTP/2"""
    options = ["--insecure"]

    def hctl_options(self):
        return ["--insecure"]

    def test_floods_end_the_connection(self):
        for kind in ("rapid_reset", "continuation", "settings", "ping", "priority", "window_update", "empty_data"):
            with self.subTest(kind=kind):
                self.assertTrue(self.flood(kind, 16 * MIB)["ended"])

    def test_garbage(self):
        self.assertEqual(self.flood("garbage", 16 * MIB)["ended"], 200)

    def test_a_message_of_a_gibibyte(self):
        self.flood("gibibyte", 24 * MIB)

    def test_answers_that_are_not_read(self):
        """A client that does not read is not read from either"""
        self.assertTrue(self.flood("unread", 16 * MIB)["stuck"])

    def test_halves_of_messages(self):
        """The memory of all connections together is bounded: those that hold the most are ended"""
        said = self.flood("halves", 192 * MIB)
        self.assertTrue(0 < said["ended"] < said["connections"], said)

    def test_idle_clients(self):
        """With some that send a byte a second"""
        need_files(self)
        said, _ = self.flood("idle_clients slow_preface", 320 * MIB, 1)
        self.assertEqual((said["connected"], said["refused"]), (10000, 0))


class Keyed(Floods):
    """With TLS and keys: a client without a key holds a place for a moment at most"""

    def hctl_options(self):
        return ["--cluster-key", self.key]

    def test_idle_connections(self):
        """With some that send a byte a second"""
        need_files(self)
        for said in self.flood("idle slow_hello", 64 * MIB, 7):
            self.assertEqual(said["ended"], said["connected"])

    def test_garbage(self):
        self.assertEqual(self.flood("garbage", 32 * MIB)["ended"], 200)

    def test_wrong_keys(self):
        """Many clients try keys at once, each with a handshake"""
        tries = [self.net.client.start(["hctl", "-a", ADDR, "--cluster-key", str(uuid.uuid4()), "nodes", "list"])
                 for _ in range(30)]
        for each in tries:
            self.others_are_served()
            each.popen.wait(20 * PATIENCE)
            self.assertIn("cluster key", each.output())


class FewFiles(Floods):
    """A hard limit of 1,024 descriptors, as containers and service managers set it"""

    def hctl_options(self):
        return ["--cluster-key", self.key]

    @classmethod
    def start(cls):
        cls.net.node = cls.net.router.start(["prlimit", "--nofile=1024:1024", "heimdall", "-D", "--name", "router"])
        cls.net.node.wait_for("hctl peers authorize", timeout=20)

    def others_are_served(self):
        """The unix socket, Redis, DNS and the files too"""
        begin = time.monotonic()
        self.net.hctl("peers", "authorize", str(uuid.uuid4()))
        self.assertLess(len(list(pathlib.Path(f"/proc/{self.pid}/fd").iterdir())), 1000)
        return max(super().others_are_served(), time.monotonic() - begin)

    def test_strangers(self):
        self.flood("strangers strangers", 64 * MIB, 4)
        self.assertNotIn("oo many open files", self.net.node.output())

    def test_redis_comes_back(self):
        attack = self.net.client.start(["python3", "-B", FLOOD, "strangers", "172.17.0.2", "9000", "20"])
        attack.wait_for("held")
        [redis] = [pid for pid in self.net.router.sh("pgrep -x redis-server").split()]
        self.net.router.run(["kill", "-KILL", redis])
        self.net.node.wait_for("the store takes changes", count=2, timeout=20)
        self.assertTrue(attack.alive())
        self.others_are_served()
        attack.stop()


class Authorized(Floods):
    """One authorized peer, with a certificate of its own, against the administrator and the node's memory"""
    options = ["--cert", "/tmp/node.pem", "--key", "/tmp/node.key", "--ca", "/tmp/ca.pem"]
    PEER = str(uuid.uuid4())

    @classmethod
    def start(cls):
        for host in (cls.net.router, cls.net.client):
            subprocess.run([CERTIFICATES, host.dir / "tmp", cls.PEER], check=True)
            for name in ("ca", "node", "admin", "peer"):  # all of one authority
                for kind in ("pem", "key"):
                    source = cls.net.router.dir / f"tmp/{name}.{kind}"
                    (host.dir / f"tmp/{name}.{kind}").write_bytes(source.read_bytes())
        cls.net.start_node(*cls.options)
        cls.net.authorize(cls.PEER)

    def hctl_options(self):
        return ["--cert", "/tmp/admin.pem", "--key", "/tmp/admin.key", "--ca", "/tmp/ca.pem"]

    def others_are_served(self):
        """Changes too, over the unix socket"""
        begin = time.monotonic()
        self.net.hctl("peers", "authorize", str(uuid.uuid4()))
        return max(super().others_are_served(), time.monotonic() - begin)

    def test_changes(self):
        """Its changes take turns with the administrator's, and have a rate; those whose caller left are dropped"""
        lines = self.net.node.output().count("\n")
        self.assertGreater(self.flood("connects", 32 * MIB, 5)["calls"], 500)
        self.assertLess(self.net.node.output().count("\n") - lines, 400)

    def test_lines_of_one_peer(self):
        """Whatever a peer asks for, also what succeeds, its lines in the log are limited"""
        lines, begin = self.net.node.output().count("\n"), time.monotonic()
        self.assertGreater(self.flood("reconnects", 32 * MIB, 5)["calls"], 300)
        said = self.net.node.output().split("\n")[lines:]
        windows = 1 + (time.monotonic() - begin) / 10  # of 40 lines each
        self.assertLess(sum("connected peer" in line for line in said), 20 + 40 * windows, said[-5:])

    def test_unfinished_calls(self):
        """Headers count as memory, and a peer has a few connections only: the newest"""
        said = self.flood("unfinished", 32 * MIB)
        self.assertGreaterEqual(said["ended"], said["connections"] - 8)


def need_files(test):
    """The node and the attack hold 10,000 connections each."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 12000:
        test.skipTest("a process may not open 12,000 files here")


del Floods  # a base only
if __name__ == "__main__":
    unittest.main()
