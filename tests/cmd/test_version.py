"""What --version says: the project's version, and the commit if the build knew it. Usage: test_version.py BIN"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).parents[2]
BIN = pathlib.Path(sys.argv.pop(1))
VERSION = re.search(r"^project\(heimdall VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(), re.M)[1]


class Programs(unittest.TestCase):
    def test_version(self):
        for program in ("heimdall", "hpeer", "hctl", "heimdall-wg"):
            with self.subTest(program=program):
                said = subprocess.run([BIN / program, "--version"], capture_output=True, text=True, check=True).stdout
                self.assertRegex(said, rf"^{program} (version )?{re.escape(VERSION)}( \(commit [\w.+/-]+\))?\n$")

    def test_documents(self):
        """The README shows this version, and the changelog knows it: released, or in the making."""
        self.assertEqual(set(re.findall(r"version=(\S+)", (ROOT / "README.md").read_text())), {VERSION})
        newest = re.search(r"^## \[(\S+)\](?: - \d{4}-\d\d-\d\d\n|\n(\S+) in the making)", (ROOT / "CHANGELOG.md").read_text(), re.M)
        self.assertIn(VERSION, newest.groups())


class Commit(unittest.TestCase):
    """The build's script, on a tree of its own"""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = pathlib.Path(folder.name)
        self.header = self.top / "commit.h"

    def suffix(self, source):
        subprocess.run(["cmake", f"-DSOURCE={source}", f"-DOUT={self.header}", "-P", ROOT / "cmd/commit.cmake"], check=True)
        return re.fullmatch(r'#define HEIMDALL_COMMIT_SUFFIX "(.*)"\n', self.header.read_text())[1]

    def git(self, *arguments):
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", self.top, *arguments], check=True,
                       capture_output=True)

    def test_without_git(self):
        self.assertEqual(self.suffix(self.top), "")
        (self.top / ".git").write_text("gitdir: /nowhere\n")
        self.assertEqual(self.suffix(self.top), "")

    @unittest.skipUnless(shutil.which("git"), "git is not installed")
    def test_checkout(self):
        (self.top / "release").mkdir()
        self.git("init", "-q")
        self.git("commit", "-q", "--allow-empty", "-m", "first")
        self.assertRegex(self.suffix(self.top), r"^ \(commit [0-9a-f]{12}\)$")
        self.assertEqual(self.suffix(self.top / "release"), "", "the commit of a repository around the source")

    @unittest.skipUnless(shutil.which("git"), "git is not installed")
    def test_unchanged(self):
        """The same commit leaves the file alone, so that nothing is rebuilt."""
        self.git("init", "-q")
        self.git("commit", "-q", "--allow-empty", "-m", "first")
        self.suffix(self.top)
        before = self.header.stat().st_mtime_ns
        self.suffix(self.top)
        self.assertEqual(self.header.stat().st_mtime_ns, before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
