"""What a new user does first and next: the README's day (test_readme.py plays it word for word), step by step."""
import json
import os
import signal
import unittest

from lab.labtest import InLab
from lab.netns import wait_until
from lab.story import Network, table, traces


class Walkthrough(InLab):
    maxDiff = None
    least_privilege = False

    def setUp(self):
        super().setUp()
        self.net = Network(self.lab, self.least_privilege)

    def connect(self):
        self.net.start_node()
        self.net.authorize()
        self.peer = self.net.start_peer()
        self.peer.wait_for("connected")

    def reaches(self, host, target, timeout=5):
        wait_until(lambda: host.run(["ping", "-c1", "-W1", target], check=False).returncode == 0, timeout,
                   f"{host.name} does not reach {target}")

    def test_story(self):
        """start, authorize, connect, ping by name, content both ways, tables"""
        net = self.net
        log = net.start_node().output()
        self.assertRegex(log, r"starting as master.* name=router")
        peer = net.start_peer()
        said = peer.wait_for("not authorized")
        self.assertIn(f"hctl peers authorize {net.id}", said)
        self.assertEqual(net.hctl("-a", "tcp://172.17.0.2:9000", "peers", "authorize", net.id).stdout, "")
        self.assertEqual([row["ID"] for row in table(net.hctl("peers", "authorized").stdout)], [net.id])
        peer.wait_for("connected")

        net.wait_for_name(net.client, "router")
        out = net.client.run(["ping", "-4", "-c3", "-i0.2", "router"]).stdout
        self.assertIn("from router.heimdall (10.11.0.1)", out.replace("from router (", "from router.heimdall ("))
        self.assertIn("3 received", out)
        self.reaches(net.router, "client")
        self.assertIn("10.51.0.2", net.router.run(["ping", "-4", "-c1", "client.heimdall"]).stdout)

        self.assertEqual(net.transfer(net.client, net.router, "10.11.0.1", 10_000_000),
                         "10000000 bytes arrived whole in both directions")
        self.assertEqual(net.transfer(net.router, net.client, "10.51.0.2", 3_000_000, port=7001),
                         "3000000 bytes arrived whole in both directions")
        self.check_tables(peer)

    def check_tables(self, peer):
        net = self.net
        [node] = table(net.hctl("nodes", "list").stdout)
        self.assertEqual(set(node), {"ID", "ADDR", "ENDPOINT", "GATEWAY", "UPDATED", "PUBLIC KEY"})
        self.assertEqual((node["ADDR"], node["ENDPOINT"], node["GATEWAY"]),
                         ("tcp://172.17.0.2:9000", "172.17.0.2:10100", "10.11.0.1"))
        self.assertRegex(node["UPDATED"], r"ago|now")
        [row] = table(net.hctl("peers", "list").stdout)
        self.assertEqual(set(row), {"ID", "PUBLIC KEY", "ENDPOINT", "ALLOWED", "PEER IP", "NAME"})
        self.assertEqual((row["ID"], row["PEER IP"], row["NAME"]), (net.id, "10.51.0.2", "client"))
        shown = net.router.run(["wg", "show"]).stdout
        self.assertIn(f"peer: {row['PUBLIC KEY']}", shown)
        self.assertIn("endpoint: 172.17.0.3:", shown)
        self.assertIn(f"public key: {node['PUBLIC KEY']}", shown)
        self.assertNotEqual(net.router.run(["wg", "set", "darknet", "listen-port", "1"], check=False).returncode, 0)

    def test_no_secrets_in_logs(self):
        self.connect()
        logs = self.net.node.output() + self.peer.output()
        key = self.net.router.sh("cat /var/lib/heimdall/*key* 2>/dev/null || true").split()
        self.assertTrue(key, "no key files found: the test would check nothing")
        for secret in key:
            self.assertNotIn(secret, logs)
        self.assertNotIn(self.net.id, self.net.node.output())

    def test_ipv6_in_the_overlay(self):
        self.connect()
        addresses = json.loads(self.net.router.sh("ip -j -6 addr show dev darknet scope global"))
        address = addresses[0]["addr_info"][0]["local"]
        self.assertTrue(address.startswith("fd"), address)
        self.reaches(self.net.client, address)
        self.assertEqual(self.net.transfer(self.net.client, self.net.router, address, 1_000_000),
                         "1000000 bytes arrived whole in both directions")

    def test_route(self):
        """created, used and deleted"""
        net = self.net
        self.connect()
        net.hctl("routes", "create", "--node-id", net.node_id(), "--network", "192.168.50.0/24")
        self.assertEqual(table(net.hctl("routes", "list").stdout),
                         [{"NODE": net.node_id(), "NETWORK": "192.168.50.0/24"}])
        self.reaches(net.client, "192.168.50.10")
        self.assertEqual(net.transfer(net.client, net.server, "192.168.50.10", 1_000_000),
                         "1000000 bytes arrived whole in both directions")
        net.hctl("routes", "delete", "192.168.50.0/24")
        self.assertEqual(table(net.hctl("routes", "list").stdout), [])
        wait_until(lambda: "192.168.50" not in net.client.sh("ip route show table all"), 5, "the route stays")
        allowed = net.client.run(["wg", "show", "darknet", "allowed-ips"]).stdout
        self.assertNotIn("192.168.50", allowed)

    def test_deauthorized(self):
        """cut off at once, with the reason, and let in again later"""
        net = self.net
        self.connect()
        self.reaches(net.client, "10.11.0.1")
        net.hctl("peers", "deauthorize", net.id)
        self.assertEqual(net.router.run(["wg", "show", "darknet", "peers"]).stdout, "")
        self.assertNotEqual(net.client.run(["ping", "-c1", "-W1", "10.11.0.1"], check=False).returncode, 0)
        self.peer.wait_for("not authorized")
        self.assertEqual(table(net.hctl("peers", "list").stdout), [])
        self.assertTrue(self.peer.alive())
        net.authorize()
        self.peer.wait_for("connected", count=2)
        self.reaches(net.client, "router")

    def test_node_killed(self):
        """SIGKILL and restart: same id, keys, addresses; the peer's traffic resumes by itself"""
        net = self.net
        self.connect()
        self.reaches(net.client, "10.11.0.1")
        before = (table(net.hctl("nodes", "list").stdout)[0], table(net.hctl("peers", "list").stdout))
        self.assertEqual(net.node.stop(signal.SIGKILL), -signal.SIGKILL)
        wait_until(lambda: net.router.programs() == [], 5, lambda: f"left running: {net.router.programs()}")
        net.start_node()
        self.reaches(net.client, "10.11.0.1", timeout=20)
        self.reaches(net.client, "router", timeout=20)
        after = (table(net.hctl("nodes", "list").stdout)[0], table(net.hctl("peers", "list").stdout))
        for row in (before[0], after[0]):
            row.pop("UPDATED")
        self.assertEqual(before, after)
        self.assertTrue(self.peer.alive())

    def test_peer_killed(self):
        """a peer restarts after a crash: same key, resolver restored in the end"""
        net = self.net
        resolver = net.client.resolv_conf()
        self.connect()
        key = table(net.hctl("peers", "list").stdout)[0]["PUBLIC KEY"]
        wait_until(lambda: net.client.resolv_conf() != resolver, 20, "the resolver is as before")
        self.peer.stop(signal.SIGKILL)
        self.peer = net.start_peer()
        self.peer.wait_for("connected")
        self.assertEqual(table(net.hctl("peers", "list").stdout)[0]["PUBLIC KEY"], key)
        self.reaches(net.client, "router")
        self.peer.stop()
        self.assertEqual(net.client.resolv_conf(), resolver)

    def test_clean_exit(self):
        """SIGTERM and SIGINT leave nothing and restore the resolver"""
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number.name):
                before = [traces(host) for host in (self.net.router, self.net.client)]
                self.connect()
                self.assertEqual(self.peer.stop(number), 0, self.peer.output())
                self.assertEqual(self.net.node.stop(number), 0, self.net.node.output())
                after = [traces(host) for host in (self.net.router, self.net.client)]
                self.assertEqual(before, after)


class LeastPrivilege(Walkthrough):
    """The same with CAP_NET_ADMIN and CAP_NET_BIND_SERVICE only, on both sides."""
    least_privilege = True


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    unittest.main(verbosity=2)
