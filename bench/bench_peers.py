#!/usr/bin/env python3
"""Cost of peers in a running heimdall-wg, configured over its UAPI socket: resident memory per peer (100,000 with one allowed IP
each), the time to load 10,000, and wake-ups of all threads while 10,000 are idle on a device that is up.

Enters network and mount namespaces of its own (needs root). Exits 1 when a target is missed. --smoke: fewer peers, no target for
the time."""
import argparse
import json
import os
import pathlib
import secrets
import socket
import subprocess
import sys
import time

SOCKET = "/run/wireguard/wg0.sock"
TARGET_BYTES, TARGET_SECONDS, IDLE_SECONDS = 2048, 0.3, 5


def status_field(path, name):
    for line in path.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise KeyError(name)


class Device:
    """A heimdall-wg of its own."""

    def __init__(self, program):
        self.process = subprocess.Popen([program, "-f", "wg0"], env={**os.environ, "LOG_LEVEL": "error"})
        for _ in range(500):
            if os.path.exists(SOCKET):
                break
            time.sleep(0.01)
        self.proc = pathlib.Path(f"/proc/{self.process.pid}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)

    def set(self, text):
        """Sends a whole request and returns how long its answer took."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(SOCKET)
            started = time.monotonic()
            client.sendall(text.encode())
            answer = b""
            while not answer.endswith(b"\n\n"):
                part = client.recv(4096)
                if not part:
                    break
                answer += part
            taken = time.monotonic() - started
        assert answer == b"errno=0\n\n", answer
        return taken

    def resident(self):
        return status_field(self.proc / "status", "VmRSS") * 1024

    def wake_ups(self):
        return sum(status_field(task / "status", "voluntary_ctxt_switches") for task in (self.proc / "task").iterdir())


def request(count):
    lines = ["set=1", f"private_key={secrets.token_hex(32)}", "listen_port=0", "replace_peers=true"]
    for number in range(count):
        lines.append(f"public_key={secrets.token_hex(31)}00")
        lines.append(f"allowed_ip=10.{number >> 16}.{number >> 8 & 255}.{number & 255}/32")
    return "\n".join(lines) + "\n\n"


def loading_time(program, count):
    with Device(program) as device:
        return device.set(request(count))


def memory(program, count):
    """Growth of the resident set in bytes per peer, after a small request that allocates what exists once."""
    with Device(program) as device:
        device.set(request(1))
        before = device.resident()
        device.set(request(count))
        return (device.resident() - before) / count


def idle_wake_ups(program, count):
    with Device(program) as device:
        device.set(request(count))
        subprocess.run(["ip", "link", "set", "wg0", "up"], check=True)
        time.sleep(2)
        before = device.wake_ups()
        time.sleep(IDLE_SECONDS)
        return device.wake_ups() - before


def in_own_namespaces():
    if os.environ.get("BENCH_PEERS_INSIDE") != "1":
        os.environ["BENCH_PEERS_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, "-B", *sys.argv])
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    os.mkdir("/run/wireguard")
    subprocess.run(["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"], check=False)  # no router solicitations


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bin_dir")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="file for the figures")
    args = parser.parse_args()
    in_own_namespaces()
    program = str(pathlib.Path(args.bin_dir) / "heimdall-wg")
    many, some, rounds = (5000, 1000, 1) if args.smoke else (100000, 10000, args.rounds)
    seconds = sorted(loading_time(program, some) for _ in range(rounds))
    figures = {
        "bytes a peer": memory(program, many),
        "seconds to load": seconds[len(seconds) // 2],
        "wake-ups": idle_wake_ups(program, some),
    }
    print(f"{'':44} {'measured':>10} {'target':>10}")
    print(f"{f'resident bytes a peer, {many} peers':44} {figures['bytes a peer']:10.0f} {TARGET_BYTES:>10}")
    print(f"{f'seconds to load {some} peers (median of {rounds})':44} {figures['seconds to load']:10.3f} {TARGET_SECONDS:>10}")
    print(f"{f'wake-ups in {IDLE_SECONDS} s, {some} idle peers':44} {figures['wake-ups']:10} {0:>10}")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(figures, indent=1))
    missed = figures["bytes a peer"] > TARGET_BYTES or figures["wake-ups"] != 0
    missed |= not args.smoke and figures["seconds to load"] > TARGET_SECONDS
    return 1 if missed else 0


sys.exit(main())
