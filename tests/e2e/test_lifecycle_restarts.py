"""The life of a peer: restarts of everything around it, what a crash leaves behind, its end by deauthorization or expiry."""
import signal
import unittest
import uuid

from lab.life import Life, told
from lab.story import traces


class Restarts(Life):
    def test_of_the_node(self):
        """Stopped in order, with time for the peer to see it (test_walkthrough and test_routing have the rest)"""
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
        """The cable pulled out and in, then another address: the tunnel and the pushed changes continue"""
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
        """The end of the next run removes what a killed program left."""
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
        other = str(uuid.uuid4())
        net.authorize(other)
        second = net.start_peer(host=net.server, name="second", peer_id=other)
        second.wait_for("connected")
        self.assertEqual(list(self.peers()), ["10.51.0.2"])
        self.assertEqual(len(told(self.peer)), 3, self.peer.output())

    def test_expiry(self):
        """--peer-expiry: a peer that is gone leaves every table, an idle one stays"""
        net = self.net
        self.connect("--peer-expiry", "4s")
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
