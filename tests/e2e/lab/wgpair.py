"""Two hosts with one tunnel between them, each end a WireGuard userspace program driven by wg(8)."""
import pathlib
import sys

from lab.netns import Failure, wait_until

TRANSFER = pathlib.Path(__file__).with_name("transfer.py")
PORT = 51820


class End:
    """One end of the tunnel: a program, its host, and its addresses inside and outside."""

    def __init__(self, host, number, program, env=None):
        self.host, self.number = host, number
        self.private = host.sh("wg genkey").strip()
        self.public = host.run(["wg", "pubkey"], input=self.private).stdout.strip()
        self.inner4, self.inner6 = f"10.9.0.{number}", f"fd00:9::{number}"
        self.outer4, self.outer6 = f"192.0.2.{number}", f"2001:db8::{number}"
        self.process = host.start([program, "-f", "wg0"], env={"LOG_LEVEL": "debug", **(env or {})})
        wait_until(lambda: self.has_socket() or not self.process.alive(), 10, "no UAPI socket")
        if not self.process.alive():
            raise Failure(f"{program} ended:\n{self.process.output()}")

    def has_socket(self):
        return self.host.run(["test", "-S", "/run/wireguard/wg0.sock"], check=False).returncode == 0

    def set(self, *words):
        """`wg set wg0 ...`; a word that starts with "key:" is handed over in a file."""
        script, args = "", []
        for number, word in enumerate(words):
            if str(word).startswith("key:"):
                script += f"umask 077; printf %s '{word[4:]}' > /tmp/key{number}; "
                word = f"/tmp/key{number}"
            args.append(str(word))
        self.host.sh(script + "exec wg set wg0 " + " ".join(args))

    def up(self):
        self.host.sh(f"ip addr add {self.inner4}/24 dev wg0; ip addr add {self.inner6}/64 dev wg0 nodad; "
                     "ip link set wg0 mtu 1420 up")
        self.host.settle()
        wait_until(self.listens, 10, "the program does not follow the link")

    def listens(self):
        return f":{self.show('listen-port')} " in self.host.sh("ss -Huln")

    def set_link(self, state, host=None):
        """Link up or down, and a heimdall-wg that tells of it has followed. `host`: where the interface is, if not here."""
        said = f"link changed interface=wg0 state={state}"
        count = self.process.output().count(said)
        (host or self.host).sh(f"ip link set wg0 {state}")
        self.process.wait_for(said, count=count + 1)

    def show(self, what):
        return self.host.sh(f"wg show wg0 {what}").strip()

    def ping(self, address, count=1, check=True):
        done = self.host.run(["ping", "-c", count, "-i", "0.1", "-W", "5", address], check=check)
        return done.returncode == 0


class Pair:
    """Ends `a` and `b` on hosts joined by one cable, configured to reach each other."""

    def __init__(self, lab, program_a, program_b, outer="4", psk=False, env=None):
        hosts = lab.host("a"), lab.host("b")
        lab.link(hosts[0], "192.0.2.1/24 2001:db8::1/64", hosts[1], "192.0.2.2/24 2001:db8::2/64")
        self.a, self.b = End(hosts[0], 1, program_a, env), End(hosts[1], 2, program_b, env)
        self.psk = hosts[0].sh("wg genpsk").strip() if psk else None
        for end, other in ((self.a, self.b), (self.b, self.a)):
            address = other.outer4 if outer == "4" else f"[{other.outer6}]"
            secret = ["preshared-key", "key:" + self.psk] if psk else []
            end.set("listen-port", PORT, "private-key", "key:" + end.private, "peer", other.public, *secret,
                    "endpoint", f"{address}:{PORT}", "allowed-ips", f"{other.inner4}/32,{other.inner6}/128")
            end.up()

    def transfer(self, size, inner="4", reverse=False, timeout=60):
        """Random bytes both ways over one TCP connection, from `a` (or `b`); content checked by SHA-256."""
        client, server = (self.b, self.a) if reverse else (self.a, self.b)
        address = server.inner4 if inner == "4" else server.inner6
        listener = server.host.start([sys.executable, TRANSFER, "serve", address, "5001"])
        listener.wait_for("listening")
        client.host.run([sys.executable, TRANSFER, "send", address, "5001", str(size)], timeout=timeout)
        if listener.popen.wait(10) != 0:
            raise Failure(f"the serving side failed:\n{listener.output()}")
