"""Around a node's data plane: forwarding, NAT, the peer-to-peer rule, and a peer that loses its authorization."""
import os
import signal
import sys
import unittest
import uuid

from lab.netns import wait_until
from lab.routing import SERVER, WHOAMI, Routing
from lab.story import table



class PeerToPeer(Routing):
    def second_peer(self):
        """Another peer behind the router, on a cable of its own."""
        net = self.net
        other = self.lab.host("other")
        self.lab.link(net.router, "172.18.0.2/24", other, "172.18.0.3/24", a_name="eth2")
        other.run(["ip", "route", "add", "default", "via", "172.18.0.2"])
        peer_id = str(uuid.uuid4())
        net.authorize(peer_id)
        net.start_peer(host=other, name="other", peer_id=peer_id).wait_for("connected")
        return other

    def test_off(self):
        self.connect()
        other = self.second_peer()
        for target in ("10.51.0.3", self.address6(other)):
            self.assertFalse(self.ping(self.net.client, target), target)
            self.reaches(self.net.router, target)
        self.assertFalse(self.ping(other, "10.51.0.2"))
        self.reaches(self.net.client, "10.11.0.1")

    def test_off_without_a_firewall(self):
        """the engine refuses, too: nft is missing here, and the host hides where packets come from"""
        self.net.router.sh("mount --bind /bin/false $(command -v nft)")
        self.connect()
        other = self.second_peer()
        for target in ("10.51.0.3", self.address6(other)):
            said = self.net.client.run(["ping", "-c1", "-W5", target], check=False)
            self.assertNotEqual(said.returncode, 0, target)
            self.assertIn("rohibited" if ":" in target else "Packet filtered", said.stdout, target)
            self.reaches(self.net.router, target)
        self.reaches(self.net.client, "10.11.0.1")

    def test_on(self):
        self.connect("--allow-peer-to-peer")
        other = self.second_peer()
        self.reaches(self.net.client, "10.51.0.3")
        self.reaches(self.net.client, self.address6(other))
        self.reaches(other, "10.51.0.2")


class Networks(Routing):
    def test_of_the_host(self):
        """a node avoids the networks of its host; a network that appears later does not stop it"""
        net = self.net
        net.router.run(["ip", "addr", "add", "10.11.7.1/24", "dev", "eth1"])
        log = net.start_node().output()
        self.assertIn("gateway=10.12.0.1", log)
        net.node.stop()
        net.router.run(["ip", "addr", "add", "10.51.7.1/24", "dev", "eth1"])
        self.assertIn("gateway=10.12.0.1", net.start_node().output())


