"""Test cases whose programs run in a lab (netns.py). A failure prints the logs of its programs."""
import sys
import unittest

from lab.netns import Lab

BIN = sys.argv.pop(1)  # the folder of the programs


class LabTest(unittest.TestCase):
    """For tests that make labs of their own, or share one in `lab`."""
    lab = None

    @classmethod
    def share_lab(cls):
        """One lab for all tests of the class, from its setUpClass."""
        cls.lab = cls.enterClassContext(Lab(BIN))

    def run(self, result=None):
        before = troubles(result)
        result = super().run(result)
        if self.lab and troubles(result) > before:
            self.lab.print_logs()
        return result


class InLab(LabTest):
    """A lab for each test."""

    def setUp(self):
        self.lab = self.enterContext(Lab(BIN))


def troubles(result):
    return len(result.failures) + len(result.errors) if result else 0
