#!/bin/sh
# Prints the path of wireguard-go, the implementation that ours must get along with.
exec "$(dirname "$0")/go_tool.sh" wireguard-go golang.zx2c4.com/wireguard
