"""Builds the Dockerfile's image without Docker and without a registry: a base by debootstrap, then the steps of the last stage as
the Dockerfile has them. Built once per machine and per wording of those steps, in a folder under netns.TOOLS. Files of the build
stage are installed from the build folder each time.
"""
import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

from lab.netns import CHECKOUT, TOOLS

DOCKERFILE = CHECKOUT / "Dockerfile"
BASES = {"debian:12-slim": "bookworm"}

# Docker's base has this policy too: installing a package starts no server.
POLICY = "#!/bin/sh\nexit 101\n"


class Dockerfile:
    """The last stage, as (instruction, arguments) pairs."""

    def __init__(self, path=DOCKERFILE):
        text = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.M))
        steps = [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]
        last = max(number for number, (name, _) in enumerate(steps) if name == "FROM")
        self.build, (_, self.base), self.steps = steps[:last], steps[last], steps[last + 1:]

    def arguments(self, name):
        return [rest for step, rest in self.steps if step == name]

    def packages(self):
        """The packages that the last stage installs."""
        found = []
        for script in self.arguments("RUN"):
            for command in script.split("&&"):
                words = shlex.split(command)
                if words[:2] == ["apt-get", "install"]:
                    found += [word for word in words[2:] if not word.startswith("-")]
        return found

    def health_check(self):
        [check] = self.arguments("HEALTHCHECK")
        return check.split("CMD", 1)[1].strip()


def run(argv, **options):
    done = subprocess.run([str(arg) for arg in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(map(str, argv))}: exit {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def run_in(root, script, before="", after=""):
    """Runs a RUN line, and the steps outside before and after it. Mounts last no longer than that."""
    whole = f"""
        mount --make-rprivate /
        {before}
        cp /etc/resolv.conf "$1/etc/resolv.conf"
        mount -t proc proc "$1/proc"
        chroot "$1" sh -c "$2"
        umount "$1/proc"
        {after}
    """
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-ec", whole, "run", root, script], env=env)


def make_base(dockerfile, root):
    run(["debootstrap", "--variant=minbase", BASES[dockerfile.base], root])
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text(POLICY)
    policy.chmod(0o755)
    for script in dockerfile.arguments("RUN"):
        run_in(root, script)


def make_layer(base, packages, layer):
    """Files that packages change in the base. Made in memory, because not every file system can be the upper layer of an overlay."""
    with tempfile.TemporaryDirectory(prefix="heimdall-image-") as memory:
        run_in(f"{memory}/root",
               f"apt-get update -q && apt-get install -y -q --no-install-recommends {shlex.join(packages)}"
               " && rm -rf /run/* /var/lib/apt/lists/* /var/cache/apt/*",
               before=f"mount -t tmpfs tmpfs {memory}; mkdir {memory}/upper {memory}/work {memory}/root; "
                      f"mount -t overlay -o lowerdir={base},upperdir={memory}/upper,workdir={memory}/work overlay {memory}/root",
               after=f"cp -a {memory}/upper {layer}")


def kept(wording, make):
    """The folder that make(folder) fills, once per machine and per wording of its recipe."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    folder = TOOLS / f"image-{hashlib.sha256(wording.encode()).hexdigest()[:12]}"
    with (TOOLS / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            print(f"image: making {folder} (takes minutes)", file=sys.stderr)
            new = folder.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            make(new)
            new.rename(folder)
    return folder


def base_root(dockerfile):
    """The folder with everything of the image except the project's files."""
    wording = "\n".join([dockerfile.base, *dockerfile.arguments("RUN")])
    return kept(wording, lambda root: make_base(dockerfile, root))


def layer_of(base, *packages):
    """The folder that lies above the base where more packages are installed."""
    return kept(f"{base.name} {packages}", lambda layer: make_layer(base, packages, layer))


@contextlib.contextmanager
def own_layer(bin_dir):
    """The files that `COPY --from=build /image /` copies, and the sanitizers' libraries, which no package of the image has."""
    build = pathlib.Path(bin_dir).resolve().parent
    with tempfile.TemporaryDirectory(prefix="image-", dir=build) as folder:
        layer = pathlib.Path(folder)
        layer.chmod(0o755)
        run(["cmake", "--install", build, "--prefix", "/usr"], env={**os.environ, "DESTDIR": folder})
        for name, path in re.findall(r"(lib(?:a|t|ub)san\S+) => (\S+)", run(["ldd", build / "bin/heimdall"])):
            (layer / "usr/lib").mkdir(exist_ok=True)
            shutil.copy(path, layer / "usr/lib" / name)
        yield layer


@contextlib.contextmanager
def package(bin_dir):
    """The Debian package of the folder that was built."""
    build = pathlib.Path(bin_dir).resolve().parent
    with tempfile.TemporaryDirectory(prefix="package-", dir=build) as folder:
        run(["cpack", "-G", "DEB", "-B", folder], cwd=build)
        [made] = pathlib.Path(folder).glob("heimdall_*.deb")
        yield made