class BesideOthers(Routing):
    """routes, rules and marks of other programs and networks of the host's own"""

    def test_mark_changed_on_the_way(self):
        """another program sets bits of every packet's mark; a network that covers the node's address makes no loop"""
        net = self.net
        net.client.sh("nft 'table ip other { chain out { type route hook output priority mangle; policy accept; "
                      "meta mark set meta mark | 0x0001c0ff; }; }'")
        self.connect()
        self.reaches(net.client, "10.11.0.1")
        net.hctl("routes", "create", "--node-id", net.node_id(), "--network", "172.17.0.0/24")
        wait_until(lambda: "172.17.0" in net.client.sh("ip route show table all | grep darknet"), 5, "no route")
        self.reaches(net.client, "10.11.0.1")
        sent = int(net.client.sh("cat /sys/class/net/darknet/statistics/tx_packets"))
        self.reaches(net.client, "10.11.0.1")
        self.assertLess(int(net.client.sh("cat /sys/class/net/darknet/statistics/tx_packets")) - sent, 50)

    def test_peer_in_the_published_network(self):
        net = self.net
        self.lab.link(net.server, "192.168.60.10/24", net.client, "192.168.60.20/24", a_name="eth1", b_name="eth1")
        self.connect()
        net.hctl("routes", "create", "--node-id", net.node_id(), "--network", "192.168.60.0/24")
        self.peer.wait_for("stays local own=192.168.60.0/24")
        self.assertIn("ttl=64", net.client.sh("ping -c1 -W5 192.168.60.10"))
        self.reaches(net.server, "192.168.60.20")
        net.client.run(["ip", "addr", "del", "192.168.60.20/24", "dev", "eth1"])
        wait_until(lambda: "darknet" in net.client.sh("ip route get 192.168.60.10"), 5, "the tunnel does not take over")

    def test_firewall_flushed(self):
        """the table comes back, and the peers reach the network behind the node again; until then status names it"""
        net = self.net
        self.connect()
        self.publish()
        self.reaches(net.client, SERVER)
        net.router.sh("nft flush ruleset")
        self.reaches(net.client, SERVER)
        net.node.wait_for("another program removed the firewall's table")
        net.router.sh("sysctl -qw net.ipv4.ip_forward=0")
        self.reaches(net.client, SERVER)
        net.router.sh("cp /usr/sbin/nft /tmp/nft; mount --bind /bin/false /usr/sbin/nft; /tmp/nft flush ruleset")
        wait_until(lambda: "the firewall is not set up" in net.hctl("status", check=False).stdout, 10, "status is silent")
        net.router.sh("umount /usr/sbin/nft")
        self.reaches(net.client, SERVER, 20)
        wait_until(lambda: "All is well" in net.hctl("status", check=False).stdout, 20, "status keeps the problem")

    def test_full_tunnel_raised_later(self):
        """as wg-quick does it with AllowedIPs = 0.0.0.0/0"""
        net = self.net
        self.connect()
        net.client.sh("ip route add default via 172.17.0.1 table 51820; ip rule add not fwmark 51820 table 51820; "
                      "ip rule add table main suppress_prefixlength 0")
        wait_until(lambda: "darknet" in net.client.sh("ip route get 10.11.0.1"), 5, "hidden by the other rules")
        self.reaches(net.client, "10.11.0.1")
        self.assertEqual(self.peer.stop(), 0)
        self.assertNotIn("0x7f000000", net.client.sh("ip rule; ip -6 rule"))


class Inbound(Routing):
    """Packets from a network behind the node, which has a route to the overlay."""

    def setUp(self):
        super().setUp()
        self.net.server.run(["ip", "route", "add", "10.0.0.0/8", "via", "192.168.50.1"])
        self.connect()

    def create(self, *options):
        self.net.hctl("routes", "create", "--node-id", self.net.node_id(), "--network", "192.168.50.0/24", *options)
        wait_until(lambda: "192.168.50" in self.net.client.sh("ip route show table all"), 5, "no route")
        self.reaches(self.net.client, SERVER)

    def rules(self):
        return self.net.router.sh("nft list table inet heimdall_darknet")

    def test_off_by_default(self):
        """Hosts of the network answer peers, and open no connection to them, whatever address they use."""
        net = self.net
        self.create()
        self.assertFalse(self.ping(net.server, "10.51.0.2"))
        net.server.run(["ip", "addr", "add", "10.11.0.9/32", "dev", "lo"])
        self.assertNotEqual(net.server.run(["ping", "-c1", "-W1", "-I", "10.11.0.9", "10.51.0.2"], check=False).returncode, 0)

    def test_on(self):
        """With --inbound they open connections, until the option is taken back."""
        net = self.net
        self.create("--inbound")
        self.assertIn('"inbound":\ttrue', net.hctl("routes", "list", "-o", "json").stdout)
        self.reaches(net.server, "10.51.0.2")
        net.server.run(["ip", "addr", "add", "10.11.0.9/32", "dev", "lo"])
        self.assertNotEqual(net.server.run(["ping", "-c1", "-W1", "-I", "10.11.0.9", "10.51.0.2"], check=False).returncode, 0)
        net.hctl("routes", "create", "--node-id", net.node_id(), "--network", "192.168.50.0/24")
        wait_until(lambda: "exists" not in self.rules(), 5, "the rule stays")
        self.assertFalse(self.ping(net.server, "10.51.0.2"))


