#!/usr/bin/env python3
"""Reads the memory of a running heimdall-wg that is set over its UAPI socket: keys are there while they are of use, and neither
they nor their hexadecimal text are anywhere after they were replaced or their peer was removed.

Runs itself in network and mount namespaces of its own."""
import os
import pathlib
import secrets
import socket
import subprocess
import sys
import time
import unittest

SOCKET = "/run/wireguard/wg0.sock"
BIN = pathlib.Path(sys.argv[1])


def memory_of(pid):
    """All readable mappings of a process, one after another."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            span, access = line.split()[:2]
            start, end = (int(word, 16) for word in span.split("-"))
            if access[0] != "r" or "[v" in line:
                continue
            mem.seek(start)
            try:
                yield mem.read(end - start)
            except OSError:
                continue


class Secrets(unittest.TestCase):
    def setUp(self):
        self.process = subprocess.Popen([BIN / "heimdall-wg", "-f", "wg0"])
        self.addCleanup(self.process.wait, 20)
        self.addCleanup(self.process.terminate)
        for _ in range(1000):
            if os.path.exists(SOCKET):
                return
            time.sleep(0.01)
        self.fail("no UAPI socket")

    def ask(self, text, in_pieces=False):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(SOCKET)
            for start in range(0, len(text), 50 if in_pieces else len(text)):
                client.sendall(text[start:start + (50 if in_pieces else len(text))].encode())
                time.sleep(0.01 if in_pieces else 0)
            answer = b""
            while not answer.endswith(b"\n\n"):
                answer += client.recv(65536)
            return answer.decode()

    def found(self, key):
        """How often the key is in memory: as bytes, and as text."""
        raw, text = bytes.fromhex(key)[4:28], key[8:56].encode()  # what an allocator writes into a freed block is at its start
        parts = list(memory_of(self.process.pid))
        return sum(part.count(raw) for part in parts), sum(part.count(text) for part in parts)

    def assert_in_use(self, key):
        self.assertGreater(self.found(key)[0], 0, "the test would not find a key")
        self.assertEqual(self.found(key)[1], 0, "a key's text is left")

    def assert_gone(self, key):
        """At the latest when the packet threads have let go of what was unpublished."""
        for _ in range(20):
            if self.found(key) == (0, 0):
                return
            time.sleep(0.1)
        self.assertEqual(self.found(key), (0, 0))

    def key(self):
        key = bytearray(secrets.token_bytes(32))
        key[0], key[31] = key[0] & 248, key[31] & 127 | 64  # as the engine clamps it
        return key.hex()

    def test_keys_leave(self):
        for in_pieces in (False, True):
            first, second, psk, other_psk, peer = (self.key() for _ in range(5))
            self.ask(f"set=1\nprivate_key={first}\npublic_key={peer}\npreshared_key={psk}\n"
                     f"allowed_ip=10.0.0.1/32\n\n", in_pieces)
            self.assert_in_use(first)
            self.assert_in_use(psk)
            self.assertIn(psk, self.ask("get=1\n\n"))
            self.assert_in_use(first)
            self.assert_in_use(psk)
            self.ask(f"set=1\npublic_key={peer}\npreshared_key={other_psk}\n\n", in_pieces)
            self.assert_gone(psk)
            self.assert_in_use(other_psk)
            self.ask(f"set=1\npublic_key={peer}\nremove=true\n\n", in_pieces)
            self.assert_gone(other_psk)
            self.ask(f"set=1\nprivate_key={second}\n\n", in_pieces)
            self.assert_gone(first)
            self.assert_in_use(second)  # and the last thing that was read is not left
            self.assertIn(second, self.ask("get=1\n\n"))
            self.assert_in_use(second)  # nor the last that was written
            self.ask(f"set=1\nprivate_key={'0' * 64}\n\n", in_pieces)
            self.assert_gone(second)

    def test_long_texts_leave(self):
        """Requests that grow while they are read, answers that take their time, and one that nobody takes."""
        key, psk, peer = (self.key() for _ in range(3))
        prefixes = "".join(f"allowed_ip=10.{number >> 8}.{number & 255}.0/24\n" for number in range(40000))
        self.ask(f"set=1\nprivate_key={key}\npublic_key={peer}\npreshared_key={psk}\n{prefixes}\n")
        self.assert_in_use(key)
        self.assert_in_use(psk)
        self.assertIn(psk, self.ask("get=1\n\n"))
        self.assert_in_use(key)
        self.assert_in_use(psk)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(SOCKET)
            client.sendall(b"get=1\n\n")
            self.assertGreater(len(client.recv(16)), 0)
            self.assertGreater(self.found(psk)[1], 0, "the answer is not kept")
        self.ask("get=1\nno\n\n")
        self.assert_in_use(key)
        self.assert_in_use(psk)

    def test_half_a_request_leaves(self):
        key = self.key()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(SOCKET)
            client.sendall(f"set=1\nprivate_key={key}\npublic_key={self.key()}\n".encode())
            for _ in range(20):
                client.sendall(b"allowed_ip=10.0.0.0/8\n" * 100)
                time.sleep(0.02)
            for _ in range(100):
                if self.found(key)[1] > 0:
                    break
                time.sleep(0.05)
            self.assertEqual(self.found(key)[1], 1, "the text, and no copy from when there was less of it")
        self.assert_gone(key)

    def test_text_leaves_before_its_client(self):
        key = self.key()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(SOCKET)
            for request in (f"set=1\nprivate_key={key}\n\n", "get=1\n\n"):
                client.sendall(request.encode())
                self.assertTrue(client.recv(65536).endswith(b"errno=0\n\n"))
                self.assert_in_use(key)

    def test_refused_keys_leave(self):
        key, psk, peer = (self.key() for _ in range(3))
        self.assertNotIn("errno=0", self.ask(f"set=1\nprivate_key={key}\npublic_key={peer}\npreshared_key={psk}\nnone=1\n\n"))
        self.assert_gone(key)
        self.assert_gone(psk)


def in_own_namespaces():
    if os.environ.get("TEST_SECRETS_INSIDE") != "1":
        os.environ["TEST_SECRETS_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, "-B", *sys.argv])
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    os.mkdir("/run/wireguard")


in_own_namespaces()
unittest.main(argv=sys.argv[:1], verbosity=2)
