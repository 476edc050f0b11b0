"""Tests that every tunnel has a preshared key, which both ends derive and nobody sends."""
import os
import signal
import unittest

from lab.netns import wait_until
from lab.routing import Routing


class PresharedKeys(Routing):
    def keys(self, host):
        return [line.split()[1] for line in host.sh("wg show darknet preshared-keys").splitlines()]

    def pair(self):
        """The key that both ends have."""
        def same():
            node, peer = self.keys(self.net.router), self.keys(self.net.client)
            return len(node) == 1 and node == peer and node[0] != "(none)"
        wait_until(same, 10, lambda: f"{self.keys(self.net.router)} {self.keys(self.net.client)}")
        return self.keys(self.net.router)[0]

    def test_both_ends(self):
        """Both ends have the same key from the first handshake on, and status names no pair without one."""
        self.connect()
        first = self.pair()
        self.reaches(self.net.client, "10.11.0.1")
        self.assertIn("All is well", self.net.hctl("status").stdout)
        show = self.net.hctl("peers", "show", "client").stdout
        self.assertRegex(show, r"Preshared key: +yes")
        self.assertNotIn(first, show)

    def test_rekey(self):
        """A rekey renews the key at once on both ends, and the tunnel goes on."""
        self.connect()
        first = self.pair()
        self.reaches(self.net.client, "10.11.0.1")
        self.net.hctl("peers", "rekey", "client")
        wait_until(lambda: self.pair() != first, 10, "the key stays")
        self.assertTrue(self.ping(self.net.client, "10.11.0.1"))

    def test_after_restarts(self):
        """A restart of either end finds the key again."""
        self.connect()
        first = self.pair()
        self.peer.stop(signal.SIGTERM)
        self.peer = self.net.start_peer()
        self.peer.wait_for("connected")
        self.reaches(self.net.client, "10.11.0.1")
        self.assertEqual(self.pair(), first)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    unittest.main(verbosity=2)
