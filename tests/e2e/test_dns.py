"""Names of the network, asked through the tunnel and on the node itself: every type, both transports, what no resolver sends,
many at once, and the peer's own resolver."""
import os
import re
import unittest

from lab.dns import GATEWAY, HOSTILE, Names, dig

SOA = r"^router\.heimdall\. hostmaster\.heimdall\. \d+ 3600 600 86400 5$"


def reverse6(address):
    """fd00::1 as the name of its PTR record."""
    import ipaddress
    return ipaddress.ip_address(address).reverse_pointer


class Questions(Names):
    def setUp(self):
        super().setUp()
        self.node6 = self.address6(self.net.router)
        self.peer6 = self.address6(self.net.client)
        self.places = [(host, at) for host in (self.net.client, self.net.router) for at in (GATEWAY, self.node6)]

    def address6(self, host):
        return re.search(r"inet6 (\S+)/", host.sh("ip -6 addr show dev darknet scope global")).group(1)

    def check_denied(self, answer, status, apex):
        self.assertEqual((answer.status, answer.counts[:2]), (status, [0, 1]), answer.text)
        self.assertEqual(answer.records[0].split()[0], apex)
        self.assertRegex(answer.values("SOA")[0], SOA)
        self.assertEqual(answer.records[0].split()[1], "5", "the time that a denial is kept")
        self.assertIn("aa", answer.flags)

    def check_types(self, host, at, *more):
        def ask(*arguments):
            return dig(host, *arguments, *more, at=at)

        for name, address, address6 in (("router", GATEWAY, self.node6), ("client", "10.51.0.2", self.peer6)):
            full = f"{name}.heimdall"
            for spelled in (name, full, full.upper()):
                answer = ask(spelled)
                self.assertEqual(answer.values("A"), [address], answer.text)
                self.assertIn("aa", answer.flags)
                self.assertEqual(ask(spelled, "AAAA").values("AAAA"), [address6])
            self.assertEqual(ask("-x", address).values("PTR"), [f"{full}."])
            self.assertEqual(ask("-x", address6).values("PTR"), [f"{full}."])
            self.check_denied(ask(full, "TXT"), "NOERROR", "heimdall.")
            self.check_denied(ask(full, "MX"), "NOERROR", "heimdall.")
            self.check_denied(ask(f"below.{full}"), "NXDOMAIN", "heimdall.")
        self.check_denied(ask("nobody.heimdall"), "NXDOMAIN", "heimdall.")
        self.check_denied(ask("nobody.heimdall", "ANY"), "NXDOMAIN", "heimdall.")
        self.check_denied(ask("-x", "10.51.9.9"), "NXDOMAIN", "51.10.in-addr.arpa.")
        self.check_denied(ask("2.0.51.10.in-addr.arpa", "A"), "NOERROR", "51.10.in-addr.arpa.")
        self.check_denied(ask("heimdall", "A"), "NOERROR", "heimdall.")
        self.assertRegex(ask("heimdall", "SOA").values("SOA")[0], SOA)
        self.assertRegex(ask("51.10.in-addr.arpa", "SOA").values("SOA")[0], SOA)
        servers = ask("heimdall", "NS")
        self.assertEqual(servers.values("NS"), ["router.heimdall."])
        self.assertEqual((servers.values("A"), servers.values("AAAA")), ([GATEWAY], [self.node6]))
        for service in ("_domain._udp", "_domain._tcp"):
            found = ask(f"{service}.heimdall", "SRV")
            self.assertEqual(found.values("SRV"), ["0 0 53 router.heimdall."])
            self.assertEqual((found.values("A"), found.values("AAAA")), ([GATEWAY], [self.node6]))
        self.check_denied(ask("_domain._sctp.heimdall", "SRV"), "NXDOMAIN", "heimdall.")
        self.check_denied(ask("_udp.heimdall", "SRV"), "NOERROR", "heimdall.")

    def test_types(self):
        for (host, at), more in zip(self.places, ("+notcp", "+tcp", "+tcp", "+notcp")):
            with self.subTest(host=host.name, at=at, more=more):
                self.check_types(host, at, more)

    def test_protocol(self):
        for host, at in self.places[:2]:
            def ask(*arguments):
                return dig(host, *arguments, at=at)

            self.assertEqual(ask("router", "+norec").values("A"), [GATEWAY])
            self.assertNotIn("rd", ask("router", "+norec").flags)
            self.assertEqual(len(ask("router", "ANY", "+notcp").records), 1)
            self.assertEqual(len(ask("router.heimdall", "ANY", "+tcp").records), 2)
            self.assertEqual(len(ask("heimdall", "ANY", "+tcp").records), 2)
            for size in ("512", "1232", "4096", "65535"):
                answer = ask("router", f"+bufsize={size}")
                self.assertEqual(answer.values("A"), [GATEWAY])
                self.assertIn("udp: 1232", answer.text)
            self.assertNotIn("EDNS", ask("router", "+noedns").text)
            self.assertIn("flags: do;", ask("router", "+dnssec").text)
            for version in ("1", "255"):
                answer = ask("router", f"+edns={version}", "+noednsneg")
                self.assertEqual((answer.status, answer.counts[0]), ("BADVERS", 0))
            self.assertEqual(ask("router", f"+edns={version}").values("A"), [GATEWAY], "dig asks again with version 0")
            self.assertEqual(ask("router", "+ednsopt=65001:abcd").values("A"), [GATEWAY])
            for opcode in ("iquery", "status", "notify", "update", "9", "15"):
                self.assertEqual(ask("router", f"+opcode={opcode}").status, "NOTIMP")
            for arguments, status in ((["version.bind", "TXT", "CH"], "REFUSED"), (["heimdall", "TSIG"], "NOTIMP"),
                                      (["heimdall", "AXFR", "+tcp"], None), (["router", "+header-only"], "FORMERR")):
                self.assertEqual(ask(*arguments).status, status)

    def test_kdig(self):
        """another client's view of the same answers"""
        for host, at in self.places[1:3]:
            for transport in ("+notcp", "+tcp"):
                def ask(*arguments):
                    return host.run(["kdig", f"@{at}", transport, "+retry=0", "+time=7", *arguments]).stdout

                self.assertEqual(ask("router.heimdall", "+short").split(), [GATEWAY])
                self.assertEqual(ask("client.heimdall", "AAAA", "+short").split(), [self.peer6])
                self.assertEqual(ask("-x", self.peer6, "+short").split(), ["client.heimdall."])
                self.assertEqual(ask(reverse6(self.node6), "PTR", "+short").split(), ["router.heimdall."])
                self.assertEqual(ask("_domain._udp.heimdall", "SRV", "+short").split(), "0 0 53 router.heimdall.".split())
                self.assertIn("status: NXDOMAIN", ask("nobody.heimdall", "+noshort"))
                self.assertIn("BADVERS", ask("router", "+edns=1"))
                self.assertIn("status: NOERROR", ask("router", "+padding=128", "+nsid", "+cookie"))

    def test_hostile(self):
        runs = [self.net.client.start(["python3", "-B", HOSTILE, at]) for at in (GATEWAY, self.node6)]
        for run in runs:
            run.wait_for("answered as they must", timeout=40)
        self.assertTrue(self.net.node.alive())
        self.assertEqual(dig(self.net.client, "client").values("A"), ["10.51.0.2"])

    def test_many(self):
        """dnsperf: everything answered, as it should be, by UDP and TCP, through the tunnel and on the node"""
        questions = "router.heimdall A\nclient AAAA\n2.0.51.10.in-addr.arpa PTR\nrouter A\n_domain._udp.heimdall SRV\n"
        for host in (self.net.client, self.net.router):
            for mode in ("udp", "tcp"):
                (host.dir / "tmp" / "questions").write_text(questions)
                out = host.run(["dnsperf", "-s", GATEWAY, "-m", mode, "-d", "/tmp/questions", "-n", "1000", "-c", "4",
                                "-q", "40", "-t", "20"], timeout=60).stdout
                self.assertRegex(out, r"Queries sent: +5000\n")
                self.assertRegex(out, r"Queries lost: +0 ")
                self.assertRegex(out, r"Response codes: +NOERROR 5000 \(100\.00%\)")


