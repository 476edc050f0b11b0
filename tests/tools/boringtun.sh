#!/usr/bin/env bash
# Runs boringtun-cli with one socket for all peers: with a connected socket per peer it does not follow a changed address.
exec "$("$(dirname "$(readlink -f "$0")")/rust_tool.sh" boringtun-cli)" --disable-connected-udp "$@"