class Nat(Routing):
    def whoami(self):
        return self.net.client.run(["python3", "-B", WHOAMI, "ask", SERVER], check=False).stdout.strip()

    def test_toward_the_node_interface_only(self):
        net = self.net
        net.server.start(["python3", "-B", WHOAMI, "serve"]).wait_for("listening")
        self.connect("--node-interface", "eth1", "--endpoint-ip", "172.17.0.2", "--addr", "tcp://172.17.0.2:9000")
        self.publish()
        self.assertEqual(self.whoami(), "192.168.50.1")
        net.node.stop()
        net.start_node("--node-interface", "eth0")
        net.server.run(["ip", "route", "add", "10.51.0.0/16", "via", "192.168.50.1"])
        wait_until(lambda: self.whoami() == "10.51.0.2", 10, "the server does not see the peer's own address")

    def rest(self):
        """The router's state outside the data dir."""
        return self.net.router.sh("sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding; nft list ruleset")

    def test_leaves_nothing(self):
        """after a clean end, and after a kill once it has run again; other tables are left alone"""
        net = self.net
        net.router.sh("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0")
        net.router.sh("nft add table inet other; nft 'add chain inet other c { type filter hook forward priority 0; }'")
        before = self.rest()
        net.start_node()
        wait_until(lambda: "heimdall_darknet" in self.rest(), 5, "there is no table")
        running = self.rest()
        self.assertTrue(running.startswith("1\n1\n"), running)
        self.assertEqual(net.node.stop(), 0)
        self.assertEqual(self.rest(), before)

        net.start_node()
        net.node.stop(signal.SIGKILL)
        self.assertIn("heimdall_darknet", self.rest())
        wait_until(lambda: net.router.programs() == [], 5, lambda: f"left running: {net.router.programs()}")
        net.start_node()
        wait_until(lambda: self.rest() == running, 5, "the table is not as before")
        self.assertEqual(net.node.stop(), 0)
        self.assertEqual(self.rest().split("\n", 2)[2], before.split("\n", 2)[2])

    def test_forwarding_of_others(self):
        """a host that was a router before stays one"""
        self.net.router.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        before = self.rest()
        self.net.start_node()
        self.assertEqual(self.net.node.stop(), 0)
        self.assertEqual(self.rest(), before)

    def start_hindered(self, *hindrances):
        net = self.net
        script = "; ".join((*hindrances, 'exec "$@"'))
        argv = ["unshare", "-m", "bash", "-ec", script, "x", str(self.lab.bin / "heimdall"), "-D", "--name", "router"]
        net.node = net.router.start(argv)
        net.node.wait_for("hctl peers authorize", timeout=20)
        net.authorize()
        self.peer = net.start_peer()
        self.peer.wait_for("connected")
        self.reaches(net.client, "10.11.0.1")

    def test_without_nft(self):
        self.start_hindered("mount -t tmpfs tmpfs /usr/sbin")
        log = self.net.node.output()
        warnings = [line for line in log.splitlines() if " WARN " in line and "install the package nftables" in line]
        self.assertEqual(len(warnings), 1, log)

    def test_without_sysctl_rights(self):
        self.net.router.sh("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0")
        self.start_hindered("mount --bind /proc/sys /proc/sys", "mount -o remount,ro,bind /proc/sys")
        log = self.net.node.output()
        self.assertEqual(log.count("does not forward"), 1, log)


class Deauthorized(Routing):
    def test_cut_off(self):
        """once hctl returns no packet gets through, and the address is free for others"""
        net = self.net
        self.connect()
        self.reaches(net.client, "10.11.0.1")
        net.client.start(["ping", "-q", "-i0.01", "10.11.0.1"])
        received = ("nft add table ip count; nft 'add chain ip count c { type filter hook prerouting priority 0; }';"
                    "nft add rule ip count c iifname darknet ip saddr 10.51.0.2 counter")
        net.router.sh(received)
        counted = "nft list table ip count | grep -o 'packets [0-9]*'"
        wait_until(lambda: net.router.sh(counted) != "packets 0\n", 5, "nothing is counted")
        net.hctl("peers", "deauthorize", net.id)
        at_once = net.router.sh(counted)
        self.assertFalse(self.ping(net.client, "10.11.0.1"))
        self.assertEqual(net.router.sh(counted), at_once)
        self.assertEqual(self.peer.stop(), 0)
        net.id = str(uuid.uuid4())
        net.authorize()
        net.client.sh("rm -r /var/lib/heimdall-peer/*")
        self.peer = net.start_peer()
        self.assertIn("10.51.0.2/16", self.peer.wait_for("connected"))
        self.reaches(net.client, "10.11.0.1")
        self.assertEqual([row["PEER IP"] for row in table(net.hctl("peers", "list").stdout)], ["10.51.0.2"])


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    unittest.main(verbosity=2)
