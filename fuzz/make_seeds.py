#!/usr/bin/env python3
"""Writes the seed-* files of corpora whose harness takes a format that a search finds slowly: make_seeds.py."""
import collections
import struct

import corpus

SEEDS = collections.defaultdict(dict)  # by harness, then by file name


def save(harness, name, data):
    SEEDS[harness][f"seed-{name}"] = data


def dns_name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".") if label) + b"\0"


def dns_query(name, kind, edns=False, recurse=True):
    head = struct.pack(">HHHHHH", 7, 0x0100 if recurse else 0, 1, 0, 0, 1 if edns else 0)
    opt = b"\0" + struct.pack(">HHIH", 41, 1232, 0x8000, 0) if edns else b""
    return head + dns_name(name) + struct.pack(">HH", kind, 1) + opt


def dns():
    # a byte for the harness, its flags (zone, TCP, recursion), the length of the upstream's part, that part
    questions = {
        "own-a": ("router.heimdall", 1), "own-many": ("many.heimdall", 1), "own-srv": ("_x._tcp.router.heimdall", 33),
        "own-none": ("nobody.heimdall", 28), "apex-soa": ("heimdall", 6), "any": ("router.heimdall", 255),
        "ptr": ("2.0.51.10.in-addr.arpa", 12), "axfr": ("heimdall", 252), "single": ("router", 1),
    }
    for name, (question, kind) in questions.items():
        for flags in (1, 3, 7):
            save("dns", f"{name}-{flags}", bytes([1, flags, 0, 0]) + dns_query(question, kind, flags == 7))
    a = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + b"\1\2\3\4"
    cname = b"\xc0\x0c" + struct.pack(">HHIH", 5, 1, 60, 4) + b"\1x\xc0\x0c"
    rrsig = b"\xc0\x0c" + struct.pack(">HHIH", 46, 1, 60, 3) + b"sig"
    opt = b"\0" + struct.pack(">HHIH", 41, 4096, 0, 0)
    mx = b"\xc0\x0c" + struct.pack(">HHIH", 15, 1, 60, 4) + b"\0\5\xc0\x0c"
    soa = b"\xc0\x0c" + struct.pack(">HHIH", 6, 1, 60, 26) + b"\1a\xc0\x0c\xc0\x0c" + bytes(20)
    answers = {"a": bytes([1, 0, 0]) + a, "cname": bytes([2, 0, 0]) + cname + a, "sig": bytes([2, 0, 1]) + rrsig + a + opt,
               "mx": bytes([1, 1, 0]) + mx + soa, "none": bytes([0, 0, 0]), "cut": bytes([2, 0, 0]) + a[:9]}
    for name, upstream in answers.items():
        for edns in (False, True):
            save("dns", f"relay-{name}-{int(edns)}",
                 bytes([1, 4]) + struct.pack("<H", len(upstream)) + upstream + dns_query("a.example", 1, edns))
    save("dns", "name", b"\0\x0eweb.heimdall.x")


def uapi():
    key = "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
    peer = (f"public_key={key}\npreshared_key={key}\nendpoint=[2001:db8::1]:51820\npersistent_keepalive_interval=25\n"
            "replace_allowed_ips=true\nallowed_ip=10.0.0.0/8\nallowed_ip=-fd00::/8\nprotocol_version=1\n")
    save("uapi", "get", b"get=1\n\n")
    save("uapi", "set", f"set=1\nprivate_key={key}\nlisten_port=51820\nfwmark=7\nreplace_peers=true\n{peer}\n".encode())
    save("uapi", "twice", b"set=1\nlisten_port=1\nlisten_port=2\n\n")
    save("uapi", "late", f"set=1\npublic_key={key}\nfwmark=1\n\n".encode())
    save("uapi", "early", b"set=1\nremove=true\n\n")
    save("uapi", "remove", f"set=1\npublic_key={key}\nremove=true\n{peer.replace('e0e1', 'e0e2')}\n".encode())


