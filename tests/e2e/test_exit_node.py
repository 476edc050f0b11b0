"""An exit node: all traffic goes through it or nowhere, and nothing of it is left afterwards."""
import os
import pathlib
import signal
import sys
import time
import unittest

from lab.labtest import InLab
from lab.netns import wait_until
from lab.story import Network

WHOAMI = pathlib.Path(__file__).with_name("lab") / "whoami.py"
V4, V6 = "203.0.113.10", "2001:db8:3::10"


class Internet(Network):
    """client - isp - router, and behind the isp a server that reports the address it sees."""

    def __init__(self, lab, least_privilege=False):
        self.lab, self.least_privilege = lab, least_privilege
        self.router, self.client, self.server, self.isp = (
            lab.host(name) for name in ("router", "client", "server", "isp"))
        for number, (host, addrs, gateways) in enumerate((
                # a forwarding host solicits neighbors from a link-local address
                (self.router, "172.17.0.2/24 2001:db8:1::2/64 fe80::2/64", "172.17.0.1/24 2001:db8:1::1/64"),
                (self.client, "192.0.2.3/24 2001:db8:2::3/64", "192.0.2.1/24 2001:db8:2::1/64"),
                (self.server, f"{V4}/24 {V6}/64", "203.0.113.1/24 2001:db8:3::1/64"))):
            lab.link(host, addrs, self.isp, f"{gateways} fe80::1/64", b_name=f"eth{number}")
            for gateway in gateways.split():
                host.run(["ip", "route", "add", "default", "via", gateway.split("/")[0]])
        self.isp.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        self.id = "9c76f92d-d55a-46c0-84d6-58c981442830"
        self.server.start(["python3", "-B", WHOAMI, "serve"]).wait_for("listening")

    def whoami(self, address):
        """The client's address as the server sees it; "" when the server is not reached."""
        return self.client.run(["python3", "-B", WHOAMI, "ask", address], check=False).stdout.strip()

    def publish(self, *networks, verb="create"):
        for network in networks:
            options = ["--node-id", self.node_id(), "--network", network] if verb == "create" else [network]
            self.hctl("routes", verb, *options)


