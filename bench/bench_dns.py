#!/usr/bin/env python3
"""DNS answers per second of a node, Knot and CoreDNS: the same names and questions by dnsperf, each server alone on one core, in turns.
Needs root, two cores, and for CoreDNS the network (a Go module; left out when it cannot be downloaded).

Prints answers per second by the clock, and per second of the server's processor time, which other programs on the machine change
little. Exits 1 when the latter misses the target. --smoke: few names, the node alone, no target."""
import argparse
import json
import os
import pathlib
import random
import re
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "e2e"))
from lab.netns import Lab, wait_until  # noqa: E402
from lab.story import table  # noqa: E402

TARGET = 100_000
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = str(CORES[0]), str(CORES[-1])
PORTS = {"heimdall": 5301, "Knot": 5302, "CoreDNS": 5303}
ZONE_HEAD = "$TTL 30\n@ SOA router.heimdall. hostmaster.heimdall. 1 3600 600 86400 5\n@ NS router.heimdall.\n"
KNOT = """
server:
    rundir: /tmp/knot
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: error
database:
    storage: /tmp/knot
template:
  - id: default
    storage: /tmp
    journal-content: none
zone:
  - domain: heimdall
    file: names.zone
  - domain: 51.10.in-addr.arpa
    file: reverse.zone
"""
COREDNS = """
.:{port} {{
    bind 127.0.0.1
    file /tmp/names.zone heimdall
    file /tmp/reverse.zone 51.10.in-addr.arpa
}}
"""


def alone(*argv):
    """A host whose programs run on the servers' core."""
    return ["taskset", "-c", SERVER_CORE, *argv]


