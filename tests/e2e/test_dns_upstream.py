"""Names of others: asked of a real resolver (unbound) behind the node, for the network alone, and what comes of it when that
resolver is away."""
import os
import time
import unittest

from lab.dns import GATEWAY, UNBOUND, UPSTREAM, Names, Upstream, dig, start_unbound



class Answers(Upstream):
    def check(self, host, at, transport):
        def ask(*arguments):
            return dig(host, *arguments, transport, at=at)

        answer = ask("www.example")
        self.assertEqual(answer.values("A"), ["203.0.113.5"], answer.text)
        self.assertIn("ra", answer.flags)
        self.assertNotIn("aa", answer.flags)
        self.assertEqual(ask("WWW.Example", "AAAA").values("AAAA"), ["2001:db8::5"])
        self.assertEqual(ask("mail.example", "MX").values("MX"), ["10 www.example."])
        self.assertEqual(ask("_x._tcp.example", "SRV").values("SRV"), ["1 2 9000 www.example."])
        self.assertEqual(ask("-x", "203.0.113.5").values("PTR"), ["www.example."])
        self.assertEqual(ask("box.lan").values("A"), ["192.168.50.77"])
        for name, kind, status in (("nobody.example", "A", "NXDOMAIN"), ("www.example", "TXT", "NOERROR"),
                                   ("x.refused.example", "A", "REFUSED")):
            answer = ask(name, kind)
            self.assertEqual((answer.status, answer.counts[0]), (status, 0), name)
        answer = ask("many.example", "TXT")
        self.assertEqual((answer.counts[0], "tc" in answer.flags), (20, False), "dig asks again over TCP")
        self.assertEqual(ask("www.example", "+norec").status, "REFUSED")
        self.assertEqual(ask("client.heimdall").values("A"), ["10.51.0.2"])
        self.assertEqual(ask("nobody.heimdall").status, "NXDOMAIN")

    def test_answers(self):
        for host, at in ((self.net.client, GATEWAY), (self.net.router, GATEWAY)):
            for transport in ("+notcp", "+tcp"):
                with self.subTest(host=host.name, transport=transport):
                    self.check(host, at, transport)
        for size in ("512", "1232"):
            cut = dig(self.net.client, "many.example", "TXT", "+ignore", f"+bufsize={size}")
            self.assertIn("tc", cut.flags)
        out = self.net.client.run(["kdig", f"@{GATEWAY}", "www.example", "+short"]).stdout
        self.assertEqual(out.strip(), "203.0.113.5")
        for host in (self.net.client, self.net.router):  # their own resolvers ask us
            self.assertEqual(host.run(["getent", "ahostsv4", "www.example"]).stdout.split()[0], "203.0.113.5")

    def test_many(self):
        (self.net.client.dir / "tmp" / "questions").write_text("www.example A\nclient.heimdall A\nmail.example MX\n")
        out = self.net.client.run(["dnsperf", "-s", GATEWAY, "-d", "/tmp/questions", "-n", "500", "-q", "30", "-t", "20"],
                                  timeout=60).stdout
        self.assertRegex(out, r"Queries lost: +0 ")
        self.assertRegex(out, r"NOERROR 1500 \(100\.00%\)")

    def test_outside(self):
        """who is not of the network gets nothing of others, by whichever address it asks"""
        server, router = self.net.server, self.net.router
        server.run(["ip", "route", "add", f"{GATEWAY}/32", "via", "192.168.50.1"])
        for transport in ("+notcp", "+tcp"):
            answer = dig(server, "www.example", transport)
            self.assertEqual((answer.status, answer.records), ("REFUSED", []), answer.text)
            self.assertNotIn("ra", answer.flags)
        self.assertEqual(dig(server, "www.example", "+time=1", at="192.168.50.1").status, None, "it is not even open there")
        self.assertEqual(dig(router, "www.example", "-b", "192.168.50.1").status, "REFUSED")

    def test_away(self):
        """without the upstream: SERVFAIL in less time than a client waits, our own names as ever, and back when it is back"""
        self.assertEqual(dig(self.net.client, "www.example").status, "NOERROR")
        self.upstream.stop()
        for silent in (False, True):
            if silent:  # nothing comes back, not even that the port is closed
                self.net.server.run(["ip", "link", "set", "eth0", "down"])
            for name, transport in ((f"a{silent}.example", "+notcp"), (f"b{silent}.example", "+tcp"))[:1 if silent else 2]:
                begin = time.monotonic()
                answer = dig(self.net.client, name, transport)
                self.assertEqual((answer.status, answer.counts[0]), ("SERVFAIL", 0), answer.text)
                self.assertLess(time.monotonic() - begin, 6.9)
            self.assertEqual(dig(self.net.client, "client", "+time=2").values("A"), ["10.51.0.2"])
        self.net.server.run(["ip", "link", "set", "eth0", "up"])
        self.upstream = start_unbound(self.net)
        self.eventually(lambda: dig(self.net.client, "www.example").status == "NOERROR", "it is not asked again", 30)