class ExitNode(InLab):
    least_privilege = False

    def setUp(self):
        super().setUp()
        self.net = Internet(self.lab, self.least_privilege)
        self.before = self.traces()
        self.net.start_node()
        self.net.authorize()

    def connect(self, *options, **more):
        self.peer = self.net.start_peer(*options, **more)
        self.peer.wait_for("connected")

    def traces(self):
        return self.net.client.sh("ip rule; ip -6 rule; ip route; ip -6 route | grep -v ff00; ip -br link | cut -d' ' -f1")

    def sees(self, address, expected):
        seen = [None]

        def matches():
            seen[0] = self.net.whoami(address)
            return seen[0] == expected
        wait_until(matches, 10, lambda: f"the server sees {seen[0]!r}, not {expected!r}")

    def test_story(self):
        """published, withdrawn, published again; without the option default routes are ignored"""
        net = self.net
        net.publish("0.0.0.0/0")
        self.connect()
        self.assertEqual((net.whoami(V4), net.whoami(V6)), ("192.0.2.3", "2001:db8:2::3"))
        self.assertEqual(self.peer.stop(), 0)

        self.connect("--exit-node", net.node_id())
        self.peer.wait_for("goes through the exit node")
        self.assertEqual(net.whoami(V4), "172.17.0.2")
        sent = self.forwarded6()
        started = time.monotonic()
        self.assertEqual(net.whoami(V6), "", "IPv6 leaks around an exit node that has only IPv4")
        self.assertLess(time.monotonic() - started, 3, "refused at once, so that programs turn to IPv4")
        self.assertEqual(self.forwarded6(), sent)
        for local in ("192.0.2.1", "2001:db8:2::1"):
            net.client.run(["ping", "-c1", "-W2", local])

        net.publish("::/0")
        self.sees(V6, "2001:db8:1::2")
        self.assertEqual(net.whoami(V4), "172.17.0.2")
        self.assertIn("2 received", net.client.run(["ping", "-c2", "-i0.2", V4]).stdout)

        net.publish("0.0.0.0/0", "::/0", verb="delete")
        self.peer.wait_for("publishes no default route")
        self.sees(V4, "192.0.2.3")
        self.sees(V6, "2001:db8:2::3")
        self.assertNotRegex(net.client.sh("ip rule; ip -6 rule"), "520[123]:")
        net.publish("0.0.0.0/0")
        self.sees(V4, "172.17.0.2")
        self.assertEqual(self.peer.stop(), 0)
        self.assertEqual(self.traces(), self.before)
        self.assertEqual(net.whoami(V4), "192.0.2.3")

    def forwarded6(self):
        counters = self.net.isp.sh("cat /proc/net/snmp6")
        return next(line.split()[1] for line in counters.splitlines() if line.startswith("Ip6OutForwDatagrams"))

    def test_node_away(self):
        """nothing leaks while the node is away, killed or stopped; traffic resumes when it is back"""
        net = self.net
        net.publish("0.0.0.0/0")
        self.connect(env={"HEIMDALL_EXIT_NODE": "router"})
        self.sees(V4, "172.17.0.2")
        net.node.stop(signal.SIGKILL)
        self.assertEqual(net.whoami(V4), "")
        net.start_node()
        self.sees(V4, "172.17.0.2")

    def test_killed(self):
        """the next start removes what a crash left"""
        net = self.net
        net.publish("0.0.0.0/0", "::/0")
        self.connect("--exit-node", "router")
        self.sees(V4, "172.17.0.2")
        self.peer.stop(signal.SIGKILL)
        self.assertRegex(net.client.sh("ip rule"), "5203:")
        self.connect()
        self.sees(V4, "192.0.2.3")
        self.assertEqual(self.peer.stop(), 0)
        self.assertEqual(self.traces(), self.before)

    def test_deauthorized(self):
        """a deauthorized peer reaches the Internet directly again"""
        net = self.net
        net.publish("0.0.0.0/0", "::/0")
        self.connect("--exit-node", "router")
        self.sees(V4, "172.17.0.2")
        net.hctl("peers", "deauthorize", net.id)
        self.peer.wait_for("not authorized")
        self.sees(V4, "192.0.2.3")
        self.sees(V6, "2001:db8:2::3")
        self.assertNotRegex(net.client.sh("ip rule; ip -6 rule"), "520[123]:")
        net.authorize()
        self.sees(V4, "172.17.0.2")

    def test_interface_removed(self):
        """nothing leaks until the interface is back"""
        net = self.net
        net.publish("0.0.0.0/0")
        self.connect("--exit-node", "router")
        self.sees(V4, "172.17.0.2")
        for _ in range(2):  # the second time after a pause
            net.client.run(["ip", "link", "del", "darknet"])
            self.assertIn(net.whoami(V4), ("", "172.17.0.2"))
        self.sees(V4, "172.17.0.2")

    def test_wrong_id(self):
        net = self.net
        net.publish("0.0.0.0/0")
        self.connect("--exit-node", "nowhere")
        line = next(line for line in self.peer.wait_for("no such node").splitlines() if "no such node" in line)
        self.assertIn("nowhere", line)
        self.assertIn("--exit-node", line)
        self.assertEqual(net.whoami(V4), "192.0.2.3")
        net.publish("::/0")  # a new configuration does not repeat the line
        time.sleep(0.5)
        self.assertEqual(self.peer.output().count("no such node"), 1)

    def test_strict_filter(self):
        """where the kernel would drop the tunnel's answers, the log says what to run"""
        net = self.net
        net.publish("0.0.0.0/0")
        net.client.sh("sysctl -qw net.ipv4.conf.eth0.rp_filter=1")
        self.connect("--exit-node", "router")
        self.peer.wait_for("sysctl -w net.ipv4.conf.eth0.rp_filter=2")
        self.assertEqual(net.whoami(V4), "", "then the line is not needed")
        net.client.sh("sysctl -qw net.ipv4.conf.eth0.rp_filter=2")
        self.sees(V4, "172.17.0.2")

    def test_route_covers_the_endpoints(self):
        """a route to the node's own network goes through the tunnel without a loop"""
        net = self.net
        self.connect()
        net.publish("172.17.0.0/24", "203.0.113.0/24")
        self.sees(V4, "172.17.0.2")
        before = self.packets()
        net.client.run(["ping", "-c10", "-i0.05", "-W2", "172.17.0.2"])
        self.assertEqual(net.transfer(net.client, net.router, "172.17.0.2", 100_000),
                         "100000 bytes arrived whole in both directions")
        count = self.packets() - before
        self.assertLess(count, 1500, "packets go around in circles")
        shown = net.client.run(["wg", "show", "darknet", "transfer"]).stdout.split()
        self.assertGreater(int(shown[2]), 100_000)
        net.publish("192.168.77.0/24")  # the control connection still works
        wait_until(lambda: "192.168.77" in net.client.sh("ip route show table all"), 5, "no new route")

    def packets(self):
        stats = pathlib.PurePath("/sys/class/net/eth0/statistics/tx_packets")
        return int(self.net.client.run(["cat", stats]).stdout)


class LeastPrivilege(ExitNode):
    """The same with CAP_NET_ADMIN and CAP_NET_BIND_SERVICE only, on both sides."""
    least_privilege = True
    test_wrong_id = test_deauthorized = test_strict_filter = test_route_covers_the_endpoints = None


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    unittest.main(verbosity=2)
