"""Any node says what holds now, by asking the leader; who cannot ask says so. A planned change of leader costs nobody anything.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_leadership.py
"""
import os
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.lab import NODES  # noqa: E402
from chaos.workload import checkers  # noqa: E402


class Leadership(ClusterCase):
    purpose, nodes = "end-to-end-leadership", NODES

    def test_every_node_shows_what_another_one_was_told_a_moment_ago(self) -> None:
        self.cluster.apply(self.cluster.service_policy())
        owner = self.cluster.wait_running(30)
        names, idle = [name for name, *_ in NODES], next(name for name in self.cluster.members if name != owner)
        leader = self.cluster.told()["leader"]
        for number in range(12):
            # Written on one node, read at once on another, which may have heard nothing yet of what the leader committed.
            writer = self.cluster.members[number // 2 % 2]
            reader = [name for name in names if name != writer][number // 4 % 2]
            verb = "drain" if number % 2 == 0 else "undrain"
            self.cluster.run(writer, "node", verb, idle, "--yes")
            told = self.cluster.ask(reader, "status", "--consistent")
            assert told is not None
            drained = {node["name"]: node["drained"] for node in told["nodes"]}
            self.assertEqual(drained[idle], number % 2 == 0, f"{reader} after {writer}, {leader} led")

    def test_who_is_cut_off_says_so_and_shows_nothing_old(self) -> None:
        follower = next(name for name in self.cluster.members if name != self.cluster.told()["leader"])
        self.lab.isolate(follower)
        try:
            result = self.cluster.run(follower, "status", "--consistent", check=False, timeout=40)
            self.assertEqual(result.returncode, 5, result.stdout + result.stderr)
            self.assertIn("no majority of voters answered", result.stderr)
            self.assertEqual(result.stdout, "")
            plain = self.cluster.told(follower)
            self.assertGreater(plain["servedAgeSeconds"], 1)
        finally:
            self.lab.rejoin(follower)
        self.cluster.wait_status(None, self.cluster.all_up, 60, "all nodes are back")

    def test_planned_changes_of_leader_cost_no_lease_and_no_change(self) -> None:
        self.cluster.apply(self.cluster.service_policy())
        owner = self.cluster.wait_running(60)
        before = len(checkers.read_runs(self.cluster.pulses))
        for number in range(8):
            target = self.cluster.members[number % 2]
            self.cluster.run(target, "leader", "transfer", "--to", target, "--yes", "--wait")
            for name in self.cluster.members:
                self.cluster.run(name, "attribute", "put", "transfers", str(number))
        self.assertEqual(self.cluster.owner(), owner)
        self.assertEqual(len(checkers.read_runs(self.cluster.pulses)), before, "the service never began anew")
        for name, *_ in NODES:
            counters = self.cluster.run(name, "counters", "-o", "json").stdout
            self.assertNotIn("lease.ended", counters)


if __name__ == "__main__":
    unittest.main()
