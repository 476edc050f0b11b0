#!/usr/bin/env python3
"""Fails when a file includes a header that its layer may not see (docs/architecture.md, "Layers")."""
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
    "control": ["base", "wg", "wg/path", "wg/uapi", "tun", "proto", "dns"],
    "cmd": ["base", "wg", "wg/path", "wg/uapi", "tun", "proto", "dns", "control"],
}

# library header -> the only places that may include it
LIBRARIES = {
    r"sodium(\.h|/)": ["wg/crypto", "tests", "bench"],
    r"blake2\.h": ["wg/crypto"],
    r"hiredis/": ["control/store_redis", "control/redis_"],
    r"nghttp2/": ["proto"],
    r"cap-ng\.h": ["control/confine"],
    r"seccomp\.h": ["control/confine_calls"],
    r"openssl/": ["control/transport", "bench"],
    r"uv\.h": ["control", "dns/server", "dns/upstream", "wg/uapi/uapi_socket", "cmd", "tests"],
    r"microhttpd\.h": ["control/metrics_server"],
    r"urcu": ["wg/path"],
    r"libmnl/": ["tun"],
    r"unbound\.h": ["dns/upstream"],
}


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
        for number, line in enumerate(path.read_text().splitlines(), 1):
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
        assert len(list(faults(root))) == 3, "check_layers does not find planted faults"


self_test()
found = list(faults(pathlib.Path(sys.argv[1])))
print("\n".join(found) or "layers: every include is allowed")
sys.exit(1 if found else 0)
