#!/usr/bin/env python3
"""The DNS server over real sockets, asked with dig and by hand, in a network namespace of its own.

usage: test_server.py DNS_TEST_SERVER [TEST...]
"""
import concurrent.futures
import contextlib
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

PORT = 5301
SO_RCVBUFFORCE = 33  # which Python has no name for
MAIN, UPSTREAM = "127.0.1.2", "127.0.1.1"
ZONE = ["--host", "router=10.11.0.1", "--host", "router=fd00::1", "--host", "nas=10.51.0.2",
        "--network", "10.51.0.0/16", "--network", "fd00::/48", "--srv", "_heimdall._tcp.router"]


@contextlib.contextmanager
def server(*arguments, status=0):
    process = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n", "the server did not start"
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == status, f"exit status {process.returncode}"
    finally:
        process.kill()
        process.wait()


def main_server(*more):
    return server("--listen", f"{MAIN}:{PORT}", *ZONE, *more)


def upstream_server(*more):
    return server("--listen", f"{UPSTREAM}:{PORT}", "--domain", "corp", "--host", "box=192.0.2.9",
                  *more)


class Answer:
    def __init__(self, text):
        self.text = text
        status = re.search(r"status: (\w+)", text)
        self.status = status.group(1) if status else None
        flags = re.search(r";; flags: ([a-z ]*);", text)
        self.flags = set(flags.group(1).split()) if flags else set()
        self.counts = [int(n) for n in re.findall(r"(?:ANSWER|AUTHORITY|ADDITIONAL): (\d+)", text)]
        self.records = [" ".join(line.split()) for line in text.splitlines()
                        if line and not line.startswith(";")]
        self.transport = (re.search(r"SERVER: .*\((\w+)\)", text) or [None, None])[1]


def dig(*arguments, at=MAIN, port=PORT):
    run = subprocess.run(["dig", "-p", str(port), f"@{at}", "+time=7", "+tries=1", *arguments],
                         capture_output=True, text=True, timeout=30)
    return Answer(run.stdout)


def equal(got, expected):
    assert got == expected, f"{got!r} instead of {expected!r}"


