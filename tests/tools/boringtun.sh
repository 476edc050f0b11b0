#!/usr/bin/env bash
# Runs boringtun-cli with one socket for all peers: with a connected one for each it does not follow an address that changes.
exec "$("$(dirname "$(readlink -f "$0")")/rust_tool.sh" boringtun-cli)" --disable-connected-udp "$@"
