#!/bin/sh
# Prints the path of a Python with PyPI's wireguard-tools, another client of the UAPI, made once per machine under
# ${HEIMDALL_TOOLS:-/var/cache/heimdall-tools}.
set -eu
tools=${HEIMDALL_TOOLS:-/var/cache/heimdall-tools}
venv=$tools/venv-wireguard-tools
mkdir -p "$tools"
(
    flock 9
    if [ ! -e "$venv/complete" ]; then
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install -q --disable-pip-version-check wireguard-tools
        touch "$venv/complete"
    fi
) 9>"$tools/venv-wireguard-tools.lock" >&2
echo "$venv/bin/python3"
