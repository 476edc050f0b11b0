"""A node's name that has several addresses, some of which lead nowhere (RFC 8305)."""
import time
import unittest

from lab.labtest import LabTest
from lab.netns import PATIENCE
from lab.story import Network

DEAD4, DEAD6, NODE = "172.17.0.99", "2001:db8:17::dead", "172.17.0.2"

# Answers questions for A at once, and those for AAAA never.
SLOW_RESOLVER = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", 53))
print("up", flush=True)
while True:
    query, sender = sock.recvfrom(2048)
    end = query.index(b"\\0", 12) + 5
    if query[end - 4:end - 2] == b"\\0\\1":
        sock.sendto(query[:2] + bytes([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]) + query[12:end] + bytes([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]) +
                    socket.inet_aton("172.17.0.2"), sender)
"""


class Dial(LabTest):
    @classmethod
    def setUpClass(cls):
        cls.share_lab()
        cls.net = Network(cls.lab)
        cls.net.start_node()
        cls.net.authorize()
        cls.key = cls.net.router.sh("cat /var/lib/heimdall/cluster.key").strip()
        cls.net.client.sh("ip addr add 2001:db8:17::3/64 dev eth0 nodad")
        for dead in (DEAD4, DEAD6):  # what is sent there is lost without a word
            cls.net.client.sh(f"ip neigh add {dead} lladdr 02:00:00:00:00:01 dev eth0 nud permanent")
        names = {"six": [DEAD6, NODE], "four": [DEAD4, NODE], "many": [DEAD6, DEAD4, "172.17.0.98", NODE], "nowhere": [DEAD6, DEAD4]}
        with open(cls.net.client.dir / "hosts", "a") as hosts:
            hosts.writelines(f"{address} {name}.example\n" for name, addresses in names.items() for address in addresses)

    def hctl(self, name):
        return self.net.client.run(["hctl", "-a", f"tcp://{name}:9000", "--cluster-key", self.key, "nodes", "list"], check=False)

    def test_hctl(self):
        for name in ("six", "four", "many"):
            with self.subTest(name=name):
                done = self.hctl(f"{name}.example")
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_hpeer(self):
        peer = self.net.client.start(["hpeer", "-D", "--name", "client", "--addr", "tcp://many.example:9000", "--id", self.net.id])
        peer.wait_for(" connected node=", timeout=20)
        self.assertEqual(peer.stop(), 0)

    def test_nowhere(self):
        """One line that names the address as it was given"""
        done = self.hctl("nowhere.example")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (5, 1), done.stderr)
        self.assertIn("tcp://nowhere.example:9000: no answer in time", done.stderr)

    def test_no_answer_for_one_family(self):
        """A resolver that is silent about IPv6: nobody waits for it, not even at the end"""
        resolver = self.net.client.start(["python3", "-c", SLOW_RESOLVER])
        resolver.wait_for("up")
        begin = time.monotonic()
        done = self.hctl("elsewhere.example")
        self.assertLess(time.monotonic() - begin, 4 * PATIENCE)
        resolver.stop()
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main(verbosity=2)
