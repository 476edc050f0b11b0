"""The control API from foreign clients: Python's grpcio, grpcurl by reflection, and the original's client over grpc-go.

Runs under the Python of tests/tools/python_venv.sh, which has grpcio, in the network namespace of the lab's host `client`."""
import base64
import concurrent.futures
import contextlib
import ctypes
import json
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import unittest
import uuid

from lab.labtest import BIN, LabTest
from lab.netns import Lab, wait_until
from lab.psk import derive

TESTS = pathlib.Path(__file__).resolve().parents[1]
TOOLS = TESTS / "tools"
HEIMDALL = "dev.ehazlett.heimdall.api.v1.Heimdall"
CLUSTER = "heimdall.v1.Cluster"
REFUSED = "this role may not call this method"
PEER = str(uuid.uuid4())  # authorized everywhere, connects nowhere
CLONE_NEWNET = 0x40000000


def setUpModule():
    """Three nodes that differ in who may connect; the tests are their clients."""
    global lab, keyed, certs, open_, client, grpc, heimdall, heimdall_grpc, cluster, cluster_grpc, health, health_grpc
    global grpcurl, original
    grpcurl = tool("go_tool.sh", "grpcurl", "github.com/fullstorydev/grpcurl/cmd/grpcurl")  # while there is a way out
    original = tool("original_client.sh")
    lab = ApiTest.lab = unittest.enterModuleContext(Lab(BIN))
    keyed, certs, open_, client = (lab.host(name) for name in ("keyed", "certs", "open", "client"))
    lab.switch((keyed, "172.17.0.2/16"), (certs, "172.17.0.4/16"), (open_, "172.17.0.5/16"), (client, "172.17.0.3/16"))
    subprocess.run([TESTS / "control/rpc/make_certificates.sh", certs.dir / "tmp", PEER], check=True)
    for host, options in ((keyed, []), (open_, ["--insecure"]),
                          (certs, ["--cert", "/tmp/node.pem", "--key", "/tmp/node.key", "--ca", "/tmp/ca.pem"])):
        host.run(["ip", "route", "add", "default", "via", "172.17.0.1"])
        host.node = host.start(["heimdall", "-D", "--name", host.name, "--authorized-peer", PEER, *options])
    for host in (keyed, certs, open_):
        host.node.wait_for("hctl peers authorize", timeout=20)
    with open(f"/proc/{client.pid}/ns/net") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    sys.path.insert(0, str(TOOLS))
    import grpc  # its threads belong to the namespace
    import grpc_stubs
    from grpc_health.v1 import health_pb2 as health, health_pb2_grpc as health_grpc
    heimdall, heimdall_grpc, cluster, cluster_grpc = grpc_stubs.generate(lab.dir / "stubs")


def pem(name):
    return (certs.dir / "tmp" / name).read_bytes()


class KeyProxy:
    """Lets in a client without pre-shared keys: its bytes go through `openssl s_client`."""

    def __init__(self, address, secret, role):
        self.psk, self.identity = derive(secret, role)
        self.address = address
        self.children = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.server.accept()
                with sock:
                    self.children.append(subprocess.Popen(
                        ["openssl", "s_client", "-quiet", "-tls1_3", "-connect", self.address, "-alpn", "h2", "-psk", self.psk,
                         "-psk_identity", self.identity], stdin=sock, stdout=sock, stderr=subprocess.DEVNULL))

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for child in self.children:
            child.kill()
            child.wait()


class Way:
    """A kind of connection: the roles it gives, and how to make one."""

    def __init__(self, roles, connect, host):
        self.roles, self.connect, self.host = roles, connect, host


def by_certificate(name):
    pair = (pem(f"{name}.key"), pem(f"{name}.pem")) if name else (None, None)
    credentials = grpc.ssl_channel_credentials(pem("ca.pem"), *pair)
    options = [("grpc.ssl_target_name_override", "localhost")]
    return contextlib.closing(grpc.secure_channel("172.17.0.4:9000", credentials, options))


def by_socket():
    return contextlib.closing(grpc.insecure_channel(f"unix:{keyed.dir}/var/heimdall/control.sock"))


