"""Shared by the DNS tests: a node and a peer with names, and answers as dig prints them."""
import pathlib
import re

from lab.labtest import InLab
from lab.netns import wait_until
from lab.story import Network

HOSTILE = pathlib.Path(__file__).with_name("dns_hostile.py")
GATEWAY = "10.11.0.1"  # the node's address in the tunnel
UPSTREAM = "192.168.50.10"
STUB = "127.0.51.53"  # a peer's own

# Records of a real resolver behind the node.
UNBOUND = """
server:
    interface: 0.0.0.0@53
    access-control: 0.0.0.0/0 allow
    do-daemonize: no
    username: ""
    chroot: ""
    directory: "/tmp"
    pidfile: "/tmp/unbound.pid"
    use-syslog: no
    module-config: "iterator"
    local-zone: "example." static
    local-data: "www.example. 60 IN A 203.0.113.5"
    local-data: "www.example. 60 IN AAAA 2001:db8::5"
    local-data: "mail.example. 60 IN MX 10 www.example."
    local-data: "_x._tcp.example. 60 IN SRV 1 2 9000 www.example."
    local-data-ptr: "203.0.113.5 60 www.example"
    local-zone: "refused.example." refuse
    local-zone: "lan." static
    local-data: "box.lan. 60 IN A 192.168.50.77"
""" + "".join(f'    local-data: "many.example. 60 IN TXT {"x" * 200}{number}"\n' for number in range(20)) + """
remote-control:
    control-enable: no
"""


class Answer:
    def __init__(self, text):
        self.text = text
        self.status = (re.search(r"status: (\w+)", text) or [None, None])[1]
        self.flags = set((re.search(r";; flags: ([a-z ]*);", text) or ["", ""])[1].split())
        self.counts = [int(n) for n in re.findall(r"(?:ANSWER|AUTHORITY|ADDITIONAL): (\d+)", text)]
        self.records = [" ".join(line.split()) for line in text.splitlines() if line and not line.startswith(";")]

    def values(self, kind):
        """The data of the records of this type, wherever they stand."""
        rows = [record.split(" ", 4) for record in self.records]
        return [row[4] for row in rows if row[3] == kind]


def dig(host, *arguments, at=GATEWAY):
    """At most one question is asked: a lost one is an error."""
    return Answer(host.run(["dig", f"@{at}", "+tries=1", "+time=7", *arguments], check=False).stdout)


def start_unbound(net, conf=UNBOUND, at=UPSTREAM):
    """A resolver on the server behind the node."""
    (net.server.dir / "tmp" / "unbound.conf").write_text(conf)
    upstream = net.server.start(["unbound", "-d", "-d", "-c", "/tmp/unbound.conf"])
    wait_until(lambda: dig(net.server, "www.example", at=at).counts, 10, "unbound does not answer", every=0.1)
    return upstream


class Names(InLab):
    node_options = ()
    node_is_asked = True  # the tests query DNS here

    def setUp(self):
        super().setUp()
        self.net = Network(self.lab)
        self.before_node()
        self.start_node()
        self.net.authorize()
        self.peer = self.net.start_peer()
        self.peer.wait_for("connected")
        if self.node_is_asked:
            self.eventually(lambda: dig(self.net.router, "client").values("A"), "the peer's name is not there")

    def before_node(self):
        pass

    def start_node(self):
        self.net.start_node(*self.node_options)

    def eventually(self, condition, message, timeout=10):
        wait_until(condition, timeout, message, every=0.1)


class Upstream(Names):
    """The node's host has a resolver when the node starts, and the node asks it."""

    def before_node(self):
        self.upstream = start_unbound(self.net)
        (self.net.router.dir / "resolv.conf").write_text(f"nameserver {UPSTREAM}\n")
