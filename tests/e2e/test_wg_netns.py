"""heimdall-wg under wireguard-go's own test, tests/netns.sh: bulk traffic, moves between namespaces, NAT, roaming, keepalives,
routing by mark, and what `wg` shows."""
import pathlib
import subprocess

from lab.wgtest import InLab, main

TOOL = pathlib.Path(__file__).parent.parent / "tools/wireguard_go_netns.sh"


class Netns(InLab):
    def test_all(self):
        folder = subprocess.run([TOOL], stdout=subprocess.PIPE, text=True, check=True, timeout=240).stdout.strip()
        host = self.lab.host("a")
        done = host.run(["bash", "-c", f"mkdir -p /run/netns; PATH={folder}:$PATH exec bash {folder}/netns.sh $(command -v heimdall-wg)"],
                        check=False, timeout=300)
        self.assertEqual(done.returncode, 0, (done.stdout + done.stderr)[-3000:])
        self.assertIn("Objects that were created were also destroyed.", done.stdout + done.stderr)


if __name__ == "__main__":
    main()
