"""The Debian package on a minimal Debian: what it depends on is there, it runs, and purged it leaves nothing."""
import io
import pathlib
import re
import subprocess
import tarfile
import tempfile
import unittest

import image
from container import SYSCTLS, Container
from labtest import BIN, InLab
from story import Network, table


# What dpkg writes about every package, whatever it holds, and what goes with the next boot.
PASSED_OVER = r"/var/(lib/dpkg|log|cache)/|/run/"


def setUpModule():
    global PACKAGE, LAYER
    build = pathlib.Path(BIN).resolve().parent
    folder = pathlib.Path(unittest.enterModuleContext(tempfile.TemporaryDirectory(prefix="package-", dir=build)))
    image.run(["cpack", "-G", "DEB", "-B", folder], cwd=build)
    [PACKAGE] = folder.glob("heimdall_*.deb")
    LAYER = image.base_root(image.Dockerfile())


class Package(InLab):
    def setUp(self):
        super().setUp()
        self.net = Network(self.lab)
        self.hosts = [self.net.router, self.net.client]
        self.net.router, self.net.client = (Container(host, [LAYER]) for host in self.hosts)
        for host in self.hosts:
            host.sh(SYSCTLS)

    def dpkg(self, host, *argv):
        return host.run(["chroot", Container.file("/"), "dpkg", *argv])

    def install(self, host):
        host.sh(f"cp {PACKAGE} {Container.file('/heimdall.deb')}")
        self.dpkg(host, "--install", "/heimdall.deb")
        host.sh(f"rm {Container.file('/heimdall.deb')}")

    def files(self, host):
        found = host.sh(f"cd {Container.file('/')}; find . -xdev -printf '/%P\\n'").splitlines()
        return {path for path in found if not re.match(PASSED_OVER, path)}

    def option(self, host, name, text):
        """A line of a program's default configuration file."""
        file = Container.file(f"/etc/heimdall/{name}.conf")
        host.sh(f"mkdir -p $(dirname {file}); (umask 077; echo '{text}' >>{file})")

    def connect(self):
        self.node = self.net.router.main("heimdall")
        self.node.wait_for("hctl peers authorize", timeout=20)
        self.net.authorize()
        self.peer = self.net.client.main("hpeer")
        self.peer.wait_for("connected")
        self.net.client.run(["ping", "-c1", "-W5", "router"])

    def stop(self):
        self.assertEqual(self.net.client.stop(), 0, self.peer.output())
        self.assertEqual(self.net.router.stop(), 0, self.node.output())

    def test_life(self):
        """installed, used, installed once more over itself, used again as the same, removed and purged"""
        router, client = self.hosts
        before = [self.files(host) for host in self.hosts]
        for host in self.hosts:
            self.install(host)
        self.option(router, "heimdall", "name = router")
        for line in ("name = client", "addr = tcp://172.17.0.2:9000", f"id = {self.net.id}"):
            self.option(client, "hpeer", line)
        self.connect()
        key = table(self.net.hctl("nodes", "list").stdout)[0]["PUBLIC KEY"]
        self.stop()
        self.install(router)
        self.connect()
        self.assertEqual(table(self.net.hctl("nodes", "list").stdout)[0]["PUBLIC KEY"], key)
        self.stop()
        for host in self.hosts:
            self.dpkg(host, "--remove", "heimdall")
            self.assertTrue({path for path in self.files(host) if path.startswith("/etc/heimdall/")})
            self.dpkg(host, "--purge", "heimdall")
        self.assertEqual([self.files(host) - old for host, old in zip(self.hosts, before)], [set(), set()])

    def test_contents(self):
        """what the units start, the pages and the completions are in the package"""
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
