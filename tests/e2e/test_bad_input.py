"""Bad input: a clear line, the right exit code, and nothing left behind. test_bad_options.py has each option's values."""
import json
import sys
import unittest
import uuid

from lab.labtest import LabTest
from lab.netns import wait_until
from lab.story import Network


class BadInput(LabTest):
    @classmethod
    def setUpClass(cls):
        cls.share_lab()
        cls.net = Network(cls.lab)

    def refused(self, argv, code, *words, host=None, setup=None, **options):
        """Runs a command that must fail with this exit code, naming each of the words on its last line."""
        host = host or self.net.router
        argv = ["bash", "-c", f"{setup}; exec \"$@\"", "setup", *argv] if setup else argv
        links = self.links(host)
        done = host.run(argv, check=False, timeout=30, **options)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        last = (done.stderr or done.stdout).strip().split("\n")[-1]
        for word in words:
            self.assertIn(word, last, done.stderr)
        self.assertEqual(self.links(host), links)
        self.assertEqual(host.programs(), self.running, "left running")
        return last

    def links(self, host):
        return [link["ifname"] for link in json.loads(host.sh("ip -j link"))]

    def setUp(self):
        self.running = self.net.router.programs()

    def test_unknown_option(self):
        for program in ("heimdall", "hpeer", "hctl", "heimdall-wg"):
            with self.subTest(program=program):
                self.refused([program, "--no-such-option"], 2, "--no-such-option")

    def test_networks(self):
        """overlapping one another or this host's own, or of a useless size"""
        for options, words in (
                (["--node-network", "10.51.0.0/16"], ["--peer-network", "apart", "10.51.0.0/16"]),
                (["--node-network", "10.0.0.0/8"], ["--node-network", "10.0.0.0/8", "/9 to /24"]),
                (["--peer-network", "10.51.0.0/30"], ["--peer-network", "10.51.0.0/30", "/8 to /24"]),
                (["--peer-network", "192.168.0.0/16"], ["--peer-network", "192.168.0.0/16", "192.168.50.0/24"]),
                (["--node-network6", "fd00::/64", "--peer-network6", "none"], ["--peer-network6", "none"]),
                (["--node-network6", "fd00::/48", "--peer-network6", "fd00:0:0:1::/64"], ["--peer-network6", "apart"]),
        ):
            with self.subTest(options=options):
                self.refused(["heimdall", "--data-dir", "/tmp/new", *options], 2, *words)
                self.assertNotIn("new", self.net.router.sh("ls /tmp").split())

    def test_not_in_this_version(self):
        """Options for several nodes are refused, not ignored."""
        for option, value in (("--peer", "tcp://192.0.2.1:9000"), ("--client-cert", "/a.pem"), ("--client-key", "/a.key")):
            with self.subTest(option=option):
                self.refused(["heimdall", option, value], 2, option, "not in this version")

    def test_environment_value_not_parsable(self):
        self.refused(["heimdall"], 2, "HEIMDALL_ENDPOINT_PORT", "abc", env={"HEIMDALL_ENDPOINT_PORT": "abc"})

    def test_config_file(self):
        """A bad line is named, and nothing is created before all options are valid."""
        for program in ("heimdall", "hpeer", "hctl"):
            with self.subTest(program=program):
                self.net.router.sh("printf 'data-dir = /tmp/made\\nno-such = 1\\n' >/tmp/bad.conf")
                argv = [program, "--config", "/tmp/bad.conf", *(["nodes", "list"] if program == "hctl" else [])]
                self.refused(argv, 2, "/tmp/bad.conf line 2", "no-such")
                self.refused([program, "--data-dir", "/tmp/made", "--no-such"], 2, "--no-such")
                self.net.router.sh("test ! -e /tmp/made")

    def test_missing_value(self):
        self.refused(["heimdall", "--name"], 2, "--name")

    def test_help_and_version(self):
        for program in ("heimdall", "hpeer", "hctl", "heimdall-wg"):
            self.assertIn("usage", self.net.router.run([program, "--help"]).stdout.lower())
            self.assertRegex(self.net.router.run([program, "--version"]).stdout, r"\d+\.\d+\.\d+")

    NO_TUN = "mount -t tmpfs tmpfs /dev/net"

    def test_tun_missing(self):
        for argv in (["heimdall"], ["hpeer"], ["heimdall-wg", "-f", "wg0"]):
            with self.subTest(program=argv[0]):
                self.refused(["unshare", "-m", "bash", "-c", f"{self.NO_TUN}; exec \"$@\"", "x", *argv], 1,
                             "/dev/net/tun", "--device /dev/net/tun")

    def test_no_net_admin(self):
        for argv in (["heimdall"], ["hpeer"], ["heimdall-wg", "-f", "wg0"]):
            with self.subTest(program=argv[0]):
                self.refused(["setpriv", "--bounding-set=-net_admin", *argv], 1, "--cap-add NET_ADMIN")

    def test_ports_taken(self):
        taken = ("import socket,sys,time; s=socket.socket(socket.AF_INET, getattr(socket, sys.argv[1]));"
                 "s.bind(('0.0.0.0', int(sys.argv[2]))); s.type == socket.SOCK_STREAM and s.listen();"
                 "print('taken', flush=True); time.sleep(60)")
        for kind, port, option in (("SOCK_STREAM", 9000, "--addr"), ("SOCK_DGRAM", 10100, "--endpoint-port")):
            with self.subTest(option=option):
                holder = self.net.router.start(["python3", "-c", taken, kind, str(port)])
                holder.wait_for("taken")
                self.running = self.settled()
                self.refused(["heimdall"], 1, str(port), option)
                holder.stop()
                self.running = self.settled()

    def test_redis_missing(self):
        self.net.router.sh("mkdir -p /tmp/bin; ln -sf $(command -v ip) $(command -v nft) /tmp/bin/")
        self.refused(["env", "PATH=/tmp/bin", str(self.lab.bin / "heimdall")], 1, "redis-server", "apt")

    def test_data_dir_of_a_run_with_more_rights(self):
        self.net.start_node()
        self.net.node.stop()
        self.refused(["heimdall"], 1, "/var/lib/heimdall/redis", "chown", least_privilege=True)

    def settled(self):
        """The programs that run on the router once nft has ended."""
        wait_until(lambda: "nft" not in self.net.router.programs(), 10, "nft does not end")
        return self.net.router.programs()

    def test_data_dir_held(self):
        self.net.start_node()
        try:
            self.running = self.settled()
            self.refused(["heimdall"], 1, "/var/lib/heimdall")
        finally:
            self.net.node.stop()

    def test_other_networks_than_the_clusters(self):
        """A node that comes back with other networks ends with a clear line, and comes back with the former ones"""
        self.net.start_node("--data-dir", "/tmp/nets", "--peer-network", "10.61.0.0/16").stop()
        for options in (["--peer-network", "10.62.0.0/16"], ["--node-network", "10.20.0.0/16"], []):
            with self.subTest(options=options):
                self.refused(["heimdall", "--data-dir", "/tmp/nets", *options], 1, "--peer-network 10.61.0.0/16", "cannot change")
        self.net.start_node("--data-dir", "/tmp/nets", "--peer-network", "10.61.0.0/16").stop()
        self.net.router.sh("rm -r /tmp/nets")

    def test_requests(self):
        self.net.start_node()
        try:
            self.running = self.settled()
            node = self.net.node_id()
            known = str(uuid.uuid4())
            self.net.authorize(known)
            for status, argv, words in (
                    (1, ["peers", "authorize", "laptop"], ["laptop"]),
                    (3, ["peers", "deauthorize", str(uuid.uuid4())], ["not authorized"]),
                    (1, ["routes", "create", "--node-id", node, "--network", "10.11.5.0/24"], ["10.11.0.0/16"]),
                    (1, ["routes", "create", "--node-id", node, "--network", "10.51.5.0/24"], ["10.51.0.0/16"]),
                    (1, ["routes", "create", "--node-id", node, "--network", "x"], ["x"]),
                    (3, ["routes", "create", "--node-id", "nobody", "--network", "192.168.9.0/24"], ["nobody"]),
                    (3, ["routes", "delete", "192.168.9.0/24"], ["192.168.9.0/24"]),
            ):
                with self.subTest(argv=argv):
                    self.refused(["hctl", *argv], status, *words)
            self.refused(["hctl", "routes", "create"], 2, "--node-id")
            self.refused(["hctl", "bogus"], 2, "bogus")
            self.assertIn(known, self.net.hctl("peers", "authorized").stdout)
            wrong = ["hctl", "-a", "tcp://172.17.0.2:9000", "--cluster-key", str(uuid.uuid4()), "nodes", "list"]
            self.refused(wrong, 6, "cluster key", host=self.net.router)
        finally:
            self.net.node.stop()

    def test_hctl_without_a_node(self):
        self.refused(["hctl", "nodes", "list"], 5, "heimdall")


if __name__ == "__main__":
    unittest.main(verbosity=2)
