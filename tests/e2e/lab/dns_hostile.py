"""usage: dns_hostile.py SERVER: sends a DNS server what no resolver sends, over UDP and TCP, and reports how it answered.

Exits 0 when the server answered each message correctly, was silent where that is right, and still answers "router"."""
import contextlib
import random
import socket
import struct
import sys
import time

FORMERR, NOTIMP, REFUSED, BADVERS = 1, 4, 5, 16
ROUTER = b"\6router\10heimdall\0"
A_IN = b"\0\1\0\1"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def message(body, questions=1, answers=0, authorities=0, additional=0, flags=0x0100, ident=0x1234):
    return struct.pack(">6H", ident, flags, questions, answers, authorities, additional) + body


GOOD = message(ROUTER + A_IN)

# what, message, the code of the answer (None: no answer)
CASES = [
    ("nothing", b"", None),
    ("half a header", GOOD[:7], None),
    ("a response", message(ROUTER + A_IN, flags=0x8180), None),
    ("no question", message(b"", questions=0), FORMERR),
    ("two questions", message((ROUTER + A_IN) * 2, questions=2), FORMERR),
    ("65,535 questions", message(ROUTER + A_IN, questions=65535), FORMERR),
    ("100 questions that are there", message((ROUTER + A_IN) * 100, questions=100), FORMERR),
    ("a pointer to itself", message(b"\xc0\x0c" + A_IN), FORMERR),
    ("two pointers in a circle", message(b"\xc0\x0e\xc0\x0c" + A_IN), FORMERR),
    ("a label and a pointer back to it", message(b"\1a\xc0\x0c" + A_IN), FORMERR),
    ("a pointer into the header", message(b"\xc0\x02" + A_IN), FORMERR),
    ("a pointer behind the end", message(b"\xff\xff" + A_IN), FORMERR),
    ("half a pointer", message(b"\xc0"), FORMERR),
    ("label types 01 and 10", message(b"\x41a\0" + A_IN), FORMERR),
    ("a name of 256 octets", message(b"\x3f" + b"x" * 63 + (b"\x3f" + b"x" * 63) * 3 + b"\0" + A_IN), FORMERR),
    ("a name without an end", message(b"\3abc"), FORMERR),
    ("one octet too many", GOOD + b"\0", FORMERR),
    ("a record announced and not there", message(ROUTER + A_IN, additional=1), FORMERR),
    ("65,535 records announced", message(ROUTER + A_IN, answers=65535, authorities=65535, additional=65535), FORMERR),
    ("rdata behind the end", message(ROUTER + A_IN + OPT[:-2] + b"\xff\xff", additional=1), FORMERR),
    ("two OPT records", message(ROUTER + A_IN + OPT * 2, additional=2), FORMERR),
    ("OPT among the answers", message(ROUTER + A_IN + OPT, answers=1), FORMERR),
    ("an option longer than OPT", message(ROUTER + A_IN + OPT[:-2] + b"\0\4\0\x0a\0\xff", additional=1), FORMERR),
    ("EDNS version 7", message(ROUTER + A_IN + b"\0\0\x29\x04\xd0\0\7\0\0\0\0", additional=1), BADVERS),
    ("OPT as a question", message(ROUTER + b"\0\x29\0\1"), FORMERR),
    ("type 0", message(ROUTER + b"\0\0\0\1"), FORMERR),
    ("a transfer", message(b"\10heimdall\0\0\xfc\0\1"), REFUSED),
    ("class CHAOS", message(b"\7version\4bind\0\0\x10\0\3"), REFUSED),
    ("class ANY", message(ROUTER + b"\0\1\0\xff"), REFUSED),
    ("a service of one label", message(b"\1x\0\0\x21\0\1", flags=0), REFUSED),
    ("octets that are no letters", message(b"\4\0\xff\x80.\10heimdall\0" + A_IN), 3),
]
CASES += [(f"opcode {opcode}", message(ROUTER + A_IN, flags=opcode << 11), NOTIMP) for opcode in range(1, 16)]
CASES += [(f"cut to {length} octets", GOOD[:length], FORMERR) for length in range(12, len(GOOD))]