@contextlib.contextmanager
def by_key(role):
    secret = PEER if role == "peer" else (keyed.dir / "var/heimdall/cluster.key").read_text().strip()
    with contextlib.closing(KeyProxy("172.17.0.2:9000", secret, role)) as proxy:
        with contextlib.closing(grpc.insecure_channel(f"127.0.0.1:{proxy.port}")) as channel:
            yield channel


def in_the_open():
    return contextlib.closing(grpc.insecure_channel("172.17.0.5:9000"))


def in_plain(address):
    return lambda: contextlib.closing(grpc.insecure_channel(address))


WAYS = {
    "the unix socket": Way({"admin"}, by_socket, "keyed"),
    "a node's certificate": Way({"node"}, lambda: by_certificate("node"), "certs"),
    "an administrator's certificate": Way({"admin"}, lambda: by_certificate("admin"), "certs"),
    "a peer's certificate": Way({"peer"}, lambda: by_certificate("peer"), "certs"),
    "the cluster key as a node": Way({"node"}, lambda: by_key("node"), "keyed"),
    "the cluster key as an administrator": Way({"admin"}, lambda: by_key("admin"), "keyed"),
    "a peer's id": Way({"peer"}, lambda: by_key("peer"), "keyed"),
    "--insecure": Way({"node", "admin", "peer"}, in_the_open, "open"),
    "no certificate": Way(set(), lambda: by_certificate(None), "certs"),
    "a certificate of no role": Way(set(), lambda: by_certificate("nobody"), "certs"),
    "another authority's certificate": Way(set(), lambda: by_certificate("stranger"), "certs"),
    "no TLS where keys are needed": Way(set(), in_plain("172.17.0.2:9000"), "keyed"),
    "no TLS where certificates are needed": Way(set(), in_plain("172.17.0.4:9000"), "certs"),
}
SERVED = {name: way for name, way in WAYS.items() if way.roles}


class ApiTest(LabTest):
    def fails(self, code, call, *words):
        with self.assertRaises(grpc.RpcError) as caught:
            answer = call()
            if hasattr(answer, "__next__"):
                next(answer)
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        for word in words:
            self.assertIn(word, caught.exception.details())


