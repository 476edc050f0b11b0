"""The image of the Dockerfile as the README runs it: NET_ADMIN and /dev/net/tun, no kernel module, no /lib/modules."""
import json
import os
import re
import shlex
import signal
import subprocess
import unittest

from lab import image
from lab.container import DOCKER, LEAST, SYSCTLS, Container
from lab.labtest import BIN, InLab
from lab.netns import wait_until
from lab.story import Network, table

NODE = ["heimdall", "-D", "--name", "router"]
PEER = ["hpeer", "-D", "--name", "client", "--addr", "tcp://172.17.0.2:9000", "--id"]
IPV6_TOLD = "IPv6 is switched off on this host"


def setUpModule():
    """The image's layers, for all tests: ours, then the one of the packages."""
    global LAYERS
    LAYERS = [unittest.enterModuleContext(image.own_layer(BIN)), image.base_root(image.Dockerfile())]


class Packages(unittest.TestCase):
    """The Dockerfile names the packages of the programs' libraries, all of them and no others."""

    def in_image(self, *argv):
        return subprocess.run(["chroot", str(LAYERS[1]), *argv], check=True, capture_output=True, text=True).stdout

    def test_libraries(self):
        shown = subprocess.run(["objdump", "-p", *(LAYERS[0] / "usr/bin").iterdir()], check=True, capture_output=True,
                               text=True).stdout
        needed = {name for name in re.findall(r"NEEDED +(\S+)", shown) if not re.match(r"lib[atu]b?san\.", name)}
        owners = {line.split(":")[0] for name in needed for line in self.in_image("dpkg", "-S", f"*/{name}").splitlines()}
        self.assertEqual(owners - {"libc6", "libgcc-s1"},
                         {name for name in image.Dockerfile().packages() if name.startswith("lib")})

    def test_what_is_installed(self):
        """The image that is run has them: it was made from these lines"""
        for name in image.Dockerfile().packages():
            self.assertIn("installed", self.in_image("dpkg-query", "-W", "-f", "${db:Status-Status}", name))

    def test_build_stage(self):
        """builds as ./dev does, and copies what `cmake --install` installs"""
        steps = image.Dockerfile()
        self.assertIn("./dev build release programs && DESTDIR=/image cmake --install build/release --prefix /usr --strip",
                      [rest for _, rest in steps.build])
        self.assertEqual(steps.arguments("COPY"), ["--from=build /image /"])


class Readme(unittest.TestCase):
    def test_commands(self):
        """`docker run` gives the rights that the tests below give, and starts what they start"""
        text = image.DOCKERFILE.with_name("README.md").read_text().replace("\\\n", " ")
        runs = [line for line in text.splitlines() if line.startswith("docker run ")]
        for line, program in zip(runs, (NODE, PEER), strict=True):
            options, command = line.split(" heimdall ", 1)  # the image
            self.assertEqual(shlex.split(command)[:len(program)], program)
            self.assertEqual(re.findall(r"--(?:cap-\S+|device|privileged|net\S*|sysctl)\b ?\S*", options),
                             ["--cap-add NET_ADMIN", "--device /dev/net/tun"])


