"""Things that break under a running node, and things that are broken when it starts."""
import os
import signal
import unittest
import uuid

from lab.labtest import InLab
from lab.netns import wait_until
from lab.story import Network, table

DATA = "/var/lib/heimdall"


class Faults(InLab):
    def setUp(self):
        super().setUp()
        self.net = Network(self.lab)

    def connect(self):
        self.net.start_node()
        self.net.authorize()
        self.peer = self.net.start_peer()
        self.peer.wait_for("connected")

    def redis_pid(self):
        """As the host sees it."""
        return int(self.net.router.sh("pgrep -x redis-server || echo 0"))

    def authorize(self):
        return self.net.hctl("peers", "authorize", str(uuid.uuid4()), check=False)

    def pings(self):
        self.net.wait_for_name(self.net.client, "router")
        self.net.client.run(["ping", "-4", "-c1", "-W2", "router"])

    def refused(self, argv, *words):
        done = self.net.router.run(argv, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr.strip().split("\n")[-1])


class Redis(Faults):
    def test_no_port(self):
        """No TCP port at all with one node, on no address"""
        self.connect()
        listening = self.net.router.sh("ss -Hltnp")
        self.assertIn("heimdall", listening)
        self.assertNotIn("redis", listening)

    def test_killed(self):
        """Restarted with back-off and usable at once; no packet depends on it"""
        self.connect()
        for count in (1, 2, 3):
            self.net.router.sh(f"kill -KILL {self.redis_pid()}")
            self.pings()
            self.net.node.wait_for("the store takes changes", count=count + 1)
            self.assertEqual(self.authorize().returncode, 0)
        delays = [line.split("delay_ms=")[1].split()[0] for line in self.net.node.output().split("\n") if "redis-server died" in line]
        self.assertEqual(delays, ["100", "200", "400"])

    def test_stopped(self):
        """A Redis that does not answer for 2 s is killed, comes back parked and is promoted"""
        self.connect()
        before = self.redis_pid()
        self.net.router.sh(f"kill -STOP {before}")
        self.pings()
        self.assertEqual(len(table(self.net.hctl("peers", "list").stdout)), 1)
        done = self.authorize()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("redis-server", done.stderr)
        self.net.node.wait_for("the store takes changes", count=2)
        self.assertNotIn(self.redis_pid(), (0, before))
        self.assertEqual(self.authorize().returncode, 0)

    def test_disk_full(self):
        """Changes are refused with the reason, reads and tunnels go on, and room on the disk heals it"""
        net = self.net
        net.router.sh(f"mount -t tmpfs -o size=2m,mode=700 tmpfs {DATA}")
        self.connect()
        net.router.sh(f"cat /dev/zero >{DATA}/filler 2>/dev/null || true")
        for _ in range(200):  # until Redis has used up its reserve
            done = self.authorize()
            if done.returncode != 0:
                break
        self.assertEqual(done.returncode, 5)
        self.assertIn("disk of the data dir is full", done.stderr)
        net.node.wait_for("the disk of the data dir is full: changes are refused until there is room")
        self.pings()
        self.assertEqual(len(table(net.hctl("peers", "list").stdout)), 1)
        self.assertIn("disk of the data dir is full", self.authorize().stderr)
        net.router.sh(f"rm {DATA}/filler")
        wait_until(lambda: self.authorize().returncode == 0, 15, "did not heal", every=0.3)
        self.pings()
        self.peer.stop()
        self.assertEqual(net.node.stop(), 0)
        net.start_node()  # acknowledged changes are there
        self.assertIn(net.id, net.hctl("peers", "authorized").stdout)
        self.assertEqual(net.node.stop(), 0)

    def test_too_old(self):
        fake = "#!/bin/sh\necho 'Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64'\n"
        self.net.router.run(["bash", "-c", "mkdir /tmp/bin; cat >/tmp/bin/redis-server; chmod 755 /tmp/bin/redis-server"], input=fake)
        path = f"/tmp/bin:{self.lab.bin}:{os.environ['PATH']}"
        self.refused(["env", f"PATH={path}", "heimdall"], "6.0.16", "7.0", "package redis-server")