class Roles(ApiTest):
    """Every call in every role has exactly one code."""

    def calls(self):
        """call -> (request, who may, the code that who may gets)"""
        admins, code = {"node", "admin"}, grpc.StatusCode
        nobody = str(uuid.uuid4())
        return {
            f"{HEIMDALL}/Connect": (heimdall.ConnectRequest(id=PEER), {"peer"}, code.FAILED_PRECONDITION),
            f"{HEIMDALL}/AuthorizePeer": (heimdall.AuthorizePeerRequest(id="laptop"), admins, code.INVALID_ARGUMENT),
            f"{HEIMDALL}/DeauthorizePeer": (heimdall.DeauthorizePeerRequest(id=nobody), admins, code.NOT_FOUND),
            f"{HEIMDALL}/AuthorizedPeers": (heimdall.AuthorizedPeersRequest(), admins, code.OK),
            f"{HEIMDALL}/Join": (heimdall.JoinRequest(cluster_key=nobody), {"node"}, code.PERMISSION_DENIED),
            f"{HEIMDALL}/Routes": (heimdall.RoutesRequest(), admins, code.OK),
            f"{HEIMDALL}/CreateRoute": (heimdall.CreateRouteRequest(node_id=nobody, network="192.168.50.0/24"), admins,
                                        code.NOT_FOUND),
            f"{HEIMDALL}/DeleteRoute": (heimdall.DeleteRouteRequest(network="192.168.50.0/24"), admins, code.NOT_FOUND),
            f"{HEIMDALL}/Nodes": (heimdall.NodesRequest(), admins, code.OK),
            f"{HEIMDALL}/Peers": (heimdall.PeersRequest(), admins, code.OK),
            f"{CLUSTER}/Status": (cluster.StatusRequest(), admins, code.OK),
            f"{CLUSTER}/Watch": (cluster.WatchRequest(), admins, code.OK),
            f"{CLUSTER}/WatchPeer": (cluster.WatchPeerRequest(id=PEER), {"peer"}, code.FAILED_PRECONDITION),
            f"{CLUSTER}/Doctor": (cluster.DoctorRequest(), admins, code.OK),
            f"{CLUSTER}/RekeyPeer": (cluster.RekeyPeerRequest(id=nobody), admins, code.NOT_FOUND),
            f"{CLUSTER}/RenamePeer": (cluster.RenamePeerRequest(id=nobody, name="x"), admins, code.NOT_FOUND),
            "grpc.health.v1.Health/Check": (health.HealthCheckRequest(), admins, code.OK),
            "grpc.health.v1.Health/Watch": (health.HealthCheckRequest(), admins, code.OK),
            "grpc.reflection.v1.ServerReflection/ServerReflectionInfo": (b"\x3a\x00", admins, code.OK),
            "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": (b"\x3a\x00", admins, code.OK),
            f"{CLUSTER}/NoSuchCall": (b"", {"node", "admin", "peer"}, code.UNIMPLEMENTED),
            "no.such.Service/Call": (b"", {"node", "admin", "peer"}, code.UNIMPLEMENTED),
        }

    @staticmethod
    def call(channel, name, request):
        """The code and text that a call ends with; OK when it answers."""
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        stream = channel.stream_stream(f"/{name}")(iter([raw]), timeout=10)
        try:
            next(stream)
        except StopIteration:
            return grpc.StatusCode.OK, ""
        except grpc.RpcError as error:
            return error.code(), error.details()
        stream.cancel()
        return grpc.StatusCode.OK, ""

    def test_every_call_in_every_role(self):
        for way, of in SERVED.items():
            with of.connect() as channel:
                for name, (request, may, code) in self.calls().items():
                    with self.subTest(way=way, call=name):
                        got, text = self.call(channel, name, request)
                        if may & of.roles:
                            self.assertEqual(got, code, text)
                            self.assertNotEqual(text, REFUSED)
                        else:
                            self.assertEqual((got, text), (grpc.StatusCode.PERMISSION_DENIED, REFUSED))

    def test_nobody(self):
        """A client without a role gets no connection, whatever the call."""
        for way, of in WAYS.items():
            if of.roles:
                continue
            with of.connect() as channel:
                for name, (request, _, _) in self.calls().items():
                    with self.subTest(way=way, call=name):
                        self.assertEqual(self.call(channel, name, request)[0], grpc.StatusCode.UNAVAILABLE)

    def test_as_itself(self):
        """A peer that names another peer's id is refused, and logged with its address"""
        for way in ("a peer's id", "a peer's certificate"):
            other = str(uuid.uuid4())
            node = globals()[WAYS[way].host].node
            with WAYS[way].connect() as channel:
                for name, request in ((f"{HEIMDALL}/Connect", heimdall.ConnectRequest(id=other)),
                                      (f"{CLUSTER}/WatchPeer", cluster.WatchPeerRequest(id=other))):
                    def refused():  # more often when other refusals used up the lines of this second
                        code, text = self.call(channel, name, request)
                        self.assertEqual(code, grpc.StatusCode.PERMISSION_DENIED)
                        self.assertIn("itself only", text)
                        return re.search(f"itself only remote=172.17.0.3:[0-9]+ method=/{name}", node.output())
                    with self.subTest(way=way, call=name):
                        wait_until(refused, 10, "it is not logged", every=0.5)

    def test_no_call_is_left_out(self):
        with by_socket() as channel:
            names = set()
            for module in (heimdall, cluster, health):
                for service in module.DESCRIPTOR.services_by_name.values():
                    names |= {f"{service.full_name}/{method.name}" for method in service.methods}
            self.assertLessEqual(names - {"grpc.health.v1.Health/List"}, set(self.calls()))
            for name in names - {"grpc.health.v1.Health/List"}:
                self.assertNotEqual(self.call(channel, name, b"")[0], grpc.StatusCode.UNIMPLEMENTED, name)


