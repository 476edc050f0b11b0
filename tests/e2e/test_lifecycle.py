"""The life of a peer: its id and key, its name, waiting for a node, for authorization and for the network, a second peer with its
id."""
import json
import re
import shutil
import signal
import unittest
import uuid

from lab.life import ADDR, Life, told


class Identity(Life):
    def test_made_once(self):
        """Without --id a random one is printed with the line that authorizes it; id and key survive a SIGKILL"""
        net = self.net
        net.start_node()
        self.peer = self.start_peer()
        said = self.peer.wait_for("hctl peers authorize")
        [line] = re.findall(r"Run on a node: (hctl peers authorize [0-9a-f-]{36})$", said, re.MULTILINE)
        self.assertEqual(net.router.sh(line), "")
        self.peer.wait_for("connected")
        first = self.peers()
        self.assertEqual(list(first), ["10.51.0.2"])
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.peer.stop(number)
            self.peer = self.start_peer()
            self.peer.wait_for("connected")
            self.assertNotIn("authorize", self.peer.output())
            self.assertEqual(self.peers(), first)
        other = net.server.start(["hpeer", "--addr", ADDR])
        said = other.wait_for("hctl peers authorize")
        self.assertNotIn(line, said)

    def test_second_with_its_id(self):
        """Refused in one line and logged without the id; the first peer is not disturbed; `rekey` lets one new key in"""
        net = self.net
        self.connect()
        second = self.start_peer("--id", net.id, host=net.server)
        said = second.wait_for("refused")
        self.assertIn(f"hctl peers rekey {net.id}", said)
        self.assertIn("bound to another WireGuard key", said)
        [line] = [line for line in net.node.output().splitlines() if "call refused: another WireGuard key" in line][:1]
        self.assertIn("remote=192.168.50.10:", line)
        self.assertNotIn(net.id, net.node.output())
        net.node.wait_for("call refused: another WireGuard key", count=3)  # it keeps retrying, and logs no more
        self.assertEqual(self.count(second, "ERRO"), 1, second.output())
        self.assertTrue(second.alive())
        self.reaches()
        self.assertEqual(len(told(self.peer)), 2, self.peer.output())

        before = self.peers()
        net.hctl("peers", "rekey", net.id)
        second.wait_for("connected")
        self.reaches(host=net.server)
        self.assertEqual(list(self.peers()), list(before))
        self.assertNotEqual(self.peers(), before)
        self.peer.wait_for(f"hctl peers rekey {net.id}")
        self.assertEqual(len(told(self.peer)), 3, self.peer.output())
        self.assertNotEqual(net.client.run(["ping", "-c1", "-W1", "10.11.0.1"], check=False).returncode, 0)
        self.assertEqual(second.output().count("connected"), 1)

    def test_copy_of_its_data(self):
        """A second host with the same id and key: one connects at a time, and the other one says what is wrong"""
        net = self.net
        self.connect()
        for path in (net.client.dir / "var/heimdall-peer").iterdir():
            if path.is_file():
                shutil.copy2(path, net.server.dir / "var/heimdall-peer")
        second = self.start_peer("--id", net.id, host=net.server)
        second.wait_for("connected")
        self.peer.wait_for("another hpeer with this id and key has connected")
        self.reaches(host=net.server)
        self.assertEqual(net.client.run(["wg", "show", "darknet", "peers"]).stdout, "")
        second.stop()
        self.peer.wait_for("connected", count=3, timeout=15)  # one of the three is in the line between
        self.reaches()
        self.assertEqual(len(told(self.peer)), 4, self.peer.output())

    def test_renamed(self):
        """DNS follows at once; the given name wins over the one the peer brings, until it is removed"""
        net = self.net
        self.connect()
        self.reaches("client", host=net.router)
        for given, gone in (("desk", "client"), ("", "desk")):
            net.hctl("peers", "rename", net.id, given)
            self.reaches(given or "client", host=net.router)
            self.assertEqual(self.address_of(gone), "")
            self.peer.stop()
            self.peer = self.start_peer("--id", net.id)
            self.peer.wait_for("connected")
            self.assertEqual(self.address_of(given or "client"), "10.51.0.2")

    def address_of(self, name):
        return self.net.router.run(["dig", "+short", "+time=2", "@10.11.0.1", f"{name}.heimdall"]).stdout.strip()


class Waiting(Life):
    def test_one_line_each(self):
        """No node, then no authorization: one line for each state, however long it lasts"""
        net = self.net
        self.peer = self.start_peer("--id", net.id)
        self.peer.wait_for("waiting for")
        net.start_node()
        self.peer.wait_for("not authorized")
        net.node.wait_for("control connection refused", count=3)  # attempts of the same peer
        net.authorize()
        self.peer.wait_for("connected")
        said = told(self.peer)
        for line, text in zip(said, ("INFO starting hpeer", f"INFO waiting for {ADDR} to be reachable",
                                     f"WARN not authorized; waiting. Run on a node: hctl peers authorize {net.id}",
                                     "INFO connected node=")):
            self.assertTrue(line.startswith(text), line)
        self.assertEqual(len(said), 4, said)

    def test_before_the_network(self):
        """As a host boots: no link yet, then no address for the node's name; one line for all of it"""
        net = self.net
        net.start_node()
        net.authorize()
        net.client.sh("ip link set eth0 down")
        self.peer = net.client.start(["hpeer", "--addr", "tcp://node.example:9000", "--id", net.id])
        self.peer.wait_for("waiting for tcp://node.example:9000")
        net.client.sh("ip link set eth0 up; ip route add default via 172.17.0.1; sleep 0.5")
        with (net.client.dir / "hosts").open("a") as hosts:
            hosts.write("172.17.0.2 node.example\n")
        self.peer.wait_for("connected")
        self.reaches()
        self.assertEqual(len(told(self.peer)), 3, self.peer.output())

    def test_failed_syncs(self):
        """A taken name, and a node whose Redis is gone: reported once, retried, connected in the end"""
        net = self.net
        self.connect()
        other = str(uuid.uuid4())
        net.authorize(other)
        second = self.start_peer("--id", other, host=net.server)
        said = second.wait_for("refused")
        self.assertIn("the name client is taken", said)
        net.router.sh("pkill -STOP -x redis-server")
        net.hctl("peers", "deauthorize", net.id, check=False)  # not done: the store does not answer
        net.node.wait_for("the store takes changes", count=2)
        net.hctl("peers", "deauthorize", net.id, check=False)
        second.wait_for("connected", timeout=20)
        self.assertTrue(self.peer.alive())
        self.assertEqual(self.count(second, "is taken"), 1)

    def test_host_name_taken(self):
        """A peer does not wait for a name that nobody chose: two hosts with one name, and the name localhost"""
        net = self.net
        self.connect()
        for hostname, name in (("client", ""), ("localhost", "peer")):
            net.server.run(["hostname", hostname])
            other = str(uuid.uuid4())
            net.authorize(other)
            second = net.server.start(["hpeer", "--addr", ADDR, "--id", other])
            second.wait_for("connected node=")
            second.stop()
            self.assertEqual(len(told(second)), 4 if name == "" else 3, second.output())
            if name == "":
                self.assertRegex(told(second)[2], "WARN connected without a name: .*--name reason=.the name client is taken")
            [row] = [row for row in json.loads(net.hctl("-o", "json", "peers", "list").stdout)["peers"] if row["id"] == other]
            self.assertEqual(row["name"], name)
            net.hctl("peers", "deauthorize", other)


if __name__ == "__main__":
    unittest.main(verbosity=2)
