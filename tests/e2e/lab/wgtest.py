"""What the functional tests of heimdall-wg have in common: sockets inside a host's network namespace, a tap on a wire,
a relay between two hosts that a test can make lossy or evil, and the UAPI socket spoken directly."""
import contextlib
import ctypes
import os
import select
import socket
import struct
import threading
import time
import unittest

from lab import labtest
from lab.netns import Failure, Lab, wait_until
from lab.wgpair import PORT, End, Pair

WG = "heimdall-wg"
INITIATION, RESPONSE, COOKIE, DATA = 1, 2, 3, 4
HANDSHAKE_DS = 0x88
CLONE_NEWNET = 0x40000000


class InLab(labtest.InLab):
    """Beside the lab, what these tests make in it."""

    @contextlib.contextmanager
    def fresh_lab(self):
        """For tests that run their story several times."""
        former = self.lab
        try:
            with Lab(labtest.BIN) as self.lab:
                yield
        finally:
            self.lab = former

    def pair(self, outer="4", **options):
        return Pair(self.lab, WG, WG, outer, **options)

    def tap(self, host, interface="eth0"):
        tap = Tap(host, interface)
        self.addCleanup(tap.close)
        return tap

    def udp(self, host, address, port=0):
        sock = within(host, lambda: udp_socket(address, port))
        self.addCleanup(sock.close)
        return sock


def within(host, make, pid=None):
    """make(), called in the host's network namespace; sockets stay where they were made."""
    result = []

    def run():
        fd = os.open(f"/proc/{pid or host.pid}/ns/net", os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            result.append(make())
        except OSError as error:
            result.append(error)
        finally:
            os.close(fd)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(result[0], OSError):
        raise result[0]
    return result[0]


def udp_socket(address, port):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, port))
    sock.settimeout(5)
    return sock


def received(sock, least=0, settle=0.3):
    """All datagrams that come until nothing has come for `settle` seconds, or for 10 while there are fewer than `least`."""
    got = []
    while select.select([sock], [], [], settle if len(got) >= least else 10)[0]:
        got.append(sock.recv(65536))
    return got


def handshake_time(end):
    """Of the end's only peer; 0: never."""
    return int(end.show("latest-handshakes").split()[1])


def uapi(host, request, name="wg0"):
    """One request on the UAPI socket, its answer whole."""
    host.lab.secrets.requested(request)
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60)
    with contextlib.closing(sock):
        sock.connect(f"/proc/{host.pid}/root/run/wireguard/{name}.sock")
        sock.sendall(request.encode())
        answer = b""
        while not answer.endswith(b"\n\n"):
            more = sock.recv(65536)
            if not more:
                break
            answer += more
    return answer.decode()


def key_hex(base64_key):
    import base64
    return base64.b64decode(base64_key).hex()


class Packet:
    """An IP packet seen on a wire, with its UDP part if that is whole."""

    def __init__(self, raw):
        self.raw, self.version = raw, raw[0] >> 4
        self.payload, self.fragment = None, False
        if self.version == 4:
            header = (raw[0] & 15) * 4
            self.ds, self.proto = raw[1], raw[9]
            self.fragment = struct.unpack("!H", raw[6:8])[0] & 0x3fff != 0
            self.source = socket.inet_ntop(socket.AF_INET, raw[12:16])
            self.dest = socket.inet_ntop(socket.AF_INET, raw[16:20])
            raw = raw[:struct.unpack("!H", raw[2:4])[0]]
        else:
            header = 40
            self.ds, self.proto = struct.unpack("!H", raw[:2])[0] >> 4 & 255, raw[6]
            self.source = socket.inet_ntop(socket.AF_INET6, raw[8:24])
            self.dest = socket.inet_ntop(socket.AF_INET6, raw[24:40])
            self.fragment = self.proto == 44
        if self.proto == 17 and not self.fragment:
            self.sport, self.dport = struct.unpack("!HH", raw[header:header + 4])
            self.payload = raw[header + 8:header + struct.unpack("!H", raw[header + 4:header + 6])[0]]

    @property
    def kind(self):
        """The WireGuard message type, or None."""
        return self.payload[0] if self.payload and len(self.payload) >= 4 else None


class Tap:
    """Everything that goes over an interface, from now on."""

    def __init__(self, host, interface="eth0"):
        def make():
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            sock.bind((interface, 3))
            return sock
        self.sock, self.seen = within(host, make), []
        self.sock.setblocking(False)

    def close(self):
        self.sock.close()

    def packets(self, settle=0.1):
        """All IP packets up to now, and those of the next `settle` seconds."""
        end = time.monotonic() + settle
        while select.select([self.sock], [], [], max(0, end - time.monotonic()))[0]:
            raw, address = self.sock.recvfrom(65536)
            if address[1] in (0x0800, 0x86dd) and raw:
                self.seen.append(Packet(raw))
        return self.seen

    def clear(self):
        self.packets(0)
        self.seen = []

    def wireguard(self, source=None, kind=None, settle=0.1, least=0):
        """Of packets(), those of WireGuard from that source and of that kind; waits up to 10 s until there are `least`."""
        def those():
            return [p for p in self.packets(settle) if p.payload is not None and PORT in (p.sport, p.dport) and
                    source in (None, p.source) and kind in (None, p.kind)]
        if least > 0:
            wait_until(lambda: len(those()) >= least, 10, f"fewer than {least} packets")
        return those()


class Relay:
    """A host in the middle that passes datagrams between `left`, who speaks to it, and `right`, whom it speaks to.
    `rule(from_left, bytes)` returns the datagrams to pass on; None drops nothing and changes nothing."""

    def __init__(self, host, right, port=PORT, bind="0.0.0.0"):
        self.host, self.right, self.bind, self.left, self.rule = host, right, bind, None, None
        self.near = within(host, lambda: udp_socket(bind, port))
        self.far = within(host, lambda: udp_socket(bind, 0))
        self.lock, self.stopping = threading.Lock(), False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def rebind(self):
        """As a NAT that has lost its state: from now on, another port."""
        with self.lock:
            former, self.far = self.far, within(self.host, lambda: udp_socket(self.bind, 0))
            former.close()

    def inject(self, to_right, *datagrams):
        for data in datagrams:
            if to_right:
                self.far.sendto(data, self.right)
            elif self.left:
                self.near.sendto(data, self.left)

    def take(self, sock):
        data, address = sock.recvfrom(65536)
        from_left = sock is self.near
        if from_left:
            self.left = address
        self.inject(from_left, *(self.rule(from_left, data) if self.rule else [data]))

    def run(self):
        while not self.stopping:
            with self.lock, contextlib.suppress(OSError):
                for sock in select.select([self.near, self.far], [], [], 0.02)[0]:
                    self.take(sock)

    def close(self):
        self.stopping = True
        self.thread.join()
        self.near.close()
        self.far.close()


def main():
    unittest.main(verbosity=2)


__all__ = ["WG", "PORT", "INITIATION", "RESPONSE", "COOKIE", "DATA", "HANDSHAKE_DS", "InLab", "within", "received", "handshake_time", "uapi",
           "key_hex", "Tap", "Relay", "Packet", "Pair", "End", "Failure", "Lab", "wait_until", "main", "udp_socket"]
