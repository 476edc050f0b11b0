"""The promises of docs/security.md on control traffic: who gets in, and what an impostor or a downgrade gets."""
import hashlib
import hmac
import re
import time
import unittest
import uuid

from lab.labtest import LabTest
from lab.netns import wait_until
from lab.psk import derive
from lab.story import Network, table

ADDR = "172.17.0.2:9000"
DENIED = 6  # hctl's exit code
DATA = "/var/lib/heimdall"


class Tls(LabTest):
    @classmethod
    def setUpClass(cls):
        cls.share_lab()
        cls.net = Network(cls.lab)
        cls.net.start_node()
        cls.key = cls.net.router.sh(f"cat {DATA}/cluster.key").strip()

    def s_client(self, *options, secret=None, role="admin", name=None):
        """The stock client, with the cluster key under its name unless `secret` is ""."""
        psk, identity = derive(secret or self.key, role)
        proof = [] if secret == "" else ["-psk", psk, "-psk_identity", name or identity]
        done = self.net.client.run(["openssl", "s_client", "-connect", ADDR, *proof, *options], check=False, input="")
        return done.stdout + done.stderr

    def refused_lines(self):
        return self.net.node.output().count("control connection refused")

    def node_failures(self):
        return self.net.node.output().count("TLS failed"), self.refused_lines()

    def test_what_is_agreed(self):
        said = self.s_client("-tls1_3", "-alpn", "h2", "-allow_no_dhe_kex")
        self.assertRegex(said, "Reused, TLSv1.3, Cipher is TLS_(AES_128_GCM|CHACHA20_POLY1305)_SHA256")
        self.assertIn("no peer certificate available", said)
        self.assertIn("Server Temp Key: X25519", said)  # psk_dhe_ke, although psk_ke was offered
        self.assertIn("ALPN protocol: h2", said)
        self.assertNotIn("New Session Ticket arrived", said)
        self.assertIn("Early data was not sent", said)

    def test_downgrades(self):
        """Older TLS, other suites, another protocol inside, a wrong or missing proof: an alert, and nothing is served"""
        for options, secret in ((["-tls1_2"], None), (["-tls1_2", "-cipher", "PSK:@SECLEVEL=0"], None),
                                (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], None),
                                (["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"], None),
                                (["-tls1_3", "-groups", "P-521"], None), (["-tls1_3", "-alpn", "http/1.1"], None),
                                (["-tls1_3"], str(uuid.uuid4())), (["-tls1_3"], "")):
            with self.subTest(options=options, secret=secret):
                before = self.refused_lines()
                said = self.s_client(*([] if "-alpn" in options else ["-alpn", "h2"]), *options, secret=secret)
                self.assertRegex(said, "alert|no protocols available")
                self.assertNotIn("Reused, TLSv1.3", said)
                if "no protocols available" not in said:
                    wait_until(lambda: self.refused_lines() > before, 5, "it is not logged")
        self.net.node.wait_for("speaks an older TLS only, not TLS 1.3")

    def test_no_protocol(self):
        """The right key and no ALPN: closed without a byte of HTTP/2"""
        said = self.s_client("-tls1_3", "-ign_eof")
        self.assertIn("No ALPN negotiated", said)
        self.assertIn("unexpected eof", said)
        self.net.node.wait_for("did not agree to speak HTTP/2")

    def test_plain_text(self):
        """Without TLS: at most an alert comes back, and a line names the address"""
        for first in ("PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n", "GET / HTTP/1.1\\r\\n\\r\\n"):
            with self.subTest(first=first):
                script = f"exec 3<>/dev/tcp/172.17.0.2/9000; printf '{first}' >&3; timeout 5 cat <&3 | od -An -v -tx1"
                got = bytes.fromhex("".join(self.net.client.run(["bash", "-c", script]).stdout.split()))
                self.assertIn(got[:3], (b"", b"\x15\x03\x01", b"\x15\x03\x03"), "at most an alert")
                self.assertLess(len(got), 16)
        self.net.node.wait_for("does not speak TLS")
        self.assertRegex(self.net.node.output(), "refused reason=.172.17.0.3:[0-9]+: the other side does not speak TLS")
        done = self.net.client.run(["hctl", "-a", f"tcp://{ADDR}", "--insecure", "nodes", "list"], check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual((done.stdout, done.stderr.count("\n")), ("", 1), done.stderr)

    def test_roles_do_not_mix(self):
        """The cluster key's hash under another role, and another role's key"""
        self.assertNotIn("Reused", self.s_client("-tls1_3", "-alpn", "h2", role="peer"))
        self.assertNotIn("Reused", self.s_client("-tls1_3", "-alpn", "h2", role="node", name=derive(self.key, "admin")[1]))
        self.assertIn("Reused", self.s_client("-tls1_3", "-alpn", "h2", role="node"))

    def test_older_programs(self):
        """Programs before 0.2 name themselves by a bare hash: they still get in, as the stock client shows"""
        extract = hmac.new(b"heimdall control v1", self.key.encode(), hashlib.sha256).digest()
        psk = hmac.new(extract, b"tls psk admin\x01", hashlib.sha256).hexdigest()
        name = f"admin:{hashlib.sha256(b'heimdall psk identity' + self.key.encode()).hexdigest()}"
        done = self.net.client.run(["openssl", "s_client", "-connect", ADDR, "-psk", psk, "-psk_identity", name, "-tls1_3",
                                    "-alpn", "h2"], check=False, input="")
        self.assertIn("Reused, TLSv1.3", done.stdout + done.stderr)

    def test_keys_are_renewed(self):
        """A client renews its keys and asks for the server's: both ends go on with new ones"""
        psk, name = derive(self.key, "admin")
        before = self.node_failures()
        settings = r"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
        for letter in "Kk":
            said = self.net.client.sh(f"(echo {letter}; sleep 0.5; printf '{settings}'; sleep 0.5; echo {letter}; sleep 0.5) | "
                                      f"openssl s_client -connect {ADDR} -psk {psk} -psk_identity {name} -tls1_3 -alpn h2 2>&1 "
                                      "| tr -d '\\0'")
            self.assertIn("KEYUPDATE", said)
            self.assertNotIn("alert", said)
        self.assertEqual(self.node_failures(), before)

    def test_id_that_a_person_chose(self):
        """Costly to guess on both sides, and it connects"""
        chosen = "Xk4-vT9_qLw2.mRz7-hUd3-pYb8"
        self.net.hctl("peers", "authorize", chosen)
        peer = self.net.start_peer(peer_id=chosen)
        peer.wait_for(" connected node=")
        peer.stop()

    def test_wrong_cluster_key(self):
        """One plain line; the server logs the address, never what was tried"""
        wrong = str(uuid.uuid4())
        done = self.net.client.run(["hctl", "-a", f"tcp://{ADDR}", "--cluster-key", wrong, "nodes", "list"], check=False)
        self.assertEqual(done.returncode, DENIED)
        self.assertEqual(len(done.stderr.strip().split("\n")), 1, done.stderr)
        self.assertIn("cluster key", done.stderr)
        said = self.net.node.wait_for("control connection refused")
        [line] = [line for line in said.split("\n") if "control connection refused" in line and "172.17.0.3" in line][-1:]
        self.assertRegex(line, "172.17.0.3:[0-9]+: unknown key or id")
        self.assertNotIn(wrong, said)
        self.assertNotIn(derive(wrong, "admin")[1], said)

    def test_unknown_peer(self):
        unknown = str(uuid.uuid4())
        peer = self.net.start_peer(peer_id=unknown)
        peer.wait_for(f"not authorized; waiting. Run on a node: hctl peers authorize {unknown}")
        peer.stop()
        self.assertEqual(peer.output().count("not authorized; waiting"), 1)
        self.assertRegex(self.net.node.output(), "refused reason=.172.17.0.3:[0-9]+: unknown key or id")
        self.assertNotIn(unknown, self.net.node.output())
        self.assertNotIn(unknown[:8], self.net.node.output())

    def test_certificate(self):
        """A client with a certificate at a server without"""
        self.net.client.sh(Impostors.CERTIFICATE)
        options = ["--cert", "/tmp/cert.pem", "--key", "/tmp/key.pem", "--ca", "/tmp/cert.pem"]
        expected = "the server uses no certificates: leave out --cert, --key and --ca"
        done = self.net.client.run(["hctl", "-a", f"tcp://{ADDR}", *options, "nodes", "list"], check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (DENIED, "", 1), done.stderr)
        self.assertIn(expected, done.stderr)
        peer = self.net.start_peer(*options)
        peer.wait_for(expected)
        peer.stop()

    def test_weak_secrets(self):
        for argv in (["hpeer", "--id", "laptop"], ["heimdall", "--cluster-key", "secret"]):
            done = self.net.client.run(argv, check=False)
            self.assertEqual(done.returncode, 2)
            self.assertIn("uuidgen", done.stderr)

    def test_key_of_the_data_dir(self):
        """On a node's host `hctl` needs no option: it uses the unix socket, or over TCP the key in the data dir"""
        for options in ([], ["-a", f"tcp://{ADDR}"], ["-a", f"unix://{DATA}/control.sock"]):
            self.assertEqual(len(table(self.net.router.run(["hctl", *options, "nodes", "list"]).stdout)), 1)


def s_server(test, host, *options, address=ADDR):
    """A server that prints, decrypted, what it gets."""
    serve = 'exec openssl s_server "$@" < <(sleep 60)'  # it ends with its standard input
    server = host.start(["bash", "-c", serve, "s_server", "-accept", address, *options])
    server.wait_for("ACCEPT")
    test.addCleanup(server.stop)
    return server


class Impostors(LabTest):
    """Servers that do not know the key: clients send nothing after the handshake, and report it."""

    CERTIFICATE = ("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=x "
                   "-addext subjectAltName=URI:heimdall:node/impostor -keyout /tmp/key.pem -out /tmp/cert.pem 2>/dev/null")

    @classmethod
    def setUpClass(cls):
        cls.share_lab()
        cls.net = Network(cls.lab)
        cls.net.router.sh(cls.CERTIFICATE)

    def impostor(self, *options):
        return s_server(self, self.net.router, *options)

    def told(self, server, expected):
        """Both clients report it, and the impostor got none of their bytes."""
        secret = str(uuid.uuid4())
        done = self.net.client.run(["hctl", "-a", f"tcp://{ADDR}", "--cluster-key", secret, "nodes", "list"], check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, expected)
        peer = self.net.start_peer()
        self.addCleanup(peer.stop)
        wait_until(lambda: re.search(expected, peer.output()), 10, peer.output)
        time.sleep(0.3)  # what it would send would be there by now
        self.assertTrue(peer.alive())
        peer.stop()
        got = server.output()
        for word in ("PRI * HTTP/2.0", "heimdall.api", "SETTINGS", self.net.id, secret):
            self.assertNotIn(word, got)
        return got

    def test_any_certificate(self):
        server = self.impostor("-tls1_3", "-alpn", "h2", "-cert", "/tmp/cert.pem", "-key", "/tmp/key.pem")
        self.told(server, "does not prove that it knows the key.*nothing was sent")

    def test_older_protocol(self):
        """A server that speaks TLS 1.2 only, with a certificate or with a key for everybody"""
        for options in (["-cert", "/tmp/cert.pem", "-key", "/tmp/key.pem"],
                        ["-nocert", "-psk", "00" * 32, "-cipher", "PSK:@SECLEVEL=0"]):
            with self.subTest(options=options):
                server = self.impostor("-tls1_2", *options)
                self.told(server, "speaks an older TLS only, not TLS 1.3: nothing was sent to it")
                server.stop()

    def test_another_key(self):
        """A pre-shared key under the right name, which anybody on the path can read"""
        for secret, role in ((self.net.id, "peer"), (str(uuid.uuid4()), "admin")):
            server = self.impostor("-tls1_3", "-alpn", "h2", "-nocert", "-psk", "00" * 32, "-psk_identity", derive(secret, role)[1])
            expected = "not the key (an impostor): nothing was sent to it"
            if role == "peer":
                peer = self.net.start_peer()
                self.addCleanup(peer.stop)
                peer.wait_for(expected)
                peer.stop()
            else:
                done = self.net.client.run(["hctl", "-a", f"tcp://{ADDR}", "--cluster-key", secret, "nodes", "list"], check=False)
                self.assertEqual((done.returncode, done.stderr.count("\n")), (DENIED, 1))
                self.assertIn(expected, done.stderr)
            server.stop()
            self.assertNotIn("PRI * HTTP/2.0", server.output())

    def test_plain_text(self):
        listener = ("import socket,time; s=socket.create_server(('172.17.0.2', 9000)); print('up', flush=True)\n"
                    "while True:\n c,_=s.accept(); c.settimeout(2); d=c.recv(4096); print(d.hex(), flush=True); "
                    "c.sendall(bytes.fromhex('000000040000000000')); print(c.recv(4096).hex(), flush=True); c.close()")
        server = self.net.router.start(["python3", "-c", listener])
        server.wait_for("up")
        peer = self.net.start_peer()
        self.addCleanup(peer.stop)
        peer.wait_for("does not speak TLS")
        server.stop()
        got = bytes.fromhex("".join(server.output().split("\n")[1:2]))
        self.assertEqual(got[0], 22)  # a TLS handshake record, with no secret in it
        self.assertNotIn(self.net.id.encode(), got)
        self.assertIn(derive(self.net.id, "peer")[1].encode(), got)
        self.assertNotIn(hashlib.sha256(b"heimdall psk identity" + self.net.id.encode()).hexdigest().encode(), got,
                         "a hash that costs nothing to guess")
        self.assertIn(bytes.fromhex("002b0003020304"), got, "supported_versions: TLS 1.3 and no other")
        self.assertIn(bytes.fromhex("002d00020101"), got, "psk_key_exchange_modes: psk_dhe_ke and no other")
        self.assertNotIn(bytes.fromhex("002a0000"), got, "early_data")


class Certificates(LabTest):
    """With an own authority: role and id come from a certificate's URI, and from nothing else."""

    PEER = str(uuid.uuid4())
    # NAME AUTHORITY URI DAYS
    MAKE = """
cd /tmp
for ca in ca other; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$ca" -keyout $ca.key -out $ca.pem
done
make() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x -keyout "$1.key" -out csr
    openssl x509 -req -in csr -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days "$4" -extfile <(echo "subjectAltName=$3") \
        -out "$1.pem"
}
"""

    @classmethod
    def setUpClass(cls):
        cls.share_lab()
        cls.net = Network(cls.lab)
        rows = (("node", "ca", "URI:heimdall:node/router", 2), ("admin", "ca", "URI:heimdall:admin/alice", 2),
                ("peer", "ca", f"URI:heimdall:peer/{cls.PEER}", 2), ("expired", "ca", "URI:heimdall:admin/alice", -1),
                ("stranger", "other", "URI:heimdall:admin/alice", 2), ("nobody", "ca", "DNS:localhost", 2),
                ("root", "ca", "URI:heimdall:root/alice", 2))
        cls.net.router.sh("{" + cls.MAKE + "".join(f"make {name} {ca} {uri} {days}\n" for name, ca, uri, days in rows) +
                          "} 2>/dev/null")
        for pem in (cls.lab.dir / "router/tmp").glob("*.*"):
            (cls.lab.dir / "client/tmp" / pem.name).write_bytes(pem.read_bytes())
        cls.net.start_node("--cert", "/tmp/node.pem", "--key", "/tmp/node.key", "--ca", "/tmp/ca.pem")

    def hctl(self, name, *words, ca="ca", addr=ADDR):
        return self.net.client.run(["hctl", "-a", f"tcp://{addr}", "--cert", f"/tmp/{name}.pem", "--key", f"/tmp/{name}.key",
                                    "--ca", f"/tmp/{ca}.pem", *words], check=False)

    def test_admin(self):
        self.assertEqual(len(table(self.hctl("admin", "nodes", "list").stdout)), 1)

    def test_refused(self):
        for name, words in (("expired", "our certificate: it has expired"), ("stranger", "our certificate: .*authority"),
                            ("nobody", "our certificate: .*URI"), ("root", "our certificate: .*URI")):
            with self.subTest(name=name):
                done = self.hctl(name, "nodes", "list")
                self.assertEqual((done.returncode, done.stdout), (DENIED, ""))
                self.assertEqual(len(done.stderr.strip().split("\n")), 1)
                self.assertRegex(done.stderr, words)
        self.assertRegex(self.net.node.output(), "refused reason=.172.17.0.3.*certificate has expired")

    def test_wrong_role(self):
        """A peer's certificate lets nobody administer"""
        for words in (["nodes", "list"], ["peers", "authorize", str(uuid.uuid4())], ["peers", "authorized"]):
            done = self.hctl("peer", *words)
            self.assertEqual((done.returncode, done.stdout), (DENIED, ""))
        self.net.node.wait_for("call refused: wrong role")

    def test_other_authority_of_the_server(self):
        done = self.hctl("admin", "nodes", "list", ca="other")
        self.assertEqual((done.returncode, done.stdout), (DENIED, ""))
        self.assertIn("certificate", done.stderr)

    def test_server_that_is_no_node(self):
        """A peer or an administrator of the same network in a node's place"""
        for name in ("peer", "admin"):
            with self.subTest(name=name):
                server = s_server(self, self.net.client, "-tls1_3", "-alpn", "h2", "-cert", f"/tmp/{name}.pem", "-key",
                                  f"/tmp/{name}.key", "-CAfile", "/tmp/ca.pem", address="172.17.0.3:9001")
                done = self.hctl("admin", "nodes", "list", addr="172.17.0.3:9001")
                self.assertEqual((done.returncode, done.stdout), (DENIED, ""))
                self.assertIn("names no heimdall:node/ID", done.stderr)
                server.stop()
                self.assertNotIn("PRI * HTTP/2.0", server.output())

    def test_without_certificate(self):
        """The cluster key is of no use at this listener"""
        key = self.net.router.sh(f"cat {DATA}/cluster.key").strip()
        done = self.net.client.run(["hctl", "-a", f"tcp://{ADDR}", "--cluster-key", key, "nodes", "list"], check=False)
        self.assertEqual((done.returncode, done.stdout), (DENIED, ""))

    def test_peer(self):
        """A peer's id must be the certificate's"""
        options = ["--cert", "/tmp/peer.pem", "--key", "/tmp/peer.key", "--ca", "/tmp/ca.pem"]
        self.net.hctl("peers", "authorize", self.PEER)
        other = str(uuid.uuid4())
        self.net.hctl("peers", "authorize", other)
        for peer_id, said in ((other, "refused"), (self.PEER, "connected")):
            peer = self.net.start_peer(*options, peer_id=peer_id)
            self.addCleanup(peer.stop)
            peer.wait_for(said)
            peer.stop()


class Insecure(LabTest):
    """--insecure, on either side or on both."""

    def test_both(self):
        self.share_lab()
        net = Network(self.lab)
        net.start_node("--insecure")
        warning = "the control API is served without TLS and to everyone (--insecure)"
        self.assertEqual(net.node.output().count(warning), 1)
        address = ["hctl", "-a", f"tcp://{ADDR}"]
        self.assertEqual(len(table(net.client.run([*address, "--insecure", "nodes", "list"]).stdout)), 1)
        done = net.client.run([*address, "--cluster-key", str(uuid.uuid4()), "nodes", "list"], check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (DENIED, "", 1), done.stderr)
        self.assertIn("a server under --insecure?", done.stderr)
        net.authorize()
        careful = net.start_peer()
        careful.wait_for("a server under --insecure?")
        careful.stop()
        peer = net.start_peer("--insecure")
        peer.wait_for("connected")
        peer.stop()
        net.node.stop()
        net.start_node("--insecure")
        self.assertEqual(net.node.output().count(warning), 1, "at each start")


if __name__ == "__main__":
    unittest.main(verbosity=2)
