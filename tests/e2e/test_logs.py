"""Logs of a node and of a peer: a JSON line is an object with the same first keys, no line has a secret, and a log that nobody reads
blocks nothing."""
import json
import os
import re
import unittest
import uuid

from lab.labtest import BIN
from lab.netns import Lab, wait_until
from lab.story import Network


class Logs(unittest.TestCase):
    def test_every_line(self):
        with Lab(BIN) as lab:
            net = Network(lab)
            node = net.start_node("--log-format", "json")
            net.authorize()
            peer = net.start_peer("--log-format", "json")
            peer.wait_for("connected")
            stranger = net.client.start(["hpeer", "--log-format", "json", "--addr", "tcp://172.17.0.2:9000", "--interface-name",
                                         "other", "--data-dir", "/tmp/other", "--id", str(uuid.uuid4())])
            stranger.wait_for("hctl peers authorize")
            net.client.run(["bash", "-c", "printf 'GET / HTTP/1.1\\r\\n\\r\\n\\x1b[31m\\xff' >/dev/tcp/172.17.0.2/9000"], check=False)
            node.wait_for("refused")
            key = net.router.sh("cat /var/lib/heimdall/cluster.key").strip()
            net.hctl("peers", "deauthorize", net.id)
            peer.wait_for("not authorized")
            for process in (peer, stranger, node):
                process.stop()
            for process in (node, peer, stranger):
                self.check(process.output(), [net.id, key])

    def check(self, output, secrets):
        self.assertGreater(len(output.splitlines()), 2)
        for line in output.splitlines():
            with self.subTest(line=line):
                event = json.loads(line)
                self.assertEqual(list(event)[:3], ["time", "level", "msg"])
                self.assertRegex(event["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
                self.assertIn(event["level"], ("debug", "info", "warn", "error"))
                self.assertIsNone(re.search(r"[\x00-\x1f\x7f]", line))
                if "Run on a node: hctl peers authorize" in event["msg"]:
                    continue  # the one line whose purpose is to show a peer's id to its owner
                for secret in secrets:
                    self.assertNotIn(secret, line)


class Unread:
    """A pipe that is full, and that nobody reads"""

    def __init__(self, host):
        os.mkfifo(host.dir / "tmp/unread")
        self.fd = os.open(host.dir / "tmp/unread", os.O_RDWR | os.O_NONBLOCK)
        self.text = b""
        self.fill()

    def fill(self):
        for size in (512, 1):
            try:
                while True:
                    os.write(self.fd, b"\n" * size)
            except BlockingIOError:
                pass

    def read(self):
        """Everything that came so far."""
        try:
            while True:
                self.text += os.read(self.fd, 65536)
        except BlockingIOError:
            return self.text.decode()


class NobodyReads(unittest.TestCase):
    """Standard error takes no line, as with a stopped terminal or a log collector that hangs."""

    def start(self, host, *argv):
        return host.start(["bash", "-c", 'exec "$@" 2>/tmp/unread', "x", *argv])

    def connected(self, net):
        return "   connected   " in net.hctl("status", check=False).stdout

    def test_node_and_peer(self):
        with Lab(BIN) as lab:
            net = Network(lab)
            pipes = [Unread(net.router), Unread(net.client)]
            node = self.start(net.router, "heimdall", "-D", "--name", "router")
            wait_until(lambda: net.hctl("status", check=False).returncode == 0, 20, "the node does not answer")
            net.authorize()
            peer = self.start(net.client, "hpeer", "-D", "--name", "client", "--addr", "tcp://172.17.0.2:9000", "--id", net.id)
            wait_until(lambda: self.connected(net), 20, "the peer does not connect")
            net.client.run(["ping", "-c1", "-W5", "10.11.0.1"])
            # lines dropped before the writer thread ran are counted, lines that waited in memory arrive
            wait_until(lambda: "log lines dropped lines=" in pipes[0].read(), 10, "the node does not count")
            wait_until(lambda: " connected node=" in pipes[1].read(), 10, "the peer's lines do not come")
            pipes[0].fill()
            pipes[1].fill()
            self.assertEqual(peer.stop(), 0)
            self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
