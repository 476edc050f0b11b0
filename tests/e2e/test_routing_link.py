"""The tunnel's interface: MTU, MSS, and its removal by another program."""
import os
import re
import signal
import unittest

from lab.netns import wait_until
from lab.routing import SERVER, WHOAMI, Routing


# Prints the MSS of the next SYN that arrives.
SYN = """
import socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
print("listening", flush=True)
while True:
    p = s.recv(2048)
    tcp = p[(p[0] & 15) * 4:]
    if p[9] != 6 or tcp[13] & 0x12 != 2:
        continue
    options = tcp[20:(tcp[12] >> 4) * 4]
    while options:
        if options[0] == 2:
            print("mss", struct.unpack(">H", options[2:4])[0], flush=True)
            raise SystemExit
        options = options[1 if options[0] == 1 else options[1]:]
"""


class Sizes(Routing):
    def test_mss(self):
        """a connection through the node fits the tunnel, whatever the peer believes"""
        net = self.net
        self.connect()
        self.publish()
        net.client.run(["ip", "link", "set", "darknet", "mtu", "8000"])
        watch = net.server.start(["python3", "-c", SYN])
        watch.wait_for("listening")
        net.client.run(["python3", "-B", WHOAMI, "ask", SERVER], check=False)
        self.assertIn("mss 1380", watch.wait_for("mss"))

    def test_transfers(self):
        """whatever the path to the server or to the node carries"""
        net = self.net
        self.connect()
        self.publish()
        self.assertEqual(self.mtu(net.client), 1420)
        for port, (under, behind, expected) in enumerate(((1500, 1280, 1420), (1500, 9000, 1420), (9000, 9000, 8920),
                                                          (1280, 1500, 1280), (1400, 1500, 1320))):
            with self.subTest(under=under, behind=behind):
                for host, link, mtu in ((net.router, "eth0", under), (net.client, "eth0", under),
                                        (net.router, "eth1", behind), (net.server, "eth0", behind)):
                    host.run(["ip", "link", "set", link, "mtu", str(mtu)])
                wait_until(lambda: self.mtu(net.client) == expected, 5, lambda: f"MTU {self.mtu(net.client)}")
                self.assertEqual(net.transfer(net.client, net.server, SERVER, 1_000_000, port=7200 + port),
                                 "1000000 bytes arrived whole in both directions")


class Removed(Routing):
    def everything(self, host):
        """Addresses, MTU, and routes of the tunnel."""
        shown = host.sh("ip -br addr show dev darknet | tr -s ' '; ip -o link show darknet | grep -o 'mtu [0-9]*';"
                        "ip route show table all dev darknet; ip -6 route show table all dev darknet;"
                        "ip rule; ip -6 rule")
        return re.sub(r"fe80::[0-9a-f:]+", "fe80::", shown)  # random, for each interface

    def test_interface(self):
        """removed on either side: recreated with all that was on it, and traffic continues"""
        net = self.net
        self.connect()
        self.publish()
        self.reaches(net.client, SERVER)
        for host, program in ((net.router, net.node), (net.client, self.peer)):
            with self.subTest(host=host.name):
                before = self.everything(host)
                resolver = host.resolv_conf()
                host.run(["ip", "link", "del", "darknet"])
                program.wait_for("recreated the tunnel's interface", timeout=3)
                wait_until(lambda: self.everything(host) == before, 3,
                           lambda: f"{self.everything(host)}\ninstead of\n{before}")
                self.reaches(net.client, SERVER, timeout=3)
                self.reaches(net.client, "router", timeout=3)
                self.reaches(net.router, "10.51.0.2", timeout=3)
                self.assertEqual(host.resolv_conf(), resolver)
                self.assertIn("latest handshake", host.run(["wg", "show"]).stdout)
                self.assertEqual(net.transfer(net.client, net.server, SERVER, 200_000),
                                 "200000 bytes arrived whole in both directions")
        self.assertEqual(self.peer.stop(), 0)
        self.assertEqual(net.node.stop(), 0)
        self.assertNotIn("5200:", net.router.sh("ip rule"))

    def test_again_and_again(self):
        """after ever longer pauses, and the log does not fill"""
        net = self.net
        self.connect()
        eager = net.client.start(["bash", "-c", "while sleep 0.05; do ip link del darknet 2>/dev/null; done"])
        self.peer.wait_for("interface was removed", count=3, timeout=10)
        self.assertLessEqual(self.peer.output().count("interface was removed"), 4)
        eager.stop(signal.SIGKILL)
        self.reaches(net.client, "10.11.0.1", timeout=10)


class RemovedWithLeastPrivilege(Removed):
    """The same with CAP_NET_ADMIN and CAP_NET_BIND_SERVICE only, on both sides."""
    least_privilege = True
    test_again_and_again = None


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    unittest.main(verbosity=2)
