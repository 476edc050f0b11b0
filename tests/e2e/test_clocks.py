"""A peer whose wall clock goes back, or was far ahead, between two runs."""
import unittest

from lab.labtest import InLab
from lab.netns import wait_until
from lab.story import Network

# Loaded before the C library: CLOCK_BY seconds are added to the wall clock.
CLOCK = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *out)
{
    const char *by = getenv("CLOCK_BY");
    int rc = (int)syscall(SYS_clock_gettime, id, out);
    if (rc == 0 && id == CLOCK_REALTIME && by != NULL)
        out->tv_sec += atoll(by);
    return rc;
}
"""
LIBRARY = "/tmp/clock.so"


class Clocks(InLab):
    def setUp(self):
        super().setUp()
        self.net = Network(self.lab)
        self.net.client.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", LIBRARY, "-"], input=CLOCK)
        self.net.start_node()
        self.net.authorize()

    def reaches(self):
        wait_until(lambda: self.net.client.run(["ping", "-c1", "-W1", "10.11.0.1"], check=False).returncode == 0, 30,
                   "the tunnel does not come up")

    def run_of_peer(self, by):
        env = {"LD_PRELOAD": LIBRARY, "CLOCK_BY": str(by)}
        peer = self.net.start_peer(env=env)
        peer.wait_for(" connected node=")
        self.reaches()
        peer.stop()

    def test_goes_back(self):
        """no battery behind the clock: each run begins in the past"""
        self.run_of_peer(0)
        self.run_of_peer(-86400)

    def test_was_ahead(self):
        self.run_of_peer(10 * 365 * 86400)
        self.run_of_peer(0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
