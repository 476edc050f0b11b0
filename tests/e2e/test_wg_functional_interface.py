"""heimdall-wg while its interface changes, also out of its reach: links, addresses, network and user namespaces."""
import os
import threading
import time

from lab.wgtest import DATA, PORT, WG, End, InLab, main, wait_until, within

PYTHON = "/usr/bin/python3"  # one that every user may run


class Interface(InLab):
    def test_moved_to_another_namespace(self):
        """The sockets stay in their namespace; the program follows the link."""
        pair = self.pair()
        pair.a.ping(pair.b.inner4)
        inside = self.lab.host("inside")
        pair.a.host.sh("ip link set wg0 down")
        within(pair.a.host, lambda: os.system(f"ip link set wg0 netns {inside.pid}"))
        inside.sh(f"ip addr add {pair.a.inner4}/24 dev wg0; ip link set wg0 up")
        inside.run(["ping", "-c2", "-i0.2", "-W5", pair.b.inner4])
        pair.b.ping(pair.a.inner4)
        self.assertEqual(pair.a.show("listen-port"), str(PORT))
        inside.sh("ip link set wg0 mtu 1333")
        sender, tap = self.udp(inside, pair.a.inner4), self.tap(pair.a.host)

        def sent():
            tap.clear()
            sender.sendto(bytes(1333 - 28), (pair.b.inner4, 7000))
            return [len(p.payload) for p in tap.wireguard("192.0.2.1", DATA, least=1)]
        wait_until(lambda: sent() == [1333 + 32], 5, "the MTU is not followed")
        pair.a.set_link("down", inside)
        tap.clear()
        pair.b.host.run(["ping", "-c2", "-i0.2", "-W1", pair.a.inner4], check=False)
        self.assertEqual(tap.wireguard("192.0.2.1"), [])
        pair.a.set_link("up", inside)
        inside.run(["ping", "-c1", "-W5", pair.b.inner4])
        inside.sh("ip link del wg0")
        wait_until(lambda: not pair.a.process.alive(), 5, "still running without its interface")

    def test_inner_address_changed(self):
        pair = self.pair()
        pair.a.ping(pair.b.inner4)
        pair.a.host.sh("ip addr del 10.9.0.1/24 dev wg0; ip addr add 10.9.0.61/24 dev wg0")
        pair.b.set("peer", pair.a.public, "allowed-ips", "10.9.0.61/32")
        pair.a.ping(pair.b.inner4)
        pair.b.ping("10.9.0.61")

    def test_cable_out_and_in(self):
        pair = self.pair()
        pair.a.ping(pair.b.inner4)
        pair.a.host.sh("ip link set eth0 down; sleep 0.5; ip link set eth0 up; "
                       "ip addr add 2001:db8::1/64 dev eth0 nodad 2>/dev/null || true")
        wait_until(lambda: pair.a.host.run(["ping", "-c1", "-W1", pair.b.inner4], check=False).returncode == 0, 5, "no")
        self.assertTrue(pair.a.process.alive())

    def test_flapping_link(self):
        """Ups and downs in quick succession, with traffic wanted all the time."""
        pair = self.pair()
        stop = threading.Event()
        thread = threading.Thread(target=lambda: [pair.b.host.run(["ping", "-c3", "-i0.1", "-W1", pair.a.inner4], check=False)
                                                  for _ in iter(stop.is_set, True)])
        thread.start()
        pair.a.host.sh("for i in $(seq 100); do ip link set wg0 down; ip link set wg0 up; done")
        stop.set()
        thread.join()
        pair.a.ping(pair.b.inner4)
        self.assertTrue(pair.a.process.alive())


# Opens a TUN called wg0 and a listening UAPI socket where it runs, then becomes the program of its arguments.
HAND_IN = """
import fcntl, os, socket, struct, sys
tun = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH22x', b'wg0', 0x1001))
uapi = socket.socket(socket.AF_UNIX)
uapi.bind('/run/wireguard/wg0.sock')
os.chmod('/run/wireguard/wg0.sock', 0o666)
uapi.listen()
for fd in tun, uapi.fileno(): os.set_inheritable(fd, True)
os.environ.update(WG_TUN_FD=str(tun), WG_UAPI_FD=str(uapi.fileno()), WG_PROCESS_FOREGROUND='1')
os.execvp(sys.argv[1], sys.argv[1:])
"""

