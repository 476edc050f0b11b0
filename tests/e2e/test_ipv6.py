"""Tests IPv6 in the overlay and under it, and on hosts where it is switched off."""
import os
import sys
import unittest

from lab.labtest import InLab
from lab.netns import wait_until
from lab.routing import WHOAMI, Routing

SERVER6 = "2001:db8:50::10"
OFF = "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1"
LOGGED = "IPv6 is switched off on this host"


class Overlay(Routing):
    def setUp(self):
        super().setUp()
        for host, link, addrs in ((self.net.router, "eth1", "2001:db8:50::1/64 fe80::1/64"),
                                  (self.net.server, "eth0", f"{SERVER6}/64 fe80::2/64")):
            for addr in addrs.split():
                host.run(["ip", "addr", "add", addr, "dev", link, "nodad"])

    def test_addresses(self):
        """The cluster has a ULA /48, the node a /64 of it and the peers another; TCP works both ways."""
        net = self.net
        self.connect()
        node, peer = self.address6(net.router), self.address6(net.client)
        self.assertRegex(node, r"^fd[0-9a-f:]+:1::1$")
        cluster = node.removesuffix(":1::1")
        self.assertEqual(peer, f"{cluster}:ffff::2")
        self.reaches(net.client, node)
        self.reaches(net.router, peer)
        for sender, receiver, address in ((net.client, net.router, node), (net.router, net.client, peer)):
            self.assertEqual(net.transfer(sender, receiver, address, 300_000),
                             "300000 bytes arrived whole in both directions")

    def test_names(self):
        """AAAA, A and PTR are answered over IPv6 and over IPv4."""
        net = self.net
        self.connect()
        node, peer = self.address6(net.router), self.address6(net.client)
        for server in (node, "10.11.0.1"):
            for name, kind, expected in (("router", "AAAA", node), ("client", "AAAA", peer), ("client", "A", "10.51.0.2")):
                out = net.client.run(["dig", f"@{server}", f"{name}.heimdall", kind, "+short"]).stdout
                self.assertEqual(out.split(), [expected])
        out = net.client.run(["dig", f"@{node}", "-x", peer, "+short"]).stdout
        self.assertEqual(out.strip(), "client.heimdall.")

    def test_route(self):
        """A network behind the node is reached, masqueraded, until its route is deleted."""
        net = self.net
        self.connect()
        net.server.start(["python3", "-B", WHOAMI, "serve"]).wait_for("listening")
        net.hctl("routes", "create", "--node-id", net.node_id(), "--network", "2001:db8:50::/64")
        self.reaches(net.client, SERVER6)
        seen = net.client.run(["python3", "-B", WHOAMI, "ask", SERVER6]).stdout.strip()
        self.assertEqual(seen, "2001:db8:50::1")
        self.assertEqual(net.transfer(net.client, net.server, SERVER6, 300_000),
                         "300000 bytes arrived whole in both directions")
        net.hctl("routes", "delete", "2001:db8:50::/64")
        wait_until(lambda: "2001:db8:50" not in net.client.sh("ip -6 route show table all"), 5, "the route stays")

    def test_none(self):
        """Either option makes an overlay without IPv6."""
        net = self.net
        self.connect("--node-network6", "none")
        self.reaches(net.client, "10.11.0.1")
        for host in (net.router, net.client):
            self.assertEqual(host.sh("ip -6 addr show dev darknet scope global"), "")
            self.assertNotIn("proto 72", host.sh("ip -6 route show table all"))
        out = net.client.run(["dig", "@10.11.0.1", "router.heimdall", "AAAA"]).stdout
        self.assertIn("NOERROR", out)
        self.assertIn("ANSWER: 0", out)

    def test_given(self):
        net = self.net
        self.connect("--node-network6", "fd00:1::/64", "--peer-network6", "fd00:2::/64")
        self.assertEqual(self.address6(net.router), "fd00:1:0:1::1")
        self.assertEqual(self.address6(net.client), "fd00:2::2")
        self.reaches(net.client, "fd00:1:0:1::1")


class SwitchedOff(Routing):
    """A host without IPv6 logs it once and works over IPv4."""

    def check(self, program):
        self.reaches(self.net.client, "10.11.0.1")
        self.reaches(self.net.client, "router")
        wait_until(lambda: program.output().count(LOGGED) == 1, 2, program.output)
        self.assertEqual(self.peer.stop(), 0)
        self.assertEqual(self.net.node.stop(), 0)
        self.assertEqual(program.output().count(LOGGED), 1)
        self.assertNotIn("cannot be set", program.output())

    def test_peer(self):
        self.net.client.sh(OFF)
        self.connect()
        self.reaches(self.net.router, "client")
        self.check(self.peer)

    def test_node(self):
        self.net.router.sh(OFF)
        self.connect()
        self.check(self.net.node)

    def test_kernel_without(self):
        """The kernel has no IPv6 at all."""
        net = self.net
        net.start_node()
        net.authorize()
        script = 'mount -t tmpfs tmpfs /proc/sys/net/ipv6; exec "$@"'
        self.peer = net.client.start(["unshare", "-m", "bash", "-ec", script, "x", str(self.lab.bin / "hpeer"), "--addr",
                                      "tcp://172.17.0.2:9000", "--id", net.id, "--name", "client"])
        self.peer.wait_for("connected")
        self.check(self.peer)

    def test_exit_node(self):
        """IPv6 of other interfaces does not leak around an exit node, even where the tunnel has none."""
        net = self.net
        net.client.sh("sysctl -qw net.ipv6.conf.default.disable_ipv6=1")
        net.client.sh("ip addr add 2001:db8:9::3/64 dev eth0 nodad; ip -6 route add default via 2001:db8:9::1")
        net.start_node()
        net.authorize()
        net.hctl("routes", "create", "--node-id", net.node_id(), "--network", "0.0.0.0/0")
        self.peer = net.start_peer("--exit-node", "router")
        self.peer.wait_for("goes through the exit node")
        self.assertIn("unreachable", net.client.run(["ip", "route", "get", "2001:db8:8::1"], check=False).stderr.lower())
        self.assertIn("darknet", net.client.sh("ip route get 203.0.113.1"))


class Underlay(InLab):
    def test_ipv6_only(self):
        """Node and peer meet over IPv6 alone, and the overlay has both families."""
        lab = self.lab
        router, client = lab.host("router"), lab.host("client")
        lab.link(router, "2001:db8::2/64", client, "2001:db8::3/64")
        router.run(["ip", "route", "add", "default", "via", "2001:db8::1"])
        node = router.start(["heimdall", "--name", "router"])
        node.wait_for("hctl peers authorize", timeout=20)
        peer_id = "9c76f92d-d55a-46c0-84d6-58c981442830"
        router.run(["hctl", "peers", "authorize", peer_id])
        peer = client.start(["hpeer", "--name", "client", "--addr", "tcp://[2001:db8::2]:9000", "--id", peer_id])
        peer.wait_for("connected")
        wait_until(lambda: client.run(["ping", "-c1", "-W1", "10.11.0.1"], check=False).returncode == 0, 5, "no answer")
        self.assertIn("endpoint: [2001:db8::2]:10100", client.run(["wg", "show"]).stdout)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    unittest.main(verbosity=2)
