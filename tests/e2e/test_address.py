"""HOSTIP: a host that gets its address late, changes it or loses it. What the user named is never replaced."""
import json
import signal
import unittest

from lab.labtest import InLab
from lab.netns import wait_until
from lab.story import Network

WAITING = "WARN this host has no address that other hosts could reach"
NEW = "172.17.0.9"


class Address(InLab):
    def setUp(self):
        super().setUp()
        self.net = Network(self.lab)
        self.router, self.client = self.net.router, self.net.client

    def bare(self):
        """The router has lo and a cable, and no address."""
        self.router.sh("for name in eth0 eth1; do ip addr flush dev $name; done")

    def listens(self):
        return sorted(line.split()[3] for line in self.router.sh("ss -Hltn").splitlines() if line.split()[3].endswith(":9000"))

    def node(self):
        return json.loads(self.net.hctl("-o", "json", "nodes", "list").stdout)["nodes"][0]

    def status(self):
        return self.net.hctl("status", check=False).stdout

    def wait_listening(self, *expected):
        wait_until(lambda: self.listens() == sorted(expected), 15, lambda: f"{self.listens()} instead of {expected}")

    def wait_node(self, address, endpoint_ip):
        def told():
            node = self.node()
            return (node.get("addr", ""), node.get("endpointIp", node.get("endpoint_ip", ""))) == (address, endpoint_ip)
        wait_until(told, 15, lambda: f"{self.node()} instead of {address}, {endpoint_ip}")

    def move(self):
        """The router's address is removed, and another one added, as DHCP does it."""
        self.router.sh(f"ip addr del 172.17.0.2/16 dev eth0; ip addr add {NEW}/16 dev eth0; ip route replace default via 172.17.0.1")


class Late(Address):
    def test_without_an_address(self):
        self.bare()
        node = self.net.start_node()
        self.assertEqual(node.output().count(WAITING), 1)
        self.assertEqual(self.listens(), [])
        self.assertIn("no other host can connect", self.status())
        self.net.authorize()
        self.router.sh("ip addr add 172.17.0.2/16 dev eth0; ip route add default via 172.17.0.1")
        self.wait_listening("172.17.0.2:9000")
        self.wait_node("tcp://172.17.0.2:9000", "172.17.0.2")
        peer = self.net.start_peer()
        peer.wait_for(" connected node=", timeout=20)
        self.client.run(["ping", "-c1", "-W5", "10.11.0.1"])
        self.assertNotIn("no other host can connect", self.status())
        self.assertEqual(node.output().count("this host has an address now"), 1)

    def test_addresses_that_do_not_count(self):
        self.bare()
        self.router.sh("ip addr add fd00:1::2/64 dev eth0 nodad; ip addr add 169.254.7.7/16 dev eth0")
        node = self.net.start_node()
        node.wait_for(WAITING)
        self.assertEqual(self.listens(), [])
        self.router.sh("ip addr add 2001:db8::2/64 dev eth0 nodad")
        self.wait_listening("[2001:db8::2]:9000")
        self.wait_node("tcp://[2001:db8::2]:9000", "2001:db8::2")

    def test_over_ipv4(self):
        """a socket for all IPv4 addresses is of no use at an IPv6 one"""
        self.bare()
        self.router.sh("ip addr add 2001:db8::2/64 dev eth0 nodad")
        node = self.net.start_node("--addr", "tcp://0.0.0.0:9000")
        node.wait_for("over IPv4, as --addr asks")
        self.router.sh("ip addr add 172.17.0.2/16 dev eth0")
        self.wait_node("tcp://172.17.0.2:9000", "172.17.0.2")

    def test_address_of_an_option(self):
        self.router.sh("ip addr flush dev eth0")
        node = self.net.start_node("--addr", "tcp://172.17.0.2:9000", "--endpoint-ip", "192.0.2.7")
        node.wait_for("WARN this host does not have the address of --addr")
        self.router.sh("ip addr add 172.17.0.2/16 dev eth0")
        self.wait_listening("172.17.0.2:9000")
        self.wait_node("tcp://172.17.0.2:9000", "192.0.2.7")

    def test_loopback_by_name(self):
        self.bare()
        node = self.net.start_node("--addr", "tcp://127.0.0.1:9000")
        self.assertEqual(self.listens(), ["127.0.0.1:9000"])
        self.assertNotIn(WAITING, node.output())
        self.assertEqual(self.node().get("addr"), "tcp://127.0.0.1:9000")


class Changed(Address):
    def connect(self):
        self.node_program = self.net.start_node()
        self.net.authorize()
        self.peer = self.net.start_peer()
        self.peer.wait_for(" connected node=tcp://172.17.0.2:9000", timeout=20)

    def test_moved(self):
        """a connected peer comes back, although --addr names the old address, also after its own restart"""
        self.connect()
        self.move()
        self.wait_listening(f"{NEW}:9000")
        self.wait_node(f"tcp://{NEW}:9000", NEW)
        wait_until(lambda: self.client.run(["ping", "-c1", "-W1", "10.11.0.1"], check=False).returncode == 0, 10, "no tunnel")
        self.peer.wait_for(f" connected node=tcp://{NEW}:9000", timeout=60)
        self.assertEqual(self.node_program.output().count("this host's address has changed"), 1)
        self.peer.stop(signal.SIGKILL)
        self.peer = self.net.start_peer()
        self.peer.wait_for(f" connected node=tcp://{NEW}:9000", timeout=30)

    def test_another_interface(self):
        """no connection is cut while the old address is still there"""
        self.connect()
        self.router.sh("ip route replace default via 192.168.50.10")
        self.wait_listening("192.168.50.1:9000")
        self.wait_node("tcp://192.168.50.1:9000", "192.168.50.1")
        self.net.authorize("6f6f3d0a-9c51-4c2e-8f0e-4a1f6d3c2b1a")
        self.assertEqual(self.peer.output().count(" connected node="), 1)
        self.assertNotIn("waiting for", self.peer.output())

    def test_lost_and_back(self):
        self.connect()
        self.router.sh("ip addr flush dev eth1; ip addr flush dev eth0")
        self.node_program.wait_for(WAITING, timeout=15)
        self.assertIn("no other host can connect", self.status())
        self.router.sh("ip addr add 172.17.0.2/16 dev eth0")
        self.node_program.wait_for("this host has its address again", timeout=15)
        self.assertNotIn("no other host can connect", self.status())
        wait_until(lambda: self.client.run(["ping", "-c1", "-W1", "10.11.0.1"], check=False).returncode == 0, 10, "no tunnel")

    def test_named(self):
        self.net.start_node("--addr", "tcp://0.0.0.0:9000", "--advertise-grpc-address", "tcp://198.51.100.4:9000",
                            "--endpoint-ip", "198.51.100.4")
        self.move()
        self.net.node.wait_for("this host's address has changed", timeout=15)
        self.wait_node("tcp://198.51.100.4:9000", "198.51.100.4")
        self.assertEqual(self.listens(), ["0.0.0.0:9000"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
