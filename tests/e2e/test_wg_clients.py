"""heimdall-wg configured by other clients of the UAPI: wgctrl-go's own integration test, PyPI's wireguard-tools, and the crates
wireguard-uapi, wireguard-control and defguard_wireguard_rs."""
import pathlib
import subprocess

from lab.wgtest import WG, End, InLab, main

TOOLS = pathlib.Path(__file__).parent.parent / "tools"

# Sets a configuration on a connection that it keeps, and reads it again.
SCRIPT = """
from ipaddress import ip_address, ip_interface
from wireguard_tools import WireguardConfig, WireguardDevice, WireguardKey, WireguardPeer

[device] = WireguardDevice.list()
config = WireguardConfig(private_key=WireguardKey.generate(), listen_port=51999, fwmark=7)
for number in range(200):
    peer = WireguardPeer(public_key=WireguardKey.generate().public_key(), endpoint_host=ip_address("192.0.2.7"),
                         endpoint_port=1000 + number, persistent_keepalive=25)
    peer.allowed_ips.append(ip_interface(f"10.7.0.{number}/32"))
    config.add_peer(peer)
device.set_config(config)
now = device.get_config()
assert now.private_key == config.private_key and now.listen_port == 51999 and now.fwmark == 7, now
assert set(now.peers) == set(config.peers), len(now.peers)
for key, peer in config.peers.items():
    other = now.peers[key]
    assert (other.endpoint_host, other.endpoint_port) == (peer.endpoint_host, peer.endpoint_port), other
    assert other.allowed_ips == peer.allowed_ips and other.persistent_keepalive == 25, other
config.peers.clear()
device.set_config(config)
assert not device.get_config().peers
print("all is as it was set")
"""


def tool(name, *args):
    done = subprocess.run([TOOLS / name, *args], stdout=subprocess.PIPE, text=True, check=True, timeout=1200)
    return done.stdout.strip()


class Clients(InLab):
    def test_wgctrl_go(self):
        program = tool("wgctrl_test.sh")
        end = End(self.lab.host("a"), 1, WG)
        said = end.host.sh(f"WGCTRL_INTEGRATION=yesreallydoit {program} -test.v -test.run Integration", timeout=120)
        self.assertIn("--- PASS: TestIntegrationClient ", said)
        self.assertIn("configure_many_peers", said)
        self.assertNotIn("SKIP", said)

    def test_wireguard_tools(self):
        python = tool("wireguard_tools_venv.sh")
        end = End(self.lab.host("a"), 1, WG)
        self.assertIn("all is as it was set", end.host.run([python, "-c", SCRIPT]).stdout)

    def test_crates(self):
        program = tool("rust_tool.sh", TOOLS / "uapi_clients")
        end = End(self.lab.host("a"), 1, WG)
        self.assertIn("all three clients agree", end.host.run([program, "wg0"]).stdout)


if __name__ == "__main__":
    main()
