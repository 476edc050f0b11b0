"""./dev without root: it works when nothing is missing, and else says what it would install."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).parents[2]

# Knows every package but those in $MISSING.
DPKG_QUERY = """#!/bin/sh
for last; do :; done
case " $MISSING " in *" $last "*) exit 1 ;; esac
echo installed
"""


class Dev(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        shutil.copy(ROOT / "dev", self.dir)
        for name, text in (("dpkg-query", DPKG_QUERY), ("cmake", '#!/bin/sh\necho "cmake $*"\n'),
                           ("ctest", '#!/bin/sh\necho "ctest $*"\n'), ("apt-get", "#!/bin/sh\necho installs >&2; exit 1\n")):
            (self.dir / "bin").mkdir(exist_ok=True)
            (self.dir / "bin" / name).write_text(text)
            (self.dir / "bin" / name).chmod(0o755)
        (self.dir / "build").mkdir()
        for path in (self.dir, self.dir / "bin", self.dir / "build"):
            path.chmod(0o777)

    def dev(self, *argv, missing=""):
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
        return subprocess.run([*as_nobody, self.dir / "dev", *argv], capture_output=True, text=True, timeout=30,
                              env={"PATH": f"{self.dir}/bin:{os.environ['PATH']}", "MISSING": missing})

    def test_nothing_missing(self):
        for argv, wanted in ((["build"], "cmake --build build/release"), (["test", "unit"], "ctest --test-dir build/release")):
            done = self.dev(*argv)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn(wanted, done.stdout)

    def test_missing(self):
        done = self.dev("build", missing="libuv1-dev check")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("would install: libuv1-dev check\n", done.stderr)
        self.assertIn("sudo apt-get install --no-install-recommends libuv1-dev check\n", done.stderr)

    def test_unit_tests_need_less(self):
        self.assertEqual(self.dev("test", "unit", missing="redis-server debootstrap").returncode, 0)
        done = self.dev("test", missing="redis-server debootstrap")
        self.assertEqual(done.returncode, 1)
        self.assertIn("would install: redis-server debootstrap\n", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
