#!/usr/bin/env bash
# Prints the path of original_client (described in its source), built once per machine and version of the source, with the newest
# grpc-go. HEIMDALL_TOOLS: the folder of tools.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
tools=${HEIMDALL_TOOLS:-/var/cache/heimdall-tools}
source=$here/original_client/main.go
program=$tools/bin/original_client-$(sha256sum "$source" | cut -c 1-12)

mkdir -p "$tools/bin"
exec 9>"$tools/original-client.lock"
flock 9
if [ ! -x "$program" ]; then
    go=$("$here/go_tool.sh" --go)
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cp "$source" "$work"
    printf 'original_client: building %s\n' "$program" >&2
    if ! (cd "$work" && "$go" mod init original_client && "$go" mod tidy && "$go" build -o "$program.new" .) \
        >"$work/log" 2>&1; then
        tail -n 10 "$work/log" >&2
        exit 1
    fi
    mv "$program.new" "$program"
fi
echo "$program"
