"""Malformed and hostile clients of heimdall-wg's UAPI socket: the right errno, nothing changed, no other client delayed."""
import pathlib
import socket
import time
import unittest

from lab.labtest import InLab
from lab.netns import wait_until
from lab.wgpair import PORT, End, Pair

KEY = "11" * 32
OTHER = "22" * 32
EINVAL, EPROTO = -22, -71


class Client:
    """A connection to the socket of an end, which this side reaches through the file system of the end's host."""

    def __init__(self, end, timeout=10):
        self.secrets = end.host.lab.secrets
        self.socket = socket.socket(socket.AF_UNIX)
        # Waits for a place in the backlog; a socket with a timeout would not.
        self.socket.connect(f"/proc/{end.host.pid}/root/run/wireguard/wg0.sock")
        self.socket.settimeout(timeout)

    def send(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        self.secrets.requested(data.decode(errors="replace"))
        self.socket.sendall(data)

    def answer(self):
        """One whole answer, or what came before the connection was closed."""
        got = b""
        while not got.endswith(b"\n\n"):
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError:
                break
            if not data:
                break
            got += data
        return got.decode()

    def ask(self, text):
        self.send(text)
        return self.answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def ask(end, text):
    with Client(end) as client:
        return client.ask(text)


class Uapi(InLab):
    def setUp(self):
        super().setUp()
        self.end = End(self.lab.host("one"), 1, "heimdall-wg")
        self.end.set("listen-port", PORT, "private-key", "key:" + self.end.private)
        self.assertEqual(ask(self.end, f"set=1\npublic_key={KEY}\nallowed_ip=10.1.0.0/16\n\n"), "errno=0\n\n")
        self.before, self.answer_time = ask(self.end, "get=1\n\n"), 0
        self.assertIn(f"public_key={KEY}\n", self.before)

    def assert_unharmed(self):
        self.assertEqual(ask(self.end, "get=1\n\n"), self.before)
        self.assertTrue(self.end.process.alive())

    def assert_answered_soon(self, answers=0):
        """Another client is served while a test holds its connections, after at most so many of their answers."""
        start = time.monotonic()
        self.assertEqual(ask(self.end, "get=1\n\n"), self.before)
        # a client may keep its connection for 5 s, but not delay others
        self.assertLess(time.monotonic() - start, 3 + 2 * answers * self.answer_time)

    def test_malformed_lines(self):
        peer = f"public_key={KEY}\n"
        cases = [
            # Not a request at all.
            ("\n", EPROTO), ("get\n\n", EPROTO), ("get=2\n\n", EPROTO), ("set=0\n\n", EPROTO), ("Get=1\n\n", EPROTO),
            ("get=1\nlisten_port=1\n\n", EINVAL), (b"\xff\x00\xfe\n\n", EPROTO),
        ]
        for line in (
                # Keys.
                "what=1", "=1", "listen_port", "listen_port =1", " listen_port=1", "LISTEN_PORT=1", "errno=0", "get=1",
                # Numbers.
                "listen_port=", "listen_port=65536", "listen_port=-1", "listen_port=+1", "listen_port=0x10",
                "listen_port=1 ", "listen_port=18446744073709551617", "fwmark=4294967296", "fwmark=", "replace_peers=false",
                "replace_peers=2", "replace_peers=",
                # Keys of wrong length or alphabet.
                "private_key=", "private_key=00", "private_key=" + "0" * 63, "private_key=" + "0" * 65,
                "private_key=" + "g" * 64, "private_key=" + "0" * 62 + "0x", "public_key=" + "0" * 63,
                # What belongs to a peer before there is one.
                "preshared_key=" + KEY, "endpoint=192.0.2.1:1", "allowed_ip=10.0.0.0/8", "remove=true",
                "persistent_keepalive_interval=1", "replace_allowed_ips=true", "update_only=true", "protocol_version=1"):
            cases.append((f"set=1\nfwmark=7\n{line}\n\n", EINVAL))
        for line in (
                "preshared_key=00", "endpoint=", "endpoint=192.0.2.1", "endpoint=192.0.2.1:", "endpoint=192.0.2.1:65536",
                "endpoint=2001:db8::1:1", "endpoint=[2001:db8::1]", "endpoint=[::1:1", "endpoint=[192.0.2.1]:1",
                "endpoint=name.example:1", "endpoint=256.0.0.1:1", "endpoint= 192.0.2.1:1",
                "persistent_keepalive_interval=65536", "persistent_keepalive_interval=x", "allowed_ip=",
                "allowed_ip=10.0.0.0/33", "allowed_ip=::/129", "allowed_ip=10.0.0/8",
                "allowed_ip=10.0.0.0/-1", "allowed_ip=10.0.0.0/ 8", "allowed_ip=10.0.0.0/8,", "remove=false", "remove=",
                "update_only=no", "protocol_version=2", "protocol_version=", "listen_port=1", "private_key=" + KEY,
                "what=1", "public_key=" + "z" * 64):
            # Lines before the mistake must not take effect, not even for another peer.
            cases.append((f"set=1\nfwmark=7\nlisten_port=40000\npublic_key={OTHER}\n{peer}{line}\n\n", EINVAL))
        for request, code in cases:
            with self.subTest(request=request):
                self.assertEqual(ask(self.end, request), f"errno={code}\n\n")
                self.assert_unharmed()

    def test_nul_in_a_request(self):
        self.assertEqual(ask(self.end, b"set=1\nlisten_port=400\x0000\n\n"), f"errno={EINVAL}\n\n")
        self.assert_unharmed()

    def test_several_requests_on_one_connection(self):
        with Client(self.end) as client:
            client.send("set=1\nfwmark=9\n\nget=1\n\nnonsense\n\nset=1\nfwmark=0\n\n")
            answers = ""
            while answers.count("errno=") < 4:
                answers += client.answer()
            self.assertEqual([line for line in answers.split("\n") if "errno" in line],
                             ["errno=0", "errno=0", f"errno={EPROTO}", "errno=0"])
            self.assertIn("fwmark=9\n", answers)
        self.assert_unharmed()

    def test_cut_in_half(self):
        """A client that goes away in the middle changes nothing, wherever the cut is."""
        request = f"set=1\nlisten_port=40000\nprivate_key={OTHER}\nreplace_peers=true\n\n"
        for length in range(len(request)):
            with Client(self.end) as client:
                client.send(request[:length])
        with Client(self.end) as client:  # half-closed rather than closed
            client.send(request[:-1])
            client.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(client.answer(), "")
        self.assert_unharmed()

    def test_byte_by_byte(self):
        with Client(self.end) as client:
            for byte in "set=1\nfwmark=9\n":
                client.send(byte)
            self.assert_answered_soon()  # also between two bytes: nothing has taken effect
            self.assertEqual(client.ask("\n"), "errno=0\n\n")
        self.assertIn("fwmark=9\n", ask(self.end, "get=1\n\n"))

    def test_a_client_that_never_ends_its_request(self):
        """It is cut off on time, even if it keeps sending bytes."""
        with Client(self.end) as client:
            client.send("set=1\n")
            start = time.monotonic()
            with self.assertRaises((BrokenPipeError, ConnectionResetError)):
                while time.monotonic() - start < 15:
                    client.send("f")
                    time.sleep(0.05)
            self.assertLess(time.monotonic() - start, 10)
        self.assert_unharmed()

    def test_a_hundred_silent_clients(self):
        clients = [self.enterContext(Client(self.end)) for _ in range(100)]
        self.assert_answered_soon()
        for client in clients[50:]:
            try:
                client.send("get=1\n")  # half a request each
            except (BrokenPipeError, ConnectionResetError):
                pass  # cut off in favour of a later one
        self.assert_answered_soon()
        # Those that began a request are cut off in the end, and their descriptors are given back.
        descriptors = pathlib.Path(f"/proc/{self.end.process.pids()[0]}/fd")
        few = len(list(descriptors.iterdir()))
        wait_until(lambda: len(list(descriptors.iterdir())) < few - 30, 10, "the silent clients are kept")
        self.assert_unharmed()

    def test_clients_that_ask_and_do_not_read(self):
        peers = "".join(f"public_key={number:064x}\nallowed_ip=10.2.{number >> 8}.{number & 255}/32\n"
                        for number in range(1, 3001))
        self.assertEqual(ask(self.end, "set=1\n" + peers + "\n"), "errno=0\n\n")
        start = time.monotonic()
        self.before = ask(self.end, "get=1\n\n")
        self.answer_time = time.monotonic() - start
        clients = [self.enterContext(Client(self.end)) for _ in range(20)]
        for client in clients:
            client.send("get=1\n\n" * 50)
        self.assert_answered_soon(len(clients))
        wait_until(lambda: self.memory() < 200 << 20, 10, "their answers are kept")
        self.assert_unharmed()

    def memory(self):
        status = pathlib.Path(f"/proc/{self.end.process.pids()[0]}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) << 10

    def test_huge_lists(self):
        """100,000 allowed IPs on one peer, moved to another and removed, while another client is served."""
        with Client(self.end, 60) as client:
            prefixes = "".join(f"allowed_ip=10.{2 + (number >> 16)}.{number >> 8 & 255}.{number & 255}/32\n"
                               for number in range(100000))
            client.send(f"set=1\npublic_key={OTHER}\n" + prefixes[:len(prefixes) // 2])
            self.assert_answered_soon()
            client.send(prefixes[len(prefixes) // 2:] + "\n")
            self.assertEqual(client.answer(), "errno=0\n\n")
            self.assertEqual(client.ask("get=1\n\n").count("allowed_ip="), 100001)
            self.assertEqual(client.ask(f"set=1\npublic_key={KEY}\n{prefixes}\n"), "errno=0\n\n")
            self.assertEqual(client.ask(f"set=1\npublic_key={KEY}\nreplace_allowed_ips=true\nallowed_ip=10.1.0.0/16\n"
                                        f"public_key={OTHER}\nremove=true\n\n"), "errno=0\n\n")
        self.assert_unharmed()

    def test_a_request_without_end(self):
        """16 MiB are the limit: it is answered, and the memory is given back."""
        with Client(self.end, 60) as client:
            client.send("set=1\n")
            for _ in range(30):
                client.send("allowed_ip=10.0.0.0/8\n" * (1 << 15))
            self.assertEqual(client.answer(), "errno=-7\n\n")
            self.assertEqual(client.answer(), "")  # closed some time later
        wait_until(lambda: self.memory() < 200 << 20, 10, "the request is kept")
        self.assert_unharmed()


class UnderTraffic(InLab):
    def test_packets_do_not_wait_for_hostile_clients(self):
        pair = Pair(self.lab, "heimdall-wg", "heimdall-wg")
        pair.a.ping(pair.b.inner4)
        ping = pair.a.host.start(["ping", "-q", "-i", "0.02", "-c", "150", "-W", "5", pair.b.inner4])
        silent = [self.enterContext(Client(pair.b)) for _ in range(50)]
        prefixes = "".join(f"allowed_ip=10.2.{number >> 8}.{number & 255}/32\n" for number in range(50000))
        while ping.alive():
            ask(pair.b, f"set=1\npublic_key={KEY}\n{prefixes}\n")
            ask(pair.b, f"set=1\npublic_key={KEY}\n{prefixes}what=1\n\n")
        self.assertRegex(ping.output(), ", 0% packet loss")
        self.assertEqual(len(silent), 50)


if __name__ == "__main__":
    unittest.main(verbosity=2)
