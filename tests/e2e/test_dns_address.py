"""Where DNS is served: another address, a port that is another program's, or that the node may not have; and resolvers that
the host learns late."""
import os
import time
import unittest

from lab.dns import GATEWAY, STUB, UNBOUND, UPSTREAM, Names, Upstream, dig, start_unbound
from lab.labtest import InLab
from lab.netns import wait_until
from lab.story import Network

BUSY = """
import socket, time
tcp, udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
for sock in (tcp, udp):
    sock.bind(("0.0.0.0", 53))
tcp.listen()
print("busy", flush=True)
time.sleep(600)
"""


class Late(Names):
    def before_node(self):
        (self.net.router.dir / "resolv.conf").write_text("")

    def test_resolver_comes_late(self):
        """a host that learns its resolver after the node's start"""
        net = self.net
        self.assertIn("only the network's own names are answered", net.node.output())
        self.assertEqual(dig(net.client, "www.example").status, "REFUSED")
        start_unbound(net)
        (net.router.dir / "resolv.conf").write_text(f"nameserver {UPSTREAM}\n")
        net.node.wait_for("other names are resolved now")
        self.assertEqual(dig(net.client, "www.example").values("A"), ["203.0.113.5"])
        self.eventually(lambda: f"nameserver {GATEWAY}\n" in net.router.resolv_conf(), "the node's host does not ask us")
        self.assertEqual(net.router.run(["getent", "ahostsv4", "client"]).stdout.split()[0], "10.51.0.2")
        self.assertEqual(net.node.stop(), 0)
        self.assertEqual(net.router.resolv_conf(), f"nameserver {UPSTREAM}\n")


class Others(Upstream):
    def test_new_resolvers(self):
        """a host that comes to another network: its DHCP client writes resolv.conf anew, and the node asks whom it says"""
        net = self.net
        self.assertEqual(dig(net.client, "www.example").values("A"), ["203.0.113.5"])
        self.upstream.stop()
        net.server.run(["ip", "addr", "add", "192.168.50.11/24", "dev", "eth0"])
        start_unbound(net, UNBOUND.replace("203.0.113.5", "203.0.113.6").replace("0.0.0.0@53", "192.168.50.11@53"),
                      at="192.168.50.11")
        (net.router.dir / "resolv.conf").write_text("nameserver 192.168.50.11\n")
        net.node.wait_for("other names are asked of the host's new resolvers")
        self.assertEqual(dig(net.client, "www.example").values("A"), ["203.0.113.6"])
        self.eventually(lambda: f"nameserver {GATEWAY}\n" in net.router.resolv_conf(), "the node's host does not ask us")
        self.assertEqual(net.router.run(["getent", "ahostsv4", "client"]).stdout.split()[0], "10.51.0.2")
        self.assertEqual(net.node.stop(), 0)
        self.assertEqual(net.router.resolv_conf(), "nameserver 192.168.50.11\n")


class Busy(Names):
    node_is_asked = False

    def before_node(self):
        self.busy = self.net.router.start(["python3", "-c", BUSY])
        self.busy.wait_for("busy")

    def test_port(self):
        """port 53 is another's: said once, with what to do; all else runs; and DNS is served when the port is free"""
        net, client = self.net, self.net.client
        said = "10.11.0.1:53 is taken by another program; stop it or choose another address with --dns-address"
        self.assertIn(said, net.node.output())
        wait_until(lambda: client.run(["ping", "-c1", "-W1", GATEWAY], check=False).returncode == 0, 5, "no tunnel")
        self.assertEqual(net.router.resolv_conf(), "nameserver 127.0.0.1\n")
        time.sleep(4)  # it has been tried again by then
        self.assertEqual(net.node.output().count("DNS is not served"), 1)
        self.busy.stop()
        net.node.wait_for("DNS is served now")
        for transport in ("+notcp", "+tcp"):
            self.assertEqual(dig(client, "client.heimdall", transport).values("A"), ["10.51.0.2"])
        self.assertEqual(net.router.run(["getent", "ahostsv4", "client"]).stdout.split()[0], "10.51.0.2")


class Elsewhere(Upstream):
    """--dns-address on the loopback: for this host alone, and peers are told no resolver."""
    node_options = ("--dns-address", "127.0.0.1:53")
    node_is_asked = False

    def test_loopback(self):
        net = self.net
        self.eventually(lambda: dig(net.router, "client", at="127.0.0.1").values("A") == ["10.51.0.2"], "not served")
        self.assertEqual(dig(net.router, "www.example", at="127.0.0.1").values("A"), ["203.0.113.5"])
        self.assertIn("nameserver 127.0.0.1\n", net.router.resolv_conf())
        self.assertEqual(net.router.run(["getent", "ahostsv4", "client"]).stdout.split()[0], "10.51.0.2")
        self.assertEqual(net.client.resolv_conf(), "nameserver 127.0.0.1\n")
        self.assertEqual(dig(net.client, "router", "+time=1").status, None)


class Itself(Names):
    """The only resolver that the host has is the address where our DNS is: nobody is to be asked."""
    node_options = ("--dns-address", "127.0.0.1:53")
    node_is_asked = False

    def test_no_circle(self):
        net = self.net
        self.eventually(lambda: dig(net.router, "client", at="127.0.0.1").values("A") == ["10.51.0.2"], "not served")
        self.assertIn("only the network's own names are answered", net.node.output())
        self.assertEqual(dig(net.router, "www.example", at="127.0.0.1").status, "REFUSED")


class Everywhere(Upstream):
    """--dns-address 0.0.0.0:53, as the original had it, and still no open resolver."""
    node_options = ("--dns-address", "0.0.0.0:53")

    def test_wildcard(self):
        net = self.net
        for host, at in ((net.client, GATEWAY), (net.router, "127.0.0.1"), (net.router, GATEWAY)):
            self.assertEqual(dig(host, "www.example", at=at).values("A"), ["203.0.113.5"])
        for host, at in ((net.server, "192.168.50.1"), (net.client, "172.17.0.2")):
            self.assertEqual(dig(host, "www.example", at=at).status, "REFUSED")
            self.assertEqual(dig(host, "client.heimdall", at=at).values("A"), ["10.51.0.2"])
        self.eventually(lambda: f"nameserver {STUB}\n" in net.client.resolv_conf(), net.client.resolv_conf)
        self.assertEqual(net.client.run(["getent", "ahostsv4", "router"]).stdout.split()[0], GATEWAY)


class Forbidden(InLab):
    def test_no_right(self):
        """without the right to ports below 1024: what it needs, and everything else runs"""
        net = Network(self.lab)
        drop = ["setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all"]
        node = net.router.start([*drop, self.lab.bin / "heimdall", "--name", "router"])
        node.wait_for("no permission to listen on 10.11.0.1:53; give CAP_NET_BIND_SERVICE (--cap-add NET_BIND_SERVICE) "
                      "or choose a port above 1023 with --dns-address", timeout=20)
        node.wait_for("hctl peers authorize", timeout=20)
        net.authorize()
        net.start_peer().wait_for("connected")
        wait_until(lambda: net.client.run(["ping", "-c1", "-W1", GATEWAY], check=False).returncode == 0, 5, "no tunnel")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    unittest.main(verbosity=2)
