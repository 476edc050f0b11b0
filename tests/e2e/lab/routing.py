"""Shared by the routing tests: a node, a peer, and a server that only the node reaches (story.Network)."""
import json
import pathlib

from lab.labtest import InLab
from lab.netns import wait_until
from lab.story import Network

WHOAMI = pathlib.Path(__file__).with_name("whoami.py")
SERVER = "192.168.50.10"


class Routing(InLab):
    least_privilege = False

    def setUp(self):
        super().setUp()
        self.net = Network(self.lab, self.least_privilege)
        self.net.client.sh("sysctl -qw net.ipv4.conf.all.rp_filter=0")

    def connect(self, *node_options):
        self.net.start_node(*node_options)
        self.net.authorize()
        self.peer = self.net.start_peer()
        self.peer.wait_for("connected")

    def publish(self):
        self.net.hctl("routes", "create", "--node-id", self.net.node_id(), "--network", "192.168.50.0/24")
        wait_until(lambda: "192.168.50" in self.net.client.sh("ip route show table all"), 5, "the route does not come")

    def reaches(self, host, target, timeout=5):
        wait_until(lambda: self.ping(host, target), timeout, f"{host.name} does not reach {target}")

    def ping(self, host, target):
        return host.run(["ping", "-c1", "-W1", target], check=False).returncode == 0

    def address6(self, host):
        links = json.loads(host.sh("ip -j -6 addr show dev darknet scope global"))
        return links[0]["addr_info"][0]["local"]

    def mtu(self, host):
        return json.loads(host.sh("ip -j link show darknet"))[0]["mtu"]
