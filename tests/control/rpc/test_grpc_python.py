"""Python's grpcio against the server: test_grpc_python.py RPC_TEST_SERVER SOURCE_ROOT."""
import concurrent.futures
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

import grpc

SERVER, ROOT = sys.argv[1], pathlib.Path(sys.argv[2])
WORK = tempfile.TemporaryDirectory(prefix="heimdall-grpc-")
DIR = pathlib.Path(WORK.name)
sys.path.insert(0, str(ROOT / "tests/tools"))
import grpc_stubs  # noqa: E402

heimdall_pb2, heimdall_pb2_grpc, cluster_pb2, cluster_pb2_grpc = grpc_stubs.generate(DIR / "generated")
subprocess.run([ROOT / "tests/control/rpc/make_certificates.sh", str(DIR)], check=True)
NODE, ADMIN, PEER, ANY = "1", "2", "4", "7"


class Server:
    def __init__(self, *args):
        self.process = subprocess.Popen([SERVER, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        word, port = self.process.stdout.readline().split()
        assert word == "ready"
        self.port = port

    def stop(self, order=""):
        self.process.communicate(order, timeout=10)
        assert self.process.returncode == 0, self.process.returncode


def pem(name):
    return (DIR / name).read_bytes()


class Calls:
    """Works over every kind of connection; `roles` is what the server sees."""
    roles = None
    id = ""

    def setUp(self):
        self.server, self.channel = self.open()
        self.api = heimdall_pb2_grpc.HeimdallStub(self.channel)
        self.cluster = cluster_pb2_grpc.ClusterStub(self.channel)

    def tearDown(self):
        self.channel.close()
        self.server.stop()

    def connect(self, name, **kwargs):
        return self.api.Connect(heimdall_pb2.ConnectRequest(id="x", name=name), timeout=10, **kwargs)

    def test_unary(self):
        answer = self.connect("hello")
        self.assertEqual(answer.address, "hello")
        self.assertEqual(list(answer.dns), [self.roles, self.id, ""])

    def test_metadata(self):
        self.assertEqual(self.connect("x", metadata=[("x-test", "a value")]).dns[2], "a value")

    def test_large_messages(self):
        self.assertEqual(len(self.connect("x" * (3 << 20)).address), 3 << 20)
        self.assertEqual(len(self.api.AuthorizedPeers(heimdall_pb2.AuthorizedPeersRequest()).ids[0]), 3 << 20)
        with self.assertRaises(grpc.RpcError) as caught:
            self.connect("x" * (5 << 20))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(self.connect("after").address, "after")

    def test_codes(self):
        for code in grpc.StatusCode:
            number = code.value[0]
            request = heimdall_pb2.AuthorizePeerRequest(id=str(number))
            if self.roles == PEER:
                code, text = grpc.StatusCode.PERMISSION_DENIED, "this role may not call this method"
            elif number == 0:
                self.api.AuthorizePeer(request, timeout=10)
                continue
            else:
                text = f"code {number}: 100% \u00fc\nend"
            with self.assertRaises(grpc.RpcError) as caught:
                self.api.AuthorizePeer(request, timeout=10)
            self.assertEqual((caught.exception.code(), caught.exception.details()), (code, text))

    def test_unknown_method(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.api.Routes(heimdall_pb2.RoutesRequest(), timeout=10)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_malformed_request(self):
        raw = self.channel.unary_unary("/dev.ehazlett.heimdall.api.v1.Heimdall/Connect")
        with self.assertRaises(grpc.RpcError) as caught:
            raw(b"\x0a\xff", timeout=10)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_deadline(self):
        self.connect("x")  # so that the time goes into the call, not into the connection
        began = time.monotonic()
        with self.assertRaises(grpc.RpcError) as caught:
            self.api.Nodes(heimdall_pb2.NodesRequest(), timeout=0.3)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED, caught.exception.details())
        self.assertLess(time.monotonic() - began, 3)
        self.await_cancels(1)

    def await_cancels(self, count):
        for _ in range(100):
            if self.cluster.Status(cluster_pb2.StatusRequest(), timeout=10).rev == count:
                return
            time.sleep(0.02)
        self.fail("the server did not see the cancellation")

    def test_stream(self):
        stream = self.cluster.WatchPeer(cluster_pb2.WatchPeerRequest(id="2000"), timeout=30)
        self.assertEqual([int(m.address) for m in stream], list(range(2000)))

    def test_stream_cancelled(self):
        stream = self.cluster.WatchPeer(cluster_pb2.WatchPeerRequest(id="2", public_key="hold"), timeout=30)
        self.assertEqual(next(stream).address, "0")
        stream.cancel()
        self.await_cancels(1)

    def test_many_at_once(self):
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda i: self.connect(str(i)).address, range(400)))
        self.assertEqual(answers, [str(i) for i in range(400)])

    def test_compression_is_refused(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.connect("x" * 2000, compression=grpc.Compression.Gzip)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_shutdown_ends_streams(self):
        stream = self.cluster.WatchPeer(cluster_pb2.WatchPeerRequest(id="1", public_key="hold"), timeout=30)
        next(stream)
        self.server.process.stdin.write("quit\n")
        self.server.process.stdin.flush()
        with self.assertRaises(grpc.RpcError) as caught:
            next(stream)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)


class Plaintext(Calls, unittest.TestCase):
    roles = ANY

    def open(self):
        server = Server("tcp://127.0.0.1:1")
        return server, grpc.insecure_channel(f"127.0.0.1:{server.port}")


class Unix(Calls, unittest.TestCase):
    roles = ADMIN

    def open(self):
        return Server(f"unix://{DIR}/api.sock"), grpc.insecure_channel(f"unix:{DIR}/api.sock")


class Certificates(Calls, unittest.TestCase):
    roles = ADMIN
    id = "alice"
    client = "admin"

    def open(self):
        server = Server("tcp://127.0.0.1:1", f"{DIR}/node.pem", f"{DIR}/node.key", f"{DIR}/ca.pem")
        credentials = grpc.ssl_channel_credentials(pem("ca.pem"), pem(f"{self.client}.key"), pem(f"{self.client}.pem"))
        return server, grpc.secure_channel(f"127.0.0.1:{server.port}", credentials)


class PeerCertificate(Certificates):
    roles = PEER
    id = "peer-1"
    client = "peer"


class Refused(unittest.TestCase):
    def test_certificates(self):
        server = Server("tcp://127.0.0.1:1", f"{DIR}/node.pem", f"{DIR}/node.key", f"{DIR}/ca.pem")
        for key, cert in ((None, None), ("nobody.key", "nobody.pem"), ("stranger.key", "stranger.pem")):
            pair = (pem(key), pem(cert)) if key else (None, None)
            with grpc.secure_channel(f"127.0.0.1:{server.port}",
                                     grpc.ssl_channel_credentials(pem("ca.pem"), *pair)) as channel:
                with self.assertRaises(grpc.RpcError) as caught:
                    heimdall_pb2_grpc.HeimdallStub(channel).Connect(heimdall_pb2.ConnectRequest(), timeout=2)
                self.assertIn(caught.exception.code(),
                              (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), cert)
        server.stop()


unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
