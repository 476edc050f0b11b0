#!/usr/bin/env python3
"""The control plane with many peers: a real heimdall with its Redis in a host made of namespaces, and simulated peers on its
loopback, each with a TLS connection of its own (bench/control_clients.c). Needs root.

Memory is heimdall's resident set without Redis'. The time of a watch is from the call of a change until the peer has it. Exits 1
when a target is missed; with --smoke, fewer peers and no judgement."""
import argparse
import json
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "e2e"))
from lab.netns import Lab  # noqa: E402
from lab.story import table  # noqa: E402

# figure, unit, target, whether more is better
FIGURES = [
    ("memory_empty_mib", "MiB resident, no peers", None, False),
    ("authorizations_a_second", "authorizations a second, one by one", 500, True),
    ("memory_authorized_mib", "MiB resident, {peers} peers authorized", None, False),
    ("connections_a_second", "peers connected a second", None, True),
    ("memory_connected_mib", "MiB resident, {peers} peers with an open connection", None, False),
    ("connected_kib", "  KiB for each of them", 16, False),
    ("changes_a_second", "changes a second one by one, {peers} peers", 500, True),
    ("watch_{watches}_median_ms", "ms until a watch has a change, {watches} watches, median", 50, False),
    ("watch_{watches}_p99_ms", "  99th percentile", None, False),
    ("last_watch_{watches}_median_ms", "  until the last one has it, median", None, False),
    ("last_watch_{watches}_p99_ms", "  99th percentile", None, False),
    ("watch_{peers}_median_ms", "ms until a watch has a change, {peers} watches, median", None, False),
    ("last_watch_{peers}_median_ms", "  until the last one has it, median", None, False),
    ("memory_watching_mib", "MiB resident, {peers} peers that watch", 350, False),
    ("restart_s", "s from the start to ready, {peers} peers", 3, False),
    ("peers_list_s", "s for hctl peers list -o json, {peers} peers", None, False),
    ("memory_restarted_mib", "MiB resident after it", 128, False),
    ("redis_mib", "MiB resident, Redis", None, False),
]


def resident(host, program):
    return int(host.sh(f"grep VmRSS /proc/$(pgrep -xo {program})/status").split()[1]) / 1024


def start(host):
    started = time.monotonic()
    node = host.start(["heimdall", "--addr", "tcp://127.0.0.1:9000", "--name", "node", "--endpoint-ip", "127.0.0.1"])
    node.wait_for("hctl peers authorize", timeout=60)
    return node, time.monotonic() - started


def measure(bin_dir, peers, watches):
    with Lab(bin_dir) as lab:
        host = lab.host("node")
        node, _ = start(host)
        node_id = table(host.run(["hctl", "nodes", "list"]).stdout)[0]["ID"]
        clients = pathlib.Path(bin_dir).resolve().parent / "bench" / "control_clients"
        done = host.run([clients, "unix:///var/lib/heimdall/control.sock", "tcp://127.0.0.1:9000",
                         host.sh("pgrep -xo heimdall").strip(), node_id, peers, watches], timeout=900)
        figures = {name: float(value) for name, value in (line.split() for line in done.stdout.splitlines())}
        figures["connected_kib"] = (figures["memory_connected_mib"] - figures["memory_authorized_mib"]) * 1024 / peers
        node.stop(timeout=60)
        node, figures["restart_s"] = start(host)
        began = time.monotonic()
        listed = len(json.loads(host.run(["hctl", "-o", "json", "peers", "list"], timeout=60).stdout)["peers"])
        figures["peers_list_s"] = time.monotonic() - began
        assert listed == peers, listed
        figures["memory_restarted_mib"] = resident(host, "heimdall")
        figures["redis_mib"] = resident(host, "redis-server")
        node.stop(timeout=60)
        return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bin_dir")
    parser.add_argument("--peers", type=int, default=20000)
    parser.add_argument("--watches", type=int, default=1000)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--json", help="file for the figures")
    args = parser.parse_args()
    if args.smoke:
        args.peers, args.watches = 50, 20
    figures = measure(args.bin_dir, args.peers, args.watches)
    missed = []
    print(f"{'':64} {'measured':>9} {'target':>9}")
    for name, text, target, more in FIGURES:
        value = figures[name.format(**vars(args))]
        print(f"{text.format(**vars(args)):64} {value:9.1f} {target or '':>9}")
        if target is not None and (value < target if more else value > target):
            missed.append(name)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(figures, indent=1))
    return 1 if missed and not args.smoke else 0


sys.exit(main())
