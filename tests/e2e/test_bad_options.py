"""Every option of every program with every kind of bad value, on the command line, in the environment and in a file. The answer is
one line that names the option, the value and what is expected, with exit status 2, and nothing is created."""
import json
import re
import unittest

from lab.labtest import LabTest
from lab.story import Network

PROGRAMS = {"heimdall": [], "hpeer": [], "hctl": ["nodes", "list"]}
SECRETS = {"ID", "SECRET"}  # never repeated
LONG = "x" * 300
GOOD = "9c76f92d-d55a-46c0-84d6-58c981442834"

# By the option's placeholder in --help: the expected value as the error says it, and bad values.
KINDS = {
    None: ("true or false", ["maybe", "2", "yes", "TRUE"]),
    "FILE": ("a file's name", [""]),
    "DIR": ("a folder's name", [""]),
    "VALUE": ("a value that is not empty", [""]),
    "NAME": ("", ["", "..", "a/b", LONG, "ü", "a b"]),
    "SECRET": ("at least 96 random bits", ["", "laptop", "a" * 64, "9c76f92d d55a-46c0-84d6-58c981442834", LONG]),
    "ID": ("at least 96 random bits", ["", "laptop", "9c76f92d-d55a-46c0-84d6-58c981442834,laptop", ","]),
    "PORT": ("1 to 65535", ["", "0", "-1", "65536", "x", "10 ", "0x10", "99999999999999999999"]),
    "ADDRESS": ("tcp://192.0.2.1:9000", ["", "nowhere", "tcp://", "tcp://1.2.3.4", "tcp://1.2.3.4:0", "tcp://1.2.3.4:70000",
                                         "http://1.2.3.4:9000", "tcp://[::1:9000", "unix://relative", LONG]),
    "CIDR": ("CIDR", ["", "banana", "10.10.0.0", "10.10.0.0/33", "10.10.0.1/16", "10.10.0.0/", "10.10.0.0/30", "0.0.0.0/0",
                      "fd00::1/48", "fd00::/129", "None"]),
    "IP": ("an IP address", ["", "1.2.3", "1.2.3.4.5", "1.2.3.4/32", "fe80:::1", "name", "0.0.0.0", "::", "224.0.0.1",
                              "255.255.255.255", "ff02::1"]),
    "IP:PORT": ("an address", ["", "x", "1.2.3.4:70000", "1.2.3.4:", ":53", "[::1", "name:53"]),
    "DOMAIN": ("a domain name", ["", ".", "a..b", "heimdall.", "-a", "a_b", LONG]),
    "TIME": ("a time of at least 100ms", ["", "10", "x", "1ms", "-5s", "5 s", "5d", "99999999999999999999s"]),
    "FORMAT": ("", ["", "xml", "JSON"]),
}

# Runs the commands of standard input: [[argv, environment, content of /tmp/bad.conf], ...].
RUN = """
import json, os, subprocess, sys
results = []
for argv, env, content in json.load(sys.stdin):
    with open("/tmp/bad.conf", "w") as file:
        file.write(content)
    os.chmod("/tmp/bad.conf", 0o600)
    argv = ["timeout", "20", *argv]  # what is taken for good would run on
    done = subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    results.append([done.returncode, done.stdout, done.stderr])
json.dump(results, sys.stdout)
"""


