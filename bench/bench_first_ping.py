#!/usr/bin/env python3
"""How long a user waits: from starting hpeer to its first answered ping, and from `hctl routes create` to a usable
route on the peer. Prints the median and the slowest of several rounds, each with a new network."""
import argparse
import json
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests/e2e"))
from lab.netns import Lab, wait_until  # noqa: E402
from lab.story import Network  # noqa: E402

# The original program, as its README's defaults make it: it polls.
ORIGINAL = {"first ping": "5 to 10 s", "route": "5 to 16 s"}


def first_ping(net):
    """Seconds from the start of hpeer to the first echo reply, from a ping that already runs, every 10 ms."""
    started = time.monotonic()
    net.start_peer()
    ping = net.client.start(["bash", "-c", "until ping -c1 -W0.05 10.11.0.1 >/dev/null 2>&1; do sleep 0.01; done; "
                                           "echo answered; exec sleep 1"])
    ping.wait_for("answered", timeout=20)
    return time.monotonic() - started


def route_live(net, node_id, network):
    """Seconds from the start of hctl until the peer's routing table has the network, watched by ip-monitor."""
    monitor = net.client.start(["ip", "monitor", "route"])
    time.sleep(0.2)
    started = time.monotonic()
    net.hctl("routes", "create", "--node-id", node_id, "--network", network)
    monitor.wait_for(network, timeout=20)
    return time.monotonic() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bin_dir")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", help="file for every round's figures")
    args = parser.parse_args()
    figures = {"first ping": [], "route": []}
    for number in range(args.rounds):
        with Lab(args.bin_dir) as lab:
            net = Network(lab)
            net.start_node()
            net.authorize()
            figures["first ping"].append(first_ping(net))
            figures["route"].append(route_live(net, net.node_id(), f"192.168.{50 + number}.0/24"))
            wait_until(lambda: net.client.run(["ip", "route", "get", f"192.168.{50 + number}.1"], check=False)
                       .stdout.find("darknet") > 0, 5, "the route is not used")
    print(f"{'':12} {'median':>9} {'slowest':>9}   the original")
    for name, rounds in figures.items():
        print(f"{name:12} {statistics.median(rounds) * 1000:6.0f} ms {max(rounds) * 1000:6.0f} ms   {ORIGINAL[name]}")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(figures, indent=1))


main()
