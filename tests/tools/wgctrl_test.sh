#!/usr/bin/env bash
# Prints the path of wgctrl-go's integration test as a program: it gets, configures and resets every WireGuard device that it
# finds. Built from the newest version, once per machine. HEIMDALL_TOOLS: the folder of tools.
set -euo pipefail

tools=${HEIMDALL_TOOLS:-/var/cache/heimdall-tools}
program=$tools/bin/wgctrl-test
module=golang.zx2c4.com/wireguard/wgctrl

go=$("$(dirname "$0")/go_tool.sh" --go)
exec 9>"$tools/wgctrl.lock"
flock 9
if [ ! -x "$program" ]; then
    printf 'wgctrl_test: building %s@latest into %s\n' "$module" "$tools/bin" >&2
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cd "$work"
    {
        "$go" mod init heimdall.invalid/wgctrl-test && "$go" get "$module@latest"
        # A test is built in its own module, which the cache holds read-only.
        cp -r --no-preserve=mode "$("$go" list -m -f '{{.Dir}}' "$module")" module
        cd module && "$go" test -c -o "$program.new" .
    } >log 2>&1 || { tail -n 20 log; exit 1; } >&2
    mv "$program.new" "$program"
fi
echo "$program"
