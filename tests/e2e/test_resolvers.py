"""Hosts whose /etc/resolv.conf belongs to systemd-resolved, to Debian's resolvconf, or to openresolv: the real ones."""
import os
import random
import signal
import time
import unittest

from lab import image
from lab.container import Container
from lab.labtest import BIN, InLab
from lab.netns import wait_until
from lab.story import Network


# As the system's manager would start them.
RESOLVED = """
mkdir -p /run/dbus /run/systemd/resolve /etc/systemd/resolved.conf.d
chown systemd-resolve /run/systemd/resolve
printf '[Resolve]\\nDNS=192.0.2.53\\nDNSSEC=yes\\nDNSOverTLS=yes\\n' >/etc/systemd/resolved.conf.d/strict.conf
dbus-daemon --system --fork
exec setpriv --reuid systemd-resolve --regid systemd-resolve --clear-groups --inh-caps=+net_raw,+net_bind_service,+setpcap \
    --ambient-caps=+net_raw,+net_bind_service,+setpcap /lib/systemd/systemd-resolved
"""
# The other server is one that sorts before ours by its name.
RESOLVCONF = """
mkdir -p /run/resolvconf/interface
resolvconf --enable-updates 2>/dev/null || true
echo 'nameserver 192.0.2.53' | resolvconf -a aaa0.dhcp
exec sleep 600
"""


def setUpModule():
    global OURS, BASE
    OURS = unittest.enterModuleContext(image.own_layer(BIN))
    BASE = image.base_root(image.Dockerfile())


KILLS = int(os.environ.get("HEIMDALL_KILLS", "6"))  # of each back end; nightly, 250


class Resolvers(InLab):
    """A peer sets them, also where a crash left something, and leaves them as they were."""

    def setUp(self):
        super().setUp()
        self.net = Network(self.lab)
        self.net.start_node()
        self.net.authorize()

    def host(self, script, *packages):
        self.client = Container(self.net.client, [OURS, image.layer_of(BASE, *packages), BASE], files=["hosts"])
        self.client.main("bash", "-ec", script)

    def start_peer(self):
        peer = self.net.start_peer(host=self.client)
        peer.wait_for("connected")
        return peer

    def life(self, state, ours):
        """`state`: a command whose output tells what is set; `ours`: lines of it while a peer is connected."""
        wait_until(lambda: "192.0.2.53" in self.client.run(["bash", "-ec", state], check=False).stdout, 10,
                   "the resolver does not start")
        before = self.client.sh(state)
        for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
            peer = self.start_peer()
            wait_until(lambda: all(line in self.client.sh(state) for line in ours), 5, lambda: self.client.sh(state))
            wait_until(lambda: "router.heimdall" in self.client.run(["getent", "hosts", "router"], check=False).stdout, 5,
                       "the name is not found")
            self.assertEqual(peer.stop(number), status)
        self.assertEqual(self.client.sh(state), before)
        self.assertEqual(self.client.sh("find /var/lib/heimdall-peer -name 'resol*'"), "")
        self.kills(state)

    def kills(self, state):
        """SIGKILL at any moment: a helper restores the resolver within a second."""
        before, moments = self.client.sh(state), random.Random(KILLS)
        for number in range(KILLS):
            peer = self.net.start_peer(host=self.client)
            wait_until(peer.pids, 5, "the peer does not start", every=0.01)
            if number % 2:
                peer.wait_for("connected")
            time.sleep(moments.random() * 0.2)
            peer.stop(signal.SIGKILL)
            wait_until(lambda: self.client.sh(state) == before, 1, lambda: self.client.sh(state), every=0.02)
        self.assertEqual(self.client.sh("find /var/lib/heimdall-peer -name 'resol*'"), "")

    def test_file(self):
        self.client = self.net.client
        (self.client.dir / "resolv.conf").write_text("nameserver 192.0.2.53\noptions rotate\n")
        self.life("cat /etc/resolv.conf", ["nameserver 127.0.51.53\n", "search heimdall", "options rotate"])

    def test_resolved(self):
        """which asks for signatures and encryption everywhere else"""
        self.host(RESOLVED, "systemd-resolved", "dbus")
        self.life("resolvectl dns | sed 's/Link [0-9]*//'; resolvectl domain | sed 's/Link [0-9]*//'; cat /etc/resolv.conf",
                  ["(darknet): 10.11.0.1", "(darknet): heimdall"])

    def test_resolvconf(self):
        self.host(RESOLVCONF, "resolvconf")
        self.life("cat /etc/resolv.conf", ["nameserver 127.0.51.53\n", "search heimdall"])

    def test_openresolv(self):
        self.host(RESOLVCONF, "openresolv")
        self.life("cat /etc/resolv.conf", ["nameserver 127.0.51.53\n", "search heimdall"])


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    unittest.main(verbosity=2)
