#!/usr/bin/env bash
# Prints a folder with wireguard-go's own test of a userspace WireGuard, `netns.sh PROGRAM`, as its module carries it, once per
# machine: with 20 MB instead of 1 GB, 10 s for an answer instead of 1 (a lost handshake is repeated after 5), without a switch
# that only the host's first network namespace has, and with `ncat` and `iptables` as far as it uses them. HEIMDALL_TOOLS: the folder of tools.
set -euo pipefail

tools=${HEIMDALL_TOOLS:-/var/cache/heimdall-tools}
folder=$tools/wireguard-go-netns-2
module=golang.zx2c4.com/wireguard

go=$("$(dirname "$0")/go_tool.sh" --go)
exec 9>"$tools/wireguard-go-netns.lock"
flock 9
if [ ! -d "$folder" ]; then
    rm -rf "$folder.new"
    mkdir "$folder.new"
    source=$(cd / && "$go" mod download -json "$module@latest" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    sed '/message_cost/d; s/-n 1G/-n 20M/; s/-W 1 /-W 10 /' "$source/tests/netns.sh" >"$folder.new/netns.sh"
    cat >"$folder.new/ncat" <<'EOF'
#!/usr/bin/python3
import socket
import sys

sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if "-l" in sys.argv:
    sock.bind(("", int(sys.argv[sys.argv.index("-p") + 1])))
    while True:
        print(sock.recv(65536).decode(), end="", flush=True)
else:
    sock.sendto(sys.stdin.buffer.read(), (sys.argv[-2], int(sys.argv[-1])))
EOF
    cat >"$folder.new/iptables" <<'EOF'
#!/bin/sh
case "$*" in
"-t nat -A POSTROUTING -s "*" -d "*" -j SNAT --to "*)
    exec nft "add table ip test; add chain ip test out { type nat hook postrouting priority srcnat; };
              add rule ip test out ip saddr $6 ip daddr $8 snat to ${12}" ;;
"-t nat -F") exec nft delete table ip test ;;
esac
echo "iptables: $* is not known here" >&2
exit 1
EOF
    chmod +x "$folder.new"/*
    mv "$folder.new" "$folder"
fi
echo "$folder"
