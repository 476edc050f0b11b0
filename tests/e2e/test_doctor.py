"""hctl doctor: each check finds what it is for, on the node's host and from another one, and nothing else."""
import json
import unittest

from lab.labtest import InLab, LabTest
from lab.netns import wait_until
from lab.story import Network

OK, PROBLEMS = 0, 7
OUT_UDP = "udp dport 10100"


class Doctor(LabTest):
    @classmethod
    def setUpClass(cls):
        cls.share_lab()
        cls.net = Network(cls.lab)
        cls.net.start_node()
        cls.net.authorize()
        cls.net.hctl("routes", "create", "--node-id", "router", "--network", "192.168.50.0/24")
        cls.peer = cls.net.start_peer()
        cls.peer.wait_for("connected")
        cls.net.client.run(["mkdir", "-p", "/tmp/key"])
        key = cls.net.router.sh("cat /var/lib/heimdall/cluster.key")
        cls.net.client.run(["sh", "-c", "umask 077; cat >/tmp/key/cluster.key"], input=key)
        wait_until(lambda: cls.net.hctl("doctor", check=False).returncode == OK, 20, "the node is not well")

    def examine(self, *options, host=None):
        done = (host or self.net.router).run(["hctl", *options, "-o", "json", "doctor"], check=False)
        self.assertIn(done.returncode, (OK, PROBLEMS), done.stderr)
        self.checks = json.loads(done.stdout)["checks"]
        self.assertEqual(any(c["result"] == "problem" for c in self.checks), done.returncode == PROBLEMS)
        return {c["name"]: c for c in self.checks if c["result"] == "problem"}

    def remotely(self):
        return self.examine("--addr", "tcp://172.17.0.2:9000", "--cluster-key-file", "/tmp/key/cluster.key",
                            host=self.net.client)

    def table(self, host, name, rules):
        """Another firewall, for the time of the test."""
        host.run(["nft", "-f", "-"], input=f"table inet {name} {{ {rules}\n}}\n".replace("; ", ";\n").replace(" }", "\n}"))
        self.addCleanup(host.run, ["nft", "delete", "table", "inet", name])

    def only(self, problems, name, *words):
        self.assertEqual(list(problems), [name], self.checks)
        text = problems[name]["what"] + " -> " + problems[name]["remedy"]
        for word in words:
            self.assertIn(word, text)

    def test_healthy(self):
        self.assertEqual(self.examine(), {})
        names = {c["name"] for c in self.checks}
        self.assertLessEqual({"tunnel", "firewall", "forwarding", "store", "dns", "dns-access", "mtu", "versions", "clock",
                              "tcp", "udp", "path-mtu"}, names)
        self.assertEqual({c["result"] for c in self.checks}, {"ok"})
        self.assertEqual(self.remotely(), {})
        said = self.net.hctl("doctor").stdout
        self.assertRegex(said, r"ok +forwarding +packets of peers are forwarded\n")
        self.assertTrue(said.endswith("\nNo problem was found.\n"), said)
        self.assertNotIn("heimdall_probe", self.net.router.sh("nft list tables"))

    def test_forward_policy_drop(self):
        """As of Docker, firewalld and ufw; status and log say it too, and that it is over"""
        warned = self.net.node.output().count("does not forward the packets of peers")
        self.table(self.net.router, "other", "chain f { type filter hook forward priority 0; policy drop; }")
        self.only(self.examine(), "forwarding", "firewall", "192.168.50.0/24", "darknet")
        self.only(self.remotely(), "forwarding", "192.168.50.0/24")
        said = self.net.hctl("status", check=False)
        self.assertEqual(said.returncode, PROBLEMS)
        self.assertIn("does not forward", said.stdout)
        self.net.node.wait_for("does not forward the packets of peers", count=warned + 1)
        self.doCleanups()
        self.assertEqual(self.examine(), {})
        self.net.node.wait_for("forward the packets of peers again")

    def test_status_follows_other_firewalls(self):
        """A firewall that starts, and one that ends, is seen without being asked for"""
        wait_until(lambda: self.net.hctl("status", check=False).returncode == OK, 10, "it was not well before", every=0.5)
        warned = self.net.node.output().count("does not forward the packets of peers")
        healed = self.net.node.output().count("forward the packets of peers again")
        self.table(self.net.router, "other", "chain f { type filter hook forward priority 0; policy drop; }")
        self.net.node.wait_for("does not forward the packets of peers", count=warned + 1, timeout=20)
        self.assertIn("does not forward", self.net.hctl("status", check=False).stdout)
        self.doCleanups()
        self.net.node.wait_for("forward the packets of peers again", count=healed + 1, timeout=20)
        self.assertIn("All is well.", self.net.hctl("status").stdout)

    def test_forward_policy_drop_of_ipv6(self):
        """Each family is tried by itself"""
        self.net.hctl("routes", "create", "--node-id", "router", "--network", "fd50::/64")
        self.net.router.run(["ip", "-6", "addr", "add", "fd50::1/64", "dev", "eth1", "nodad"])
        try:
            self.assertEqual(self.examine(), {})
            self.table(self.net.router, "other",
                       "chain f { type filter hook forward priority 0; meta nfproto ipv6 drop; }")
            self.only(self.examine(), "forwarding", "fd50::/64")
        finally:
            self.net.hctl("routes", "delete", "fd50::/64")
            self.net.router.run(["ip", "-6", "addr", "del", "fd50::1/64", "dev", "eth1"])

    def test_forward_policy_drop_with_a_gap(self):
        """The policy drops, a rule lets the tunnel's packets pass"""
        self.table(self.net.router, "other",
                   'chain f { type filter hook forward priority 0; policy drop; iifname "darknet" accept; oifname "darknet" accept; }')
        self.assertEqual(self.examine(), {})

    def test_forward_refused(self):
        """Another firewall answers for the hosts behind the node"""
        for how in ("icmpx type admin-prohibited", "icmpx type port-unreachable", "icmp type host-prohibited"):
            with self.subTest(how=how):
                self.table(self.net.router, "other",
                           f"chain f {{ type filter hook forward priority 0; ip daddr 192.168.50.0/24 reject with {how}; }}")
                self.only(self.examine(), "forwarding", "192.168.50.0/24")
                self.doCleanups()

    def test_route_to_nowhere(self):
        """A published network that the node itself has no route to"""
        self.net.router.run(["ip", "route", "add", "unreachable", "10.99.0.0/24"])
        self.net.hctl("routes", "create", "--node-id", "router", "--network", "10.99.0.0/24")
        try:
            self.only(self.examine(), "forwarding", "no route to 10.99.0.0/24")
        finally:
            self.net.hctl("routes", "delete", "10.99.0.0/24")
            self.net.router.run(["ip", "route", "del", "unreachable", "10.99.0.0/24"])

    def test_input_drops_dns(self):
        cases = {"udp dport 53 drop": "UDP", "tcp dport 53 drop": "TCP", "th dport 53 drop": "UDP and TCP"}
        for rule, words in cases.items():
            with self.subTest(rule=rule):
                self.table(self.net.router, "other",
                           f'chain i {{ type filter hook input priority 0; iifname "darknet" {rule}; }}')
                self.only(self.examine(), "dns-access", f"(port 53, {words})", "darknet")
                self.doCleanups()

    def test_endpoint_not_reached(self):
        """On the way from another host: UDP, TCP, and datagrams of full size alone"""
        client = self.net.client
        self.table(client, "other", f"chain o {{ type filter hook output priority 0; {OUT_UDP} meta length < 600 drop; }}")
        self.only(self.remotely(), "udp", "172.17.0.2:10100")
        self.doCleanups()
        self.table(self.net.router, "other", f"chain i {{ type filter hook input priority 0; {OUT_UDP} meta length > 1400 drop; }}")
        self.only(self.remotely(), "path-mtu", "1472 bytes")


class WithoutNft(InLab):
    def test_says_so(self):
        net = Network(self.lab)
        net.router.run(["mount", "--bind", "/bin/false", "/usr/sbin/nft"])
        net.start_node()
        done = net.hctl("-o", "json", "doctor", check=False)
        self.assertEqual(done.returncode, PROBLEMS)
        [problem] = [c for c in json.loads(done.stdout)["checks"] if c["result"] == "problem"]
        self.assertEqual(problem["name"], "firewall")
        self.assertIn("nft failed without saying why", problem["what"])
        self.assertIn("nft failed without saying why", net.hctl("status", check=False).stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