class Grpcio(ApiTest):
    """Python's client over every kind of connection that an administrator has."""
    ADMINS = {name: way for name, way in SERVED.items() if "admin" in way.roles}

    def each(self):
        for of in self.ADMINS.values():
            with of.connect() as channel:
                yield of.host, channel, heimdall_grpc.HeimdallStub(channel), cluster_grpc.ClusterStub(channel)

    def test_status(self):
        for host, _, _, stub in self.each():
            said = stub.Status(cluster.StatusRequest(), timeout=10)
            self.assertEqual([each.node.name for each in said.nodes], [host])
            self.assertEqual(said.master_id, said.node_id)
            self.assertIn(PEER, [each.peer.id for each in said.peers])
            self.assertLess(abs(time.time() - said.started.seconds), 120)
            self.assertEqual([problem.what for problem in said.problems],
                             ["the control API is open to everyone, without TLS"] if host == "open" else [])
            for problem in said.problems:
                self.assertIn("without --insecure", problem.remedy)

    def test_watch(self):
        """The whole state, then each change, in order"""
        for _, _, api, stub in self.each():
            stream = stub.Watch(cluster.WatchRequest(), timeout=20)
            first = next(stream)
            self.assertTrue(first.snapshot_complete)
            self.assertEqual([event.WhichOneof("record") for event in first.events][:1], ["node"])
            peer, rev = str(uuid.uuid4()), first.rev
            api.AuthorizePeer(heimdall.AuthorizePeerRequest(id=peer), timeout=10)
            api.CreateRoute(heimdall.CreateRouteRequest(node_id=first.events[0].node.id, network="198.51.100.0/24"), timeout=10)
            api.DeleteRoute(heimdall.DeleteRouteRequest(network="198.51.100.0/24"), timeout=10)
            api.DeauthorizePeer(heimdall.DeauthorizePeerRequest(id=peer), timeout=10)
            for number in range(4):
                said = next(stream)
                self.assertEqual((said.rev, said.snapshot_complete), (rev + 1 + number, True))
                [event] = said.events
                self.assertEqual(event.removed, number > 1)
                self.assertEqual(event.authorization.id or event.route.network,
                                 peer if number in (0, 3) else "198.51.100.0/24")
            stream.cancel()

    def test_deadline(self):
        """A stream's deadline; test_grpc_python.py has the server's own end of late calls"""
        for _, _, _, stub in self.each():
            began = time.monotonic()
            with self.assertRaises(grpc.RpcError) as caught:
                for _ in stub.Watch(cluster.WatchRequest(), timeout=0.3):
                    pass
            self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
            self.assertLess(time.monotonic() - began, 5)

    def test_limits(self):
        for _, channel, api, _ in self.each():
            self.fails(grpc.StatusCode.RESOURCE_EXHAUSTED,
                       lambda: api.DeauthorizePeer(heimdall.DeauthorizePeerRequest(id="x" * (5 << 20)), timeout=20))
            self.fails(grpc.StatusCode.INVALID_ARGUMENT,
                       lambda: channel.unary_unary(f"/{HEIMDALL}/AuthorizePeer")(b"\x0a\xff", timeout=10))
            self.fails(grpc.StatusCode.UNIMPLEMENTED,
                       lambda: api.DeleteRoute(heimdall.DeleteRouteRequest(network="x" * 2000), timeout=10,
                                               compression=grpc.Compression.Gzip))
            self.fails(grpc.StatusCode.RESOURCE_EXHAUSTED,
                       lambda: api.Nodes(heimdall.NodesRequest(), timeout=10, metadata=[("x-many", "x" * 17000)]))
            with concurrent.futures.ThreadPoolExecutor(20) as pool:
                answers = list(pool.map(lambda _: len(api.Nodes(heimdall.NodesRequest(), timeout=20).nodes), range(300)))
            self.assertEqual(answers, [1] * 300)

    def test_status_of_a_peer(self):
        """Peers that never connected, have connected, watch, and went away"""
        with in_the_open() as channel:
            api, stub = heimdall_grpc.HeimdallStub(channel), cluster_grpc.ClusterStub(channel)
            peer_id, key = str(uuid.uuid4()), base64.b64encode(b"\x09" + bytes(31)).decode()

            def seen():
                said = stub.Status(cluster.StatusRequest(), timeout=10)
                [peer] = [each for each in said.peers if each.peer.id == peer_id]
                return peer
            api.AuthorizePeer(heimdall.AuthorizePeerRequest(id=peer_id), timeout=10)
            self.assertEqual((seen().peer.peer_ip, seen().HasField("tunnel"), seen().watching), ("", False, False))
            api.Connect(heimdall.ConnectRequest(id=peer_id, name="tablet", public_key=key, version="9.9"), timeout=10)
            self.assertEqual((seen().peer.name, seen().HasField("tunnel"), seen().watching), ("tablet", True, False))
            [problem] = [each.what for each in stub.Status(cluster.StatusRequest(), timeout=10).problems if "9.9" in each.what]
            self.assertIn("tablet (9.9)", problem)
            stream = stub.WatchPeer(cluster.WatchPeerRequest(id=peer_id, public_key=key), timeout=20)
            self.assertEqual(next(stream).address, seen().peer.peer_ip + "/16")
            self.assertTrue(seen().watching)
            stream.cancel()
            wait_until(lambda: not seen().watching, 5, "it is still said to watch")
            stub.RekeyPeer(cluster.RekeyPeerRequest(id=peer_id), timeout=10)
            self.assertTrue(seen().rekey)
            api.DeauthorizePeer(heimdall.DeauthorizePeerRequest(id=peer_id), timeout=10)

    def test_busy_client(self):
        """Window updates and pings of many calls are no flood"""
        with in_the_open() as channel, concurrent.futures.ThreadPoolExecutor(4) as pool:
            stub = heimdall_grpc.HeimdallStub(channel)
            answers = list(pool.map(lambda _: len(stub.Nodes(heimdall.NodesRequest(), timeout=20).nodes), range(3000)))
        self.assertEqual(answers, [1] * 3000)
        self.assertNotIn("too many control frames", open_.node.output())

    def test_health(self):
        serving = health.HealthCheckResponse
        for _, channel, _, _ in self.each():
            stub = health_grpc.HealthStub(channel)
            for service in ("", HEIMDALL, CLUSTER, "grpc.health.v1.Health"):
                self.assertEqual(stub.Check(health.HealthCheckRequest(service=service), timeout=10).status, serving.SERVING)
            self.fails(grpc.StatusCode.NOT_FOUND,
                       lambda: stub.Check(health.HealthCheckRequest(service="no.such.Service"), timeout=10))
            self.fails(grpc.StatusCode.NOT_FOUND,
                       lambda: stub.Check(health.HealthCheckRequest(service="heimdall.v1"), timeout=10))
            for service, status in (("", serving.SERVING), (CLUSTER, serving.SERVING),
                                    ("no.such.Service", serving.SERVICE_UNKNOWN)):
                stream = stub.Watch(health.HealthCheckRequest(service=service), timeout=10)
                self.assertEqual(next(stream).status, status)
                stream.cancel()


