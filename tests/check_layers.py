#!/usr/bin/env python3
"""Holds the tree to docs/architecture.md, "Layers". Fails on
- an include of a header that the including file may not see (MAY_INCLUDE),
- a library's header outside the files that may use it (LIBRARIES),
- what only Linux has outside a *_linux.c,
- files in a circle: x.c includes y.h, y.c includes z.h, z.c includes x.h; or headers that include one another in one. What a header
  includes for its types is no step of the first kind: a private header x_parts.h may include x.h, and x.c both. Calls that go in a
  circle are found by check_calls.py,
- anything in control/ but its rooms.

Usage: check_layers.py ROOT"""
import fnmatch
import pathlib
import re
import sys
import tempfile

# Files whose path begins so -> folders and headers that they may include besides their own folder. The longest beginning counts.
MAY_INCLUDE = {
    "base": [],
    "wg/crypto": ["base"],
    "wg": ["base", "wg/crypto"],
    "wg/uapi": ["base", "wg"],
    "tun": ["base"],
    "wg/path": ["base", "wg", "tun"],
    "proto": ["base"],
    "proto/descriptors": ["base", "proto/google/protobuf/*.pb-c.h"],
    "dns": ["base"],
    "control/state": ["base", "proto/*.pb-c.h", "proto/grpc.h", "wg/wg.h", "wg/psk.h", "dns/zone.h"],
    "control/election": ["base"],
    "control/rpc": ["base", "proto"],
    "control/config": ["base", "dns/upstream.h", "control/state/access.h"],
    "control/host": ["base", "tun", "wg/crypto/x25519.h", "wg/path", "wg/uapi", "control/state"],
    "control/cluster": ["base", "control/state", "control/election", "control/host/helper.h", "control/host/datadir.h", "control/host/socket_watch.h",
                        "control/rpc/client.h"],
    "control/api": ["base", "proto", "wg/path", "control/state", "control/rpc", "control/cluster"],
    "control/daemon": ["base", "proto", "dns", "tun", "wg/path", "control/state", "control/election", "control/rpc",
                       "control/config", "control/host", "control/cluster", "control/api"],
    "cmd": ["base"],
    "cmd/heimdall": ["base", "control/config", "control/daemon"],
    "cmd/hpeer": ["base", "control/config", "control/daemon"],
    "cmd/report": ["base", "control/config"],
    "cmd/hctl": ["base", "proto", "control/config", "control/rpc", "control/state/access.h", "control/state/record.h",
                 "control/host/identity.h", "wg/path/tap.h"],
    "cmd/heimdall_wg": ["base", "tun", "wg", "wg/path", "wg/uapi"],
}

ROOMS = ("state", "election", "rpc", "config", "host", "cluster", "api", "daemon")

# library header -> the only places that may include it
LIBRARIES = {
    r"sodium(\.h|/)": ["wg/crypto", "tests", "bench"],
    r"blake2\.h": ["wg/crypto"],
    r"hiredis/": ["control/cluster/store_redis", "control/cluster/redis_"],
    r"nghttp2/": ["proto"],
    r"cap-ng\.h": ["control/host/confine"],
    r"seccomp\.h": ["control/host/confine_calls"],
    r"openssl/": ["control/rpc/transport", "dns/tls_relay", "bench"],
    r"uv\.h": ["control/rpc", "control/host", "control/cluster", "control/api", "control/daemon", "dns/server", "dns/exchange", "dns/upstream",
               "dns/tls_relay", "wg/uapi/uapi_socket", "cmd", "tests"],
    r"microhttpd\.h": ["control/daemon/metrics_server"],
    r"cjson/": ["control/host/nft", "cmd", "tests"],
    r"urcu": ["wg/path"],
    r"libmnl/": ["tun"],
    r"unbound\.h": ["dns/upstream"],
}

# What only Linux has, in the layers that other systems are to run: for files called *_linux.c. A file that has another way for
# them may ask for the name first, as base/clock.c does.
LINUX_LAYERS = ("base", "wg", "wg/crypto", "wg/uapi", "wg/path", "tun")
LINUX_HEADERS = r"linux/|sys/(epoll|eventfd|timerfd|signalfd|inotify|prctl|syscall|sysinfo)\.h|libmnl/|sched\.h"
LINUX_NAMES = (r"\b(accept4|pipe2|prctl|ppoll|sendmmsg|recvmmsg|explicit_bzero|getrandom|memfd_create|setns|unshare|gettid|"
               r"pthread_setname_np|pthread_setaffinity_np|SOCK_CLOEXEC|SOCK_NONBLOCK|MSG_CMSG_CLOEXEC|SO_MARK|SO_PEERCRED|"
               r"UDP_SEGMENT|UDP_GRO|CLOCK_BOOTTIME|IFF_TUN|TUNSETIFF)\b|/proc/|/sys/")


def row_of(path):
    """The key of MAY_INCLUDE for a file, None for one outside the layers."""
    keys = [key for key in MAY_INCLUDE if re.match(rf"{re.escape(key)}[/._]", str(path))]
    return max(keys, key=len, default=None)


def linux_faults(rel, number, line, text):
    """Whether this line belongs into a *_linux.c."""
    if str(rel.parent) not in LINUX_LAYERS or rel.stem.endswith("_linux"):
        return
    header = re.match(rf"\s*#\s*include\s+<(({LINUX_HEADERS})[^>]*)>", line)
    name = re.search(LINUX_NAMES, re.sub(r"/\*.*", "", line))
    if header:
        yield f"{rel}:{number}: <{header.group(1)}> is for *_linux.c only"
    if name and f"#ifdef {name.group()}\n" not in text:
        yield f"{rel}:{number}: {name.group()} is for *_linux.c only"


