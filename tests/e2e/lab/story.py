"""Pieces of the README's day, shared by the demo, the tests and the benchmarks."""
import json
import pathlib
import re
import uuid

from lab.netns import wait_until

TRANSFER = pathlib.Path(__file__).with_name("transfer.py")


class Network:
    """router and client on one cable, and a server that only the router reaches."""

    def __init__(self, lab, least_privilege=False):
        self.lab, self.least_privilege = lab, least_privilege
        self.router, self.client, self.server = (lab.host(name) for name in ("router", "client", "server"))
        lab.link(self.router, "172.17.0.2/16", self.client, "172.17.0.3/16")
        lab.link(self.router, "192.168.50.1/24", self.server, "192.168.50.10/24", a_name="eth1")
        self.router.run(["ip", "route", "add", "default", "via", "172.17.0.1"])
        self.client.run(["ip", "route", "add", "default", "via", "172.17.0.1"])
        self.id = str(uuid.uuid4())

    def start_node(self, *options, env=None):
        self.node = self.router.start(["heimdall", "-D", "--name", "router", *options], env=env,
                                      least_privilege=self.least_privilege)
        self.node.wait_for("hctl peers authorize", timeout=20)
        return self.node

    def start_peer(self, *options, host=None, name="client", peer_id=None, env=None):
        return (host or self.client).start(
            ["hpeer", "-D", "--name", name, "--addr", "tcp://172.17.0.2:9000", "--id", peer_id or self.id, *options],
            env=env, least_privilege=self.least_privilege)

    def hctl(self, *args, check=True):
        return self.router.run(["hctl", *args], check=check, least_privilege=self.least_privilege)

    def wait_for_name(self, host, name):
        """The resolver follows the tunnel: names work a moment after the connection."""
        wait_until(lambda: host.run(["getent", "ahosts", name], check=False).returncode == 0, 20, f"no address of {name}")

    def authorize(self, peer_id=None):
        return self.hctl("peers", "authorize", peer_id or self.id)

    def node_id(self):
        return table(self.hctl("nodes", "list").stdout)[0]["ID"]

    def transfer(self, sender, receiver, address, count, port=7000):
        """Moves `count` random bytes both ways over TCP and checks both contents."""
        server = receiver.start(["python3", "-B", TRANSFER, "serve", address, str(port)])
        server.wait_for("listening")
        done = sender.run(["python3", "-B", TRANSFER, "send", address, str(port), str(count)], timeout=60)
        return done.stdout.strip()


def table(text):
    """The rows of a table that hctl printed, as dictionaries by column."""
    lines = text.rstrip("\n").split("\n")
    starts = [(m.group(), m.start()) for m in re.finditer(r"\S+( \S+)*", lines[0])]
    rows = []
    for line in lines[1:]:
        row = {}
        for number, (name, start) in enumerate(starts):
            end = starts[number + 1][1] if number + 1 < len(starts) else None
            row[name] = line[start:end].strip()
        rows.append(row)
    return rows


def traces(host):
    """All that a program could leave behind outside its data folder."""
    return {
        "links": [link["ifname"] for link in json.loads(host.sh("ip -j link"))],
        # The kernel adds its own route for a new cable (ff00::/8) at any time.
        "routes": sorted({re.sub(r" (proto|metric|pref) \S+| linkdown", "", line).rstrip()
                          for line in host.sh("ip route show table all; ip -6 route show table all").splitlines()
                          if "ff00::/8 dev eth" not in line}),
        "rules": host.sh("ip rule; ip -6 rule"),
        "nft": host.sh("nft list tables 2>/dev/null || true"),
        "programs": host.programs(),
        "sockets": host.sh("find /run /tmp -type s"),
        "resolver": host.resolv_conf(),
    }
