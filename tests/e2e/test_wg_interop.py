"""heimdall-wg with the newest wireguard-go at the other end; each side starts, content checked."""
import pathlib
import subprocess
import unittest

from lab.labtest import BIN
from lab.wginterop import Interop


class WireguardGo(Interop, unittest.TestCase):
    bin = BIN

    @classmethod
    def setUpClass(cls):
        script = pathlib.Path(__file__).parent.parent / "tools/wireguard_go.sh"
        cls.theirs = subprocess.run([script], stdout=subprocess.PIPE, text=True, check=True, timeout=240).stdout.strip()


if __name__ == "__main__":
    unittest.main(verbosity=2)