def include_faults(rel, number, header):
    """Whether the file may include this header of the project."""
    row, folder = row_of(rel), str(pathlib.PurePath(header).parent)
    if row is None:
        return
    allowed = folder == str(rel.parent) or any(folder == entry or fnmatch.fnmatch(header, entry) for entry in MAY_INCLUDE[row])
    if folder not in MAY_INCLUDE and not allowed:
        yield f'{rel}:{number}: "{header}" is not a path from the root of the tree'
    elif not allowed:
        yield f"{rel}:{number}: {row} may not include {header}"


def library_faults(rel, number, header):
    for pattern, allowed in LIBRARIES.items():
        if re.match(pattern, header) and not any(str(rel).startswith(place) for place in allowed):
            yield f"{rel}:{number}: <{header}> is only for {', '.join(allowed)}"


def circles(edges):
    """A shortest circle through each file that is in one: files -> their order. `edges`: file -> those that it includes."""
    found = {}
    for start in sorted(edges):
        came_from, queue = {}, [start]
        while queue and start not in came_from:
            node = queue.pop(0)
            for target in sorted(edges.get(node, ())):
                if target != node and target not in came_from:
                    came_from[target] = node
                    queue.append(target)
        if start in came_from:
            circle = [start]
            while (node := came_from[circle[-1]]) != start:
                circle.append(node)
            found.setdefault(frozenset(circle), circle[::-1])
    return found


def room_faults(root):
    folder = root / "control"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name not in (*ROOMS, "CMakeLists.txt"):
            yield f"control/{path.name}: control/ holds its rooms and a CMakeLists.txt alone"


def faults(root):
    sources, headers = {}, {}  # what each includes
    for path in sorted(root.rglob("*.[ch]")):
        rel = path.relative_to(root)
        if rel.parts[0] == "build":
            continue
        edges, text = (sources if rel.suffix == ".c" else headers), path.read_text()
        for number, line in enumerate(text.splitlines(), 1):
            yield from linux_faults(rel, number, line, text)
            if own := re.match(r'\s*#\s*include\s+"([^"]+)"', line):
                yield from include_faults(rel, number, own[1])
                edges.setdefault(str(rel.with_suffix("")), set()).add(str(pathlib.PurePath(own[1]).with_suffix("")))
            elif (library := re.match(r"\s*#\s*include\s+<([^>]+)>", line)) and rel.parts[0] != "fuzz":
                yield from library_faults(rel, number, library[1])
    found = circles(sources) | circles(headers)
    for order in found.values():
        yield f"{' -> '.join([order[-1], *order])}: a circle of includes"
    yield from room_faults(root)


def self_test():
    """The check itself must be able to fail: planted files, and how many faults each set has."""
    planted = (
        (1, {"base/a.c": '#include "wg/wg.h"\n'}),
        (1, {"base/a.c": "#include <uv.h>\n"}),
        (1, {"base/a.c": '#include "a.h"\n'}),
        (2, {"base/a.c": "#include <sys/epoll.h>\n    int fd = accept4(1, 0, 0, 0); /* prctl */\n"}),
        (0, {"base/a_linux.c": "#include <sys/epoll.h>\n    int fd = accept4(1, 0, 0, 0);\n"}),
        (0, {"control/state/a.c": '#include "wg/wg.h"\n#include "proto/heimdall.pb-c.h"\n#include "control/state/b.h"\n'}),
        (3, {"control/state/a.c": '#include "wg/device.h"\n#include "proto/h2_server.h"\n#include "control/rpc/b.h"\n'}),
        (1, {"cmd/heimdall_wg.c": '#include "control/config/config.h"\n'}),
        (0, {"cmd/heimdall.c": '#include "control/config/config.h"\n'}),
        (0, {"tests/x.c": '#include "x.h"\n', "tests/x.h": "", "wg/a.c": '#include "wg/a.h"\n#include "wg/b.h"\n', "wg/b.h": ""}),
        (0, {"wg/a.c": '#include "wg/a.h"\n#include "wg/a_parts.h"\n', "wg/a_parts.h": '#include "wg/a.h"\n'}),
        (1, {"wg/a.c": '#include "wg/b.h"\n', "wg/b.c": '#include "wg/a.h"\n'}),
        (1, {"tests/wg/a.c": '#include "tests/wg/b.h"\n', "tests/wg/b.c": '#include "tests/wg/c.h"\n',
             "tests/wg/c.c": '#include "tests/wg/a.h"\n'}),
        (1, {"wg/a.h": '#include "wg/b.h"\n', "wg/b.h": '#include "wg/a.h"\n'}),
        (1, {"control/a.c": ""}),
        (1, {"control/other/a.h": ""}),
        (0, {"control/CMakeLists.txt": "", "control/rpc/a.c": ""}),
    )
    for wanted, files in planted:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = pathlib.Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            found = list(faults(pathlib.Path(folder)))
            assert len(found) == wanted, f"{files}: expected {wanted} faults, found {found}"


self_test()
found = list(faults(pathlib.Path(sys.argv[1])))
print("\n".join(found) or "layers: every include is allowed, and none goes in a circle")
sys.exit(1 if found else 0)