class Story(InLab):
    caps = DOCKER

    def setUp(self):
        super().setUp()
        self.net = Network(self.lab)
        self.outer = [self.net.router, self.net.client]
        for host in self.outer:
            host.sh(SYSCTLS)
        self.net.router = self.router = Container(self.net.router, LAYERS, self.caps)
        self.net.client = self.client = Container(self.net.client, LAYERS, self.caps)

    def start_node(self):
        self.node = self.router.main(*NODE)
        self.node.wait_for("hctl peers authorize", timeout=20)

    def start_peer(self):
        self.peer = self.client.main(*PEER, self.net.id)
        self.peer.wait_for("connected")

    def connect(self):
        self.start_node()
        self.net.authorize()
        self.start_peer()

    def ping(self, container, *argv, check=True):
        """Debian's `ping` does not start without NET_RAW; the network and the resolver are the same outside."""
        host = container if "net_raw" in self.caps else container.outer
        return host.run(["ping", "-c1", "-W1", *argv], check=check)

    def reaches(self, container, target, timeout=5):
        wait_until(lambda: self.ping(container, target, check=False).returncode == 0, timeout,
                   f"{container.name} does not reach {target}")

    def is_healthy(self, container):
        check = ["timeout", "2", "sh", "-c", image.Dockerfile().health_check()]
        return container.run(check, check=False).returncode == 0

    def traces(self, host):
        """The state of the container's network and files."""
        sockets = f"find {Container.file('/run')} {Container.file('/tmp')} /var/lib/heimdall* -type s"
        return {
            "links": [link["ifname"] for link in json.loads(host.sh("ip -j link"))],
            "routes": sorted(host.sh("ip route show table all").splitlines()),
            "rules": host.sh("ip rule"),
            "nft": host.sh("nft list tables"),
            "sockets": host.sh(sockets),
            "resolver": host.resolv_conf(),
        }

    def warnings(self, process):
        return [line.split("WARN ", 1)[1] for line in process.output().splitlines() if " WARN " in line]

    def test_story(self):
        """start, authorize, connect, names, a route behind the node, health, and nothing left"""
        before = [self.traces(host) for host in self.outer]
        self.connect()
        self.reaches(self.client, "router")
        self.reaches(self.router, "client")
        self.assertRegex(self.ping(self.client, "router").stdout, r"from router\S* \(10\.11\.0\.1\)")
        self.assertTrue(self.is_healthy(self.router))
        self.assertTrue(self.is_healthy(self.client))
        self.net.hctl("routes", "create", "--node-id", self.net.node_id(), "--network", "192.168.50.0/24")
        self.reaches(self.client, "192.168.50.10")
        for container, process in ((self.client, self.peer), (self.router, self.node)):
            self.assertEqual(len(self.warnings(process)), 1, process.output())
            self.assertIn(IPV6_TOLD, self.warnings(process)[0])
            self.assertEqual(container.stop(), 0, process.output())
        self.assertEqual([self.traces(host) for host in self.outer], before)

    def test_health(self):
        """of a node that waits for something, and of a peer that waits for its authorization"""
        self.start_node()
        self.client.main("hpeer", "--addr", "tcp://172.17.0.2:9000", "--id", self.net.id).wait_for("not authorized")
        self.assertTrue(self.is_healthy(self.client))
        self.assertTrue(self.is_healthy(self.router))
        self.net.router.outer.run(["pkill", "-STOP", "-x", "heimdall"])
        self.assertFalse(self.is_healthy(self.router))
        self.net.router.outer.run(["pkill", "-CONT", "-x", "heimdall"])
        self.assertTrue(self.is_healthy(self.router))

    def test_killed(self):
        """`docker kill` and `docker start`: the same peer again; the resolver is restored in the end"""
        before = [self.traces(host) for host in self.outer]
        self.connect()
        key = table(self.net.hctl("peers", "list").stdout)[0]["PUBLIC KEY"]
        self.assertNotEqual(self.outer[1].resolv_conf(), before[1]["resolver"])
        self.client.stop(signal.SIGKILL)
        self.router.stop(signal.SIGKILL)
        self.start_node()
        self.start_peer()
        self.reaches(self.client, "router")
        self.assertEqual(table(self.net.hctl("peers", "list").stdout)[0]["PUBLIC KEY"], key)
        self.assertEqual(self.client.stop(), 0)
        self.assertEqual(self.router.stop(), 0)
        self.assertEqual([self.traces(host) for host in self.outer], before)

    def test_resolver_is_written_over(self):
        """written by a DHCP client, or by Docker when a container joins a network: counts as the former file"""
        self.connect()
        self.reaches(self.client, "router")
        outer = self.client.outer
        text = "nameserver 192.0.2.53\nsearch lan\n"
        (outer.dir / "resolv.conf").write_text(text)
        self.peer.wait_for("something else wrote the host's resolv.conf")
        self.reaches(self.client, "router")
        self.assertIn("nameserver 127.0.51.53\nsearch heimdall lan\n", outer.resolv_conf())
        self.assertEqual(self.client.stop(), 0)
        self.assertEqual(outer.resolv_conf(), text)

    def test_without_rights(self):
        """no nftables, no forwarding, a read-only resolv.conf: each is logged once, and all else runs"""
        router, client = self.outer
        router.sh(f"sysctl -qw net.ipv4.ip_forward=0; rm {Container.file('/usr/sbin/nft')}")
        client.sh("mount -o remount,bind,ro /etc/resolv.conf")
        self.connect()
        self.reaches(self.client, "10.11.0.1")
        self.net.hctl("routes", "create", "--node-id", self.net.node_id(), "--network", "192.168.50.0/24")
        self.reaches(self.client, "192.168.50.1")
        said = self.warnings(self.node)
        for text in (IPV6_TOLD, "does not forward", "firewall"):
            self.assertEqual(len([line for line in said if text in line]), 1, self.node.output())
        self.assertEqual(len(said), 3, self.node.output())
        said = self.warnings(self.peer)
        self.assertEqual(len([line for line in said if "/etc/resolv.conf" in line]), 1, self.peer.output())
        self.assertEqual(len(said), 2, self.peer.output())
        self.assertEqual(self.client.stop(), 0)
        self.assertEqual(self.router.stop(), 0)