class Problems(ApiTest):
    """A node's status lists its problems while they last."""

    def found(self):
        with by_socket() as channel:
            said = cluster_grpc.ClusterStub(channel).Status(cluster.StatusRequest(), timeout=10)
        self.assertTrue(all(problem.what and problem.remedy for problem in said.problems))
        return "; ".join(problem.what for problem in said.problems)

    def test_interface_down(self):
        keyed.run(["ip", "link", "set", "darknet", "down"])
        wait_until(lambda: "the interface darknet is down" in self.found(), 5, self.found)
        keyed.run(["ip", "link", "set", "darknet", "up"])
        wait_until(lambda: self.found() == "", 5, self.found)

    def test_redis_dies(self):
        """Reads and streams continue; the watcher misses nothing"""
        with by_socket() as channel:
            changes = cluster_grpc.ClusterStub(channel).Watch(cluster.WatchRequest(), timeout=60)
            self.assertTrue(next(changes).snapshot_complete)
            keyed.sh("kill -STOP $(pgrep -x heimdall-redis); kill -9 $(pgrep -x redis-server)")
            wait_until(lambda: "nothing can be changed" in self.found(), 5, self.found)
            keyed.sh("kill -CONT $(pgrep -x heimdall-redis)")
            wait_until(lambda: self.found() == "", 20, self.found)
            peer = str(uuid.uuid4())
            api = heimdall_grpc.HeimdallStub(channel)
            api.AuthorizePeer(heimdall.AuthorizePeerRequest(id=peer), timeout=10)
            seen = next(changes)
            while not seen.events:  # the new epoch
                seen = next(changes)
            self.assertEqual([event.authorization.id for event in seen.events], [peer])
            api.DeauthorizePeer(heimdall.DeauthorizePeerRequest(id=peer), timeout=10)