def query(name, kind=1, ident=0x1234, flags=0x0100):
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split(".") if x)
    return struct.pack(">6H", ident, flags, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", kind, 1)


def framed(message):
    return struct.pack(">H", len(message)) + message


def read_exactly(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def read_framed(sock):
    return read_exactly(sock, struct.unpack(">H", read_exactly(sock, 2))[0])


def connect(at=MAIN, source=None):
    return socket.create_connection((at, PORT), 15, source_address=(source, 0) if source else None)


def test_names():
    with main_server("--listen", f"[::1]:{PORT}"):
        equal(dig("router").records, ["router. 30 IN A 10.11.0.1"])
        equal(dig("RouTer.Heimdall", "AAAA", "+tcp").records, ["RouTer.Heimdall. 30 IN AAAA fd00::1"])
        equal(dig("nas", "AAAA").records,
              ["nas. 5 IN SOA router.heimdall. hostmaster.heimdall. 7 3600 600 86400 5"])
        equal(dig("-x", "10.51.0.2", at="::1").records[0],
              "2.0.51.10.in-addr.arpa. 30 IN PTR nas.heimdall.")
        equal(dig("-x", "fd00::1").records[0].split()[-1], "router.heimdall.")
        denied = dig("-x", "10.51.0.3")
        equal((denied.status, denied.records[0].split()[0]), ("NXDOMAIN", "51.10.in-addr.arpa."))
        equal(dig("nope.heimdall").status, "NXDOMAIN")
        srv = dig("_heimdall._tcp.router.heimdall", "SRV")
        equal(srv.records[0].split()[3:], ["SRV", "1", "2", "9000", "router.heimdall."])
        equal(srv.counts, [1, 0, 3])
        equal(dig("heimdall", "NS").records[0].split()[-1], "router.heimdall.")
        equal(dig("router", "ANY", "+notcp").counts[0], 1)
        equal(dig("router.heimdall", "ANY", "+tcp").counts[0], 2)
        assert "aa" in dig("router").flags and "ra" not in dig("router").flags


def test_protocol():
    with main_server("--many", "300"):
        equal(dig("router", "+edns=1", "+noednsneg").status, "BADVERS")
        equal(dig("router", "+header-only").status, "FORMERR")
        for opcode in ("iquery", "status", "notify", "update", "7", "15"):
            equal(dig("router", f"+opcode={opcode}").status, "NOTIMP")
        equal(dig("version.bind", "TXT", "CH").status, "REFUSED")
        equal(dig("heimdall", "AXFR", "+tcp").records, [])
        equal(dig("example.com").status, "REFUSED")
        cut = dig("many", "+ignore", "+noedns")
        assert "tc" in cut.flags and cut.counts[0] == 30, cut.text
        cut = dig("many", "+ignore", "+bufsize=4096")
        assert "tc" in cut.flags and cut.counts[0] == 74, cut.text
        whole = dig("many")
        equal((whole.counts[0], whole.transport, "tc" in whole.flags), (300, "TCP", False))
        assert "do" in re.search(r"EDNS:.*", dig("router", "+dnssec").text)[0]


def test_udp_by_hand():
    with main_server():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect((MAIN, PORT))
        sock.settimeout(5)
        for bad in (b"", b"\0" * 11, query("router", flags=0x8100)):
            sock.send(bad)  # not answered, and not fatal
        sock.send(query("router")[:-1])
        equal(sock.recv(2000)[:4], b"\x12\x34\x81\x01")
        sock.send(query("router") + b"\0" * 60000)
        equal(sock.recv(2000)[:4], b"\x12\x34\x81\x01")
        # many at once: all answered, ids kept
        for ident in range(200):
            sock.send(query("router", ident=ident))
        idents = {struct.unpack(">H", sock.recv(2000)[:2])[0] for _ in range(200)}
        equal(idents, set(range(200)))


def test_burst():
    """What comes while the server does something else is answered afterwards."""
    with main_server() as process:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
        sock.connect((MAIN, PORT))
        sock.settimeout(10)
        process.send_signal(signal.SIGSTOP)
        for ident in range(1000):
            sock.send(query("router", ident=ident))
        process.send_signal(signal.SIGCONT)
        idents = {struct.unpack(">H", sock.recv(2000)[:2])[0] for _ in range(1000)}
        equal(idents, set(range(1000)))


def test_tcp_by_hand():
    with main_server():
        with connect() as sock:  # pipelined, and half-closed behind them
            sock.sendall(b"".join(framed(query("router", ident=i)) for i in range(50)))
            sock.shutdown(socket.SHUT_WR)
            equal([struct.unpack(">H", read_framed(sock)[:2])[0] for _ in range(50)],
                  list(range(50)))
            equal(sock.recv(1), b"")
        with connect() as sock:  # octet by octet
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for octet in framed(query("nas")):
                sock.sendall(bytes([octet]))
                time.sleep(0.002)
            equal(read_framed(sock)[-4:], bytes([10, 51, 0, 2]))
        with connect() as sock:  # the largest message, malformed behind its question
            sock.sendall(framed(query("nas") + b"\0" * (65535 - len(query("nas")))))
            equal(read_framed(sock), b"\x12\x34\x81\x01" + b"\0" * 8)
            sock.sendall(framed(query("nas")))  # the connection lives on
            equal(read_framed(sock)[3] & 15, 0)
        for bad in (b"", query("nas", flags=0x8100)):  # nothing to be answered ends it
            with connect() as sock:
                sock.sendall(framed(bad))
                equal(sock.recv(1), b"")


def test_tcp_limits():
    with main_server():
        begin = time.monotonic()
        slow = [connect() for _ in range(16)]
        for sock in slow:
            sock.sendall(b"\0\xff12345")
        with connect() as sock:  # the 17th of one address
            equal(sock.recv(1), b"")
        with connect(source="127.0.9.9") as sock:
            sock.sendall(framed(query("nas")))
            equal(read_framed(sock)[-4:], bytes([10, 51, 0, 2]))
        busy = connect(source="127.0.11.2")
        more = [connect(source=f"127.0.10.{i % 14 + 1}") for i in range(111)]
        silent = time.monotonic()
        busy.sendall(framed(query("nas")))  # the youngest by its last answer now
        read_framed(busy)
        late = [connect(source=f"127.0.12.{i % 2 + 1}") for i in range(20)]
        for sock in late:  # the 129th of all is served, in place of the one that did nothing for the longest
            sock.sendall(framed(query("nas")))
            equal(read_framed(sock)[-4:], bytes([10, 51, 0, 2]))
        assert time.monotonic() - begin < 8, "room was made by time-outs only"
        for sock in slow + more[:4]:
            equal(sock.recv(1), b"")
        busy.sendall(framed(query("nas")))
        equal(read_framed(busy)[-4:], bytes([10, 51, 0, 2]))
        equal(more[-1].recv(1), b"")
        took = time.monotonic() - silent
        assert 8 < took < 20, f"a silent client was closed after {took:.1f} s"
        time.sleep(1)
        with connect() as sock:
            sock.sendall(framed(query("nas")))
            equal(read_framed(sock)[-4:], bytes([10, 51, 0, 2]))
        for sock in [*slow, *more, *late, busy]:
            sock.close()


def test_tcp_reader_that_does_not_read():
    with main_server("--many", "1000"):
        with connect() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(1)
            message = framed(query("many")) * 100
            try:  # the server stops reading, so that it does not collect answers
                for _ in range(2000):
                    sock.sendall(message)
                raise AssertionError("the server took everything")
            except TimeoutError:
                pass
            equal(dig("nas").status, "NOERROR")


def without_ttl(records):
    """What comes from the upstream's cache has a TTL that counts down."""
    return [re.sub(r" \d+ IN ", " IN ", record) for record in records]


def test_upstream():
    forward = ["--upstream", f"{UPSTREAM}:{PORT}", "--recursion", "127.0.0.0/16"]
    with upstream_server("--many", "300"), main_server(*forward):
        for transport in ("+notcp", "+tcp"):
            answer = dig("box.corp", transport)
            equal(without_ttl(answer.records), ["box.corp. IN A 192.0.2.9"])
            assert "ra" in answer.flags and "aa" not in answer.flags
            equal(dig("nope.corp", transport).status, "NXDOMAIN")
            equal(dig("box.corp", "AAAA", transport).status, "NOERROR")
        equal(without_ttl(dig("BOX.corp").records), ["BOX.corp. IN A 192.0.2.9"])
        equal(dig("many.corp").counts[0], 300)
        cut = dig("many.corp", "+ignore", "+noedns")
        assert "tc" in cut.flags and cut.counts[0] == 30, cut.text
        equal(dig("-x", "192.0.2.9").records[0].split()[-1], "box.corp.")
        equal(dig("a\\.b\\032\\255.corp").status, "NXDOMAIN")
        equal(dig("nas").records, ["nas. 30 IN A 10.51.0.2"])
        equal(dig("nope.heimdall").status, "NXDOMAIN")
        equal(dig("box.corp", "+norecurse").status, "REFUSED")
        equal(dig("box.corp", "-b", "127.5.0.1").status, "REFUSED")
        equal(dig("nas", "-b", "127.5.0.1").status, "NOERROR")
        assert "ra" not in dig("nas", "-b", "127.5.0.1").flags


@contextlib.contextmanager
def python_upstream(answer):
    """A server on UPSTREAM: answer(name, type) gives (rcode, rdata or None)."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((UPSTREAM, PORT))

    def serve():
        while True:
            message, client = sock.recvfrom(4096)
            at, labels = 12, []
            while message[at]:
                labels.append(message[at + 1:at + 1 + message[at]].decode())
                at += message[at] + 1
            kind = struct.unpack(">H", message[at + 1:at + 3])[0]
            rcode, data = answer(".".join(labels).lower(), kind)
            record = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data if data else b""
            sock.sendto(message[:2] + struct.pack(">HHHHH", 0x8180 | rcode, 1, 1 if data else 0, 0, 0) + message[12:at + 5] + record,
                        client)

    threading.Thread(target=serve, daemon=True).start()
    yield
    # the thread ends with the process, which is this test's own


def test_upstream_that_knows_special_names():
    """Zones that the library would answer itself are the upstream's, like all others."""
    names = ("nas.home.arpa", "build.test", "a.invalid", "a.onion", "a.localhost", "a.resolver.arpa", "a.service.arpa", "a.lan", "a.local",
             "a.internal", "a.corp", "a.alt")
    addresses = ("127.0.0.9", "0.0.0.9", "10.9.9.9", "192.168.9.9", "169.254.9.9", "192.0.2.99", "198.51.100.9", "203.0.113.9",
                 "172.16.0.9", "172.31.0.9", "100.64.0.9", "100.127.0.9", "255.255.255.255", "::", "::1", "fd12::9", "fe80::9",
                 "fe90::9", "fea0::9", "feb0::9", "2001:db8::9")
    data = {1: bytes([192, 0, 2, 77]), 12: b"\3box\0"}
    with python_upstream(lambda name, kind: (0, data.get(kind))), \
            main_server("--upstream", f"{UPSTREAM}:{PORT}", "--recursion", "127.0.0.0/8"):
        for name in names:
            equal(without_ttl(dig(name).records), [f"{name}. IN A 192.0.2.77"])
        for address in addresses:
            equal([record.split()[-1] for record in dig("-x", address).records], ["box."])


NODE, RESOLVER, OTHER = "127.0.2.1", "127.0.2.2", "127.0.2.3"


def stub_server(*resolvers, nodes=(NODE,)):
    """The stub of a peer, which knows the host "router" without asking."""
    return server("--listen", f"{MAIN}:{PORT}", "--recursion", "127.0.0.0/8", "--host", "router=10.11.0.1", "--network", "10.51.0.0/16",
                  *[word for node in nodes for word in ("--node", node)],
                  *[word for resolver in resolvers for word in ("--upstream", resolver)])


def node_server():
    return server("--listen", f"{NODE}:53", *ZONE, "--host", "laptop=10.51.0.9")


def resolver_server(*more, at=RESOLVER):
    return server("--listen", f"{at}:{PORT}", "--domain", "corp", "--host", "box=192.0.2.9", "--many", "300", *more)


def took(*arguments):
    begin = time.monotonic()
    answer = dig(*arguments)
    return time.monotonic() - begin, answer


def test_stub():
    """Names of the overlay come from the nodes, all others from the host's resolvers as they are."""
    with node_server(), resolver_server(), stub_server(f"{RESOLVER}:{PORT}"):
        for transport in ("+notcp", "+tcp"):
            equal(dig("laptop.heimdall", transport).records, ["laptop.heimdall. 30 IN A 10.51.0.9"])
            equal(dig("-x", "10.51.0.9", transport).records[0].split()[-1], "laptop.heimdall.")
            equal(dig("nobody.heimdall", transport).status, "NXDOMAIN")
            answer = dig("box.corp", transport)
            equal(answer.records, dig("box.corp", transport, at=RESOLVER).records)
            assert "aa" in answer.flags, "the resolver's own answer"
            equal(dig("nope.corp", transport).status, "NXDOMAIN")
            equal(dig("www.example", transport).status, "REFUSED")
            equal(dig("-x", "192.0.2.9", transport).records[0].split()[-1], "box.corp.")
        equal(dig("router").records[0].split()[-1], "10.11.0.1")  # known without asking
        equal(dig("laptop").status, "REFUSED")  # one label is the resolvers' to answer
        equal(dig("many.corp").counts[0], 300)
        assert "tc" in dig("many.corp", "+ignore").flags


def test_stub_with_resolvers_that_fail():
    """A resolver that is silent costs a second, one that is not there or refuses costs nothing."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind((OTHER, PORT))
    with resolver_server(), stub_server(f"{OTHER}:{PORT}", f"{RESOLVER}:{PORT}"):
        seconds, answer = took("box.corp")
        equal(answer.records[0].split()[-1], "192.0.2.9")
        assert 0.9 < seconds < 4, seconds
    refusing = server("--listen", f"127.0.2.4:{PORT}", "--domain", "nothing")
    with refusing, resolver_server(), stub_server("127.0.2.5:5301", f"127.0.2.4:{PORT}", f"{RESOLVER}:{PORT}"):
        for transport in ("+notcp", "+tcp"):
            seconds, answer = took("box.corp", transport)
            equal(answer.records[0].split()[-1], "192.0.2.9")
            assert seconds < 0.9, seconds
    with node_server(), stub_server("127.0.2.5:5301"):
        seconds, answer = took("box.corp")
        equal(answer.status, "REFUSED")  # of the node, which has no upstream here
        assert seconds < 0.9, seconds
    with stub_server("127.0.2.5:5301"):
        seconds, answer = took("box.corp")
        equal(answer.status, "SERVFAIL")
        assert seconds < 4, seconds
    silent.close()


def test_stub_while_nodes_are_away():
    """Known names are answered, no other name waits, and a node that is back is asked again."""
    with resolver_server(), stub_server(f"{RESOLVER}:{PORT}", nodes=(NODE, "127.0.2.9")):
        with node_server():
            equal(dig("laptop.heimdall").status, "NOERROR")
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # the first is silent now, the second is not there
        silent.bind((NODE, 53))
        seconds, answer = took("nobody.heimdall")
        equal(answer.status, "NXDOMAIN")
        assert seconds < 2, seconds
        for name, address in (("laptop.heimdall", "10.51.0.9"), ("router.heimdall", "10.11.0.1"), ("box.corp", "192.0.2.9")):
            seconds, answer = took(name)
            equal(answer.records[0].split()[-1], address)
            assert seconds < 0.6, (name, seconds)
        seconds, answer = took("other.heimdall")
        equal(answer.status, "NXDOMAIN")
        assert seconds < 0.6, seconds
        silent.close()
        with node_server():
            end = time.monotonic() + 10
            while dig("web.heimdall").status != "NXDOMAIN" or dig("nas.heimdall").status != "NOERROR":
                assert time.monotonic() < end, "the node that is back is not asked"


def test_upstream_that_is_away():
    with main_server("--upstream", f"{UPSTREAM}:{PORT}", "--recursion", "127.0.0.0/8"):
        for transport in ("+notcp", "+tcp"):
            begin = time.monotonic()
            equal(dig("box.corp", transport).status, "SERVFAIL")
            assert time.monotonic() - begin < 5.5
        equal(dig("nas").status, "NOERROR")
        with upstream_server():
            end = time.monotonic() + 30
            while dig("box.corp").status != "NOERROR":
                assert time.monotonic() < end, "the upstream came back and is not asked"


def test_upstream_that_is_silent():
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind((UPSTREAM, PORT))
    with main_server("--upstream", f"{UPSTREAM}:{PORT}", "--recursion", "127.0.0.0/8"):
        begin = time.monotonic()
        equal(dig("box.corp").status, "SERVFAIL")
        took = time.monotonic() - begin
        assert took < 5, f"SERVFAIL came after {took:.1f} s"
        # queries and a connection that wait when the server ends
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for i in range(1000):
            sock.sendto(query(f"n{i}.corp"), (MAIN, PORT))
        tcp = connect()
        tcp.sendall(framed(query("tcp.corp")))
        time.sleep(0.3)
        equal(dig("nas").status, "NOERROR")
    tcp.close()
    sock.close()
    silent.close()


def test_upstream_for_one_client():
    """One client with more questions than the upstream has places does not take another's."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind((UPSTREAM, PORT))

    def client(address):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
        sock.bind((address, 0))
        sock.settimeout(10)
        return sock

    with main_server("--upstream", f"{UPSTREAM}:{PORT}", "--recursion", "127.0.0.0/8"):
        greedy, other = client("127.0.9.1"), client("127.0.9.2")
        for ident in range(600):
            greedy.sendto(query(f"n{ident}.corp", ident=ident), (MAIN, PORT))
        at_once = {struct.unpack(">H", greedy.recv(2000)[:2])[0] for _ in range(600 - 128)}
        equal(at_once, set(range(128, 600)))
        begin = time.monotonic()
        other.sendto(query("other.corp"), (MAIN, PORT))
        equal(other.recv(2000)[3] & 15, 2)
        assert time.monotonic() - begin > 2, "it was not asked"
        for _ in range(128):
            equal(greedy.recv(2000)[3] & 15, 2)
    silent.close()


@contextlib.contextmanager
def tls_proxy(certificate, key):
    """DNS over TLS on UPSTREAM:8853, passed on over TCP."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server((UPSTREAM, 8853))
    stopping = threading.Event()

    def serve():
        while not stopping.is_set():
            try:
                with listener.accept()[0] as plain, context.wrap_socket(plain, True) as client, \
                        connect(UPSTREAM) as server_side:
                    client.settimeout(2)
                    while True:
                        server_side.sendall(framed(read_framed(client)))
                        client.sendall(framed(read_framed(server_side)))
            except (OSError, EOFError):
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield
    stopping.set()
    listener.shutdown(socket.SHUT_RDWR)  # wakes accept
    thread.join(5)
    listener.close()


def test_upstream_over_tls():
    """A server that cannot prove its name is asked nothing, least of all in the clear."""
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = f"{folder}/cert.pem", f"{folder}/key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate,
                        "-subj", "/CN=dns.example", "-addext", "subjectAltName=DNS:dns.example",
                        "-days", "2"], check=True, capture_output=True)
        for name, expected in (("dns.example", "NOERROR"), ("other.example", "SERVFAIL")):
            with upstream_server(), tls_proxy(certificate, key), \
                    main_server("--upstream", f"{UPSTREAM}:8853", "--tls-name", name,
                                "--tls-bundle", certificate, "--recursion", "127.0.0.0/8"):
                equal(dig("box.corp").status, expected)


@contextlib.contextmanager
def tcp_listener(serve):
    """Connections to UPSTREAM:8853 are given to serve(connection), one at a time."""
    listener = socket.create_server((UPSTREAM, 8853))

    def accept():
        with contextlib.suppress(OSError):
            while True:
                with listener.accept()[0] as connection, contextlib.suppress(OSError):
                    serve(connection)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield
    listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    listener.close()


def test_upstream_over_tls_that_fails():
    """One that speaks no TLS, one that is silent, one that is not there: SERVFAIL before a client gives up, said once."""
    def garbage(connection):
        connection.sendall(b"220 mail.example ESMTP\r\n" * 2000)
        connection.recv(1000)

    def silent(connection):
        connection.settimeout(6)
        connection.recv(1000)
        connection.recv(1000)

    for serve in (garbage, silent, None):
        upstream = tcp_listener(serve) if serve else contextlib.nullcontext()
        with upstream, main_server("--upstream", f"{UPSTREAM}:8853", "--tls-name", "dns.example", "--recursion", "127.0.0.0/8"):
            for name in ("a.corp", "b.corp"):
                begin = time.monotonic()
                equal(dig(name).status, "SERVFAIL")
                assert time.monotonic() - begin < 6, serve
            equal(dig("nas").status, "NOERROR")


def test_new_zone_and_address():
    with main_server("--later", "fresh=10.51.0.77", "--move-to", f"127.0.1.7:{PORT}") as process:
        equal(dig("fresh.heimdall").status, "NXDOMAIN")
        process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 5
        while dig("fresh.heimdall", "+time=1", at="127.0.1.7").status != "NOERROR":
            assert time.monotonic() < end
        equal(dig("heimdall", "SOA", at="127.0.1.7").records[0].split()[6], "8")
        equal(dig("fresh.heimdall", "+time=1").status, None)  # no longer there


def test_wildcard_answers_from_the_address_asked():
    with server("--listen", f"0.0.0.0:{PORT}", "--listen", f"[::]:{PORT}", *ZONE):
        equal(dig("nas", at="127.0.5.5").status, "NOERROR")
        equal(dig("nas", at="::1").status, "NOERROR")


def failure(*arguments, prefix=()):
    run = subprocess.run([*prefix, PROGRAM, *arguments], capture_output=True, text=True, timeout=10)
    assert run.returncode == 1, run
    return run.stderr


def test_addresses_that_cannot_be_had():
    with main_server():
        text = failure("--listen", f"{MAIN}:{PORT}")
        assert f"{MAIN}:{PORT}" in text and "--dns-address" in text and "taken" in text, text
    with contextlib.closing(socket.create_server((MAIN, PORT))):  # only TCP is taken
        assert "taken" in failure("--listen", f"{MAIN}:{PORT}")
    text = failure("--listen", "192.0.2.1:53")
    assert "192.0.2.1:53" in text and "--dns-address" in text, text
    text = failure("--listen", f"{MAIN}:53", prefix=(
        "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"))
    assert "CAP_NET_BIND_SERVICE" in text and "--dns-address" in text, text


def run_here(name):
    begin = time.monotonic()
    try:
        globals()[name]()
        print(f"ok   {name} ({time.monotonic() - begin:.1f} s)", flush=True)
    except Exception as error:  # noqa: BLE001, every failure is reported
        print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
        sys.exit(1)


def run_apart(name):
    """In a namespace of its own: most of them wait most of the time, so that several run at once."""
    run = subprocess.run(["unshare", "--net", sys.executable, "-B", __file__, PROGRAM, name], timeout=120,
                         env=os.environ | {"HEIMDALL_DNS_TEST_NS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(run.stdout, end="", flush=True)
    return run.returncode


PROGRAM = os.path.abspath(sys.argv[1])
if "HEIMDALL_DNS_TEST_NS" in os.environ:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    run_here(sys.argv[2])
else:
    names = sys.argv[2:] or [name for name in globals() if name.startswith("test_")]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        sys.exit(1 if any(list(pool.map(run_apart, names))) else 0)
