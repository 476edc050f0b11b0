#!/usr/bin/env python3
"""Plays the README's day in network namespaces, printing each command and its output."""
import argparse
import shlex
import sys

from lab.netns import LEAST_PRIVILEGE, Lab, wait_until
from lab.story import TRANSFER, Network


def show(host, argv, output=""):
    print(f"\n\033[1m{host.name}# {shlex.join(str(arg) for arg in argv)}\033[0m" if sys.stdout.isatty()
          else f"\n{host.name}# {shlex.join(str(arg) for arg in argv)}")
    if output:
        print(output.rstrip("\n"), flush=True)


def play(host, argv, **options):
    done = host.run(argv, **options)
    show(host, argv, done.stdout + done.stderr)
    return done.stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin_dir")
    parser.add_argument("--least-privilege", action="store_true",
                        help="run node and peer with CAP_NET_ADMIN and CAP_NET_BIND_SERVICE only")
    args = parser.parse_args()
    with Lab(args.bin_dir) as lab:
        net = Network(lab, args.least_privilege)
        prefix = LEAST_PRIVILEGE if args.least_privilege else []
        print("Three hosts: client (172.17.0.3) and router (172.17.0.2) on one LAN; server (192.168.50.10) behind router.")

        net.start_node()
        show(net.router, [*prefix, *net.node.argv], net.node.output())
        peer = net.start_peer()
        peer.wait_for("not authorized")
        show(net.client, [*prefix, *peer.argv], peer.output())
        play(net.router, ["hctl", "peers", "authorize", net.id], least_privilege=args.least_privilege)
        seen = len(peer.output())
        peer.wait_for("connected")
        print(f"\nclient: the log of hpeer goes on\n{peer.output()[seen:].rstrip()}")
        net.wait_for_name(net.client, "router")
        play(net.client, ["ping", "-c3", "-i0.2", "router"])
        play(net.router, ["ping", "-c1", "client"])
        play(net.router, ["hctl", "peers", "rename", "client", "kiosk"], least_privilege=args.least_privilege)
        wait_until(lambda: net.router.run(["ping", "-c1", "-W1", "kiosk"], check=False).returncode == 0, 5,
                   "the new name is not found")
        play(net.router, ["ping", "-c1", "kiosk"])
        play(net.router, ["hctl", "nodes", "list"])
        play(net.router, ["hctl", "peers", "list"])
        play(net.router, ["wg", "show"])

        play(net.router, ["hctl", "routes", "create", "--node-id", "router", "--network", "192.168.50.0/24"])
        play(net.router, ["hctl", "routes", "list"])
        play(net.client, ["ping", "-c1", "-W5", "192.168.50.10"])

        print("\n10 MB of random bytes from client to router and back, through the tunnel:")
        server = net.router.start(["python3", "-B", TRANSFER, "serve", "10.11.0.1", "7000"])
        server.wait_for("listening")
        play(net.client, ["python3", "-B", TRANSFER, "send", "router", "7000", "10000000"], timeout=60)

        play(net.router, ["hctl", "status"])
        play(net.router, ["hctl", "peers", "deauthorize", "kiosk"], least_privilege=args.least_privilege)
        cut = net.client.run(["ping", "-c1", "-W1", "10.11.0.1"], check=False)
        show(net.client, ["ping", "-c1", "-W1", "10.11.0.1"], cut.stdout + cut.stderr)
        if cut.returncode == 0:
            sys.exit("the deauthorized peer still reaches the router")
        play(net.router, ["hctl", "peers", "authorize", net.id], least_privilege=args.least_privilege)
        peer.wait_for("connected", count=2)
        net.wait_for_name(net.client, "router")
        play(net.client, ["ping", "-c3", "-i0.2", "router"])
    print("\nThe day worked from its first to its last line.")


main()
