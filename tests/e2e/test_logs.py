"""Logs of a node and of a peer as JSON: every line is an object with the same first keys, and no secret is in any."""
import json
import re
import unittest
import uuid

from lab.labtest import BIN
from lab.netns import Lab
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
                    continue  # the one line that is there to show a peer's id to its owner
                for secret in secrets:
                    self.assertNotIn(secret, line)


if __name__ == "__main__":
    unittest.main(verbosity=2)
