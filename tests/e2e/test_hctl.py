"""hctl with a real node: every command as a table and as JSON, terminals of several widths, exit codes, and the status
of a healthy and of a broken network."""
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import unittest
import uuid

from lab.labtest import LabTest
from lab.netns import PATIENCE, wait_until
from lab.story import Network, table

ADDR = "tcp://172.17.0.2:9000"
OK, FAILED, USAGE, NOT_FOUND, EXISTS, UNREACHABLE, DENIED, PROBLEMS = range(8)


class Hctl(LabTest):
    @classmethod
    def setUpClass(cls):
        cls.share_lab()
        cls.net = Network(cls.lab)
        cls.net.start_node()
        cls.net.authorize()
        cls.peer = cls.net.start_peer()
        cls.peer.wait_for("connected")
        wait_until(lambda: "State:          connected" in cls.net.hctl("peers", "show", "client").stdout, 10,
                   "no handshake")

    def hctl(self, *args, status=OK, host=None, env=None):
        """Runs hctl and checks its exit status; returns what it printed."""
        done = (host or self.net.router).run(["hctl", *args], check=False, env=env)
        self.assertEqual(done.returncode, status, f"{args}: {done.stdout}{done.stderr}")
        self.stderr = done.stderr
        return done.stdout

    def json(self, *args, status=OK):
        return json.loads(self.hctl("-o", "json", *args, status=status))

    def error(self, *args, status, host=None, env=None):
        """Returns the error of a failing command, checked as text and as JSON; nothing else may be printed."""
        self.assertEqual(self.hctl(*args, status=status, host=host, env=env), "")
        [line] = self.stderr.strip().split("\n")
        self.assertTrue(line.startswith("hctl: "), line)
        self.assertEqual(self.hctl(*args, "-o", "json", status=status, host=host, env=env).strip(), "")
        error = json.loads(self.stderr)["error"]
        self.assertEqual((error["message"], error["exit_status"]), (line.removeprefix("hctl: "), status))
        return error

    def new_peer(self):
        peer_id = self.hctl("peers", "authorize").strip()
        self.addCleanup(self.net.hctl, "peers", "deauthorize", peer_id, check=False)
        return peer_id


