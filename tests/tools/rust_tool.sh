#!/usr/bin/env bash
# rust_tool.sh CRATE: prints the path of the program that a crate installs, for WireGuard implementations written in Rust
# (boringtun-cli, gotatun-cli). Installs the newest version, once per machine, which takes minutes and is reported on standard
# error. CRATE may be a folder with a crate of ours, which is built anew when it changes. HEIMDALL_TOOLS: the folder of tools.
set -euo pipefail

crate=${1:?rust_tool.sh CRATE}
tools=${HEIMDALL_TOOLS:-/var/cache/heimdall-tools}
needed=1.95 # gotatun-cli needs this rustc
# The program has the name of its crate, with one exception.
declare -A names=([gotatun-cli]=gotatun)
program=$tools/bin/${names[$crate]:-$crate}
source=(--locked "$crate")
if [ -d "$crate" ]; then
    source=(--path "$(realpath "$crate")")
    content=$(cat "$crate/Cargo.toml" "$crate"/src/*.rs | sha256sum | cut -c 1-12)
    crate=$(basename "$crate")
    program=$tools/bin/$crate-$content
fi

say() { printf 'rust_tool: %s\n' "$*" >&2; }

new_enough() {
    local version
    version=$(rustc --version 2>/dev/null | cut -d ' ' -f 2) && [ -n "$version" ] &&
        [ "$(printf '%s\n' "$needed" "$version" | sort -V | head -n 1)" = "$needed" ]
}

# The machine's own Rust, or else Debian's newest: packages that end in -web, from the security updates.
need_rust() {
    new_enough && command -v cargo >/dev/null && return
    say "installing cargo-web and rustc-web"
    apt-get update -q >&2 && apt-get install -y -q --no-install-recommends cargo-web rustc-web gcc libc6-dev >&2
    new_enough || { say "rustc $needed or later is needed, and not to be had here"; exit 1; }
}

mkdir -p "$tools/bin"
exec 9>"$tools/$crate.lock"
flock 9
if [ ! -x "$program" ]; then
    need_rust
    say "installing $crate into $tools (takes minutes)"
    log=$(mktemp)
    trap 'rm -rf "$tools/$crate.new" "$log"' EXIT
    if ! (cd / && CARGO_TARGET_DIR=$tools/$crate.new/target cargo install --root "$tools/$crate.new" "${source[@]}") \
        >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        say "the installation failed"
        exit 1
    fi
    mv "$tools/$crate.new/bin/"* "$program" # one program a crate
fi
echo "$program"
