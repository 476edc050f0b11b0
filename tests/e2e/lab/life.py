"""Shared by the tests of a peer's life: a node, a peer without -D, and another host (story.Network)."""
import re

from lab.labtest import InLab
from lab.netns import wait_until
from lab.story import Network, table

ADDR = "tcp://172.17.0.2:9000"


def told(process):
    """A log without -D, line by line: the level, then the text without its fields."""
    return [re.sub(r"^\S+ ", "", line) for line in process.output().splitlines() if "no system call filter" not in line]


class Life(InLab):
    def setUp(self):
        super().setUp()
        self.net = Network(self.lab)
        self.net.server.run(["ip", "route", "add", "default", "via", "192.168.50.1"])  # it is a second client here

    def start_peer(self, *options, host=None):
        """A peer without -D."""
        return (host or self.net.client).start(["hpeer", "--name", "client", "--addr", ADDR, *options])

    def connect(self, *node_options):
        self.net.start_node(*node_options)
        self.net.authorize()
        self.peer = self.start_peer("--id", self.net.id)
        self.peer.wait_for("connected")

    def reaches(self, target="router", host=None, timeout=10):
        wait_until(lambda: (host or self.net.client).run(["ping", "-c1", "-W1", target], check=False).returncode == 0,
                   timeout, f"{target} is not reached:\n{self.peer.output()}")

    def peers(self):
        return {row["PEER IP"]: row["PUBLIC KEY"] for row in table(self.net.hctl("peers", "list").stdout)}

    def count(self, process, text):
        return sum(text in line for line in told(process))
