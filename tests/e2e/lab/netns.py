"""Hosts for end-to-end tests: each is a set of network, mount, PID and UTS namespaces of its own.

    with Lab() as lab:
        router, client = lab.host("router"), lab.host("client")
        lab.link(router, "192.0.2.1/24", client, "192.0.2.2/24")
        daemon = router.start(["heimdall", "--name", "router"])
        client.run(["ping", "-c1", "192.0.2.1"])

A host sees the machine's files, with its own /run, /var/lib/heimdall*, /etc/resolv.conf and /tmp. Of the machine's /tmp it has
only what the tests need. Its first process is process 1 of its PID namespace: when the lab closes, everything that ran
in it is gone, whatever happened.

A test that has passed fails after all when one of its programs logged a secret or met a sanitizer: see Lab.faults.
"""
import contextlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from lab.leaks import Secrets

LEAST_PRIVILEGE = ["setpriv", "--bounding-set=-all,+net_admin,+net_bind_service", "--inh-caps=-all"]

# Time limits are for an idle machine. A busy one, or a sanitizer, takes this many times longer.
PATIENCE = 2

KEPT_OUTPUT = 6000  # characters of a log that a failure shows

CHECKOUT = pathlib.Path(__file__).resolve().parents[3]
TOOLS = pathlib.Path(os.environ.get("HEIMDALL_TOOLS", "/var/cache/heimdall-tools")).resolve()

