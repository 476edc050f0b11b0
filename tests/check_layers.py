#!/usr/bin/env python3
"""Fails when a file includes a header that its layer may not see (docs/architecture.md, "Layers"), or has what only Linux has
outside a *_linux.c."""
import pathlib
import re
import sys

# layer -> layers whose headers it may include, besides its own
MAY_INCLUDE = {
    "base": [],
    "wg/crypto": ["base"],
    "wg": ["base", "wg/crypto"],
    "wg/uapi": ["base", "wg"],
    "tun": ["base"],
    "wg/path": ["base", "wg", "tun"],
    "proto": ["base"],
    "dns": ["base"],
    "control/state": ["base", "proto", "wg", "dns"],
    "control/election": ["base"],
    "control/rpc": ["base", "proto"],
    "control/config": ["base", "dns", "control/state"],
    "control/host": ["base", "tun", "wg", "wg/path", "wg/uapi", "control/state"],
    "control/cluster": ["base", "control/state", "control/election", "control/host", "control/rpc"],
    "control/api": ["base", "proto", "wg/path", "control/state", "control/rpc", "control/cluster"],
    "control/daemon": ["base", "dns", "proto", "tun", "wg", "wg/path", "wg/uapi", "control/state", "control/election",
                       "control/rpc", "control/config", "control/host", "control/cluster", "control/api"],
    "cmd": ["base", "wg", "wg/path", "wg/uapi", "tun", "proto", "dns", "control/config", "control/daemon", "control/rpc",
            "control/host", "control/state"],
}

# library header -> the only places that may include it
LIBRARIES = {
    r"sodium(\.h|/)": ["wg/crypto", "tests", "bench"],
    r"blake2\.h": ["wg/crypto"],
    r"hiredis/": ["control/cluster/store_redis", "control/cluster/redis_"],
    r"nghttp2/": ["proto"],
    r"cap-ng\.h": ["control/host/confine"],
    r"seccomp\.h": ["control/host/confine_calls"],
    r"openssl/": ["control/rpc/transport", "dns/tls_relay", "bench"],
    r"uv\.h": ["control/rpc", "control/host", "control/cluster", "control/api", "control/daemon", "dns/server", "dns/upstream", "dns/tls_relay", "wg/uapi/uapi_socket", "cmd", "tests"],
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


def linux_faults(rel, layer, number, line, text):
    """Whether this line belongs into a *_linux.c."""
    if layer not in LINUX_LAYERS or rel.stem.endswith("_linux"):
        return
    header = re.match(rf"\s*#\s*include\s+<(({LINUX_HEADERS})[^>]*)>", line)
    name = re.search(LINUX_NAMES, re.sub(r"/\*.*", "", line))
    if header:
        yield f"{rel}:{number}: <{header.group(1)}> is for *_linux.c only"
    if name and f"#ifdef {name.group()}\n" not in text:
        yield f"{rel}:{number}: {name.group()} is for *_linux.c only"


def layer_of(path):
    """The longest layer name that is a folder of `path`."""
    folder = str(path.parent).replace("\\", "/")
    while folder not in MAY_INCLUDE and "/" in folder:
        folder = folder.rsplit("/", 1)[0]
    return folder if folder in MAY_INCLUDE else None


def faults(root):
    for path in sorted(root.rglob("*.[ch]")):
        rel = path.relative_to(root)
        if rel.parts[0] in ("build", "fuzz"):
            continue
        layer = layer_of(rel)
        text = path.read_text()
        for number, line in enumerate(text.splitlines(), 1):
            yield from linux_faults(rel, layer, number, line, text)
            own = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if own and layer:
                target = layer_of(pathlib.PurePath(own.group(1)))
                if target is None:
                    yield f'{rel}:{number}: "{own.group(1)}" is not a path from the root of the tree'
                elif target != layer and target not in MAY_INCLUDE[layer]:
                    yield f"{rel}:{number}: {layer} may not include {target}"
            library = re.match(r"\s*#\s*include\s+<([^>]+)>", line)
            for pattern, allowed in LIBRARIES.items():
                if library and re.match(pattern, library.group(1)):
                    if not any(str(rel).startswith(place) for place in allowed):
                        yield f"{rel}:{number}: <{library.group(1)}> is only for {', '.join(allowed)}"


def self_test():
    """The check itself must be able to fail."""
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "base").mkdir()
        (root / "base/a.c").write_text('#include "wg/wg.h"\n#include <uv.h>\n#include "a.h"\n')
        (root / "base/b.c").write_text("#include <sys/epoll.h>\n    int fd = accept4(1, 0, 0, 0); /* prctl */\n")
        (root / "base/b_linux.c").write_text("#include <sys/epoll.h>\n    int fd = accept4(1, 0, 0, 0);\n")
        assert len(list(faults(root))) == 5, "check_layers does not find planted faults"


self_test()
found = list(faults(pathlib.Path(sys.argv[1])))
print("\n".join(found) or "layers: every include is allowed")
sys.exit(1 if found else 0)
