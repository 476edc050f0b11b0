"""Requests that a node must refuse: over gRPC, each with its exact code and a reason, and nothing is stored.

Runs under the Python of tests/tools/python_venv.sh, in the network namespace of the lab's host `client`. test_api.py has what
each role may call."""
import base64
import contextlib
import ctypes
import os
import pathlib
import re
import subprocess
import sys
import unittest
import uuid

from lab.labtest import BIN, LabTest
from lab.netns import Lab, wait_until

TESTS = pathlib.Path(__file__).resolve().parents[1]
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
PEER = str(uuid.uuid4())  # whose certificate there is
CLONE_NEWNET = 0x40000000


def setUpModule():
    """A node without TLS, so that one client may ask for everything, and one that knows roles by certificates."""
    global lab, certs, open_, grpc, heimdall, heimdall_grpc, cluster, cluster_grpc
    lab = Requests.lab = unittest.enterModuleContext(Lab(BIN))
    certs, open_, client = (lab.host(name) for name in ("certs", "open", "client"))
    lab.switch((certs, "172.17.0.4/16"), (open_, "172.17.0.5/16"), (client, "172.17.0.3/16"))
    subprocess.run([TESTS / "control/rpc/make_certificates.sh", certs.dir / "tmp", PEER], check=True)
    for host, options in ((open_, ["--insecure"]),
                          (certs, ["--cert", "/tmp/node.pem", "--key", "/tmp/node.key", "--ca", "/tmp/ca.pem"])):
        host.run(["ip", "route", "add", "default", "via", "172.17.0.1"])
        host.node = host.start(["heimdall", "-D", "--name", "router", *options])
    for host in (open_, certs):
        host.node.wait_for("hctl peers authorize", timeout=20)
    with open(f"/proc/{client.pid}/ns/net") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    sys.path.insert(0, str(TESTS / "tools"))
    import grpc  # its threads belong to the namespace
    import grpc_stubs
    heimdall, heimdall_grpc, cluster, cluster_grpc = grpc_stubs.generate(lab.dir / "stubs")


def key():
    return base64.b64encode(os.urandom(32)).decode()


def number(value):
    """A WireGuard key of this value."""
    return base64.b64encode(value.to_bytes(32, "little")).decode()


class Api:
    """Both services over one channel, by the names of their calls."""

    def __init__(self, channel):
        self.stubs = heimdall_grpc.HeimdallStub(channel), cluster_grpc.ClusterStub(channel)

    def call(self, method, /, metadata=(), **fields):
        """The first answer."""
        [stub] = [stub for stub in self.stubs if hasattr(stub, method)]
        request = getattr(heimdall if stub is self.stubs[0] else cluster, f"{method}Request")
        answer = getattr(stub, method)(request(**fields), timeout=10, metadata=metadata)
        return next(answer) if method.startswith("Watch") else answer


class Requests(LabTest):
    """`api` asks; `admin` says what is stored."""

    def rev(self):
        return self.admin.call("Status").rev

    def refuse(self, code, *calls):
        """Each of the calls, (method, fields), fails with this code and a text, and leaves everything as it is."""
        for method, fields in calls:
            with self.subTest(method, **fields):
                before = self.rev()
                with self.assertRaises(grpc.RpcError) as caught:
                    self.api.call(method, **fields)
                self.assertEqual(caught.exception.code().name, code, caught.exception.details())
                self.assertNotEqual(caught.exception.details(), "")
                self.assertEqual(self.rev(), before)
                for peer_id in UUID.findall(caught.exception.details()):
                    self.assertIn(peer_id, {self.admin.call("Status").node_id, *fields.values()}, "not what the caller sent")


