#!/bin/sh
# Prints the path of wireguard-go, the reference that heimdall-wg must interoperate with.
exec "$(dirname "$0")/go_tool.sh" wireguard-go golang.zx2c4.com/wireguard
