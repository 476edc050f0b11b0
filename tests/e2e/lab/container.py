"""Containers as Docker runs them, made of namespaces in a lab's host: the host stands for the container's network."""
import os
import pathlib
import signal

from lab.netns import PATIENCE, Host

# Capabilities that Docker grants by default. The README's `docker run` adds to them.
DOCKER = ("chown,dac_override,fsetid,fowner,mknod,net_raw,setgid,setuid,setfcap,setpcap,net_bind_service,sys_chroot,kill,"
          "audit_write,net_admin").split(",")
LEAST = ["net_admin", "net_bind_service"]
MANAGER = [*DOCKER, "sys_admin", "sys_resource", "dac_read_search", "sys_ptrace"]

ENV = ["env", "-i", "HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]

# Settings of Docker's own network: no IPv6, forwarding on, `ping` without a capability.
SYSCTLS = """sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 net.ipv4.ip_forward=1 \
    net.ipv4.ping_group_range="0 2147483647" """

# Read-only layers below a writable one, which lives as long as the host: a container keeps its own between `stop` and `start`.
CREATE = """
mkdir -p /run/image
mount -t tmpfs tmpfs /run/image
mkdir /run/image/upper /run/image/work /run/image/root
mount -t overlay -o "lowerdir=$1,upperdir=/run/image/upper,workdir=/run/image/work" overlay /run/image/root
for file in $2; do touch /run/image/root/etc/$file; done
"""

# Runs as process 1 of the container: mounts that every container has, files of /etc from its runtime, then mounts of its kind.
START = """
root=/run/image/root
mount --make-rprivate /
mount -t proc proc $root/proc
mount -t sysfs -o ro sysfs $root/sys
mount -t tmpfs -o mode=755 tmpfs $root/dev
mkdir -p $root/dev/net $root/dev/pts $root/dev/shm
for device in null zero full random urandom tty net/tun; do
    touch $root/dev/$device
    mount --bind /dev/$device $root/dev/$device
done
ln -s /proc/self/fd $root/dev/fd
ln -s /proc/self/fd/0 $root/dev/stdin
ln -s /proc/self/fd/1 $root/dev/stdout
ln -s /proc/self/fd/2 $root/dev/stderr
for file in $1; do mount --bind /etc/$file $root/etc/$file; done
eval "$2"
cd $root
pivot_root . mnt
umount -l mnt
shift 2
echo the container starts
exec "$@"
"""

# The Dockerfile's volumes, and the files of /proc that Docker masks.
IMAGE = """
for volume in /var/lib/heimdall /var/lib/heimdall-peer; do
    mkdir -p $root$volume
    mount --bind $volume $root$volume
done
for path in bus fs irq sys sysrq-trigger; do
    [ -e $root/proc/$path ] || continue
    mount --bind $root/proc/$path $root/proc/$path
    mount -o remount,bind,ro $root/proc/$path
done
for path in kcore keys timer_list; do
    [ ! -e $root/proc/$path ] || mount --bind /dev/null $root/proc/$path
done
"""

# Mounts that systemd needs as process 1, and its command line.
MACHINE = """
mount -t tmpfs -o mode=755 tmpfs $root/run
mount -t tmpfs tmpfs $root/tmp
mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
"""
SYSTEMD = ["env", "container=docker", "/lib/systemd/systemd", "--log-target=console"]


class Container(Host):
    """`run`, `sh` and `start` are `docker exec`."""

    def __init__(self, outer, layers, caps=DOCKER, files=("resolv.conf", "hosts"), mounts=IMAGE):
        """`layers`: folders of the image, the uppermost first. `files`: what is bound over those of its /etc."""
        self.lab, self.name, self.outer, self.count = outer.lab, outer.name, outer, 0
        self.caps, self.files, self.mounts = caps, files, mounts
        self.dir = outer.dir / "container"
        self.dir.mkdir()
        outer.run(["bash", "-ec", CREATE, "create", ":".join(map(str, layers)), " ".join(files)])

    def rights(self):
        return ["setpriv", f"--bounding-set=-all,{','.join(f'+{cap}' for cap in self.caps)}", "--inh-caps=-all", *ENV]

    def main(self, *argv):
        """`docker run` or `docker start`: the program is process 1."""
        self.process = self.outer.start(["unshare", "--mount", "--pid", "--ipc", "--cgroup", "--fork", "--kill-child", "bash", "-ec",
                                         START, "start", " ".join(self.files), self.mounts, *self.rights(), *argv])
        self.process.argv = list(argv)  # the lab searches these logs for secrets
        self.process.wait_for("the container starts")
        return self.process

    @property
    def pid(self):
        """The PID of the container's process 1 in the outer namespace."""
        [unshare] = self.process.pids()
        [pid] = pathlib.Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()
        return int(pid)

    def argv(self, argv, least_privilege=False):
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-u", "-p", "-i", *self.rights(), *map(str, argv)]

    @staticmethod
    def file(path):
        """The path of a container's file on the outer host. Works for a stopped container too."""
        return f"/run/image/root{path}"

    def dpkg(self, *argv):
        """Works for a stopped container too."""
        return self.outer.run(["chroot", self.file("/"), "dpkg", *argv])

    def install(self, package):
        self.outer.sh(f"cp {package} {self.file('/new.deb')}")
        self.dpkg("--install", "/new.deb")
        self.outer.sh(f"rm {self.file('/new.deb')}")

    def option(self, program, text):
        """A line of a program's configuration file."""
        file = self.file(f"/etc/heimdall/{program}.conf")
        self.outer.sh(f"mkdir -p $(dirname {file}); (umask 077; echo '{text}' >>{file})")

    def stop(self, number=signal.SIGTERM):
        """`docker stop` or `docker kill`: returns the exit status."""
        os.kill(self.pid, number)
        return self.process.popen.wait(15 * PATIENCE)