class Tls(Names):
    """--dns-upstream-tls: a resolver that is there over TLS alone, and has to prove its name."""
    TRUST = {"SSL_CERT_FILE": "/tmp/ca.pem"}
    node_options = ("--dns-upstream-address", UPSTREAM, "--dns-upstream-tls", "dns.example")

    def before_node(self):
        net = self.net
        self.certificate = net.server.dir / "tmp" / "cert.pem"
        net.server.sh("cd /tmp; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem "
                      "-subj /CN=dns.example -addext subjectAltName=DNS:dns.example -days 2 2>&1")
        (net.router.dir / "tmp" / "ca.pem").write_bytes(self.certificate.read_bytes())
        self.start_upstream()

    def start_node(self):
        self.net.start_node(*self.node_options, env=self.TRUST)

    def start_upstream(self):
        self.upstream = start_unbound(self.net, UNBOUND.replace("0.0.0.0@53", "0.0.0.0@853\n    interface: 127.0.0.1@53") + """
server:
    tls-port: 853
    tls-service-key: "/tmp/key.pem"
    tls-service-pem: "/tmp/cert.pem"
""", at="127.0.0.1")

    def test_proven(self):
        net, client = self.net, self.net.client
        self.assertEqual(dig(client, "www.example").values("A"), ["203.0.113.5"])
        self.assertEqual(dig(client, "many.example", "TXT").counts[0], 20)
        self.assertEqual(dig(client, "nobody.example", "+tcp").status, "NXDOMAIN")
        out = net.router.run(["kdig", "+tls-ca=/tmp/ca.pem", "+tls-hostname=dns.example", f"@{UPSTREAM}", "www.example",
                              "+short"]).stdout
        self.assertEqual(out.strip(), "203.0.113.5")
        (client.dir / "tmp" / "questions").write_text("".join(f"n{number}.example A\n" for number in range(100)))
        out = client.run(["dnsperf", "-s", GATEWAY, "-d", "/tmp/questions", "-n", "1", "-q", "20", "-t", "20"]).stdout
        self.assertRegex(out, r"NXDOMAIN 100 \(100\.00%\)")
        self.upstream.stop()
        self.assertEqual(dig(client, "other.example").status, "SERVFAIL")
        net.node.wait_for("an upstream resolver cannot be asked over TLS server=192.168.50.10:853 name=dns.example")
        self.start_upstream()
        self.eventually(lambda: dig(client, "mail.example", "MX").counts[0] == 1, "it is not asked again", 30)
        net.node.wait_for("an upstream resolver is asked over TLS again")


class TlsOfAnother(Tls):
    """an impostor with a certificate that is trusted, but for another name"""
    node_options = ("--dns-upstream-address", f"{UPSTREAM}:853", "--dns-upstream-tls", "other.example")

    def test_proven(self):
        self.assertEqual(dig(self.net.client, "www.example").status, "SERVFAIL")
        self.net.node.wait_for('name=other.example error="hostname mismatch"')
        self.assertEqual(dig(self.net.client, "client").values("A"), ["10.51.0.2"])


class TlsUntrusted(Tls):
    """an impostor with the right name in a certificate of his own making"""
    TRUST = {}

    def test_proven(self):
        self.assertEqual(dig(self.net.client, "www.example").status, "SERVFAIL")
        self.net.node.wait_for("self-signed certificate")
        self.assertEqual(self.net.node.output().count("cannot be asked over TLS"), 1)


class Option(Upstream):
    """--dns-upstream-address in place of the host's resolvers, and two of them, one dead."""
    node_options = ("--dns-upstream-address", "192.168.50.99:53", "--dns-upstream-address", UPSTREAM)

    def before_node(self):
        self.upstream = start_unbound(self.net)

    def test_one_of_two(self):
        self.eventually(lambda: dig(self.net.client, "www.example").values("A") == ["203.0.113.5"], "not resolved", 20)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    unittest.main(verbosity=2)
