"""The Debian package's units on a minimal Debian whose process 1 is systemd."""
import time
import unittest

from lab import image
from lab.container import MACHINE, MANAGER, SYSCTLS, SYSTEMD, Container
from lab.labtest import BIN, InLab
from lab.netns import wait_until
from lab.story import Network, table


def setUpModule():
    global PACKAGE, LAYERS
    PACKAGE = unittest.enterModuleContext(image.package(BIN))
    base = image.base_root(image.Dockerfile())
    LAYERS = [image.layer_of(base, "systemd", "procps"), base]


class Service(InLab):
    def setUp(self):
        super().setUp()
        self.net = Network(self.lab)
        self.router = self.machine(self.net.router)

    def machine(self, outer):
        """With the package installed."""
        outer.sh(SYSCTLS)
        machine = Container(outer, LAYERS, MANAGER, mounts=MACHINE)
        outer.sh(f"rm {Container.file('/usr/sbin/policy-rc.d')}")
        machine.install(PACKAGE)
        machine.main(*SYSTEMD)
        wait_until(lambda: self.systemctl(machine, "is-system-running") in ("running", "degraded"), 20, machine.process.output)
        return machine

    def systemctl(self, machine, *argv):
        return machine.run(["systemctl", *argv], check=False).stdout.strip()

    def property(self, machine, unit, name):
        return self.systemctl(machine, "show", "--value", "-p", name, unit)

    def answers(self):
        wait_until(lambda: self.router.run(["hctl", "nodes", "list"], check=False).returncode == 0, 10,
                   lambda: self.systemctl(self.router, "status", "heimdall"))

    def test_node(self):
        """The package starts nothing. Enabled, the unit restarts after a crash, not after a wrong option, stops cleanly, and is purged."""
        router = self.router
        self.assertEqual(self.systemctl(router, "is-enabled", "heimdall", "hpeer"), "disabled\ndisabled")
        self.assertEqual(self.systemctl(router, "is-active", "heimdall", "hpeer"), "inactive\ninactive")
        router.option("heimdall", "name = router")
        self.systemctl(router, "enable", "--now", "heimdall")
        self.answers()
        before = self.property(router, "heimdall", "MainPID")
        router.option("heimdall", "debug = true")
        self.systemctl(router, "reload", "heimdall")
        wait_until(lambda: "changed=debug" in router.run(["journalctl", "-o", "cat"]).stdout, 10, "options are not read again")
        self.assertEqual(self.property(router, "heimdall", "MainPID"), before)
        router.sh(f"kill -KILL {before}")
        wait_until(lambda: self.property(router, "heimdall", "MainPID") not in ("0", before), 10, "it is not started again")
        self.answers()
        self.systemctl(router, "stop", "heimdall")
        self.assertEqual(self.property(router, "heimdall", "Result"), "success")
        self.assertEqual(router.outer.sh("nft list tables"), "")

        router.option("heimdall", "colour = red")
        self.systemctl(router, "start", "heimdall")
        time.sleep(2.5)  # RestartSec, and more
        self.assertEqual(self.systemctl(router, "is-active", "heimdall"), "failed")
        self.assertEqual(self.property(router, "heimdall", "NRestarts"), "0")
        # The whole journal: systemd may not learn the unit of a line whose process has already ended.
        self.assertIn("colour", router.run(["journalctl", "-o", "cat"]).stdout)
        router.sh("sed -i /colour/d /etc/heimdall/heimdall.conf")
        self.systemctl(router, "start", "heimdall")
        self.answers()

        router.run(["dpkg", "--purge", "heimdall"])
        self.assertEqual(router.sh("pgrep 'heimdall|redis' || true"), "")
        self.assertEqual(router.sh("find /etc /usr /var/lib -name '*heimdall*' -not -path '/var/lib/dpkg/*'"), "")

    def test_peer(self):
        """The peer waits, logs the line that authorizes it, connects, and restores the resolver."""
        self.router.option("heimdall", "name = router")
        self.systemctl(self.router, "start", "heimdall")
        self.answers()
        client = self.machine(self.net.client)
        resolver = client.outer.resolv_conf()
        client.option("hpeer", "addr = tcp://172.17.0.2:9000")
        self.systemctl(client, "start", "hpeer")
        journal = ["journalctl", "-u", "hpeer", "-o", "cat"]
        wait_until(lambda: "hctl peers authorize" in client.run(journal).stdout, 10, "it does not say how it is let in")
        self.router.run(client.run(journal).stdout.split("Run on a node: ")[1].split("\n")[0].split())
        wait_until(lambda: client.run(["ping", "-c1", "-W1", "router"], check=False).returncode == 0, 10, "no answer")
        self.assertEqual(len(table(self.router.run(["hctl", "peers", "list"]).stdout)), 1)
        self.systemctl(client, "stop", "hpeer")
        self.assertEqual(self.property(client, "hpeer", "Result"), "success")
        self.assertEqual(client.outer.resolv_conf(), resolver)


if __name__ == "__main__":
    unittest.main(verbosity=2)