class Refused(Requests):
    """For every role."""

    def setUp(self):
        """`known` has connected, `waiting` has not."""
        self.api = self.admin = Api(self.enterContext(contextlib.closing(grpc.insecure_channel("172.17.0.5:9000"))))
        self.known, self.waiting, self.key = str(uuid.uuid4()), str(uuid.uuid4()), key()
        for peer_id in (self.known, self.waiting):
            self.api.call("AuthorizePeer", id=peer_id)
            self.addCleanup(self.api.call, "DeauthorizePeer", id=peer_id)
        self.api.call("Connect", id=self.known, name="client", public_key=self.key)
        self.node = self.api.call("Status").nodes[0].node

    def connect(self, peer_id, name="", public_key=None, **fields):
        return "Connect", {"id": peer_id, "name": name, "public_key": self.key if public_key is None else public_key, **fields}

    def test_not_found(self):
        """Unknown id, unknown node, unknown route"""
        unknown = str(uuid.uuid4())
        self.refuse("NOT_FOUND",
                    ("DeauthorizePeer", {"id": unknown}), ("RekeyPeer", {"id": unknown}),
                    ("RenamePeer", {"id": unknown, "name": "desk"}), ("RenamePeer", {"id": unknown}),
                    ("DeauthorizePeer", {}), ("RekeyPeer", {}), ("RenamePeer", {"name": "desk"}),
                    ("CreateRoute", {"node_id": unknown, "network": "10.99.0.0/16"}),
                    ("CreateRoute", {"node_id": "", "network": "10.99.0.0/16"}),
                    ("DeleteRoute", {"network": "10.99.0.0/16"}))

    def test_taken(self):
        """A name, an id, a key or a route that is taken"""
        route = {"node_id": self.node.id, "network": "192.168.50.0/24"}
        self.api.call("CreateRoute", **route)
        self.addCleanup(self.api.call, "DeleteRoute", network=route["network"])
        self.refuse("ALREADY_EXISTS",
                    *[self.connect(self.waiting, name, key()) for name in ("router", "client", "CLIENT", "localhost")],
                    *[("RenamePeer", {"id": self.known, "name": name}) for name in ("router", "Router", "localhost")],
                    ("RenamePeer", {"id": self.waiting, "name": "client"}),
                    self.connect(self.waiting, "x", self.key), self.connect(self.waiting, "x", self.node.keypair.public_key),
                    ("AuthorizePeer", {"id": self.node.id}),
                    ("CreateRoute", route))

    def test_not_let_in(self):
        """An id that is not authorized, a second key under one that is: logged with the address, never with the id"""
        unknown, other = str(uuid.uuid4()), key()
        self.refuse("PERMISSION_DENIED", self.connect(unknown), self.connect(self.known, "client", other),
                    ("WatchPeer", {"id": self.known, "public_key": other}),
                    ("WatchPeer", {"id": unknown, "public_key": self.key}))
        wait_until(lambda: open_.node.output_now().count("key is bound to the peer's id") >= 2, 5, "the refusals are not logged")
        said = open_.node.output()
        self.assertRegex(said, r"WARN call refused: the peer is not authorized remote=172\.17\.0\.3:\d+ .*Connect")
        for method in ("Connect", "WatchPeer"):
            self.assertRegex(said, "WARN call refused: another WireGuard key is bound to the peer's id "
                                   rf"remote=172\.17\.0\.3:\d+ .*{method}")
        for secret in (unknown, self.known, other):
            self.assertNotIn(secret, said)

    def watch(self, public_key):
        stream = self.api.stubs[1].WatchPeer(cluster.WatchPeerRequest(id=self.known, public_key=public_key), timeout=20)
        next(stream)
        return stream

    def ends(self, stream, code, words):
        with self.assertRaises(grpc.RpcError) as caught:
            list(stream)
        self.assertEqual(caught.exception.code().name, code, caught.exception.details())
        self.assertIn(words, caught.exception.details())

    def test_streams_end(self):
        """A peer's stream ends with a reason: watched from elsewhere, another key let in, deauthorized"""
        former, stream, new = self.watch(self.key), self.watch(self.key), key()
        self.ends(former, "ALREADY_EXISTS", "another hpeer with this id")
        self.api.call("RekeyPeer", id=self.known)
        self.api.call("Connect", id=self.known, name="client", public_key=new)
        self.ends(stream, "ABORTED", "another WireGuard key was let in")
        stream = self.watch(new)
        self.api.call("DeauthorizePeer", id=self.known)
        self.ends(stream, "PERMISSION_DENIED", "not authorized any more")
        self.api.call("AuthorizePeer", id=self.known)

    def test_of_the_original(self):
        """The original's client expects the server to make its key"""
        self.refuse("FAILED_PRECONDITION", self.connect(self.waiting, public_key=""))

    def test_ids(self):
        """Malformed, too long, or too easy to guess"""
        good = str(uuid.uuid4())
        ids = ["", "laptop", good + " ", good + "\n", good + "\0x", f"$(reboot){good}", good.replace("-", ":"), "ä" + good,
               "a" * 40, "ab" * 20, "1234567890" * 4, "0" * 8 + "-0000-0000-0000-" + "0" * 12, "83749201", (good * 4)[:129]]
        self.refuse("INVALID_ARGUMENT", *[("AuthorizePeer", {"id": peer_id}) for peer_id in ids],
                    *[self.connect(peer_id) for peer_id in ids])

    def test_keys(self):
        """Malformed, or of a low order: the same secret for everybody"""
        prime = 2 ** 255 - 19
        keys = ["banana", key()[:-1], key() + "=", key()[:-2] + "B=", key().replace("=", " "), base64.b64encode(b"x" * 31).decode(),
                base64.b64encode(b"x" * 33).decode(), *[number(value) for value in (0, 1, prime - 1, prime, prime + 1)]]
        self.refuse("INVALID_ARGUMENT", *[self.connect(self.waiting, public_key=text) for text in keys],
                    *[self.connect(self.known, public_key=text) for text in keys])

    def test_names(self):
        """Not a label of the DNS"""
        names = ["a b", "-a", "a-", "under_score", "a.b", "ä", "a\n", "a\0b", "x" * 64, "../a", "$(a)", " "]
        self.refuse("INVALID_ARGUMENT", *[self.connect(self.waiting, name, key()) for name in names],
                    *[self.connect(self.known, name) for name in names],
                    *[("RenamePeer", {"id": self.known, "name": name}) for name in names])

    def test_versions(self):
        self.refuse("INVALID_ARGUMENT", *[self.connect(self.waiting, public_key=key(), version=version)
                                          for version in ("1 0", "1\n", "x" * 65, "ä")])

    def test_networks(self):
        """Malformed, reserved, or overlapping a network of the overlay"""
        node6 = self.node.network6
        [peer6] = [peer.peer_ip6 for peer in self.api.call("Peers").peers]
        malformed = ["", "banana", "10.99.0.0", "10.99.0.0/", "10.99.0.0/33", "10.99.0.1/16", "10.99/16", "010.99.0.0/16",
                     "10.99.0.0/16; reboot", "10.99.0.0/16\n", "10.99.0.0/-1", "10.99.0.0/+16", "fd99::/129", "fd99::1/64",
                     "fd99::%eth0/64"]
        reserved = ["127.0.0.0/8", "0.0.0.0/1", "0.1.0.0/16", "169.254.1.0/24", "224.0.0.0/4", "::1/128", "::ffff:10.99.0.0/112",
                    "fe80::/64", "ff02::/16"]
        overlapping = ["10.11.0.0/16", "10.11.5.0/24", "10.0.0.0/8", "10.51.0.0/16", "10.51.0.2/32", "10.50.0.0/15",
                       node6, node6.replace("/64", "/48"), f"{peer6}/128", "fd00::/8"]
        self.refuse("INVALID_ARGUMENT",
                    *[("CreateRoute", {"node_id": self.node.id, "network": text}) for text in malformed + reserved + overlapping],
                    *[("DeleteRoute", {"network": text}) for text in malformed])