def h2():
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    def frame(kind, flags, stream, payload):
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload

    def literal(name, value):
        return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()

    head = b"".join(literal(*pair) for pair in (
        (":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), (":authority", "h"), ("te", "trailers"),
        ("content-type", "application/grpc"), ("grpc-timeout", "5S")))
    answer = b"".join(literal(*pair) for pair in ((":status", "200"), ("content-type", "application/grpc")))
    trailers = literal("grpc-status", "5") + literal("grpc-message", "no%20such")
    body = b"\0\0\0\0\3abc"
    start = frame(4, 0, 0, b"")
    # a byte for the harness: whose side, how the bytes are cut
    save("h2", "unary", b"\0" + preface + start + frame(1, 4, 1, head) + frame(0, 1, 1, body))
    save("h2", "two", b"\x10" + preface + start + frame(1, 4, 1, head) + frame(0, 0, 1, body * 2) + frame(1, 4, 3, head)
         + frame(0, 1, 1, body) + frame(3, 0, 3, bytes(4)) + frame(6, 0, 0, bytes(8)) + frame(8, 0, 0, b"\0\0\1\0"))
    save("h2", "split", b"\x20" + preface + start + frame(1, 0, 1, head[:20]) + frame(9, 4, 1, head[20:])
         + frame(0, 0, 1, body[:3]) + frame(0, 1, 1, body[3:]))
    save("h2", "no-end", b"\x30" + preface + start + frame(1, 5, 1, head))
    save("h2", "answer", b"\1" + start + frame(1, 4, 1, answer) + frame(0, 0, 1, body) + frame(1, 5, 1, trailers))
    save("h2", "stream", b"\x11" + start + frame(1, 4, 1, answer) + frame(0, 0, 1, body * 3) + frame(1, 5, 1, trailers)
         + frame(1, 5, 3, answer + trailers) + frame(7, 0, 0, bytes(8)))
    save("h2", "goaway", b"\1" + start + frame(7, 0, 0, bytes(8)))
    save("h2", "both", b"\2" + bytes(range(64)))


def requests():
    # a byte for the type, then the message
    def field(number, value):
        tag, out = number << 3 | 2, b""
        while tag > 127:
            tag, out = tag >> 7, out + bytes([tag & 127 | 128])
        return out + bytes([tag, len(value)]) + value

    save("requests", "connect", b"\0" + field(1, b"an id") + field(2, b"a name") + field(100, b"a key"))
    save("requests", "nul", b"\0" + field(1, b"an\0id") + field(2, b"a name"))
    save("requests", "newer", b"\0" + field(1000, b"\0\0") + b"\xb0\x06\1" + field(1, b"an id"))
    save("requests", "route", b"\1" + field(1, b"a node") + field(2, b"10.99.0.0/16"))
    save("requests", "rename", b"\2" + field(1, b"an id") + field(2, b""))
    save("requests", "watch", b"\3\x08\1\x10\2" + field(3, field(1, field(9, b"router") + field(3, field(1, b"key")))))


def text():
    save("text", "endpoint", b"\2\0[fe80::1%7]:51820")
    save("text", "prefix", b"\1\0\x0910.1.0.0/162001:db8::/32")
    save("text", "base64", b"\5\x20oOGio6SlpqeoqaqrrK2ur7CxsrO0tba3uLm6u7y9vr8=")
    save("text", "hex", b"\4\2aBcD")


def windows():
    save("replay_window", "dense", bytes([100, 199, 0]) * 40)  # rows of 256, each behind the one before


def cookie():
    # made, answered, taken, used just before its 115 s and at them
    save("cookie", "age", bytes([0, 0, 4, 5, 0, 7]) + struct.pack("<H", 458) + bytes([0, 0, 7]) + struct.pack("<H", 2)
         + bytes([0, 0]))


def network():
    session = bytes([0x60, 1, 8])
    save("network", "replay", b"\0" + session + bytes([0x60, 1, 9, 9, 8, 9]))
    forgotten = session + bytes([3, 0x80, 0, 3, 0x81, 0])
    save("network", "forgotten", b"\0" + forgotten)
    save("network", "forgotten-one-way", bytes([129]) + forgotten)
    save("network", "asleep", bytes([129]) + session + bytes([0xf6, 0xf6]))


for make in (windows, cookie, network, dns, uapi, h2, requests, text):
    make()
for harness, seeds in SEEDS.items():
    corpus.write(harness, corpus.read(harness) | seeds)
