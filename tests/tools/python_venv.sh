#!/bin/sh
# Prints the path of a Python with grpcio, its code generator, its own health service, and a parser of Prometheus metrics,
# made once per machine under ${HEIMDALL_TOOLS:-/var/cache/heimdall-tools}.
set -eu
tools=${HEIMDALL_TOOLS:-/var/cache/heimdall-tools}
venv=$tools/venv-grpc-3
mkdir -p "$tools"
(
    flock 9
    if [ ! -e "$venv/complete" ]; then
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install -q --disable-pip-version-check grpcio grpcio-tools grpcio-health-checking \
            protobuf prometheus-client
        touch "$venv/complete"
    fi
) 9>"$tools/venv.lock" >&2
echo "$venv/bin/python3"
