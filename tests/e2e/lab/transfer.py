#!/usr/bin/env python3
"""Sends random bytes both ways over one TCP connection and checks each side's SHA-256.

    transfer.py serve ADDRESS PORT            answers one client, then ends
    transfer.py send ADDRESS PORT BYTES       exits 0 when both directions arrived whole
"""
import hashlib
import os
import socket
import sys

CHUNK = 1 << 16


def send(sock, total):
    digest = hashlib.sha256()
    sock.sendall(total.to_bytes(8, "big"))
    while total > 0:
        chunk = os.urandom(min(CHUNK, total))
        digest.update(chunk)
        sock.sendall(chunk)
        total -= len(chunk)
    sock.sendall(digest.digest())


def exactly(sock, count):
    data = b""
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        if not chunk:
            sys.exit("the connection ended early")
        data += chunk
    return data


def receive(sock):
    digest = hashlib.sha256()
    total = left = int.from_bytes(exactly(sock, 8), "big")
    while left > 0:
        chunk = sock.recv(min(CHUNK, left))
        if not chunk:
            sys.exit("the connection ended early")
        digest.update(chunk)
        left -= len(chunk)
    if exactly(sock, 32) != digest.digest():
        sys.exit("the content differs")
    return total


def main():
    verb, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if verb == "serve":
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.create_server((address, port), family=family) as server:
            print("listening", flush=True)
            sock, _ = server.accept()
            with sock:
                total = receive(sock)
                send(sock, total)
    else:
        total = int(sys.argv[4])
        with socket.create_connection((address, port), timeout=20) as sock:
            send(sock, total)
            if receive(sock) != total:
                sys.exit("the answer has another length")
    print(f"{total} bytes arrived whole in both directions")


main()