class ByName(InLab):
    """On a network that a user made Docker's own server, 127.0.0.11, knows containers by their names."""

    SERVER = """
server:
    interface: 127.0.0.11@53
    do-daemonize: no
    username: ""
    chroot: ""
    directory: "/tmp"
    pidfile: "/tmp/unbound.pid"
    use-syslog: no
    module-config: "iterator"
    local-zone: "." static
    local-data: "router. 600 IN A %s"
remote-control:
    control-enable: no
"""

    def setUp(self):
        super().setUp()
        self.net = Network(self.lab)
        self.outer = self.net.client
        (self.outer.dir / "resolv.conf").write_text("nameserver 127.0.0.11\noptions ndots:0\n")

    def serve(self, address):
        (self.outer.dir / "tmp/unbound.conf").write_text(self.SERVER % address)
        server = self.outer.start(["unbound", "-d", "-d", "-c", "/tmp/unbound.conf"])
        wait_until(lambda: address in self.outer.run(["dig", "@127.0.0.11", "router", "+short", "+time=1", "+tries=1"],
                                                     check=False).stdout, 10, "the server does not answer")
        return server

    def test_address_changes(self):
        """the node returns with another address; its overlay name equals Docker's"""
        server = self.serve("172.17.0.2")
        self.net.start_node()
        self.net.authorize()
        client = Container(self.outer, LAYERS)
        peer = client.main("hpeer", "-D", "--name", "client", "--addr", "tcp://router:9000", "--id", self.net.id)
        peer.wait_for("connected")
        wait_until(lambda: "10.11.0.1" in client.run(["getent", "ahostsv4", "router"], check=False).stdout, 5, "no name")
        self.net.node.stop()
        server.stop()
        self.net.router.sh("ip addr del 172.17.0.2/16 dev eth0; ip addr add 172.17.0.20/16 dev eth0;"
                           "ip route add default via 172.17.0.1")
        self.serve("172.17.0.20")
        self.net.start_node()
        peer.wait_for("connected", count=2, timeout=20)
        wait_until(lambda: client.run(["ping", "-c1", "-W1", "router"], check=False).returncode == 0, 5, "no answer")
        self.assertEqual(client.stop(), 0)
        self.assertEqual(self.outer.resolv_conf(), "nameserver 127.0.0.11\noptions ndots:0\n")


class LeastPrivilege(Story):
    """--cap-drop ALL --cap-add NET_ADMIN --cap-add NET_BIND_SERVICE"""
    caps = LEAST
    test_health = test_without_rights = test_resolver_is_written_over = None  # would see nothing else


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    unittest.main(verbosity=2)
