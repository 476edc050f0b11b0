"""heimdall-wg as a drop-in for wireguard-go: both are started in the same ways and must do the same."""
import os
import pathlib
import subprocess
import sys
import unittest

from lab.labtest import BIN, InLab
from lab.netns import wait_until

ROOT = pathlib.Path(__file__).parent.parent.parent
OURS = "heimdall-wg"

# Opens the TUN and the socket, as a program does that drops its rights before it starts the device.
WITH_DESCRIPTORS = """
import fcntl, os, socket, struct, sys
tun = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH22x', b'wg7', 0x1001))
uapi = socket.socket(socket.AF_UNIX)
uapi.bind('/run/wireguard/wg7.sock')
uapi.listen()
for fd in tun, uapi.fileno(): os.set_inheritable(fd, True)
os.environ.update(WG_TUN_FD=str(tun), WG_UAPI_FD=str(uapi.fileno()))
os.execvp(sys.argv[1], [sys.argv[1], 'wg7'])
"""


class DropIn(InLab):
    @classmethod
    def setUpClass(cls):
        script = ROOT / "tests/tools/wireguard_go.sh"
        cls.go = subprocess.run([script], stdout=subprocess.PIPE, text=True, check=True, timeout=240).stdout.strip()

    def setUp(self):
        super().setUp()

    def each(self):
        """A host for each program."""
        for program in (OURS, self.go):
            name = pathlib.Path(program).name
            yield program, name, self.lab.host(name)

    def daemon(self, host, program, name="wg0", **env):
        """Starts it in the background, its output going to files; returns its process id on this side."""
        host.sh(f"'{program}' '{name}' >/tmp/out 2>/tmp/err || {{ cat /tmp/err; exit 1; }}", env=env)
        (number,) = host.sh(f"pidof {pathlib.Path(program).name}").split()
        return int(number)

    def outputs(self, host, number):
        """The targets of the standard descriptors of a process of the host."""
        return [host.sh(f"readlink /proc/{number}/fd/{fd}").strip() for fd in range(3)]

    def test_background(self):
        """The parent returns once the device exists, and logs that were asked for continue in the background."""
        for program, name, host in self.each():
            for level, kept in ((None, False), ("silent", False), ("error", True), ("verbose", True), ("what", True)):
                with self.subTest(program=name, level=level):
                    number = self.daemon(host, program, **({"LOG_LEVEL": level} if level else {}))
                    host.sh("ip link show wg0; wg show wg0")
                    self.assertEqual(self.outputs(host, number),
                                     ["/dev/null"] + (["/tmp/out", "/tmp/err"] if kept else ["/dev/null"] * 2))
                    host.sh("ip link del wg0")
                    wait_until(lambda: host.run(["pidof", name], check=False).returncode != 0, 10, "still running")
                    self.assertEqual(host.sh("ls /run/wireguard"), "")

    def test_silent(self):
        """An error that is logged otherwise: a change that cannot be made."""
        for level, said in ((None, True), ("silent", False)):
            with self.subTest(level=level):
                host = self.lab.host(f"level-{level}")
                taken = "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 40000)); time.sleep(30)"
                host.start([sys.executable, "-c", taken])
                wait_until(lambda: ":40000" in host.sh("ss -lun"), 5, "the port is not taken")
                process = host.start([OURS, "-f", "wg0"], env={"LOG_LEVEL": level} if level else None)
                wait_until(lambda: host.run(["wg", "show", "wg0"], check=False).returncode == 0, 20, "not started")
                host.sh("ip link set wg0 up")
                done = host.run(["wg", "set", "wg0", "listen-port", "40000"], check=False)
                self.assertIn("Address already in use", done.stderr)
                self.assertEqual(process.stop(), 0)  # its last lines are written at the end
                self.assertEqual("ERR" in process.output(), said)

    def test_foreground(self):
        for program, name, host in self.each():
            for argv, env in ((["-f", "wg0"], {}), (["--foreground", "wg0"], {}),
                              (["wg0"], {"WG_PROCESS_FOREGROUND": "1"})):
                with self.subTest(program=name, argv=argv):
                    process = host.start([program, *argv], env=env)
                    wait_until(lambda: host.run(["wg", "show", "wg0"], check=False).returncode == 0, 20, "not started")
                    self.assertTrue(process.alive())
                    self.assertEqual(process.stop(), 0)

    def test_descriptors_in_the_background(self):
        for program, name, host in self.each():
            with self.subTest(program=name):
                host.run([sys.executable, "-c", WITH_DESCRIPTORS, program])
                host.sh("ip link set wg7 up; wg set wg7 listen-port 40000")
                self.assertEqual(host.sh("wg show wg7 listen-port").strip(), "40000")
                host.sh("rm /run/wireguard/wg7.sock")
                wait_until(lambda: host.run(["pidof", name], check=False).returncode != 0, 10, "still running")

    def test_failures(self):
        """Both end with 1 and say why; nothing is left behind."""
        for program, name, host in self.each():
            host.sh("ip link add taken type bridge; mkdir -p /run/wireguard/folder.sock/file")
            for argv in ["taken"], ["folder"], ["-f", "taken"], ["-f", "folder"]:
                with self.subTest(program=name, argv=argv):
                    done = host.run([program, *argv], check=False)
                    self.assertEqual(done.returncode, 1, done.stderr)
                    self.assertNotEqual(done.stderr, "")
                    self.assertNotIn("folder:", host.sh("ip -o link"))

    def test_version_and_usage(self):
        for program, name, host in self.each():
            with self.subTest(program=name):
                self.assertRegex(host.run([program, "--version"]).stdout, rf"^{name} v?\d+\.")
                self.assertIn("--foreground", host.run([program], check=False).stdout +
                              host.run([OURS, "-h"]).stdout)


class ManPage(unittest.TestCase):
    def test_names_every_option_and_variable(self):
        page = (ROOT / "packaging/man/heimdall-wg.8").read_text()
        usage = subprocess.run([pathlib.Path(BIN) / OURS, "-h"], capture_output=True, text=True, check=True).stdout
        words = [word.strip(",") for word in usage.split() if word.startswith("--") or word.isupper() and "_" in word]
        self.assertGreater(len(words), 5)
        for word in words:
            self.assertIn(word[1:] if word.startswith("--") else word.split("=")[0], page)


if __name__ == "__main__":
    os.umask(0o022)
    unittest.main(verbosity=2)