class Bench:
    def __init__(self, lab, peers, others):
        self.lab, self.host = lab, lab.host("node")
        self.tmp = self.host.dir / "tmp"
        self.servers = {"heimdall": self.start_node(peers)}
        self.names = self.peer_names()
        self.write_files()
        if others:
            self.start_others()
        for name in self.servers:
            wait_until(lambda name=name: self.is_up(PORTS[name]), 20, f"{name} does not answer", every=0.1)

    def start_others(self):
        self.servers["Knot"] = self.start_knot()
        coredns = subprocess.run([HERE.parent / "tests/tools/go_tool.sh", "coredns", "github.com/coredns/coredns"],
                                 stdout=subprocess.PIPE, text=True)
        if coredns.returncode == 0:
            self.servers["CoreDNS"] = self.start_coredns(coredns.stdout.strip())

    def start_node(self, peers):
        """A node whose zone has the names of this many peers, each connected once."""
        host = self.host
        node = host.start(alone("heimdall", "--addr", "tcp://127.0.0.1:9000", "--name", "router", "--endpoint-ip",
                                "127.0.0.1", "--dns-address", f"127.0.0.1:{PORTS['heimdall']}"))
        node.wait_for("hctl peers authorize", timeout=60)
        clients = self.lab.bin.parent / "bench" / "control_clients"
        node_id = table(host.run(["hctl", "nodes", "list"]).stdout)[0]["ID"]
        host.run([clients, "unix:///var/lib/heimdall/control.sock", "tcp://127.0.0.1:9000",
                  host.sh("pgrep -xo heimdall").strip(), node_id, peers, 1], timeout=300)
        return node

    def peer_names(self):
        listed = json.loads(self.host.run(["hctl", "-o", "json", "peers", "list"], timeout=60).stdout)["peers"]
        return [(peer["name"], peer["peer_ip"], peer["peer_ip6"]) for peer in listed]

    def write_files(self):
        """The zones for Knot and CoreDNS, and the questions: A, AAAA, PTR, and names that do not exist."""
        picks = random.Random(53)
        zone, reverse, questions = [ZONE_HEAD, "router A 10.11.0.1\n"], [ZONE_HEAD], []
        for name, address, address6 in self.names:
            zone.append(f"{name} A {address}\n{name} AAAA {address6}\n")
            backwards = ".".join(reversed(address.split("."))) + ".in-addr.arpa"
            reverse.append(f"{backwards}. PTR {name}.heimdall.\n")
            questions += [f"{name}.heimdall A"] * 5 + [f"{name}.heimdall AAAA"] * 2 + [f"{backwards} PTR"] * 2
            questions.append(f"not-{name}.heimdall A")
        picks.shuffle(questions)
        for name, lines in (("names.zone", zone), ("reverse.zone", reverse)):
            (self.tmp / name).write_text("".join(lines))
        (self.tmp / "questions").write_text("\n".join(questions) + "\n")
        (self.tmp / "knot").mkdir()
        (self.tmp / "knot.conf").write_text(KNOT.format(port=PORTS["Knot"]))
        (self.tmp / "Corefile").write_text(COREDNS.format(port=PORTS["CoreDNS"]))

    def start_knot(self):
        return self.host.start(alone("knotd", "-c", "/tmp/knot.conf"))

    def start_coredns(self, program):
        return self.host.start(alone(program, "-conf", "/tmp/Corefile"), env={"GOMAXPROCS": "1"})

    def dig(self, port, *arguments):
        return self.host.run(["dig", "@127.0.0.1", "-p", str(port), "+tries=1", "+time=2", "+short", *arguments],
                             check=False).stdout.strip()

    def is_up(self, port):
        name, address, address6 = self.names[-1]
        return self.dig(port, f"{name}.heimdall") == address and self.dig(port, f"{name}.heimdall", "AAAA") == address6 \
            and self.dig(port, "-x", address) == f"{name}.heimdall."

    def processor_time(self, server):
        """Seconds of a server's threads, by themselves and in the kernel."""
        fields = pathlib.Path(f"/proc/{server.pids()[0]}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def run(self, name, seconds):
        """Answers per second by the clock, and per second of the server's processor time."""
        server = self.servers[name]
        before = self.processor_time(server)
        out = self.host.run(["taskset", "-c", CLIENT_CORE, "dnsperf", "-s", "127.0.0.1", "-p", str(PORTS[name]), "-d",
                             "/tmp/questions", "-l", str(seconds), "-c", "8", "-q", "400", "-S", "0"],
                            timeout=seconds + 30).stdout
        took = self.processor_time(server) - before
        answers = int(re.search(r"Queries completed: +(\d+)", out).group(1))
        codes = dict(re.findall(r"(NOERROR|NXDOMAIN) \d+ \(([\d.]+)%\)", out))
        assert set(codes) == {"NOERROR", "NXDOMAIN"} and 5 < float(codes["NXDOMAIN"]) < 15, out
        return float(re.search(r"Queries per second: +([\d.]+)", out).group(1)), answers / took


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bin_dir")
    parser.add_argument("--peers", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--json", help="file for every round's figures")
    args = parser.parse_args()
    if args.smoke:
        args.peers, args.rounds, args.seconds = 20, 1, 1
    with Lab(args.bin_dir) as lab:
        bench = Bench(lab, args.peers, not args.smoke)
        figures = {name: [] for name in bench.servers}
        for _ in range(args.rounds):
            for name in bench.servers:
                figures[name].append(bench.run(name, args.seconds))
        load = os.getloadavg()[0]
    print(f"{args.peers} names, {args.rounds} rounds of {args.seconds} s, load {load:.1f} on {os.cpu_count()} cores; medians")
    print(f"{'':10} {'answers/s':>10} {'best':>9} {'per s of processor':>19} {'heimdall is':>12}")
    per_core = {name: statistics.median(row[1] for row in rows) for name, rows in figures.items()}
    for name, rows in figures.items():
        clock = [row[0] for row in rows]
        print(f"{name:10} {statistics.median(clock):10,.0f} {max(clock):9,.0f} {per_core[name]:19,.0f} "
              f"{per_core['heimdall'] / per_core[name]:10.2f} x")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(figures, indent=1))
    return 1 if per_core["heimdall"] < TARGET and not args.smoke else 0


sys.exit(main())
