"""The manual pages and --help agree, option by option and command by command."""
import pathlib
import re
import subprocess
import sys
import unittest

BIN = pathlib.Path(sys.argv.pop(1)).resolve()
ROOT = pathlib.Path(__file__).parents[2]
PAGES = {"heimdall": "heimdall.8", "hpeer": "hpeer.8", "hctl": "hctl.1", "heimdall-wg": "heimdall-wg.8"}

HELP_OPTION = re.compile(r"^ +(?:-(\w), )?--([a-z0-9-]+)(?: ([A-Z:]+))? +(.*)$", re.M)
PAGE_OPTION = re.compile(r"^\.It Fl (?:(\w) , )?-([a-z0-9-]+)(?: Ar (\S+))?\n(.*?)(?=^\.(?:It|El))", re.M | re.S)


def help_of(program):
    return subprocess.run([BIN / program, "--help"], capture_output=True, text=True, check=True, timeout=20).stdout


def page_of(program):
    return (ROOT / "packaging/man" / PAGES[program]).read_text()


def section(page, name):
    return re.search(rf"^\.Sh {name}\n(.*?)(?=^\.Sh |\Z)", page, re.M | re.S).group(1)


def options(pattern, text):
    """Long name -> short name, placeholder, description."""
    return {match[2]: (match[1], match[3], match[4]) for match in pattern.finditer(text)}


class Manuals(unittest.TestCase):
    maxDiff = None

    def test_options(self):
        for program in PAGES:
            with self.subTest(program=program):
                helped, paged = options(HELP_OPTION, help_of(program)), options(PAGE_OPTION, page_of(program))
                self.assertGreater(len(helped), 2)
                self.assertEqual({name: row[:2] for name, row in helped.items()},
                                 {name: row[:2] for name, row in paged.items()})

    def test_variables(self):
        """Each option has its variable on the page, and the page has no other."""
        for program in PAGES:
            page, said = page_of(program), help_of(program)
            paged = options(PAGE_OPTION, page)
            for name, (_, _, text) in options(HELP_OPTION, said).items():
                with self.subTest(program=program, option=name):
                    self.assertEqual(re.findall(r"\[([A-Z_0-9]+)\]", text), re.findall(r"^\.Pq Ev (\w+)$", paged[name][2], re.M))
            for variable in re.findall(r"^  ([A-Z]+_[A-Z_]+)  ", said, re.M):  # of heimdall-wg
                self.assertIn(f".It Ev {variable}\n", page)
            for variable in re.findall(r"^\.It Ev (\w+)$", page, re.M):
                self.assertIn(variable, said)

    def test_defaults(self):
        for program in PAGES:
            paged = options(PAGE_OPTION, page_of(program))
            for name, (_, _, text) in options(HELP_OPTION, help_of(program)).items():
                for value in re.findall(r"\(default ([^)]+)\)", text):
                    with self.subTest(program=program, option=name):
                        self.assertIn(value, paged[name][2])

    def test_commands(self):
        said = help_of("hctl").split("\ncommands:\n")[1].split("\n\n")[0]
        helped = [re.split(" {2,}", line.strip())[0] if "  " in line.strip() else line.strip() for line in said.split("\n")]
        paged = []
        for line in re.findall(r"^\.It Ic (.*)$", page_of("hctl"), re.M):
            line = re.sub(r"\bOp Ar (\S+)", r"[\1]", line)
            paged.append(re.sub(r"\bFl ", "-", re.sub(r"\bAr ", "", line)))
        self.assertEqual([words for words in helped if words not in paged], [])
        self.assertEqual(len(paged), len(helped))

    def test_exit_statuses(self):
        source = (ROOT / "cmd/hctl.c").read_text()
        known = re.findall(r"^    STATUS_\w+ = (\d),$", source, re.M)
        self.assertEqual(re.findall(r"^\.It (\d)$", section(page_of("hctl"), "EXIT STATUS"), re.M), known)

    def test_pages(self):
        """Well-formed pages with the usual sections."""
        for program, name in PAGES.items():
            with self.subTest(page=name):
                done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", ROOT / "packaging/man" / name],
                                      capture_output=True, text=True, timeout=20)
                self.assertEqual((done.returncode, done.stdout), (0, ""))
                for wanted in ("NAME", "SYNOPSIS", "DESCRIPTION", "FILES", "EXIT STATUS", "EXAMPLES", "SEE ALSO"):
                    self.assertTrue(section(page_of(program), wanted).strip(), wanted)


if __name__ == "__main__":
    unittest.main(verbosity=2)
