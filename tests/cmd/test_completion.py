"""Completion in bash of commands, options, ids and names: bash sources the file, and the tests press TAB."""
import os
import pathlib
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
import unittest

BIN = pathlib.Path(sys.argv.pop(1)).resolve()
FILE = pathlib.Path(__file__).parents[2] / "packaging/completion/heimdall.bash"

# First in PATH: an hctl that answers for a node.
HCTL = """#!/bin/sh
echo "$@" >>"$ASKED"
case "$*" in
*--help*) exec "$REAL" "$@" ;;
*'peers authorized'*) printf 'ID\\n11111111-aaaa\\n22222222-bbbb\\n' ;;
*'peers list'*) printf '{\\n\\t"peers":\\t[{\\n\\t\\t\\t"id":\\t"11111111-aaaa",\\n\\t\\t\\t"name":\\t"laptop",\\n' ;;
*'nodes list'*) printf '{\\n\\t"nodes":\\t[{\\n\\t\\t\\t"id":\\t"99999999-cccc",\\n\\t\\t\\t"name":\\t"router",\\n' ;;
*'routes list'*) printf 'NODE   NETWORK\\nx      192.168.50.0/24\\n' ;;
esac
"""

ASK = r"""
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_heimdall "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


class Completion(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.dir / "bin").mkdir()
        stub = self.dir / "bin/hctl"
        stub.write_text(HCTL)
        stub.chmod(0o755)
        (self.dir / "asked").write_text("")
        (self.dir / "some.key").write_text("")
        (self.dir / "folder").mkdir()
        self.env = {"PATH": f"{self.dir}/bin:{BIN}:{os.environ['PATH']}", "ASKED": str(self.dir / "asked"),
                    "REAL": str(BIN / "hctl"), "HOME": str(self.dir), "PS1": "$ ", "TERM": "dumb", "LC_ALL": "C"}

    def complete(self, *words):
        """The completions of the last word."""
        done = subprocess.run(["bash", "--norc", "-c", ASK, "ask", FILE, *words], env=self.env, cwd=self.dir,
                              capture_output=True, text=True, timeout=20)
        self.assertEqual(done.stderr, "")
        return [line for line in done.stdout.split("\n") if line]

    def test_commands(self):
        self.assertEqual(self.complete("hctl", ""), ["doctor", "nodes", "peers", "routes", "status"])
        self.assertEqual(self.complete("hctl", "pe"), ["peers"])
        self.assertEqual(sorted(self.complete("hctl", "peers", "")),
                         ["authorize", "authorized", "deauthorize", "list", "rekey", "rename", "show"])
        self.assertEqual(self.complete("hctl", "peers", "de"), ["deauthorize"])
        self.assertEqual(self.complete("hctl", "status", ""), [])
        self.assertEqual(self.complete("hctl", "bogus", ""), [])

    def test_commands_behind_options(self):
        self.assertEqual(self.complete("hctl", "-D", "-a", "tcp", ":", "//router", ":", "9000", "pe"), ["peers"])
        self.assertEqual(self.complete("hctl", "-o", "json", "routes", "c"), ["create"])
        self.assertEqual(self.complete("hctl", "--output", "=", "json", "nodes", ""), ["list"])

    def test_options(self):
        """Every option of --help, for all four programs."""
        for program in ("heimdall", "hpeer", "hctl", "heimdall-wg"):
            with self.subTest(program=program):
                text = subprocess.run([BIN / program, "--help"], capture_output=True, text=True, check=True).stdout
                known = set(re.findall(r"^ +(?:-\w, )?(--[a-z0-9-]+)", text, re.M))
                known |= set(re.findall(r"^ +(-\w), --", text, re.M))
                self.assertGreater(len(known), 5)
                self.assertEqual(set(self.complete(program, "-")), known)
        self.assertEqual(self.complete("heimdall", "--endpoint-"), ["--endpoint-ip", "--endpoint-port"])
        self.assertEqual(self.complete("hctl", "peers", "list", "--out"), ["--output"])

    def test_values(self):
        for words, offered in ((["hctl", "-o", ""], ["table", "json"]), (["hctl", "--output", "=", "j"], ["json"]),
                               (["hctl", "--output", "="], ["table", "json"]),
                               (["heimdall", "--log-format", ""], ["text", "json"]),
                               (["heimdall", "--cluster-key-file", "so"], ["some.key"]),
                               (["hpeer", "--data-dir", "f"], ["folder"]),
                               (["hpeer", "--name", ""], []), (["hctl", "--cluster-key", "p"], []),
                               (["heimdall", ""], [])):
            with self.subTest(words=words):
                self.assertEqual(self.complete(*words), offered)

    def test_what_the_node_knows(self):
        peers = ["11111111-aaaa", "22222222-bbbb", "laptop"]
        for words, offered in ((["peers", "show", ""], peers), (["peers", "rekey", "l"], ["laptop"]),
                               (["peers", "rename", "1"], ["11111111-aaaa"]), (["peers", "rename", "laptop", ""], []),
                               (["peers", "deauthorize", "laptop", "2"], ["22222222-bbbb"]),
                               (["peers", "authorize", ""], []),
                               (["routes", "delete", ""], ["192.168.50.0/24"]),
                               (["routes", "create", "--node-id", ""], ["99999999-cccc", "router"]),
                               (["routes", "create", "--node-id", "r"], ["router"])):
            with self.subTest(words=words):
                self.assertEqual(sorted(set(self.complete("hctl", *words))), offered)

    def test_asks_the_node_that_was_named(self):
        self.complete("hctl", "-a", "tcp", ":", "//router", ":", "9000", "peers", "show", "")
        self.assertIn("-a tcp://router:9000 -o table peers authorized", (self.dir / "asked").read_text())

    def test_in_a_terminal(self):
        """`hctl peers <TAB>` in an interactive bash"""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execvpe("bash", ["bash", "--norc", "--noprofile"], self.env)
        try:
            self.talk(terminal, f"source {FILE}; bind 'set bell-style none'; echo rea''dy\n", "ready\r\n$ ")
            self.talk(terminal, "hctl peers dea\t", "deauthorize ")
            said = self.talk(terminal, "\x15hctl peers \t\t", "\n$ hctl peers")
            self.assertEqual(sorted(re.sub(r".*hctl peers|\$.*", "", said).split()),
                             ["authorize", "authorized", "deauthorize", "list", "rekey", "rename", "show"])
        finally:
            os.write(terminal, b"\x15\x04")
            os.close(terminal)
            os.waitpid(pid, 0)

    def talk(self, terminal, typed, wanted):
        """Types, and reads until the output has the wanted text."""
        said, end = "", time.monotonic() + 20
        os.write(terminal, typed.encode())
        while wanted not in said:
            ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
            self.assertTrue(ready, f"no {wanted!r} in {said!r}")
            said += os.read(terminal, 4096).decode()
        return said


if __name__ == "__main__":
    unittest.main(verbosity=2)
