"""heimdall-wg with every other userspace implementation, each in its newest release, and what takes minutes with each."""
import pathlib
import subprocess
import sys
import unittest

from lab.wginterop import Interop, LongInterop

BIN = sys.argv.pop(1)
TOOLS = pathlib.Path(__file__).parent.parent / "tools"


class Newest(Interop, LongInterop):
    bin = BIN
    tool = None  # the script that prints where the program is, and its arguments

    @classmethod
    def setUpClass(cls):
        argv = [TOOLS / cls.tool[0], *cls.tool[1:]]
        cls.theirs = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, timeout=1800).stdout.strip()


class WireguardGo(Newest, unittest.TestCase):
    tool = ["wireguard_go.sh"]


class Boringtun(Newest, unittest.TestCase):
    tool = ["rust_tool.sh", "boringtun-cli"]
    changes_peers = False  # 0.7.1 ends when a peer it has is changed
    env = {"WG_SUDO": "true"}  # do not change to another user, which started from sudo it would do

    @classmethod
    def setUpClass(cls):
        super().setUpClass()  # built, so that starting it takes no time
        cls.theirs = str(TOOLS / "boringtun.sh")


class Gotatun(Newest, unittest.TestCase):
    tool = ["rust_tool.sh", "gotatun-cli"]
    env = {"WG_SUDO": "1"}
    changes_port = False  # 0.10.2 ends now and then ("channel closed")
    keeps_sessions = False  # 0.10.2 drops them on every change of its configuration


if __name__ == "__main__":
    unittest.main(verbosity=2)
