#!/usr/bin/env python3
"""Keeps one TCP connection busy for a while and checks every byte that comes back.

    talk.py echo ADDRESS PORT               sends back what one client sends, then ends
    talk.py talk ADDRESS PORT SECONDS       exits 0 when every byte came back; prints the longest wait for one
"""
import os
import socket
import sys
import time

CHUNK = 1200
PAUSE = 0.01


def connect(address, port):
    sock = socket.create_connection((address, port), timeout=20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def echo(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family) as server:
        print("listening", flush=True)
        sock, _ = server.accept()
        with sock:
            while data := sock.recv(1 << 16):
                sock.sendall(data)


def talk(address, port, seconds):
    longest = rounds = 0
    with connect(address, port) as sock:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sent, got = os.urandom(CHUNK), b""
            start = time.monotonic()
            sock.sendall(sent)
            while len(got) < CHUNK:
                data = sock.recv(CHUNK - len(got))
                if not data:
                    sys.exit("the connection ended early")
                got += data
            if got != sent:
                sys.exit("the content differs")
            longest = max(longest, time.monotonic() - start)
            rounds += 1
            time.sleep(PAUSE)
    print(f"{rounds} rounds, the longest took {longest:.3f} s")


if sys.argv[1] == "echo":
    echo(sys.argv[2], int(sys.argv[3]))
else:
    talk(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
