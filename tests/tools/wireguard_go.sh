#!/usr/bin/env bash
# Prints the path of wireguard-go, the implementation that ours must get along with. Installs the newest one, once a
# machine, and says so on standard error. HEIMDALL_TOOLS: where tools are kept.
set -euo pipefail

tools=${HEIMDALL_TOOLS:-/var/cache/heimdall-tools}
program=$tools/bin/wireguard-go

say() { printf 'wireguard_go: %s\n' "$*" >&2; }

find_go() {
    local go
    for go in go /usr/local/go/bin/go "$tools/go/bin/go"; do
        if command -v "$go" >/dev/null; then
            command -v "$go"
            return
        fi
    done
    say "go is missing: install Go 1.23 or later (https://go.dev/dl, or the golang-go package)"
    exit 1
}

mkdir -p "$tools/bin"
exec 9>"$tools/wireguard-go.lock"
flock 9
if [ ! -x "$program" ]; then
    say "installing golang.zx2c4.com/wireguard@latest into $tools/bin"
    go=$(find_go)
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
