"""A node that is shut down in order hands over what it runs before anything of it ends, and its guard holds nobody up. (Rule L21)

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_shutdown.py
"""
import os
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.lab import NODES  # noqa: E402
from chaos.lab.shell import wait_until  # noqa: E402


class Shutdown(ClusterCase):
    purpose, nodes = "end-to-end-shutdown", NODES

    def shut_down(self, name: str, timeout: str = "30s") -> str:
        return self.cluster.run(name, "node", "shutdown", "--yes", "--timeout", timeout, timeout=60).stdout

    def restart_daemons(self, *names: str) -> None:
        """As the machines do that were shut down for nothing: within the same life. Together, for one that stays down is not
        healthy."""
        for name in names:
            self.assertEqual(self.lab.node(name).signal("daemon", 9), 1)
        self.cluster.wait_healthy(30)

    def test_groups_move_then_stop_and_come_back(self) -> None:
        self.cluster.apply(self.cluster.service_policy())
        first = self.cluster.wait_running(30)
        second = next(name for name in self.cluster.members if name != first)
        self.assertIn(f"nothing runs on {first}", self.shut_down(first))
        self.assertEqual(self.cluster.owner(), second)
        self.assertEqual(self.lab.node(first).find("service"), [])
        said = next(node for node in self.cluster.told(second)["nodes"] if node["name"] == first)
        self.assertIn("shut", said["reason"])
        # systemd asks every process once, and waits for each: the guard goes at once, under a lease that ran on.
        node = self.lab.node(first)
        guards = node.find("guard")
        self.assertEqual(node.signal("guard", 15), 1)
        wait_until(lambda: not set(guards) & set(node.find("guard")), 3, "the guard leaves")

        # Nobody else may run it now: it is stopped, and that is what is waited for.
        self.assertIn(f"nothing runs on {second}", self.shut_down(second))
        self.assertEqual(self.lab.node(second).find("service"), [])

        # Both come back within the lives that were to end, and so does the group.
        self.restart_daemons(first, second)

    def test_shutdowns_use_up_no_moves(self) -> None:
        self.cluster.apply(self.cluster.service_policy())
        owner = self.cluster.wait_running(30)
        for _ in range(8):
            self.shut_down(owner)
            self.restart_daemons(owner)
            owner = self.cluster.wait_running(30)
        self.cluster.wait_healthy(30)

    def test_another_machine_is_not_shut_down(self) -> None:
        result = self.cluster.run("tok-1", "node", "shutdown", "--dry-run", "--yes")
        self.assertIn("what tok-1 runs moves or stops", result.stdout)


if __name__ == "__main__":
    unittest.main()
