"""The life of a peer: its id and key, waiting, restarts of everything around it, a second one with its id, its end."""
import json
import re
import shutil
import signal
import unittest
import uuid

from labtest import InLab
from netns import wait_until
from story import Network, table, traces

ADDR = "tcp://172.17.0.2:9000"


def told(process):
    """What a program said without -D, line by line: the level, then the text without its fields."""
    return [re.sub(r"^\S+ ", "", line) for line in process.output().splitlines() if "no system call filter" not in line]


class Life(InLab):
    def setUp(self):
        super().setUp()
        self.net = Network(self.lab)

    def start_peer(self, *options, host=None):
        """One that is not told to say more than it must."""
        return (host or self.net.client).start(["hpeer", "--name", "client", "--addr", ADDR, *options])

    def connect(self, *node_options):
        self.net.start_node(*node_options)
        self.net.authorize()
        self.peer = self.start_peer("--id", self.net.id)
        self.peer.wait_for("connected")

    def reaches(self, target="router", host=None, timeout=10):
        wait_until(lambda: (host or self.net.client).run(["ping", "-c1", "-W1", target], check=False).returncode == 0,
                   timeout, f"{target} is not reached:\n{self.peer.output()}")

    def peers(self):
        return {row["PEER IP"]: row["PUBLIC KEY"] for row in table(self.net.hctl("peers", "list").stdout)}

    def count(self, process, text):
        return sum(text in line for line in told(process))


class Identity(Life):
    def test_made_once(self):
        """Without --id: a random one, printed with the line that lets it in; it and the key stay, also after a SIGKILL"""
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
        net.server.run(["ip", "route", "add", "default", "via", "192.168.50.1"])
        said = other.wait_for("hctl peers authorize")
        self.assertNotIn(line, said)

    def test_second_with_its_id(self):
        """Refused in one line and logged without the id; the first one does not notice; `rekey` lets one new key in"""
        net = self.net
        self.connect()
        net.server.run(["ip", "route", "add", "default", "via", "192.168.50.1"])
        second = self.start_peer("--id", net.id, host=net.server)
        said = second.wait_for("refused")
        self.assertIn(f"hctl peers rekey {net.id}", said)
        self.assertIn("bound to another WireGuard key", said)
        [line] = [line for line in net.node.output().splitlines() if "call refused: another WireGuard key" in line][:1]
        self.assertIn("remote=192.168.50.10:", line)
        self.assertNotIn(net.id, net.node.output())
        net.node.wait_for("call refused: another WireGuard key", count=3)  # it goes on trying, and says no more
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
        """A second host with the same id and key: one at a time, and the other one says what is wrong"""
        net = self.net
        self.connect()
        net.server.run(["ip", "route", "add", "default", "via", "192.168.50.1"])
        for path in (net.client.dir / "var/heimdall-peer").iterdir():
            if path.is_file():
                shutil.copy2(path, net.server.dir / "var/heimdall-peer")
        second = self.start_peer("--id", net.id, host=net.server)
        second.wait_for("connected")
        self.peer.wait_for("another hpeer with this id and its key has connected")
        self.reaches(host=net.server)
        self.assertEqual(net.client.run(["wg", "show", "darknet", "peers"]).stdout, "")
        second.stop()
        self.peer.wait_for("connected", count=3, timeout=15)  # one of them in the line between
        self.reaches()
        self.assertEqual(len(told(self.peer)), 4, self.peer.output())

    def test_renamed(self):
        """The DNS follows at once; the name outlives what the peer says of itself, until it is given back"""
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
        net.node.wait_for("control connection refused", count=3)  # tries of the same peer
        net.authorize()
        self.peer.wait_for("connected")
        said = told(self.peer)
        for line, text in zip(said, ("INFO starting hpeer", f"INFO waiting for {ADDR} to be reachable",
                                     f"WARN not authorized; waiting. Run on a node: hctl peers authorize {net.id}",
                                     "INFO connected node=")):
            self.assertTrue(line.startswith(text), line)
        self.assertEqual(len(said), 4, said)

    def test_before_the_network(self):
        """As at the start of a host: no link yet, then no address for the node's name; one line for all of it"""
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
        """A name that is taken, and a node whose Redis is gone: told once, tried again, connected in the end"""
        net = self.net
        self.connect()
        net.server.run(["ip", "route", "add", "default", "via", "192.168.50.1"])
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
        """A name that nobody chose is not waited for: two hosts of one name, and one that is every host's"""
        net = self.net
        self.connect()
        net.server.run(["ip", "route", "add", "default", "via", "192.168.50.1"])
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