class Retried(Requests):
    """A request that is sent again, because its outcome was unknown"""

    def setUp(self):
        self.api = self.admin = Api(self.enterContext(contextlib.closing(grpc.insecure_channel("172.17.0.5:9000"))))
        self.node = self.api.call("Status").nodes[0].node
        self.route = {"node_id": self.node.id, "network": "192.168.60.0/24"}

    def by_id(self):
        return [("heimdall-request-id", str(uuid.uuid4()))]

    def networks(self):
        return [route.network for route in self.api.call("Routes").routes]

    def test_answered_as_before(self):
        """By its id: also once somebody else has undone it, when the change is not made again"""
        create, delete = self.by_id(), self.by_id()
        for _ in range(3):
            self.api.call("CreateRoute", create, **self.route)
        self.assertIn(self.route["network"], self.networks())
        for _ in range(3):
            self.api.call("DeleteRoute", delete, network=self.route["network"])
        self.api.call("CreateRoute", create, **self.route)
        self.assertNotIn(self.route["network"], self.networks())
        peer, deauthorize = str(uuid.uuid4()), self.by_id()
        self.api.call("AuthorizePeer", id=peer)
        for _ in range(3):
            self.api.call("DeauthorizePeer", deauthorize, id=peer)

    def test_after_a_restart(self):
        """The ids are in the store"""
        create = self.by_id()
        self.api.call("CreateRoute", create, **self.route)
        open_.node.stop()
        open_.node = open_.start(["heimdall", "-D", "--name", "router", "--insecure"])
        open_.node.wait_for("hctl peers authorize", timeout=20)
        self.api = Api(self.enterContext(contextlib.closing(grpc.insecure_channel("172.17.0.5:9000"))))
        self.api.call("CreateRoute", create, **self.route)
        self.api.call("DeleteRoute", network=self.route["network"])

    def test_hctl(self):
        """The same command again succeeds for as long as its effect stands; what never was is still refused"""
        def hctl(*words, check=True):
            return open_.run(["hctl", *words], check=check)
        peer = str(uuid.uuid4())
        create = ("routes", "create", "--node-id", "router", "--network", self.route["network"])
        hctl("peers", "authorize", peer)
        for words in (create, ("routes", "delete", self.route["network"]), create,
                      ("routes", "delete", self.route["network"]), ("peers", "deauthorize", peer)):
            with self.subTest(words=words):
                hctl(*words)
                self.assertEqual(self.route["network"] in self.networks(), words == create)
                hctl(*words)
                self.assertEqual(self.route["network"] in self.networks(), words == create)
        for words in (("peers", "deauthorize", str(uuid.uuid4())), ("routes", "delete", "192.168.61.0/24")):
            self.assertEqual(hctl(*words, check=False).returncode, 3)

    def test_malformed_ids(self):
        for name in ("heimdall-request-id", "heimdall-repeat-key"):
            for text in ("", "banana", "ab" * 15, "ab" * 17, "g" * 32):
                with self.subTest(name=name, text=text), self.assertRaises(grpc.RpcError) as caught:
                    self.api.call("AuthorizePeer", [(name, text)], id=str(uuid.uuid4()))
                self.assertEqual(caught.exception.code().name, "INVALID_ARGUMENT")


