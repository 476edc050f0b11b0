"""The Debian package on a minimal Debian: its dependencies suffice, it runs, and purging leaves nothing."""
import io
import re
import subprocess
import tarfile
import unittest

from lab import image
from lab.container import SYSCTLS, Container
from lab.labtest import BIN, InLab
from lab.story import Network, table

# Files that dpkg writes for any package, and files that the next boot removes.
PASSED_OVER = r"/var/(lib/dpkg|log|cache)/|/run/"


def setUpModule():
    global PACKAGE, LAYER
    PACKAGE = unittest.enterModuleContext(image.package(BIN))
    LAYER = image.base_root(image.Dockerfile())


class Package(InLab):
    def setUp(self):
        super().setUp()
        self.net = Network(self.lab)
        for host in (self.net.router, self.net.client):
            host.sh(SYSCTLS)
        self.net.router, self.net.client = self.both = [Container(host, [LAYER]) for host in (self.net.router, self.net.client)]

    def files(self, container):
        found = container.outer.sh(f"cd {Container.file('/')}; find . -xdev -printf '/%P\\n'").splitlines()
        return {path for path in found if not re.match(PASSED_OVER, path)}

    def connect(self):
        self.node = self.net.router.main("heimdall")
        self.node.wait_for("hctl peers authorize", timeout=20)
        self.net.authorize()
        self.peer = self.net.client.main("hpeer")
        self.peer.wait_for("connected")
        self.net.wait_for_name(self.net.client, "router")
        self.net.client.run(["ping", "-c1", "-W5", "router"])

    def stop(self):
        self.assertEqual(self.net.client.stop(), 0, self.peer.output())
        self.assertEqual(self.net.router.stop(), 0, self.node.output())

    def test_life(self):
        """Install, use, reinstall, use with the same identity, remove, purge."""
        router, client = self.both
        before = [self.files(container) for container in self.both]
        for container in self.both:
            container.install(PACKAGE)
        router.option("heimdall", "name = router")
        for line in ("name = client", "addr = tcp://172.17.0.2:9000", f"id = {self.net.id}"):
            client.option("hpeer", line)
        self.connect()
        key = table(self.net.hctl("nodes", "list").stdout)[0]["PUBLIC KEY"]
        self.stop()
        router.install(PACKAGE)
        self.connect()
        self.assertEqual(table(self.net.hctl("nodes", "list").stdout)[0]["PUBLIC KEY"], key)
        self.stop()
        for container in self.both:
            container.dpkg("--remove", "heimdall")
            self.assertTrue({path for path in self.files(container) if path.startswith("/etc/heimdall/")})
            container.dpkg("--purge", "heimdall")
        self.assertEqual([self.files(container) - old for container, old in zip(self.both, before)], [set(), set()])

    def test_contents(self):
        """The package has the programs that the units start, the manual pages and the completions."""
        packed = subprocess.run(["dpkg-deb", "--fsys-tarfile", PACKAGE], check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as files:
            for program in ("heimdall", "hpeer"):
                unit = files.extractfile(f"./usr/lib/systemd/system/{program}.service").read().decode()
                [started] = re.findall(r"^ExecStart=(\S+)$", unit, re.M)
                self.assertTrue(files.getmember(f".{started}").mode & 0o100)
            for program, page in (("heimdall", "8"), ("hpeer", "8"), ("hctl", "1"), ("heimdall-wg", "8")):
                self.assertTrue(files.getmember(f"./usr/share/man/man{page}/{program}.{page}.gz").isfile())
                self.assertTrue(files.getmember(f"./usr/share/bash-completion/completions/{program}").isfile())


if __name__ == "__main__":
    unittest.main(verbosity=2)