class Commands(Hctl):
    def test_lists(self):
        """the same in both forms"""
        net = self.net
        net.hctl("routes", "create", "--node-id", "router", "--network", "192.168.50.0/24")
        self.addCleanup(net.hctl, "routes", "delete", "192.168.50.0/24")
        [node] = table(self.hctl("nodes", "list"))
        [as_json] = self.json("nodes", "list")["nodes"]
        self.assertEqual((node["ID"], node["ADDR"], node["GATEWAY"], node["PUBLIC KEY"]),
                         (as_json["id"], as_json["addr"], as_json["gateway_ip"], as_json["keypair"]["public_key"]))
        self.assertRegex(as_json["updated"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        [peer] = table(self.hctl("peers", "list"))
        [as_json] = self.json("peers", "list")["peers"]
        self.assertEqual((peer["ID"], peer["NAME"], peer["PEER IP"], peer["ENDPOINT"], peer["ALLOWED"].split(",")),
                         (as_json["id"], "client", as_json["peer_ip"], as_json["endpoint"], as_json["allowed_ips"]))
        self.assertEqual([row["ID"] for row in table(self.hctl("peers", "authorized"))], [net.id])
        self.assertEqual(self.json("peers", "authorized"), {"ids": [net.id]})
        self.assertEqual(table(self.hctl("routes", "list")), [{"NODE": node["ID"], "NETWORK": "192.168.50.0/24"}])
        self.assertEqual(self.json("routes", "list"), {"routes": [{"node_id": node["ID"], "network": "192.168.50.0/24"}]})

    def test_authorize(self):
        """Without an id, one is made; a change is printed as JSON only"""
        made = self.new_peer()
        self.assertEqual(str(uuid.UUID(made)), made)
        self.assertIn(made, self.hctl("peers", "authorized"))
        [second] = self.json("peers", "authorize")["ids"]
        third, fourth = str(uuid.uuid4()), str(uuid.uuid4())
        self.assertEqual(self.hctl("peers", "authorize", third), "")
        self.assertEqual(self.json("peers", "authorize", third, fourth), {"ids": [third, fourth]})
        self.assertEqual(self.hctl("peers", "deauthorize", made, second), "")
        self.assertEqual(self.json("peers", "deauthorize", third, fourth[:8]), {"ids": [third, fourth]})
        self.assertEqual(self.json("peers", "authorized"), {"ids": [self.net.id]})

    def test_done_before_a_failure(self):
        good = str(uuid.uuid4())
        self.addCleanup(self.net.hctl, "peers", "deauthorize", good)
        self.assertEqual(self.json("peers", "authorize", good, "laptop", status=FAILED), {"ids": [good]})
        self.assertIn("laptop", json.loads(self.stderr)["error"]["message"])

    def test_show(self):
        facts = dict(re.split(r":\s+", line, maxsplit=1) for line in self.hctl("peers", "show", "client").splitlines()
                     if line[0] != " ")
        self.assertEqual((facts["Name"], facts["Id"], facts["State"], facts["Address"]),
                         ("client", self.net.id, "connected", "10.51.0.2"))
        self.assertRegex(facts["Last handshake"], r"now|ago")
        self.assertRegex(facts["Traffic"], r"^\d.*B received, \d.*B sent$")
        self.assertRegex(facts["Endpoint"], r"^172\.17\.0\.3:\d+$")
        as_json = self.json("peers", "show", self.net.id[:8])
        self.assertEqual((as_json["peer"]["id"], as_json["watching"]), (self.net.id, True))
        self.assertGreater(as_json["tunnel"]["rx_bytes"], 0)
        never = self.hctl("peers", "show", self.new_peer())
        self.assertRegex(never, r"State: +never connected")

    def test_rename(self):
        net = self.net
        self.assertEqual(self.hctl("peers", "rename", "client", "kiosk"), "")
        self.addCleanup(net.hctl, "peers", "rename", net.id, "")
        self.assertEqual(table(self.hctl("peers", "list"))[0]["NAME"], "kiosk")
        wait_until(lambda: net.router.run(["ping", "-4", "-c1", "-W1", "kiosk.heimdall"], check=False).returncode == 0, 5,
                   "the new name is not found")
        self.assertRegex(self.hctl("peers", "show", "KIOSK"), r"Calls itself: +client")
        self.assertEqual(self.json("peers", "rename", "kiosk", ""), {"id": net.id, "name": ""})
        self.assertEqual(table(self.hctl("peers", "list"))[0]["NAME"], "client")

    def test_rekey(self):
        """A new key is accepted once"""
        net = self.net
        peer_id = self.new_peer()
        options = ("--interface-name", "kiosk0", "--data-dir", "/tmp/rekeyed")
        keys = []
        for _ in range(2):
            kiosk = net.start_peer(*options, name="rekeyed", peer_id=peer_id)
            kiosk.wait_for("connected")
            keys.append(self.json("peers", "show", "rekeyed")["peer"]["keypair"]["public_key"])
            kiosk.stop()
            self.assertEqual(self.json("peers", "rekey", "rekeyed"), {"id": peer_id})
            self.assertTrue(self.json("peers", "show", peer_id)["rekey"])
            self.assertRegex(self.hctl("peers", "show", peer_id), r"New key: ")
            net.client.sh("rm /tmp/rekeyed/wireguard.key")
        self.assertNotEqual(*keys)
        self.assertEqual(self.hctl("peers", "rekey", "rekeyed"), "")

    def test_routes(self):
        node = self.net.node_id()
        create = ["routes", "create", "--network", "192.168.77.0/24", "--node-id"]
        self.assertEqual(self.json(*create, "router"), {"node_id": node, "network": "192.168.77.0/24"})
        self.assertEqual(self.json("routes", "delete", "192.168.77.0/24"), {"network": "192.168.77.0/24"})
        self.assertEqual(self.hctl(*create, node[:8]), "")
        self.assertEqual(self.hctl("routes", "delete", "192.168.77.0/24"), "")
        self.assertEqual(self.json("routes", "list"), {"routes": []})

    def test_from_another_host(self):
        """over TCP, with a copy of the key, as options, variables or in a file"""
        key = self.net.router.sh("cat /var/lib/heimdall/cluster.key")
        client = self.net.client
        client.run(["bash", "-c", "umask 077; cat >/tmp/router.key"], input=key)
        client.run(["bash", "-c", "cat >/tmp/hctl.conf"], input=f"addr = {ADDR}\ncluster-key-file = /tmp/router.key\noutput = json\n")
        wanted = {"ids": [self.net.id]}
        for args, env in ((["-a", ADDR, "--cluster-key-file", "/tmp/router.key", "-o", "json"], None),
                          ([], {"HEIMDALL_ADDR": ADDR, "HEIMDALL_CLUSTER_KEY": key.strip(), "HEIMDALL_OUTPUT": "json"}),
                          (["--config", "/tmp/hctl.conf"], None)):
            self.assertEqual(json.loads(self.hctl(*args, "peers", "authorized", host=client, env=env)), wanted)

    def test_help_and_version(self):
        for args in (["--help"], ["peers", "--help"], ["peers", "show", "-h"]):
            self.assertIn("usage: hctl [options] COMMAND", self.hctl(*args))
        self.assertRegex(self.hctl("-v"), r"^hctl version \d")

    def test_where_options_stand(self):
        for args in (["-o", "json", "routes", "list"], ["routes", "-o", "json", "list"], ["routes", "list", "-ojson"],
                     ["routes", "list", "--output=json"]):
            self.assertEqual(json.loads(self.hctl(*args)), {"routes": []})
        self.assertEqual(json.loads(self.hctl("routes", "list", env={"HEIMDALL_OUTPUT": "json"})), {"routes": []})


class Failures(Hctl):
    def test_usage(self):
        for args, word in (([], "command"), (["bogus"], "bogus"), (["peers"], "second word"), (["peers", "bogus"], "bogus"),
                           (["peers", "show"], "PEER"), (["peers", "rename", "client"], "NAME"), (["nodes", "list", "x"], "\"x\" is one too many, usage: hctl nodes list"),
                           (["--bogus", "status"], "--bogus"), (["-o", "yaml", "status"], "table or json"),
                           (["routes", "create", "--network", "10.0.0.0/8"], "--node-id"),
                           (["nodes", "list", "--node-id", "x"], "--node-id"), (["--skip-verify", "status"], "--skip-verify"),
                           (["--cert", "/x", "status"], "--ca")):
            with self.subTest(args=args):
                if "-o" in args:
                    self.hctl(*args, status=USAGE)
                    self.assertIn(word, self.stderr)
                    continue
                error = self.error(*args, status=USAGE)
                self.assertEqual(error["code"], "USAGE")
                self.assertIn(word, error["message"])

    def test_refused(self):
        other = self.new_peer()
        for status, code, args in (
                (FAILED, "INVALID_ARGUMENT", ["peers", "authorize", "laptop"]),
                (FAILED, "INVALID_ARGUMENT", ["peers", "rename", "client", "no_label"]),
                (FAILED, "INVALID_ARGUMENT", ["routes", "create", "--node-id", "router", "--network", "10.51.0.0/24"]),
                (NOT_FOUND, "NOT_FOUND", ["peers", "show", "nobody"]),
                (NOT_FOUND, "NOT_FOUND", ["peers", "deauthorize", str(uuid.uuid4())]),
                (NOT_FOUND, "NOT_FOUND", ["peers", "rekey", "nobody"]),
                (NOT_FOUND, "NOT_FOUND", ["peers", "rename", "nobody", "x"]),
                (NOT_FOUND, "NOT_FOUND", ["routes", "create", "--node-id", "nobody", "--network", "192.168.9.0/24"]),
                (NOT_FOUND, "NOT_FOUND", ["routes", "delete", "192.168.9.0/24"]),
                (EXISTS, "ALREADY_EXISTS", ["peers", "rename", other, "client"]),
        ):
            with self.subTest(args=args):
                error = self.error(*args, status=status)
                self.assertEqual(error["code"], code)
        with self.subTest("an id that begins as another"):
            ids = [f"{other[:8]}-0000-4000-8000-{uuid.uuid4().hex[:12]}"]
            self.hctl("peers", "authorize", *ids)
            self.addCleanup(self.net.hctl, "peers", "deauthorize", *ids)
            self.assertIn("several", self.error("peers", "show", other[:8], status=FAILED)["message"])

    def test_not_reached(self):
        client = self.net.client
        self.assertEqual(self.error("nodes", "list", host=client, status=UNREACHABLE)["code"], "UNAVAILABLE")
        key = self.net.router.sh("cat /var/lib/heimdall/cluster.key").strip()
        error = self.error("-a", "tcp://172.17.0.2:9", "--cluster-key", key, "status", host=client, status=UNREACHABLE)
        self.assertIn("does heimdall run there?", error["message"])
        client.run(["nft", "add table inet block; add chain inet block out { type filter hook output priority 0; };"
                    " add rule inet block out tcp dport 9 drop"])
        self.addCleanup(client.run, ["nft", "delete", "table", "inet", "block"])
        error = self.error("-a", "tcp://172.17.0.2:9", "--cluster-key", key, "status", host=client, status=UNREACHABLE)
        self.assertIn("firewalls", error["message"])

    def test_denied(self):
        client = self.net.client
        error = self.error("-a", ADDR, "--cluster-key", str(uuid.uuid4()), "status", host=client, status=DENIED)
        self.assertEqual(error["code"], "UNAUTHENTICATED")
        self.assertIn("--cluster-key-file", self.error("-a", ADDR, "status", host=client, status=DENIED)["message"])

    def test_output_that_cannot_be_written(self):
        done = self.net.router.run(["bash", "-c", "hctl nodes list >/dev/full"], check=False)
        self.assertEqual(done.returncode, FAILED)
        self.assertIn("standard output", done.stderr)
        done = self.net.router.run(["bash", "-c", "{ sleep 0.3; hctl nodes list; } | true; exit ${PIPESTATUS[0]}"], check=False)
        self.assertEqual((done.returncode, done.stderr), (FAILED, ""))
        for command in "--help", "--version", "nodes list":
            closed = self.net.router.run(["bash", "-c", f"hctl {command} >&-"], check=False)
            self.assertEqual((closed.returncode, closed.stderr.strip()),
                             (FAILED, "hctl: cannot write to standard output: Bad file descriptor"), command)
            full = self.net.router.run(["bash", "-c", f"hctl {command} >/dev/full"], check=False)
            self.assertEqual(full.returncode, FAILED, command)
            self.assertIn("No space left", full.stderr)


class Terminal(Hctl):
    def terminal(self, columns, *args, env=None):
        """Runs hctl on a terminal of this width; returns its output."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        child = subprocess.Popen(self.net.router.argv(["hctl", *args]), stdout=theirs, stderr=subprocess.STDOUT,
                                 stdin=subprocess.DEVNULL, env=self.lab.env(env))
        os.close(theirs)
        said = b""
        try:
            while piece := os.read(ours, 65536):
                said += piece
        except OSError:  # how a terminal ends
            pass
        os.close(ours)
        self.assertEqual(child.wait(10 * PATIENCE), OK, said)
        return said.decode().replace("\r\n", "\n")

    def test_widths(self):
        """No line is wider than the terminal; on a wide one and in a pipe nothing is cut"""
        for args in (["nodes", "list"], ["peers", "list"], ["peers", "authorized"], ["status"], ["routes", "list"]):
            whole = self.hctl(*args)
            for columns in (60, 80, 200):
                with self.subTest(args=args, columns=columns):
                    said = self.terminal(columns, *args)
                    self.assertLessEqual(max(map(len, said.split("\n"))), columns, said)
                    lines = max(map(len, whole.split("\n")))
                    self.assertEqual("…" in said, lines > columns, said)
                    self.assertEqual(said.count("\n"), whole.count("\n"))

    def test_help(self):
        """Wrapped to the terminal, with the same words"""
        for args in (["--help"], ["peers", "--help"]):
            whole = self.hctl(*args)
            for columns in (60, 80, 100, 200):
                with self.subTest(args=args, columns=columns):
                    said = self.terminal(columns, *args)
                    self.assertLessEqual(max(map(len, said.split("\n"))), columns, said)
                    self.assertEqual(said.split(), whole.split())

    def test_without_utf8(self):
        said = self.terminal(60, "peers", "list", env={"LANG": "C", "LC_ALL": "C"})
        self.assertNotIn("…", said)
        self.assertIn("...", said)
        self.assertLessEqual(max(map(len, said.split("\n"))), 60)

    def test_what_matters_stays_whole(self):
        [row] = table(self.terminal(100, "peers", "list"))
        self.assertEqual((row["PEER IP"], row["NAME"]), ("10.51.0.2", "client"))
        self.assertTrue(self.net.id.startswith(row["ID"].removesuffix("…")))


class Status(Hctl):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.kiosk_id = cls.net.hctl("peers", "authorize").stdout.strip()

    def peers(self, text):
        return {row["PEER"]: row for row in table(text[text.index("PEER "):].split("\n\n")[0])}

    def test_1_healthy(self):
        said = self.hctl("status")
        self.assertIn("All is well.", said)
        self.assertRegex(said, r"Node: +router\n")
        [node] = table(said[said.index("NODE"):].split("\n\n")[0])
        self.assertEqual((node["NODE"], node["STATE"], node["ENDPOINT"]), ("router", "answers", "172.17.0.2:10100"))
        peers = self.peers(said)
        client = peers["client"]
        self.assertEqual((client["STATE"], client["ADDRESS"], client["VERSION"]), ("connected", "10.51.0.2", node["VERSION"]))
        self.assertRegex(client["HANDSHAKE"], r"now|ago")
        self.assertRegex(client["RECEIVED"], r"B$")
        self.assertEqual(peers[self.kiosk_id]["STATE"], "never connected")
        as_json = self.json("status")
        self.assertEqual((as_json["problems"], as_json["node_id"]), ([], self.net.node_id()))
        self.assertEqual({peer["peer"]["id"] for peer in as_json["peers"]}, {self.net.id, self.kiosk_id})

    def test_2_no_handshake(self):
        """A firewall that passes the control API and drops the tunnel"""
        net = self.net
        net.client.run(["nft", "add table inet block; add chain inet block out { type filter hook output priority 0; };"
                        " add rule inet block out udp dport 10100 drop"])
        peer_id = self.new_peer()
        kiosk = net.start_peer("--interface-name", "kiosk0", "--data-dir", "/tmp/kiosk", name="kiosk", peer_id=peer_id)
        try:
            kiosk.wait_for("connected")
            said = net.hctl("status", check=False).stdout
            self.assertEqual(self.peers(said)["kiosk"]["STATE"], "no handshake")
            wait_until(lambda: net.hctl("status", check=False).returncode == PROBLEMS, 20, "no problem is seen", every=0.5)
            said = self.hctl("status", status=PROBLEMS)
            self.assertRegex(said, r"PROBLEMS\n- .*tunnel.*kiosk.*\n  -> .*UDP port 10100")
            [problem] = self.json("status", status=PROBLEMS)["problems"]
            self.assertIn("kiosk", problem["what"])
        finally:
            kiosk.stop()
            net.client.run(["nft", "delete", "table", "inet", "block"])

    def test_3_redis_killed(self):
        net = self.net
        for count in range(1, 5):  # the back-off grows, so that there is time to look
            net.router.sh("pkill -KILL -x redis-server")
            if count < 4:
                net.node.wait_for("the store takes changes", count=count + 1)
        wait_until(lambda: net.hctl("status", check=False).returncode == PROBLEMS, 2, "no problem is seen")
        said = net.hctl("status", check=False)
        if said.returncode == PROBLEMS:  # else a busy machine has let it heal meanwhile
            self.assertRegex(said.stdout, r"PROBLEMS\n- .*nothing can be changed")
            self.assertEqual(self.peers(said.stdout)["client"]["STATE"], "connected")
        net.node.wait_for("the store takes changes", count=5)
        self.assertIn("All is well.", self.hctl("status"))

    def test_4_peer_offline(self):
        """A peer that left is no problem, and is connected again when it returns"""
        self.peer.stop()
        wait_until(lambda: self.peers(self.hctl("status"))["client"]["STATE"].startswith("offline, seen "), 5, "the peer stays connected")
        self.assertRegex(self.hctl("peers", "show", "client"), r"State: +offline\n(.*\n)*Last seen: +(now|.*ago)\n")
        self.net.start_peer().wait_for("connected")
        wait_until(lambda: self.peers(self.hctl("status"))["client"]["STATE"] == "connected", 10, "the peer stays offline")


if __name__ == "__main__":
    unittest.main(verbosity=2)