# In a user and a network namespace of its own: creates the TUN there and sends it to the process outside; stays.
INNER = """
import array, fcntl, os, socket, struct, subprocess, sys
tun = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH22x', b'wg0', 0x1001))
way = socket.socket(fileno=int(sys.argv[1]))
way.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [tun]))])
os.close(tun)
way.recv(1)
subprocess.run('ip link set lo up; ip addr add 10.9.0.1/24 dev wg0; ip link set wg0 mtu 1420 up', shell=True, check=True)
way.send(b'y')
way.recv(1)
sys.exit(subprocess.run('ping -c3 -i0.2 -W5 10.9.0.2', shell=True).returncode)
"""

# Outside, without rights: receives the TUN and becomes heimdall-wg.
OUTER = """
import array, os, socket, subprocess, sys
ours, theirs = socket.socketpair()
theirs.set_inheritable(True)
inner = subprocess.Popen(['unshare', '--user', '--map-root-user', '--net', sys.executable, '-c', sys.argv[1],
                          str(theirs.fileno())], pass_fds=[theirs.fileno()])
_, ancillary, _, _ = ours.recvmsg(1, 100)
tun = array.array('i', ancillary[0][2])[0]
os.set_inheritable(tun, True)
uapi = socket.socket(socket.AF_UNIX)
uapi.bind('/run/wireguard/wg0.sock')
uapi.listen()
device = subprocess.Popen(['/tmp/heimdall-wg', 'wg0'], pass_fds=[tun, uapi.fileno()], env={
    **os.environ, 'WG_TUN_FD': str(tun), 'WG_UAPI_FD': str(uapi.fileno()), 'WG_PROCESS_FOREGROUND': '1'})
uapi.close(); os.close(tun)
print('configure now', flush=True)
sys.stdin.readline()
"""


class UserNamespace(InLab):
    def serve(self):
        a, b = self.lab.host("a"), self.lab.host("b")
        self.lab.link(a, "192.0.2.1/24", b, "192.0.2.2/24")
        b = End(b, 2, WG)
        private = a.sh("wg genkey").strip()
        b.set("listen-port", PORT, "private-key", "key:" + b.private, "peer",
              a.run(["wg", "pubkey"], input=private).stdout.strip(), "allowed-ips", "10.9.0.1/32")
        b.up()
        a.run(["tee", "/tmp/key"], input=private)
        return a, b, (f"wg set wg0 private-key /tmp/key peer {b.public} allowed-ips 10.9.0.2/32 endpoint 192.0.2.2:{PORT}")

    def test_root_of_a_user_namespace(self):
        """TUN and UAPI socket made before; the program is root of a namespace that owns nothing here."""
        a, b, configure = self.serve()
        process = a.start([PYTHON, "-c", HAND_IN, "unshare", "--user", "--map-root-user", WG, "wg0"])
        wait_until(lambda: "wg0" in a.sh("wg show interfaces; ls /run/wireguard"), 10, "no device")
        a.sh(configure + "; ip addr add 10.9.0.1/24 dev wg0; ip link set wg0 mtu 1420 up")
        a.run(["ping", "-c3", "-i0.2", "-W5", "10.9.0.2"])
        b.ping("10.9.0.1")
        done = a.run(["wg", "set", "wg0", "fwmark", "7"], check=False)
        self.assertIn("Operation not permitted", done.stderr)
        a.run(["ping", "-c1", "-W5", "10.9.0.2"])
        a.sh("ip link set wg0 down")
        process.stop()

    def test_interface_in_a_user_namespace_and_program_outside(self):
        """A user's own network namespace, whose only route out is our TUN; no process in it has rights outside."""
        a, b, configure = self.serve()
        # A program and a device node that nobody may use, wherever the build folder is and whatever the machine's node is.
        a.sh("chmod 777 /run/wireguard; install -m 755 $(command -v heimdall-wg) /tmp/heimdall-wg; "
             "mknod -m 666 /tmp/tun c 10 200; chmod 666 /tmp/tun; mount --bind /tmp/tun /dev/net/tun")
        script = f"""
import os, socket, subprocess, sys
exec(compile({OUTER!r}.replace("sys.stdin.readline()", ""), "outer", "exec"))
import time
deadline = time.monotonic() + 20
while not os.path.exists("/tmp/configured"):
    assert time.monotonic() < deadline
    time.sleep(0.02)
ours.send(b"a"); ours.recv(1); ours.send(b"b")
code = inner.wait(20)
device.terminate(); device.wait(10)
print("inner ended with", code, flush=True)
sys.exit(code)
"""
        process = a.start(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all",
                           "--inh-caps=-all", PYTHON, "-c", script, INNER])
        process.wait_for("configure now")
        wait_until(lambda: a.run(["wg", "show", "wg0"], check=False).returncode == 0, 10, "no device")
        a.sh(configure + "; touch /tmp/configured")
        process.popen.wait(30)
        self.assertIn("inner ended with 0", process.output())


if __name__ == "__main__":
    main()
