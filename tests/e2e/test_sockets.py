"""Sockets that another program removes, by file or with their folder, are recreated."""
import unittest

from lab.labtest import InLab
from lab.netns import wait_until
from lab.story import Network

CONTROL = "/var/lib/heimdall/control.sock"
REDIS = "/var/lib/heimdall/redis/redis.sock"
UAPI = "/run/wireguard/darknet.sock"


class Sockets(InLab):
    least_privilege = False

    def setUp(self):
        super().setUp()
        self.net = Network(self.lab, least_privilege=self.least_privilege)
        self.router, self.client = self.net.router, self.net.client
        self.node = self.net.start_node()

    def works(self, *argv, host=None):
        return (host or self.router).run(argv, check=False).returncode == 0

    def wait_works(self, *argv, host=None, timeout=15):
        wait_until(lambda: self.works(*argv, host=host), timeout, lambda: f"{argv} does not work")

    def over_tcp(self, *args):
        return self.router.run(["hctl", "-a", "tcp://172.17.0.2:9000", *args], check=False).stdout

    def test_files(self):
        """each is recreated once, and said once"""
        self.router.sh(f"rm {CONTROL} {UAPI}")
        self.wait_works("hctl", "nodes", "list")
        self.wait_works("wg", "show", "darknet")
        for file in (CONTROL, "/wireguard/darknet.sock"):
            self.node.wait_for(f"{file}", count=2)
        self.assertEqual(self.node.output().count("another program removed a socket"), 2)
        self.assertEqual(self.router.sh(f"stat -c %a {CONTROL} {UAPI}"), "600\n600\n")
        self.assertEqual(self.node.stop(), 0)
        self.assertFalse(self.works("test", "-e", CONTROL) or self.works("test", "-e", UAPI))

    def test_folder(self):
        self.router.sh("mv /run/wireguard /run/moved")  # at once: rm -r would meet the new socket
        self.wait_works("wg", "show", "darknet")

    def test_redis(self):
        """Redis is restarted for it, and nothing is lost"""
        self.net.authorize()
        self.router.sh(f"rm {REDIS}")
        self.node.wait_for(f"another program removed a socket, recreating it file={REDIS}", timeout=15)
        self.node.wait_for(f"recreated a socket file={REDIS}", timeout=20)
        self.wait_works("hctl", "peers", "authorize")
        self.assertIn(self.net.id, self.net.hctl("peers", "authorized").stdout)
        self.assertEqual(self.node.output().count("another program removed a socket"), 1)

    def test_cannot(self):
        """status names what is missing, until the cause is gone"""
        self.router.sh(f"touch /var/lib/heimdall/x; mv -f /var/lib/heimdall/x {CONTROL}")
        self.node.wait_for("cannot recreate a socket, retrying", timeout=15)
        self.assertIn(f"the socket {CONTROL} was removed", self.over_tcp("status"))
        self.router.sh(f"rm {CONTROL}")
        self.wait_works("hctl", "nodes", "list")
        self.assertNotIn("the socket", self.net.hctl("status", check=False).stdout)

    def test_of_another(self):
        """a socket on which another program listens is left alone"""
        self.router.sh(f"rm {CONTROL}")
        self.wait_works("hctl", "nodes", "list")
        listen = ("import os, socket, time; s = socket.socket(socket.AF_UNIX); s.bind('/var/lib/heimdall/x'); s.listen();"
                  f"os.rename('/var/lib/heimdall/x', '{CONTROL}'); print('listening', flush=True); time.sleep(60)")
        other = self.router.start(["python3", "-c", listen])
        other.wait_for("listening")
        self.node.wait_for("cannot recreate a socket, retrying", timeout=15)
        self.assertEqual(self.node.stop(), 0)
        self.assertTrue(self.works("test", "-S", CONTROL))

    def test_fight(self):
        """pauses grow, and the log does not fill"""
        eager = self.router.start(["bash", "-c", f"while sleep 0.1; do rm -f {CONTROL}; done"])
        self.node.wait_for("another program keeps removing a socket", timeout=30)
        self.assertLessEqual(self.node.output().count("another program removed a socket"), 4)
        eager.stop()

    def test_peer(self):
        self.net.authorize()
        peer = self.net.start_peer()
        peer.wait_for(" connected node=")
        self.client.sh(f"rm {UAPI}")
        self.wait_works("wg", "show", "darknet", host=self.client)
        self.client.sh("mv /run/wireguard /run/moved")
        self.wait_works("wg", "show", "darknet", host=self.client)


class SocketsWithLeastPrivilege(Sockets):
    """The same with CAP_NET_ADMIN and CAP_NET_BIND_SERVICE only."""
    least_privilege = True
    test_fight = test_of_another = test_cannot = None


if __name__ == "__main__":
    unittest.main(verbosity=2)
