#!/usr/bin/env bash
# Prints a folder with `vmlinuz` and `initramfs`: Debian's newest kernel and a small system around it, for a virtual machine
# whose kernel has WireGuard. Nothing is installed but qemu-system-x86; the other packages are only unpacked, once a
# kernel version. HEIMDALL_TOOLS: where the folder is kept.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

tools=${HEIMDALL_TOOLS:-/var/cache/heimdall-tools}
modules=(virtio_pci virtio_net wireguard)

say() { printf 'guest: %s\n' "$*" >&2; }

# Prints the package with the kernel that Debian's linux-image-cloud-amd64 stands for today.
kernel_package() {
    apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '$1 == "Depends:" { print $2; exit }'
}

install_needed() {
    command -v qemu-system-x86_64 >/dev/null && [ -n "$(kernel_package)" ] && return
    say "installing qemu-system-x86"
    apt-get update -q >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends qemu-system-x86 >&2
}

# unpack FOLDER PACKAGE...: downloads the packages and unpacks them in the folder.
unpack() {
    local folder=$1
    shift
    (
        mkdir -p "$folder/download"
        cd "$folder/download"
        apt-get download -q "$@" >log 2>&1 || { cat log >&2; exit 1; }
        for deb in *.deb; do dpkg -x "$deb" ..; done
    )
    rm -r "$folder/download"
}

# with_needed ROOT MODULE...: the files of the modules and of all that they need, by the dependencies that depmod found.
with_needed() {
    local dependencies
    dependencies=$(echo "$1"/lib/modules/*/modules.dep)
    shift
    awk -v wanted="$*" '
        { file = $1; sub(/:$/, "", file); path[name(file)] = file; needs[file] = substr($0, length($1) + 2) }
        END { count = split(wanted, first, " "); for (i = 1; i <= count; i++) visit(path[first[i]]) }
        function name(file) { sub(/.*\//, "", file); sub(/\.ko$/, "", file); gsub(/-/, "_", file); return file }
        function visit(file,    list, i, count) {
            if (file in seen) return
            seen[file] = 1
            print file
            count = split(needs[file], list, " ")
            for (i = 1; i <= count; i++) visit(list[i])
        }' "$dependencies"
}

# assemble PACKED ROOT: copies what the guest runs.
assemble() {
    local packed=$1 root=$2 version file
    version=$(basename "$packed"/lib/modules/*)
    mkdir -p "$root"/{bin,dev,proc,sys,tmp,run,etc} "$root/lib/modules/$version"
    cp "$packed/bin/busybox" "$root/bin/"
    for file in $("$packed/bin/busybox" --list | grep -vx busybox); do ln -sf busybox "$root/bin/$file"; done
    "$packed/bin/busybox" depmod -b "$packed" "$version"
    cp "$packed/lib/modules/$version"/modules.dep "$root/lib/modules/$version/"
    for file in $(with_needed "$packed" "${modules[@]}"); do
        install -D -m 644 "$packed/lib/modules/$version/$file" "$root/lib/modules/$version/$file"
    done
    # wg(8) with the libraries that it is linked with, its loader included.
    for file in "$(command -v wg)" $(ldd "$(command -v wg)" | grep -o '/[^ ]*'); do
        install -D "$file" "$root$file"
    done
    install -m 755 init "$root/init"
}

build() {
    local target=$1 package=$2
    work=$(mktemp -d) # not local: the trap outlives this function
    trap 'rm -rf "$work"' EXIT
    unpack "$work/packed" "$package" busybox-static
    assemble "$work/packed" "$work/root"
    mkdir "$work/out"
    cp "$work"/packed/boot/vmlinuz-* "$work/out/vmlinuz"
    (cd "$work/root" && find . | "$work/packed/bin/busybox" cpio -o -H newc 2>/dev/null) | gzip -1 >"$work/out/initramfs"
    rm -rf "$target"
    mv "$work/out" "$target"
}

mkdir -p "$tools"
exec 9>"$tools/kernel.lock"
flock 9
install_needed
package=$(kernel_package)
# The name holds what the guest is made of, so that a change of this folder rebuilds it.
target=$tools/$package-$(cat guest.sh init | sha256sum | cut -c 1-12)
if [ ! -f "$target/initramfs" ]; then
    say "unpacking $package and busybox-static into $target"
    build "$target" "$package"
fi
echo "$target"