class Grpcurl(ApiTest):
    """A client that knows the address alone asks for the rest."""

    @classmethod
    def setUpClass(cls):
        tmp = certs.dir / "tmp"
        cls.ways = {
            "the unix socket": ["-plaintext", "-unix", f"{keyed.dir}/var/heimdall/control.sock"],
            "--insecure": ["-plaintext", "172.17.0.5:9000"],
            "a certificate": ["-cacert", tmp / "ca.pem", "-cert", tmp / "admin.pem", "-key", tmp / "admin.key", "-authority",
                              "localhost", "172.17.0.4:9000"]}

    def run_it(self, way, *words, options=()):
        argv = [grpcurl, "-max-time", "20", *options, *self.ways[way], *words]
        return subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=60)

    def test_list_and_describe(self):
        for way in self.ways:
            with self.subTest(way=way):
                self.assertEqual(self.run_it(way, "list").stdout.split(),
                                 [HEIMDALL, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                                  "grpc.reflection.v1alpha.ServerReflection", CLUSTER])
                self.assertIn(f"{HEIMDALL}.Connect\n", self.run_it(way, "list", HEIMDALL).stdout)
                self.assertIn("uint64 endpoint_port = 5;",
                              self.run_it(way, "describe", "dev.ehazlett.heimdall.api.v1.Node").stdout)
                everything = self.run_it(way, "describe")
                self.assertEqual(everything.returncode, 0, everything.stderr)
                self.assertIn("returns ( stream .heimdall.v1.WatchResponse )", everything.stdout)
                unknown = self.run_it(way, "describe", "no.such.Thing")
                self.assertIn("not found", unknown.stderr)

    def test_calls(self):
        for way in self.ways:
            with self.subTest(way=way):
                nodes = json.loads(self.run_it(way, f"{HEIMDALL}/Nodes").stdout)["nodes"]
                self.assertEqual(nodes[0]["endpointPort"], "10100")
                status = json.loads(self.run_it(way, f"{CLUSTER}/Status").stdout)
                self.assertEqual(status["nodeId"], nodes[0]["id"])
                refused = self.run_it(way, f"{HEIMDALL}/DeleteRoute", options=["-d", '{"network": "203.0.113.0/24"}'])
                self.assertIn("Code: NotFound", refused.stderr)
                self.assertEqual(json.loads(self.run_it(way, "grpc.health.v1.Health/Check").stdout), {"status": "SERVING"})

    def test_raw(self):
        """Both versions, each kind of question, several over one stream"""
        ask = {"list": b"\x3a\x01*", "file": b"\x1a\x0eheimdall.proto", "symbol": b"\x22\x13heimdall.v1.Cluster",
               "nothing": b"\x22\x01x", "extension": b"\x2a\x05\x0a\x01x\x10\x01", "numbers": b"\x32\x13heimdall.v1.Problem",
               "empty": b""}
        # the number of the answer's field of each
        expected = {"list": 6, "file": 4, "symbol": 4, "nothing": 7, "extension": 7, "numbers": 5, "empty": 7}
        for version in ("v1", "v1alpha"):
            with in_the_open() as channel:
                stream = channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
                for name, answer in zip(ask, stream(iter(ask.values()), timeout=10), strict=True):
                    with self.subTest(version=version, asked=name):
                        self.assertIn(expected[name], fields(answer))


def fields(message):
    """The numbers of a message's fields."""
    numbers, at = set(), 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte, at = message[at], at + 1
            value, shift = value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        numbers.add(key >> 3)
        size = varint()
        at += size if key & 7 == 2 else 0
    return numbers