class Roles(Requests):
    """With certificates."""

    def setUp(self):
        self.api, self.admin = self.by_certificate("peer"), self.by_certificate("admin")
        self.admin.call("AuthorizePeer", id=PEER)

    def by_certificate(self, name):
        files = [(certs.dir / "tmp" / name).read_bytes() for name in ("ca.pem", f"{name}.key", f"{name}.pem")]
        return Api(self.enterContext(contextlib.closing(grpc.secure_channel(
            "172.17.0.4:9000", grpc.ssl_channel_credentials(*files), [("grpc.ssl_target_name_override", "localhost")]))))

    def test_wrong_role(self):
        """Refused although the request is good; logged with the address and the method"""
        self.refuse("PERMISSION_DENIED", ("AuthorizePeer", {"id": str(uuid.uuid4())}), ("DeauthorizePeer", {"id": PEER}),
                    ("RenamePeer", {"id": PEER, "name": "x"}), ("RekeyPeer", {"id": PEER}), ("Peers", {}), ("Watch", {}),
                    ("Join", {"cluster_key": str(uuid.uuid4())}))
        said = certs.node.output()
        for method in ("AuthorizePeer", "DeauthorizePeer", "RenamePeer", "RekeyPeer", "Peers", "Watch", "Join"):
            self.assertRegex(said, rf"WARN call refused: wrong role remote=172\.17\.0\.3:\d+ .*{method}\b")
        self.assertNotIn(PEER, said)

    def test_another_peer(self):
        """A peer's certificate is for its own id"""
        other = str(uuid.uuid4())
        self.admin.call("AuthorizePeer", id=other)
        self.refuse("PERMISSION_DENIED", ("Connect", {"id": other, "public_key": key()}),
                    ("WatchPeer", {"id": other, "public_key": key()}))
        for said in ("connect as", "watch"):
            self.assertRegex(certs.node.output(), rf"WARN call refused: a peer may {said} itself only remote=172\.17\.0\.3:\d+")
        self.assertNotIn(other, certs.node.output())

    def test_second_key(self):
        """The same as without TLS; its own calls work"""
        mine = key()
        self.assertEqual(self.api.call("Connect", id=PEER, public_key=mine).address, "10.51.0.2/16")
        self.assertEqual(self.api.call("WatchPeer", id=PEER, public_key=mine).address, "10.51.0.2/16")
        self.refuse("PERMISSION_DENIED", ("Connect", {"id": PEER, "public_key": key()}),
                    ("WatchPeer", {"id": PEER, "public_key": key()}))


if __name__ == "__main__":
    unittest.main(verbosity=2)