class Resolver(Names):
    def test_peer(self):
        """programs on the peer and on the node find names, and the peer's resolver is put back"""
        client, router = self.net.client, self.net.router
        former = client.resolv_conf()
        self.eventually(lambda: client.run(["getent", "hosts", "router"], check=False).returncode == 0, client.resolv_conf)
        for host in (client, router):
            self.assertEqual(host.run(["getent", "ahostsv4", "router"]).stdout.split()[0], GATEWAY)
            self.assertEqual(host.run(["getent", "ahostsv4", "client.heimdall"]).stdout.split()[0], "10.51.0.2")
            self.assertIn("client.heimdall", host.run(["getent", "hosts", "10.51.0.2"]).stdout)
        self.assertIn("search heimdall", former)
        self.assertEqual(self.peer.stop(), 0)
        self.assertEqual(client.resolv_conf(), "nameserver 127.0.0.1\n")
        self.assertEqual(self.net.node.stop(), 0)
        self.assertEqual(router.resolv_conf(), "nameserver 127.0.0.1\n")

    def test_names_come_and_go(self):
        """a name is there with its peer, moves with a new name, and is denied when the peer is not authorized any more"""
        net = self.net
        self.assertEqual(dig(net.router, "client.heimdall").values("A"), ["10.51.0.2"])
        serial = int(dig(net.router, "heimdall", "SOA").values("SOA")[0].split()[2])
        self.assertEqual(self.peer.stop(), 0)
        self.peer = net.start_peer(name="laptop")
        self.peer.wait_for("connected")
        self.eventually(lambda: dig(net.router, "laptop.heimdall").values("A") == ["10.51.0.2"], "the new name is not there")
        self.assertEqual(dig(net.router, "client.heimdall").status, "NXDOMAIN")
        self.assertEqual(dig(net.router, "-x", "10.51.0.2").values("PTR"), ["laptop.heimdall."])
        net.hctl("peers", "deauthorize", net.id)
        self.eventually(lambda: dig(net.router, "laptop.heimdall").status == "NXDOMAIN", "the name stays")
        self.assertEqual(dig(net.router, "-x", "10.51.0.2").status, "NXDOMAIN")
        self.assertGreater(int(dig(net.router, "heimdall", "SOA").values("SOA")[0].split()[2]), serial)


class OtherDomain(Names):
    node_options = ("--dns-domain", "corp.example")

    def test_domain(self):
        client = self.net.client
        for name in ("router", "router.corp.example"):
            self.assertEqual(dig(client, name).values("A"), [GATEWAY])
        self.assertEqual(dig(client, "nobody.corp.example").status, "NXDOMAIN")
        self.assertEqual(dig(client, "router.heimdall", "+norec").status, "REFUSED")
        self.assertIn("search corp.example", client.resolv_conf())


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    unittest.main(verbosity=2)
