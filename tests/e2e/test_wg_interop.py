"""heimdall-wg with the newest wireguard-go at the other end; each side starts, content checked."""
import pathlib
import subprocess
import sys
import unittest

from netns import Lab
from wgpair import Pair

BIN = sys.argv.pop(1)
MEGABYTE = 1 << 20
OURS = "heimdall-wg"


class WireguardGo(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        script = pathlib.Path(__file__).parent.parent / "tools/wireguard_go.sh"
        cls.theirs = subprocess.run([script], stdout=subprocess.PIPE, text=True, check=True, timeout=240).stdout.strip()

    def check(self, outer, psk):
        for first, second in ((OURS, self.theirs), (self.theirs, OURS)):
            with self.subTest(initiator=first), Lab(BIN) as lab:
                pair = Pair(lab, first, second, outer, psk)
                pair.a.ping(pair.b.inner4)  # `a` initiates: nothing was sent before
                pair.b.ping(pair.a.inner6)
                pair.transfer(10 * MEGABYTE)
                pair.transfer(10 * MEGABYTE, inner="6", reverse=True)
                for end in (pair.a, pair.b):
                    self.assertNotEqual(end.show("latest-handshakes").split()[1], "0")

    def test_ipv4(self):
        self.check("4", False)

    def test_ipv4_with_preshared_key(self):
        self.check("4", True)

    def test_ipv6(self):
        self.check("6", False)

    def test_ipv6_with_preshared_key(self):
        self.check("6", True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