def code(answer):
    """The code with EDNS' upper half; an OPT record is the last of ours."""
    low = answer[3] & 15
    return low | answer[-6] << 4 if answer[10:12] == b"\0\1" and low == 0 else low


def ask_udp(sock, query):
    sock.send(query)
    with contextlib.suppress(TimeoutError):
        return sock.recv(65535)
    return None


def framed(query):
    return struct.pack(">H", len(query)) + query


def read_exactly(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def ask_tcp(server, query):
    with socket.create_connection((server, 53), 10) as sock:
        sock.sendall(framed(query))
        try:
            return read_exactly(sock, struct.unpack(">H", read_exactly(sock, 2))[0])
        except (EOFError, ConnectionResetError):
            return None


def check(what, answer, expected):
    got = None if answer is None else code(answer)
    if got != expected:
        raise AssertionError(f"{what}: {got} instead of {expected}")
    if answer is not None and answer[2] & 0x80 == 0:
        raise AssertionError(f"{what}: the answer does not say that it is one")


def check_cases(server):
    sock = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((server, 53))
    for what, query, expected in CASES:
        # silence is proved by what comes next: the answer to a good question
        sock.settimeout(10)
        if expected is None:
            sock.send(query)
            query, expected = message(ROUTER + A_IN, ident=0x7777), 0
        answer = ask_udp(sock, query)
        check(f"{what}, UDP", answer, expected)
        if answer[:2] != query[:2]:
            raise AssertionError(f"{what}, UDP: answered, and should not be")
    for what, query, expected in CASES:
        check(f"{what}, TCP", ask_tcp(server, query), expected)


def check_noise(server):
    """Random octets, and good messages with random faults: any answer or none is right, as long as the server survives."""
    noise = random.Random(20261125)
    sock = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((server, 53))
    sock.setblocking(False)
    for number in range(3000):
        if number % 2:
            query = noise.randbytes(noise.randrange(1200))
        else:
            query = bytearray(message(ROUTER + A_IN + OPT, additional=1))
            for _ in range(noise.randrange(1, 6)):
                query[noise.randrange(len(query))] = noise.randrange(256)
        with contextlib.suppress(BlockingIOError):
            sock.send(query)
            sock.recv(65535)


def check_tcp(server):
    whole = message(ROUTER + A_IN + b"\0" * (65535 - len(GOOD)))
    check("64 KiB over TCP", ask_tcp(server, whole), FORMERR)
    with socket.create_connection((server, 53), 10) as sock:  # many at once, answered in order
        sock.sendall(b"".join(framed(message(ROUTER + A_IN, ident=number)) for number in range(100)))
        for number in range(100):
            answer = read_exactly(sock, struct.unpack(">H", read_exactly(sock, 2))[0])
            check("pipelined", answer, 0)
            if struct.unpack(">H", answer[:2])[0] != number:
                raise AssertionError("pipelined: out of order")
    idle = [socket.create_connection((server, 53), 10) for _ in range(16)]
    with socket.create_connection((server, 53), 10) as sock:
        if sock.recv(1) != b"":
            raise AssertionError("the 17th connection of one address was not closed")
    begin = time.monotonic()
    slow = idle[0]
    slow.settimeout(0.5)
    closed = False
    while not closed:  # sending an octet at a time does not extend the time limit
        try:
            slow.sendall(b"\0")
            closed = slow.recv(1) == b""
        except TimeoutError:
            pass
        except OSError:
            closed = True
        if time.monotonic() - begin > 30:
            raise AssertionError("a client that sends an octet at a time is not closed")
    for sock in idle:
        sock.close()


def main():
    server = sys.argv[1]
    check_cases(server)
    check_noise(server)
    check_tcp(server)
    check("router afterwards", ask_tcp(server, GOOD), 0)
    print(f"{len(CASES)} messages answered as they must")


main()