# Root of a user namespace in which no other user exists: a rootless container without subordinate ids.
ROOTLESS = """
mount -t tmpfs tmpfs /run; mkdir /run/wireguard; ip link set lo up
exec heimdall --addr tcp://127.0.0.1:9000 --data-dir /tmp/data --dns-address 127.0.0.1:5353
"""


class Rootless(Faults):
    def test_one_user(self):
        """Redis runs as the node's own user, and the log says so"""
        router = self.net.router
        node = router.start(["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                             "bash", "-ec", ROOTLESS])
        node.wait_for("WARN redis-server runs as this program's own user", timeout=20)
        node.wait_for("hctl peers authorize", timeout=20)
        peer_id = router.run(["hctl", "-a", "unix:///tmp/data/control.sock", "peers", "authorize"]).stdout.strip()
        self.assertIn(peer_id, router.run(["hctl", "-a", "unix:///tmp/data/control.sock", "peers", "authorized"]).stdout)


class Helpers(Faults):
    def test_stopped(self):
        """a keeper that hangs does not keep the node from ending, and ends with it"""
        self.net.start_node()
        self.net.router.sh("pkill -STOP heimdall-redis")
        self.assertEqual(self.net.node.stop(timeout=40), 0)
        wait_until(lambda: not {"redis-server", "heimdall-redis", "heimdall"} & set(self.net.router.programs()), 15,
                   lambda: f"left: {self.net.router.programs()}")


class Killed(Faults):
    def test_again_and_again(self):
        """SIGKILL at any moment of a burst of changes: no acknowledged one is lost (HEIMDALL_KILLS: how often, 100 at night)"""
        net = self.net
        acknowledged = []
        for round in range(int(os.environ.get("HEIMDALL_KILLS", "4"))):
            net.start_node()
            held = set(net.hctl("peers", "authorized").stdout.split())
            self.assertEqual([id for id in acknowledged if id not in held], [], f"lost in round {round}")
            burst = net.router.start(["bash", "-c", "while id=$(hctl peers authorize); do echo $id; done"])
            wait_until(lambda: len(burst.output().split()) > 10 + round % 7, 30, "no change is acknowledged")
            net.node.stop(signal.SIGKILL)
            wait_until(lambda: not burst.alive(), 30, "the changes go on without a node")
            acknowledged += [id for id in burst.output().split() if len(id) == 36]
        net.start_node()
        held = set(net.hctl("peers", "authorized").stdout.split())
        self.assertEqual([id for id in acknowledged if id not in held], [])


class Ports(Faults):
    def test_dns(self):
        """Another server on port 53: reported with the option, and everything else runs"""
        holder = ("import socket,time; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 53)); "
                  "print('taken', flush=True); time.sleep(60)")
        taken = self.net.router.start(["python3", "-c", holder])
        taken.wait_for("taken")
        self.net.start_node()
        said = self.net.node.output()
        [line] = [line for line in said.split("\n") if "DNS is not served" in line]
        self.assertIn("53", line)
        self.assertIn("--dns-address", line)
        self.net.authorize()
        self.net.start_peer().wait_for("connected")
        self.net.client.run(["ping", "-c1", "-W2", "10.11.0.1"])

    def test_redis(self):
        """Redis has no port with one node, so nobody can take it"""
        holder = "import socket,time; s=socket.create_server(('0.0.0.0', 16379)); print('taken', flush=True); time.sleep(60)"
        self.net.router.start(["python3", "-c", holder]).wait_for("taken")
        self.net.start_node()
        self.assertEqual(self.authorize().returncode, 0)


class DataDir(Faults):
    def test_unwritable(self):
        self.net.router.sh("mkdir /tmp/ro; mount -t tmpfs -o ro tmpfs /tmp/ro")
        for program in ("heimdall", "hpeer"):
            self.refused([program, "--data-dir", "/tmp/ro"], "/tmp/ro")
            self.refused([program, "--data-dir", "/tmp/ro/below"], "/tmp/ro/below")
            self.refused([program, "--data-dir", "/etc/passwd"], "/etc/passwd")

    def files(self):
        """All files but those that Redis and a running node write."""
        return self.net.router.sh(f"cd {DATA}; find . -path ./redis -prune -o -printf '%p %m %i %T@ ' -type f -exec sha256sum {{}} ';'"
                                  " -o -printf '%p %m\\n' | sort")

    def test_held(self):
        """In use by a running node: a second one names it and changes nothing, and the first is not disturbed"""
        self.connect()
        pid = self.net.router.sh("pgrep -x heimdall").split()[0]
        before = self.files(), self.net.node.output()
        for options in ([], ["--interface-name", "other", "--endpoint-port", "10101", "--addr", "tcp://172.17.0.2:9001"]):
            self.refused(["heimdall", *options], f"in use by process {pid}", DATA)
        self.refused(["hpeer", "--data-dir", DATA], DATA)
        self.assertEqual((self.files(), self.net.node.output()), before)
        self.pings()

    def test_of_the_other_program(self):
        self.net.start_node()
        self.net.node.stop()
        self.refused(["hpeer", "--data-dir", DATA], DATA, "node (heimdall)")
        self.net.router.start(["hpeer", "--addr", "tcp://172.17.0.2:9000"]).wait_for("waiting")
        self.refused(["heimdall", "--data-dir", f"{DATA}-peer"], f"{DATA}-peer", "in use")

    def test_of_another_cluster(self):
        self.net.start_node()
        self.net.node.stop()
        kept = self.net.router.sh(f"sha256sum {DATA}/*.key {DATA}/id")
        self.refused(["heimdall", "--cluster-key", str(uuid.uuid4())], DATA, "another cluster")
        self.assertEqual(self.net.router.sh(f"sha256sum {DATA}/*.key {DATA}/id"), kept)


class Records(Faults):
    """Redis' data, changed while the node is down by another Redis over the same files."""

    def with_redis(self, script):
        """Runs redis-cli lines ("cli ...") on the data; returns what they print."""
        serve = (f"cd {DATA}/redis; chown -R root: .; redis-server --dir . --port 0 --unixsocket /tmp/edit.sock "
                 "--appendonly yes --save '' --daemonize no >/tmp/edit.log 2>&1 & ")
        wait = "for i in $(seq 200); do redis-cli -s /tmp/edit.sock ping 2>/dev/null | grep -q PONG && break; sleep 0.05; done; "
        cli = "cli() { redis-cli -s /tmp/edit.sock \"$@\"; }; "
        return self.net.router.sh(f"{serve}{wait}{cli}{script}\ncli shutdown >/dev/null 2>&1 || true; wait", timeout=30)

    def files(self):
        return self.net.router.sh(f"cat {DATA}/redis/appendonlydir/*.aof | sha256sum")

    def test_damaged_and_newer(self):
        """Skipped and named, never a crash; fields of a newer version survive a change of their record"""
        net = self.net
        net.start_node()
        net.authorize()
        node = net.node_id()
        net.hctl("routes", "create", "--node-id", node, "--network", "192.168.50.0/24")
        net.node.stop()
        damaged = str(uuid.uuid4())
        # field 1000 of a newer version: tag (1000 << 3 | 2) as a varint, length, text
        field = r"\xc2\x3e\x08NEWFIELD"
        self.with_redis(
            f"cli set heimdall:peers:{damaged} garbage; printf '\\xff\\xff\\xff' | cli -x set heimdall:nodes:{uuid.uuid4()}\n"
            f"cli hset heimdall:authorized {damaged} x; cli set heimdall:future:1 whatever; cli hset heimdall:meta future 1\n"
            "cli set heimdall:routes:banana x; cli del heimdall:peerips; cli set heimdall:peerips wrongtype\n"
            f"{{ cli --raw get heimdall:nodes:{node} | head -c -1; printf '{field}'; }} | cli -x set heimdall:nodes:{node}")
        net.start_node("--endpoint-port", "10101")
        said = net.node.output()
        self.assertGreaterEqual(said.count("damaged record skipped"), 3, said)
        self.assertIn("banana", said)
        self.assertNotIn(damaged, said)  # it may be a secret
        self.assertIn(net.id, net.hctl("peers", "authorized").stdout)
        self.assertEqual([row["NETWORK"] for row in table(net.hctl("routes", "list").stdout)], ["192.168.50.0/24"])
        self.assertEqual(table(net.hctl("nodes", "list").stdout)[0]["ENDPOINT"], "172.17.0.2:10101")
        self.assertEqual(net.node.stop(), 0)
        self.assertEqual(self.with_redis(f"cli --raw get heimdall:nodes:{node} | grep -ac NEWFIELD").strip(), "1")

    def test_not_ours(self):
        """Another program's data, or another layout: refused and left unchanged"""
        self.net.start_node()
        self.net.node.stop()
        for script in ("cli set session:42 theirs", "cli del session:42; cli hset heimdall:meta layout 99"):
            with self.subTest(script):
                self.with_redis(script)
                before = self.files()
                self.refused(["heimdall"], "layout", "another program's", "move the folder redis")
                self.assertEqual(self.files(), before)

    def test_files_lost(self):
        """The data of a node that had peers are gone: refused with the lines that restore or begin anew, and those lines are true"""
        net = self.net
        net.start_node()
        net.authorize()
        net.node.stop()
        net.router.sh(f"cp -a {DATA}/redis /tmp/backup; rm {DATA}/redis/appendonlydir/*.manifest")
        refused = net.router.run(["heimdall"], check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("ERRO", refused.stderr)
        said = refused.stderr.strip().split("\n")[-1]
        for words in ("appendonly.aof.manifest is missing", "belongs to cluster", f"restore the folder {DATA}/redis"):
            self.assertIn(words, said)
        net.router.sh(f"rm -r {DATA}/redis; cp -a /tmp/backup {DATA}/redis")
        net.start_node()
        self.assertIn(net.id, net.hctl("peers", "authorized").stdout)
        net.node.stop()
        net.router.sh(said[said.index("mv "):])
        net.start_node()
        self.assertNotIn(net.id, net.hctl("peers", "authorized").stdout)

    def test_zeros_at_the_end(self):
        """Zeros behind the append-only file's end, as after a power failure: removed and logged, no change lost"""
        net = self.net
        net.start_node()
        net.authorize()
        net.node.stop()
        net.router.sh(f"head -c 5000 /dev/zero >>$(ls {DATA}/redis/appendonlydir/*.incr.aof)")
        net.start_node()
        self.assertIn("removed zero bytes behind the end of Redis' append-only file", net.node.output())
        self.assertIn("bytes=5000", net.node.output())
        self.assertIn(net.id, net.hctl("peers", "authorized").stdout)

    def test_flipped_byte(self):
        """A byte of a record that changed on the disk: the record is skipped and named, with what to do, and the node runs"""
        net = self.net
        net.start_node()
        net.authorize()
        peer = net.start_peer()
        peer.wait_for("connected")
        net.node.stop()
        net.router.sh(f"sed -i 's/10[.]51[.]0[.]2\\([^0-9]\\)/10.51.0.3\\1/g' {DATA}/redis/appendonlydir/*.incr.aof")
        net.start_node()
        said = net.node.output()
        self.assertIn("a record's checksum does not match", said)
        self.assertIn("restore the folder redis", said)
        self.assertIn("damaged record skipped key=heimdall:peers", said)
        self.assertNotIn(net.id, said)

    def test_files_damaged(self):
        """An append-only file with garbage in its middle: Redis refuses it, and the error names the log"""
        self.net.start_node()
        self.net.node.stop()
        self.net.router.sh(f"for f in {DATA}/redis/appendonlydir/*.incr.aof; do printf 'rubbish' | dd of=$f bs=1 seek=40 conv=notrunc status=none; done")
        self.refused(["heimdall"], "redis-server does not start", f"{DATA}/redis/redis.log")


if __name__ == "__main__":
    unittest.main(verbosity=2)