class OriginalClient(ApiTest):
    """grpc-go in plaintext with the original's field numbers alone: what its hctl does, and what its hpeer asks."""

    def ask(self, method, *words, code="OK"):
        done = subprocess.run([original, "172.17.0.5:9000", method, *words], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        said = json.loads(done.stdout)
        self.assertEqual(said["code"], code, said["message"])
        if code != "OK":
            return said["message"]
        self.assertTrue(said["exact"], said)
        self.assertTrue(all(number >= 100 for number in said["unknown"]), said["unknown"])
        return said["answer"]

    def test_an_administrators_day(self):
        [node] = self.ask("Nodes")["nodes"]
        self.assertEqual({name: node[name] for name in ("addr", "endpoint_ip", "endpoint_port", "gateway_ip", "interface_name",
                                                        "name")},
                         {"addr": "tcp://172.17.0.5:9000", "endpoint_ip": "172.17.0.5", "endpoint_port": 10100,
                          "gateway_ip": "10.11.0.1", "interface_name": "darknet", "name": "open"})
        self.assertEqual(list(node["keypair"]), ["public_key"])  # and no private one
        self.assertLess(abs(time.time() - node["updated"]["seconds"]), 60)
        peer = str(uuid.uuid4())
        self.assertEqual(self.ask("AuthorizePeer", f"id={peer}"), {})
        self.assertIn(peer, self.ask("AuthorizedPeers")["ids"])
        self.assertEqual(self.ask("CreateRoute", f"node_id={node['id']}", "network=192.168.60.0/24"), {})
        self.assertEqual(self.ask("Routes"), {"routes": [{"node_id": node["id"], "network": "192.168.60.0/24"}]})
        self.ask("CreateRoute", f"node_id={node['id']}", "network=192.168.60.0/24", code="AlreadyExists")
        self.assertEqual(self.ask("DeleteRoute", "network=192.168.60.0/24"), {})
        self.ask("DeleteRoute", "network=192.168.60.0/24", code="NotFound")
        self.assertEqual(self.ask("DeauthorizePeer", f"id={peer}"), {})
        self.assertNotIn(peer, self.ask("AuthorizedPeers")["ids"])

    def test_a_peer_is_told_to_upgrade(self):
        """The original's hpeer wants the node to make its private key"""
        self.assertIn("upgrade", self.ask("Connect", f"id={PEER}", "name=laptop", code="FailedPrecondition"))

    def test_peers(self):
        """A peer of this program, as the original's hctl sees it"""
        peer_id = str(uuid.uuid4())
        self.ask("AuthorizePeer", f"id={peer_id}")
        with in_the_open() as channel:
            key = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY="
            heimdall_grpc.HeimdallStub(channel).Connect(
                heimdall.ConnectRequest(id=peer_id, name="tablet", public_key=key), timeout=10)
        [peer] = [each for each in self.ask("Peers")["peers"] if each["id"] == peer_id]
        self.assertEqual((peer["name"], peer["keypair"]), ("tablet", {"public_key": key}))
        self.assertEqual(peer["allowed_ips"][0], peer["peer_ip"] + "/32")
        self.ask("DeauthorizePeer", f"id={peer_id}")

    def test_join(self):
        words = ["id=node-2", "grpc_address=tcp://172.17.0.9:9000", "endpoint_ip=172.17.0.9", "endpoint_port=10100",
                 "interface_name=darknet", "name=second"]
        self.ask("Join", "cluster_key=" + str(uuid.uuid4()), *words, code="PermissionDenied")
        key = (open_.dir / "var/heimdall/cluster.key").read_text().strip()
        self.assertIn("one node", self.ask("Join", f"cluster_key={key}", *words, code="Unimplemented"))


class Shutdown(ApiTest):
    """Last, because it ends a node: streams get a reason, health reports it first, and the connection closes in good order."""

    def ask_until_refused(self, channel):
        """Calls one after the other; returns how many were answered before the node was gone."""
        stub = heimdall_grpc.HeimdallStub(channel)
        for answered in range(100000):
            try:
                stub.Nodes(heimdall.NodesRequest(), timeout=20)
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE, error.details())
                return answered

    def test_shutdown(self):
        pool = self.enterContext(concurrent.futures.ThreadPoolExecutor(4))
        with in_the_open() as channel, in_the_open() as busy:
            askers = [pool.submit(self.ask_until_refused, busy) for _ in range(4)]
            changes = cluster_grpc.ClusterStub(channel).Watch(cluster.WatchRequest(), timeout=30)
            watch = health_grpc.HealthStub(channel).Watch(health.HealthCheckRequest(), timeout=30)
            self.assertTrue(next(changes).snapshot_complete)
            self.assertEqual(next(watch).status, health.HealthCheckResponse.SERVING)
            time.sleep(0.3)
            open_.node.kill(15)
            self.assertEqual(next(watch).status, health.HealthCheckResponse.NOT_SERVING)
            self.fails(grpc.StatusCode.UNAVAILABLE, lambda: watch, "the node is shutting down")
            self.fails(grpc.StatusCode.UNAVAILABLE, lambda: changes, "the node is shutting down")
            wait_until(lambda: not open_.node.alive(), 15, "the node did not end")
            self.assertEqual(open_.node.popen.returncode, 0)
            self.assertTrue(all(asker.result(20) > 0 for asker in askers))


def tool(script, *words):
    done = subprocess.run([TOOLS / script, *words], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    unittest.main()
