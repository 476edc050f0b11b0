"""Every signal that ends a program lets it clean up. SIGHUP of a daemon without a terminal has it read its options again."""
import signal
import unittest

from lab.labtest import InLab
from lab.netns import wait_until
from lab.story import Network, traces

ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

# Gives a program a controlling terminal, and ends with its status.
ON_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:], lambda fd: os.read(fd, 4096))))"


class Signals(InLab):
    def setUp(self):
        super().setUp()
        self.net = Network(self.lab)

    def start_node(self, *options):
        node = self.net.router.start(["heimdall", "--name", "router", *options])
        node.wait_for("hctl peers authorize", timeout=20)
        return node

    def start_peer(self, *options):
        peer = self.net.client.start(["hpeer", "--name", "client", "--addr", "tcp://172.17.0.2:9000", "--id", self.net.id, *options])
        peer.wait_for(" connected node=", timeout=20)
        return peer

    def test_node(self):
        before = traces(self.net.router)
        for number in ENDS:
            with self.subTest(signal=number.name):
                node = self.start_node()
                self.assertEqual(node.stop(number), 0)
                self.assertIn(f"stopping signal={number.name}", node.output())
                self.assertEqual(traces(self.net.router), before)

    def test_peer(self):
        self.net.start_node()
        self.net.authorize()
        before = traces(self.net.client)
        for number in ENDS:
            with self.subTest(signal=number.name):
                self.assertEqual(self.start_peer().stop(number), 0)
                self.assertEqual(traces(self.net.client), before)

    def test_engine(self):
        host = self.net.client
        before = traces(host)
        for number in (*ENDS, signal.SIGHUP):
            with self.subTest(signal=number.name):
                engine = host.start(["heimdall-wg", "-f", "wg0"])
                wait_until(lambda: host.run(["wg", "show", "wg0"], check=False).returncode == 0, 10, "it does not start")
                self.assertEqual(engine.stop(number), 0)
                self.assertEqual(traces(host), before)

    def test_hangup_of_a_node(self):
        router = self.net.router
        router.sh("echo 'dns-domain = home' >/tmp/node.conf")
        node = self.start_node("--config", "/tmp/node.conf")
        router.sh("printf 'debug = true\\ndns-domain = office\\n' >/tmp/node.conf")
        node.kill(signal.SIGHUP)
        node.wait_for("INFO read the options again changed=debug")
        node.wait_for("WARN changed options wait for a restart options=dns-domain")
        router.sh("echo 'colour = red' >>/tmp/node.conf")
        node.kill(signal.SIGHUP)
        node.wait_for("line 3: option colour")
        self.assertEqual(router.run(["hctl", "nodes", "list"]).returncode, 0)

    def test_hangup_of_a_peer(self):
        self.net.start_node()
        self.net.authorize()
        peer = self.start_peer()
        peer.kill(signal.SIGHUP)
        peer.wait_for("read the options again")
        self.net.client.run(["ping", "-c1", "-W5", "10.11.0.1"])

    def test_hangup_on_a_terminal(self):
        """The terminal was closed: nobody is there to be asked, and nothing may be left."""
        before = traces(self.net.router)
        node = self.net.router.start(["python3", "-c", ON_A_TERMINAL, "heimdall", "--name", "router"])
        node.wait_for("hctl peers authorize", timeout=20)
        self.net.router.run(["pkill", "-HUP", "-o", "-x", "heimdall"])
        node.wait_for("stopping signal=SIGHUP")
        self.assertEqual(node.popen.wait(20), 0)
        self.assertEqual(traces(self.net.router), before)

    def test_nohup(self):
        node = self.net.router.start(["nohup", "heimdall", "--name", "router"])
        node.wait_for("hctl peers authorize", timeout=20)
        node.kill(signal.SIGHUP)
        self.net.authorize()
        self.assertNotIn("options again", node.output())
        self.assertTrue(node.alive())

    def test_process_one(self):
        """A container's program without --init: orphans are reaped, and signals reach the program."""
        router = self.net.router
        before = traces(router)
        for argv, ready in ((["heimdall", "--name", "router"], "hctl peers authorize"), (["heimdall-wg", "-f", "wg0"], None)):
            with self.subTest(program=argv[0]):
                outer = router.start(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *argv])
                if ready:
                    outer.wait_for(ready, timeout=20)
                else:
                    wait_until(lambda: router.run(["wg", "show", "wg0"], check=False).returncode == 0, 10, "it does not start")
                first = router.sh(f"pgrep -o -x {argv[0]}").strip()
                for _ in range(5):
                    router.run(["nsenter", "-t", first, "-p", "sh", "-c", "(sleep 0.1 &); exit 0"])
                wait_until(lambda: "sleep" not in router.programs(), 10, lambda: f"not reaped: {router.programs()}")
                router.sh(f"kill -TERM {first}")
                self.assertEqual(outer.popen.wait(20), 0)
                self.assertEqual(traces(router), before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