class BadOptions(LabTest):
    @classmethod
    def setUpClass(cls):
        cls.share_lab()
        cls.net = Network(cls.lab)

    def traces(self):
        """What a start could leave behind: interfaces, programs, files."""
        host = self.net.router
        return (sorted(link["ifname"] for link in json.loads(host.sh("ip -j link"))), host.programs(),
                host.sh("ls -A /tmp /var/lib/heimdall /var/lib/heimdall-peer /run/wireguard"), host.resolv_conf())

    def run_all(self, cases):
        """Each of [argv, environment, file]; returns their [exit status, output, error output]."""
        return json.loads(self.net.router.run(["python3", "-c", RUN], input=json.dumps(cases), timeout=120).stdout)

    def options(self, program):
        """(option, placeholder, variable) of each in --help"""
        text = self.net.router.run([program, "--help"]).stdout
        rows = re.findall(r"(?m)^ +(?:-\w, +)?--([\w-]+)(?: ([A-Z:]+))? .*?(?:\[(HEIMDALL_\w+)\])?$", text)
        return [row for row in rows if row[2]]  # not --help, nor what belongs to one command

    def cases(self, program):
        """(what is refused, [argv, environment, file], words of the error, the value)"""
        end = PROGRAMS[program]
        folder = ["--data-dir", "/tmp/new"]
        for option, placeholder, variable in self.options(program):
            expected, values = KINDS[placeholder or None]
            given = [program, *([] if option == "data-dir" else folder)]
            for number, value in enumerate(values):
                spelled = [f"--{option}", value] if placeholder else [f"--{option}={value}"]
                yield option, [[*given, *spelled, *end], {}, ""], [f"option --{option}", expected], value
                if number > 2:
                    continue  # parsed by the same code
                if value:  # an empty variable is none
                    yield option, [[*given, *end], {variable: value}, ""], [f"variable {variable} (option --{option})", expected], value
                if option != "config" and value == value.strip():
                    yield option, [[*given, "--config", "/tmp/bad.conf", *end], {}, f"# a file\n{option} = {value}\n"], [
                        f"/tmp/bad.conf line 2: option {option}", expected], value

    def test_every_option(self):
        before = self.traces()
        for program in PROGRAMS:
            cases = list(self.cases(program))
            placeholders = {option: placeholder for option, placeholder, _ in self.options(program)}
            self.assertGreater(len(placeholders), 10)
            for (option, case, words, value), (code, out, err) in zip(cases, self.run_all([case[1] for case in cases])):
                with self.subTest(case=case):
                    self.assertEqual((code, out), (2, ""), err)
                    self.assertEqual(err.count("\n"), 1, err)
                    self.assertTrue(err.startswith(f"{program}: "))
                    for word in words:
                        self.assertIn(word, err)
                    if placeholders[option] in SECRETS:
                        self.assertIn('"..."', err)
                        self.assertNotIn("laptop", err)
                    else:
                        self.assertIn(f'"{value[:100]}', err)
        self.net.router.sh("rm /tmp/bad.conf")
        self.assertEqual(self.traces(), before)

    # Options that are valid alone, but not together or not on this host: (exit status, words of the error).
    MORE = (
        ("heimdall extra", 2, "unexpected argument", "extra"), ("hpeer extra", 2, "unexpected argument", "extra"),
        ("heimdall --cert /no", 2, "--cert, --key and --ca", "all three"), ("hpeer --key /no", 2, "--cert, --key and --ca"),
        ("hctl --ca /no nodes list", 2, "--cert, --key and --ca"),
        ("heimdall --cert /no --key /no --ca /no", 1, "option --cert: file /no: No such file"),
        ("hpeer --cert /no --key /no --ca /no", 1, "option --cert: file /no: No such file"),
        ("hctl -a tcp://172.17.0.2:9000 --cert /no --key /no --ca /no nodes list", 1, "option --cert: file /no: No such file"),
        ("heimdall --cert /tmp/weak --key /tmp/weak --ca /tmp/weak", 1, "option --cert: file /tmp/weak: holds no certificate"),
        (f"heimdall --cluster-key {GOOD} --cluster-key-file /tmp/good", 2, "--cluster-key and --cluster-key-file", "one of them"),
        ("heimdall --cluster-key-file /no", 1, "option --cluster-key-file: file /no: No such file"),
        ("heimdall --cluster-key-file /tmp/weak", 1, "option --cluster-key-file", "28 bits, 96 are needed"),
        ("hctl -a tcp://172.17.0.2:9000 --cluster-key-file /no nodes list", 1, "option --cluster-key-file: file /no: No such file"),
        ("heimdall --config /no", 2, "option --config: file /no", "No such file"),
        ("hpeer --config /tmp", 2, "option --config: file /tmp", "Is a directory"),
        ("heimdall --node-interface nosuch", 1, "option --node-interface: nosuch: No such device"),
        ("heimdall --advertise-grpc-address tcp://0.0.0.0:9000", 2, "--advertise-grpc-address", "tcp://0.0.0.0:9000", "of a host"),
        ("heimdall --advertise-grpc-address tcp://[ff02::1]:9000", 2, "--advertise-grpc-address", "of a host"),
        ("heimdall --interface-name all", 2, "--interface-name", "the kernel reserves"),
        ("hpeer --interface-name default", 2, "--interface-name", "the kernel reserves"),
        ("heimdall --peer tcp://192.0.2.1:9000", 2, "--peer", "not in this version"),
        ("heimdall --skip-verify", 2, "--skip-verify", "refused"), ("hpeer --skip-verify", 2, "--skip-verify", "refused"),
        ("hctl --skip-verify nodes list", 2, "--skip-verify", "refused"),
    )

    def test_together(self):
        self.net.router.sh(f"echo laptop >/tmp/weak; echo {GOOD} >/tmp/good")
        before = self.traces()
        commands = [line.split() for line, *_ in self.MORE]
        cases = [[[program, "--data-dir", "/tmp/new", *rest], {}, ""] for program, *rest in commands]
        for (line, code, *words), (got, out, err) in zip(self.MORE, self.run_all(cases)):
            with self.subTest(line):
                self.assertEqual((got, out, err.count("\n")), (code, "", 1), err)
                for word in words:
                    self.assertIn(word, err)
        self.net.router.sh("rm /tmp/bad.conf")
        self.assertEqual(self.traces(), before)

    def test_heimdall_wg(self):
        before = self.traces()
        for argv, env, words in (
                (["--foreground=yes", "wg0"], {}, ["--foreground", "argument"]), (["-x", "wg0"], {}, ["'x'"]),
                ([], {}, ["one INTERFACE, found 0"]), (["-f"], {}, ["one INTERFACE, found 0"]),
                (["wg0", "wg1"], {}, ["one INTERFACE, found 2"]),
                (["a-name-that-is-too-long"], {}, ["a-name-that-is-too-long", "1 to 15 characters"]),
                (["-f", "all"], {}, ["all", "the kernel reserves"]), (["lo"], {}, ["lo", "the kernel reserves"]),
                (["a/b"], {}, ["a/b", "1 to 15"]), ([".."], {}, ["..", "1 to 15"]), ([""], {}, ["1 to 15"]),
                (["-f", "wg0"], {"WG_TUN_FD": "x"}, ["WG_TUN_FD=x", "not an open descriptor"]),
                (["-f", "wg0"], {"WG_TUN_FD": "999"}, ["WG_TUN_FD=999", "not an open descriptor"]),
                (["-f", "wg0"], {"WG_UAPI_FD": "-1"}, ["WG_UAPI_FD=-1", "not an open descriptor"])):
            with self.subTest(argv=argv, env=env):
                [(code, out, err)] = self.run_all([[["heimdall-wg", *argv], env, ""]])
                self.assertEqual((code, out, err.count("\n")), (2, "", 1), err)
                for word in words:
                    self.assertIn(word, err)
        self.net.router.sh("rm /tmp/bad.conf")
        self.assertEqual(self.traces(), before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
