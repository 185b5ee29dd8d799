"""Wall clocks that are days and decades off decide nothing, and are named.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_clocks.py
"""
import os
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import WrongClockCase  # noqa: E402
from chaos.lab.cluster import Cluster  # noqa: E402
from chaos.lab.lab import NODES, Lab  # noqa: E402

DAY = 86400
YEAR = 365 * DAY


class Clocks(WrongClockCase):
    def setUp(self) -> None:
        self.lab = Lab("clocks", NODES).up()
        self.cluster = Cluster(self.lab, name="prod")

    def test_a_node_whose_clock_is_days_off_joins_comes_back_and_is_named(self) -> None:
        self.shift("osk-1", -3 * DAY)
        self.shift("wit-1", 51 * YEAR)
        self.cluster.form()
        self.cluster.apply(self.cluster.service_policy())
        self.cluster.wait_running(30)
        for name in ("osk-1", "wit-1"):
            self.lab.node(name).power_off()
            self.cluster.return_node(name)
            self.cluster.wait_status(None, self.cluster.all_up, 20, f"{name} is back")
        leader = self.cluster.leader()
        said = " ".join(self.cluster.told(leader)["warnings"])
        for name in {"osk-1", "wit-1", "tok-1"} - {leader}:
            self.assertRegex(said, f"the clock of {name} is .* (behind|ahead of)", said)

    def test_a_cluster_that_boots_with_all_clocks_in_the_past_runs(self) -> None:
        self.cluster.form()
        self.cluster.apply(self.cluster.service_policy())
        self.cluster.wait_running(30)
        for node in self.lab.nodes.values():
            node.power_off()
        for name in self.lab.nodes:
            self.shift(name, -10 * YEAR)
        for name in self.lab.nodes:
            self.cluster.return_node(name)
        self.cluster.wait_running(30)
        self.assertEqual([text for text in self.cluster.told()["warnings"] if "clock" in text], [])


if __name__ == "__main__":
    unittest.main()
