"""Metrics of a node and of a peer, read as Prometheus reads them."""
import json
import pathlib
import subprocess
import sys
import unittest

from lab.labtest import LabTest
from lab.netns import wait_until
from lab.story import Network

TOOLS = pathlib.Path(__file__).resolve().parents[1] / "tools"

# Run with the parser's Python: families as {name: [type, help, [[sample, labels, value], ...]]}.
PARSE = """
import json, sys
from prometheus_client.parser import text_string_to_metric_families
print(json.dumps({f.name: [f.type, f.documentation, [[s.name, s.labels, s.value] for s in f.samples]]
                  for f in text_string_to_metric_families(sys.stdin.read())}))
"""

FETCH = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"

# Holds silent connections open, one of them with half a request.
HOLD = """
import socket, sys, time
held = [socket.socket() for _ in range(100)]
for each in held[:8]:
    each.connect((sys.argv[1], int(sys.argv[2])))
held[0].sendall(b"GET /metr")
for each in held[1:4]:
    each.sendall(bytes(range(256)) * 20)
for each in held[8:]:
    each.setblocking(False)
    each.connect_ex((sys.argv[1], int(sys.argv[2])))
print("held", flush=True)
time.sleep(60)
"""


class Metrics(LabTest):
    @classmethod
    def setUpClass(cls):
        cls.python = subprocess.run([TOOLS / "python_venv.sh"], check=True, capture_output=True, text=True).stdout.strip()
        cls.share_lab()
        cls.net = Network(cls.lab)
        cls.net.start_node("--metrics-address", "172.17.0.2:9100", "--log-format", "json")
        cls.net.authorize()
        cls.peer = cls.net.start_peer("--metrics-address", "127.0.0.1:9100")
        cls.peer.wait_for("connected")
        cls.net.client.run(["ping", "-c", "3", "-i", "0.2", "10.11.0.1"])

    def fetch(self, host, address):
        return host.run(["python3", "-c", FETCH, f"http://{address}/metrics"]).stdout

    def scrape(self, host, address):
        text = self.fetch(host, address)
        parsed = subprocess.run([self.python, "-c", PARSE], input=text, check=True, capture_output=True, text=True)
        families = json.loads(parsed.stdout)
        self.assertEqual(text.count("# HELP"), len(families), "a family without samples or twice")
        for name, (kind, documentation, _) in families.items():
            self.assertTrue(documentation, name)
            self.assertIn(kind, ("counter", "gauge", "histogram"), name)
        return families

    def value(self, families, sample, **labels):
        for _, _, samples in families.values():
            for name, has, value in samples:
                if name == sample and labels.items() <= has.items():
                    return value
        self.fail(f"no {sample}{labels}")

    def test_node(self):
        self.net.router.run(["dig", "+time=2", "@10.11.0.1", "router.heimdall"])
        self.net.router.run(["dig", "+time=2", "@10.11.0.1", "nobody.heimdall"])
        self.net.hctl("peers", "deauthorize", "9c76f92d-d55a-46c0-84d6-58c981442830", check=False)
        found = {}

        def told():
            found["all"] = self.scrape(self.net.router, "172.17.0.2:9100")
            return self.value(found["all"], "heimdall_dns_answers_total", rcode="NXDOMAIN") >= 1
        wait_until(told, 10, "NXDOMAIN is not counted", every=0.5)
        families = found["all"]
        for sample, labels, expected in (
                ("heimdall_build_info", {"program": "heimdall"}, 1), ("heimdall_ready", {}, 1), ("heimdall_nodes", {}, 1),
                ("heimdall_peers", {}, 1), ("heimdall_authorized_peers", {}, 1), ("heimdall_watches", {}, 1),
                ("heimdall_redis_up", {}, 1), ("heimdall_redis_deaths_total", {}, 0), ("heimdall_tunnel_up", {}, 1),
                ("heimdall_tunnel_peers", {"handshake": "3m"}, 1), ("heimdall_tunnel_peers", {"handshake": "never"}, 0)):
            with self.subTest(sample=sample, labels=labels):
                self.assertEqual(self.value(families, sample, **labels), expected)
        service = "/dev.ehazlett.heimdall.api.v1.Heimdall/"
        self.assertEqual(self.value(families, "heimdall_rpcs_total", method=service + "Connect", code="OK"), 1)
        self.assertGreaterEqual(self.value(families, "heimdall_rpcs_total", method=service + "DeauthorizePeer",
                                           code="NOT_FOUND"), 1)
        self.assertGreaterEqual(self.value(families, "heimdall_change_duration_seconds_count"), 3)
        self.assertGreater(self.value(families, "heimdall_tunnel_receive_bytes_total"), 300)
        self.assertGreater(self.value(families, "heimdall_tunnel_transmit_bytes_total"), 300)
        self.assertGreaterEqual(self.value(families, "heimdall_dns_answers_total", rcode="NOERROR"), 1)
        self.assertGreater(self.value(families, "process_resident_memory_bytes"), 1 << 20)

    def test_peer(self):
        families = self.scrape(self.net.client, "127.0.0.1:9100")
        self.assertEqual(self.value(families, "heimdall_build_info", program="hpeer"), 1)
        self.assertEqual(self.value(families, "heimdall_connected"), 1)
        self.assertGreater(self.value(families, "heimdall_tunnel_receive_bytes_total"), 300)

    def test_no_secrets(self):
        secrets = [self.net.id, self.net.node_id()]
        secrets += self.net.router.sh("cat /var/lib/heimdall/cluster.key").split()
        secrets += self.net.router.sh("wg show darknet public-key; wg show darknet peers").split()
        for text in (self.fetch(self.net.router, "172.17.0.2:9100"), self.fetch(self.net.client, "127.0.0.1:9100")):
            for secret in secrets:
                self.assertNotIn(secret, text)
                self.assertNotIn(secret[:8], text)

    def test_hostile_clients(self):
        """Strangers get a few connections at most; the node keeps working, and serves again when theirs time out."""
        before = self.files()
        holder = self.net.client.start(["python3", "-c", HOLD, "172.17.0.2", "9100"])
        holder.wait_for("held")
        self.assertIn(self.net.id, self.net.hctl("peers", "authorized").stdout)
        self.assertLessEqual(self.files(), before + 20)
        holder.kill(9)
        self.assertEqual(self.value(self.scrape(self.net.router, "172.17.0.2:9100"), "heimdall_ready"), 1)

    def files(self):
        return len(self.net.router.sh("ls /proc/$(pgrep -xo heimdall)/fd").split())

    def test_port_taken(self):
        done = self.net.router.run(["heimdall", "--data-dir", "/tmp/other", "--interface-name", "other", "--endpoint-port",
                                    "10101", "--metrics-address", "172.17.0.2:9100"], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("172.17.0.2:9100", done.stderr)
        self.assertIn("--metrics-address", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
