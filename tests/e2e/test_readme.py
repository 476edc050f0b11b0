"""Plays the README's "A day with it": each command of its blocks runs on its host and prints what the README shows.

Ids, keys, times, ports, addresses made from random ids, and counts differ between runs: only their kind is compared. The node and
the peers keep running, and their log has the lines shown, in their order. "..." stands for any further output.
"""
import pathlib
import re
import shlex
import unittest

from lab.labtest import InLab
from lab.netns import wait_until
from lab.story import Network

README = pathlib.Path(__file__).parents[2] / "README.md"
PROMPT = re.compile(r"^(router|client)# (.*)$")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# Patterns of what differs between runs, and the word that replaces it.
VARYING = (
    (UUID, "ID"),
    (re.compile(r"^\S+Z (?=[A-Z]{4} )", re.M), ""),
    (re.compile(r"\bfd[0-9a-f:]+\b"), "ADDRESS6"),
    (re.compile(r"\b(now|\d+ (second|minute)s? ago)\b"), "AGE"),
    (re.compile(r"\b\d+(\.\d)? (B|KiB|MiB)(?= |$)", re.M), "BYTES"),
    (re.compile(r"(?<=172\.17\.0\.3:)\d+"), "PORT"),
    (re.compile(r"(?<=time=)[\d.]+"), "TIME"),
    (re.compile(r"(?<=pid=)\d+"), "PID"),
    (re.compile(r"(?<=revision )\d+"), "REV"),
    (re.compile(r" {2,}"), "  "),  # the width of a column depends on its content
)


def blocks(title):
    """The fenced blocks of a section."""
    section = re.search(rf"^## {title}\n(.*?)(?=^## )", README.read_text(), re.M | re.S).group(1)
    return re.findall(r"^```\w*\n(.*?)^```$", section, re.M | re.S)


def steps(text):
    """(host, command, lines of output) of each command of a block."""
    found = []
    for line in text.splitlines():
        if prompt := PROMPT.match(line):
            found.append((prompt[1], prompt[2], []))
        else:
            found[-1][2].append(line)
    return found


def plain(text):
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return [line.rstrip() for line in text.splitlines()]


class Readme(InLab):
    maxDiff = None

    def setUp(self):
        super().setUp()
        self.net = Network(self.lab)
        # the day publishes both default routes, and status says when the node has none itself
        self.net.router.run(["ip", "-6", "route", "add", "default", "dev", "eth0"])
        self.ids = {}  # the README's -> this run's
        self.running = {}

    def test_day(self):
        done = [self.step(*step) for block in blocks("A day with it") for step in steps(block)]
        self.assertGreater(len(done), 12)
        self.assertNotEqual(self.net.client.run(["ping", "-c1", "-W1", "10.11.0.1"], check=False).returncode, 0)

    def step(self, host, command, wanted):
        here = getattr(self.net, host)
        for theirs, ours in self.ids.items():
            command = command.replace(theirs, ours)
        argv = shlex.split(command)
        with self.subTest(command=command):
            if argv[0] in ("heimdall", "hpeer"):
                self.start(here, argv, wanted)
                return
            if argv[0] == "ping":  # names and routes need a moment
                wait_until(lambda: here.run([*argv, "-W1"], check=False).returncode == 0, 5, f"{command} is not answered")
            elif argv[-1] == "status":  # so does a new peer
                wait_until(lambda: " connected " in here.run(argv, check=False).stdout, 10, "the peer is not seen")
            self.compare(here.run(argv).stdout, wanted)

    def start(self, host, argv, wanted):
        if host in self.running:
            self.running.pop(host).stop()
        process = self.running[host] = host.start(argv)
        process.wait_for(re.sub(r"^\w+ (.*?)( \w+=.*)?$", r"\1", wanted[-1]), timeout=20)
        said, at = plain(process.output()), 0
        for line in plain("\n".join(wanted)):
            self.assertIn(line, said[at:])
            at = said.index(line, at) + 1

    def compare(self, said, wanted):
        for theirs, ours in zip(UUID.findall("\n".join(wanted)), UUID.findall(said)):
            self.ids[theirs] = ours
        said, wanted = plain(said), plain("\n".join(wanted))
        if wanted and wanted[-1] == "...":
            wanted.pop()
            said = said[:len(wanted)]
        self.assertEqual(said, wanted)


if __name__ == "__main__":
    unittest.main(verbosity=2)