# Runs as process 1 of the host: mounts, then reaps orphans until the lab closes its standard input.
INIT = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/wireguard
for dir in "$1"/var/*; do
    mkdir -p "/var/lib/$(basename "$dir")"
    mount --bind "$dir" "/var/lib/$(basename "$dir")"
done
mount --bind "$1/resolv.conf" /etc/resolv.conf
mount --bind "$1/hosts" /etc/hosts
for kept in "${@:3}"; do
    mkdir -p "$1$kept"
    mount --bind "$kept" "$1$kept"
done
mount --rbind "$1/tmp" /tmp
mount -t sysfs sysfs /sys 2>/dev/null || true
ip link set lo up
hostname "$2"
echo ready
read -r _ || true
"""


class Failure(AssertionError):
    """A command that failed. Carries its output."""


class Process:
    """A program running in a host, its output kept in a file."""

    def __init__(self, host, argv, popen, log):
        self.host, self.argv, self.popen, self.log = host, argv, popen, log
        self.kept = None

    def output(self):
        """What the program has said. Its log is written by a thread of its own, a moment after what it is about: so a
        running program is given until it has been silent for 0.15 s, 1 s at most."""
        said = self.output_now()
        for _ in range(7 if self.kept is None and self.alive() else 0):
            time.sleep(0.15)
            before, said = said, self.output_now()
            if said == before:
                break
        return said

    def output_now(self):
        return self.log.read_text(errors="replace") if self.kept is None else self.kept

    def keep_output(self):
        """Keeps the output readable after the lab is gone."""
        self.kept = self.output_now()[-KEPT_OUTPUT:]

    def alive(self):
        return self.popen.poll() is None

    def wait_for(self, text, timeout=10, count=1):
        """Returns the output once `text` stands in it `count` times."""
        def seen():
            if self.output_now().count(text) >= count:
                return True
            if not self.alive():
                raise Failure(f"{shlex.join(self.argv)} ended with {self.popen.returncode} "
                              f"before saying {text!r}:\n{self.output_now()}")
            return False
        wait_until(seen, timeout, lambda: f"no {text!r} from {shlex.join(self.argv)}:\n{self.output_now()}")
        return self.output_now()

    def kill(self, number):
        """Signals the program itself, not the nsenter around it."""
        for pid in self.pids():
            os.kill(pid, number)

    def pids(self):
        """The PIDs of the program in the outer namespace: the children of nsenter."""
        children = pathlib.Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children")
        with contextlib.suppress(OSError):
            return [int(pid) for pid in children.read_text().split()]
        return []

    def stop(self, number=signal.SIGTERM, timeout=15):
        """Ends the program and returns its exit status (negative: the signal that killed it)."""
        if self.alive():
            self.kill(number)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill(signal.SIGKILL)
            self.popen.wait(5)
            raise Failure(f"{shlex.join(self.argv)} did not end within {timeout} s:\n{self.output()}") from None


class Host:
    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.dir = lab.dir / name
        for sub in ("tmp", "var/heimdall", "var/heimdall-peer"):
            (self.dir / sub).mkdir(parents=True)
        (self.dir / "tmp").chmod(0o1777)
        (self.dir / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        (self.dir / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {name}-host\n")
        kept = [path for path in (CHECKOUT, TOOLS, lab.bin) if path and path.is_relative_to("/tmp")]
        for path in kept:
            path.mkdir(parents=True, exist_ok=True)
        self.init = subprocess.Popen(
            ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child",
             "bash", "-c", INIT, "init", str(self.dir), name, *kept],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.init.stdout.readline() != "ready\n":
            raise Failure(f"host {name} did not start")
        children = pathlib.Path(f"/proc/{self.init.pid}/task/{self.init.pid}/children")
        self.pid = int(children.read_text().split()[0])
        self.count = 0

    def argv(self, argv, least_privilege=False):
        enter = ["nsenter", "-t", str(self.pid), "-n", "-m", "-u", "-p"]
        return enter + (LEAST_PRIVILEGE if least_privilege else []) + [str(arg) for arg in argv]

    def run(self, argv, check=True, timeout=20, least_privilege=False, input=None, env=None):
        """Runs a program to its end; returns its CompletedProcess with stdout and stderr as text."""
        argv = [str(arg) for arg in argv]
        self.lab.secrets.told(argv, env)
        try:
            done = subprocess.run(self.argv(argv, least_privilege), capture_output=True, text=True,
                                  timeout=timeout * PATIENCE, input=input, env=self.lab.env(env),
                                  stdin=None if input is not None else subprocess.DEVNULL)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{self.name}# {shlex.join(argv)}: not done within {timeout * PATIENCE} s\n"
                          f"{error.stdout}\n{error.stderr}") from None
        self.lab.secrets.answered(self.name, argv, done.stdout, done.stderr)
        if check and done.returncode != 0:
            raise Failure(f"{self.name}# {shlex.join(argv)}: exit {done.returncode}\n"
                          f"{done.stdout}{done.stderr}")
        return done

    def sh(self, script, **options):
        return self.run(["bash", "-ec", script], **options).stdout

    def start(self, argv, least_privilege=False, env=None):
        """Starts a program; its output goes to a file of the lab."""
        self.count += 1
        argv = [str(arg) for arg in argv]
        self.lab.secrets.told(argv, env)
        log = self.dir / f"{self.count}-{pathlib.Path(argv[0]).name}.log"
        with log.open("w") as out:
            popen = subprocess.Popen(self.argv(argv, least_privilege), stdin=subprocess.DEVNULL, stdout=out,
                                     stderr=subprocess.STDOUT, env=self.lab.env(env))
        process = Process(self, argv, popen, log)
        self.lab.processes.append(process)
        return process

    def settle(self):
        """Waits until no IPv6 address is tentative. Even `nodad` ones are, for a moment."""
        wait_until(lambda: not self.run(["ip", "-6", "addr", "show", "tentative"]).stdout, 10, "tentative addresses")

    def resolv_conf(self):
        return (self.dir / "resolv.conf").read_text()

    def programs(self):
        """Names of the programs that run in this host, without its process 1 and the `ps` that lists them."""
        out = self.run(["ps", "-e", "-o", "pid=,comm="]).stdout.split("\n")
        rows = [row.split(None, 1) for row in out if row.strip()]
        return sorted(comm for pid, comm in rows if pid != "1" and comm not in ("ps", "nsenter"))

    def close(self):
        self.init.stdin.close()
        self.init.stdout.close()
        try:
            self.init.wait(2)
        except subprocess.TimeoutExpired:
            self.init.kill()
            self.init.wait(5)


class Lab:
    def __init__(self, bin_dir=None):
        self.bin = pathlib.Path(bin_dir).resolve() if bin_dir else None
        self.hosts, self.processes, self.secrets = [], [], Secrets()

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="heimdall-lab-"))
        self.dir.chmod(0o755)
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None:
            self.print_logs()
        for host in reversed(self.hosts):
            host.close()
        for process in self.processes:
            process.popen.wait(10)
        faults = list(self.faults()) if kind is None else []
        for process in self.processes:
            process.keep_output()
        shutil.rmtree(self.dir, ignore_errors=True)
        if faults:
            raise Failure("\n".join(faults[:5]))

    def faults(self):
        """Faults of any program, whatever the test looks at: a secret in its output, a sanitizer's report."""
        yield from self.leaks()
        for process in self.processes:
            if re.search("(Address|Leak|Thread)Sanitizer|: runtime error: ", process.output()):
                yield f"{process.host.name}: a sanitizer reports of {process.argv[0]}:\n{process.output()[-KEPT_OUTPUT:]}"

    def leaks(self):
        """Lines with a secret in them, from the programs' output and log files, Redis' included."""
        self.secrets.read(self.dir)
        logs = [(f"{process.host.name}: {process.argv[0]}", process.argv, process.output()) for process in self.processes]
        files = [*self.dir.rglob("redis.log"), *self.dir.rglob("tmp/out"), *self.dir.rglob("tmp/err")]
        logs += [(str(path.relative_to(self.dir)), [], path.read_text(errors="replace")) for path in files]
        return self.secrets.in_texts(logs)

    def print_logs(self):
        for process in self.processes:
            print(f"---- {process.host.name}: {shlex.join(process.argv)} ({process.popen.poll()})\n"
                  f"{process.output()[-KEPT_OUTPUT:]}", file=sys.stderr)

    def env(self, extra):
        env = {"HOME": "/root", "LANG": "C.UTF-8", "PATH": os.environ["PATH"]}
        for name in ("ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "HEIMDALL_TOOLS"):
            if name in os.environ:
                env[name] = os.environ[name]
        if self.bin:
            env["PATH"] = f"{self.bin}:{env['PATH']}"
        env.update(extra or {})
        return env

    def host(self, name):
        host = Host(self, name)
        self.hosts.append(host)
        return host

    def link(self, a, a_addrs, b, b_addrs, a_name="eth0", b_name="eth0"):
        """A cable between two hosts; addresses are one prefix or several, as "192.0.2.1/24 2001:db8::1/64"."""
        root(["ip", "link", "add", a_name, "netns", a.pid, "type", "veth", "peer", "name", b_name, "netns", b.pid])
        for host, name, addrs in ((a, a_name, a_addrs), (b, b_name, b_addrs)):
            for addr in addrs.split():
                host.run(["ip", "addr", "add", addr, "dev", name] + (["nodad"] if ":" in addr else []))
            host.run(["ip", "link", "set", name, "addrgenmode", "none", "up"])  # no addresses but the test's
        a.settle()
        b.settle()

    def switch(self, *ports):
        """Joins (host, addresses) pairs, or (host, addresses, interface) triples, in one LAN."""
        box = self.host(f"switch{len(self.hosts)}")
        box.sh("ip link add br0 type bridge; ip link set br0 up")
        for number, (host, addrs, *name) in enumerate(ports):
            self.link(host, addrs, box, "", name[0] if name else "eth0", f"p{number}")
            box.run(["ip", "link", "set", f"p{number}", "master", "br0"])
        return box


def root(argv):
    done = subprocess.run([str(arg) for arg in argv], capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise Failure(f"{shlex.join(map(str, argv))}: {done.stderr}")


def wait_until(condition, timeout, message, every=0.02):
    """Waits until condition() is true; `message` is text or a function that makes it."""
    end = time.monotonic() + timeout * PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"after {timeout * PATIENCE} s: {message() if callable(message) else message}")
        time.sleep(every)