class Restarts(Life):
    def test_of_the_node(self):
        """Stopped in good order, with time for the peer to see it: the rest is for walk-through and routing"""
        net = self.net
        self.connect()
        for count in (2, 3):
            self.assertEqual(net.node.stop(), 0)
            self.peer.wait_for("waiting for", count=count - 1)
            net.start_node()
            self.peer.wait_for("connected", count=count)
            self.reaches()
        self.assertEqual(len(told(self.peer)), 2 + 2 * 2, self.peer.output())

    def test_of_the_network(self):
        """The cable pulled out and in, then another address: the tunnel goes on, and so do pushed changes"""
        net = self.net
        self.connect()
        self.reaches()
        net.client.sh("ip link set eth0 down; sleep 1; ip link set eth0 up; ip route add default via 172.17.0.1")
        self.reaches("10.11.0.1")
        self.reaches()
        net.client.sh("ip addr del 172.17.0.3/16 dev eth0; ip addr add 172.17.0.9/16 dev eth0; "
                      "ip route add default via 172.17.0.1")
        self.reaches("10.11.0.1", timeout=20)
        self.reaches()
        self.assertIn("172.17.0.9:", net.router.run(["wg", "show", "darknet", "endpoints"]).stdout)
        net.hctl("routes", "create", "--node-id", net.node_id(), "--network", "192.168.50.0/24")
        self.reaches("192.168.50.10", timeout=8)
        self.assertTrue(self.peer.alive())

    def rest_of_a_crash(self, host, start, process):
        """What a killed program left is gone when its next run ends."""
        self.assertEqual(process.stop(signal.SIGKILL), -signal.SIGKILL)
        self.assertNotEqual(traces(host), self.before[host], "nothing was left: the test would check nothing")
        self.assertEqual(start().stop(), 0)
        self.assertEqual(traces(host), self.before[host])

    def test_rest_of_a_crash(self):
        """Routes, rules, firewall, interfaces and resolver as before, also when the next run connects to nobody"""
        net = self.net
        self.before = {host: traces(host) for host in (net.client, net.router)}
        net.start_node()
        for network in ("192.168.50.0/24", "0.0.0.0/0", "::/0"):
            net.hctl("routes", "create", "--node-id", net.node_id(), "--network", network)
        net.authorize()

        def connect():
            self.peer = self.start_peer("--id", net.id, "--exit-node", "router")
            self.peer.wait_for("all other traffic")
            return self.peer

        def wait():
            peer = self.start_peer("--id", net.id)
            peer.wait_for("waiting for")
            self.assertEqual(net.client.resolv_conf(), self.before[net.client]["resolver"])
            return peer

        self.rest_of_a_crash(net.client, connect, connect())
        connect()
        self.rest_of_a_crash(net.router, net.start_node, net.node)
        self.rest_of_a_crash(net.client, wait, self.peer)


class Ends(Life):
    def test_deauthorized(self):
        """The address is free at once, and the next peer gets it"""
        net = self.net
        self.connect()
        net.hctl("peers", "deauthorize", net.id)
        self.peer.wait_for("not authorized")
        net.server.run(["ip", "route", "add", "default", "via", "192.168.50.1"])
        other = str(uuid.uuid4())
        net.authorize(other)
        second = net.start_peer(host=net.server, name="second", peer_id=other)
        second.wait_for("connected")
        self.assertEqual(list(self.peers()), ["10.51.0.2"])
        self.assertEqual(len(told(self.peer)), 3, self.peer.output())

    def test_expiry(self):
        """--peer-expiry: the one that is gone leaves every table, the one that is idle stays"""
        net = self.net
        self.connect("--peer-expiry", "4s")
        net.server.run(["ip", "route", "add", "default", "via", "192.168.50.1"])
        other = str(uuid.uuid4())
        net.authorize(other)
        second = net.start_peer(host=net.server, name="second", peer_id=other)
        second.wait_for("connected")
        self.assertEqual(set(self.peers()), {"10.51.0.2", "10.51.0.3"})
        self.peer.stop(signal.SIGKILL)
        net.node.wait_for("deauthorized a peer that was not seen", timeout=15)
        self.assertEqual(set(self.peers()), {"10.51.0.3"})
        self.assertEqual(len(net.router.run(["wg", "show", "darknet", "peers"]).stdout.split()), 1)
        self.assertEqual(net.hctl("peers", "authorized").stdout.split()[1:], [other])
        self.assertNotIn(net.id, net.node.output())
        self.peer = self.start_peer("--id", net.id)
        self.peer.wait_for("not authorized")
        net.authorize()
        self.peer.wait_for("connected")
        self.assertEqual(set(self.peers()), {"10.51.0.2", "10.51.0.3"})
        self.assertEqual(second.output().count("connected"), 1, second.output())


if __name__ == "__main__":
    unittest.main(verbosity=2)
