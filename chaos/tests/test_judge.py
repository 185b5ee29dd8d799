"""A judge says only what it checked, and finds what is broken; shown on histories that were written by hand."""
import os
import tempfile
import unittest
from typing import cast

from chaos.judge import EXPECTATIONS, Judge, Played
from chaos.lab.cluster import Cluster
from chaos.workload.checkers import Broken


class Company:
    """What a judge asks of a cluster."""

    def __init__(self, pulses: str, owner: str) -> None:
        self.pulses, self.owner = pulses, lambda: owner


class Judging(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def judge(self, *lives: tuple[str, float, float], owner: str = "osk-1", instants: tuple[float, ...] = (),
              policy: dict[str, str] | None = None) -> Judge:
        """A judge of services that ran on these nodes, from and to."""
        pulses = os.path.join(self.folder, "pulses")
        with open(pulses, "w") as file:
            for node, begin, end in lives:
                beats = [begin + 0.1 * count for count in range(round((end - begin) / 0.1))]
                file.write(f"{node} 7 begin {begin}\n" + "".join(f"{node} 7 beat {at}\n" for at in beats)
                           + f"{node} 7 end {end}\n")
        reference = os.path.join(self.folder, "reference")
        with open(reference, "w") as file:
            file.write("".join(f"wit-1 8 beat {0.05 * count}\n" for count in range(400)))
        return Judge(cast(Cluster, Company(pulses, owner)), Played(
            "tok-1", 1.0, 9.0, list(instants), policy or {}, os.path.join(self.folder, "rows"), reference, None))

    def test_one_owner_is_said_only_where_it_was_checked(self) -> None:
        apart = (("tok-1", 0.0, 2.0), ("osk-1", 3.0, 9.0))
        at_once = (("tok-1", 0.0, 4.0), ("osk-1", 3.0, 9.0))
        self.assertEqual(self.judge(*apart).judge([("single-owner", {})]), "one owner at a time")
        with self.assertRaisesRegex(Broken, "SingleOwner"):
            self.judge(*at_once).judge([("single-owner", {})])
        said = self.judge(*at_once, policy={"takeover": "immediate"}).judge([("single-owner", {})])
        self.assertNotIn("one owner at a time", said)

    def test_a_stopped_guard_may_be_late_by_a_little(self) -> None:
        lives = (("tok-1", 0.0, 3.0), ("osk-1", 2.98, 9.0))
        with self.assertRaisesRegex(Broken, "SingleOwner"):
            self.judge(*lives).judge([("single-owner", {})])
        self.assertEqual(self.judge(*lives).judge([("single-owner", {"guard": "stopped"})]), "one owner at a time")

    def test_recovery_counts_from_the_fault_that_is_named(self) -> None:
        judge = self.judge(("tok-1", 0.0, 2.0), ("osk-1", 6.0, 9.0), instants=(2.0, 5.0))
        with self.assertRaisesRegex(Broken, "BoundedRecovery.*4.00 s"):
            judge.judge([("recovered", {"within": "3s"})])
        self.assertEqual(judge.judge([("recovered", {"within": "3s", "fault": "2"})]), "running again after 1.00 s")

    def test_a_service_that_was_started_anew_was_disturbed(self) -> None:
        self.assertEqual(self.judge(("tok-1", 0.0, 9.5)).judge([("undisturbed", {})]), "never stopped on tok-1")
        with self.assertRaisesRegex(Broken, "Adoption"):
            self.judge(("tok-1", 0.0, 4.0), ("tok-1", 5.0, 9.5)).judge([("undisturbed", {})])

    def test_where_the_group_is_now_is_compared_with_before(self) -> None:
        lives = (("tok-1", 0.0, 2.0),)
        self.assertEqual(self.judge(*lives).judge([("moved", {})]), "moved (tok-1 → osk-1)")
        self.assertEqual(self.judge(*lives, owner="tok-1").judge([("stayed", {})]), "stayed")
        for owner, name in (("osk-1", "stayed"), ("tok-1", "moved")):
            with self.subTest(name), self.assertRaisesRegex(Broken, "BoundedRecovery"):
                self.judge(*lives, owner=owner).judge([(name, {})])

    def test_without_a_history_nothing_is_judged(self) -> None:
        with self.assertRaisesRegex(RuntimeError, "nothing was recorded"):
            self.judge()

    def test_rows_are_asked_for_only_of_a_database(self) -> None:
        with self.assertRaisesRegex(RuntimeError, "workload database"):
            self.judge(("tok-1", 0.0, 2.0)).judge([("nothing-lost", {})])

    def test_every_expectation_has_a_judge_of_its_own(self) -> None:
        acts = [word.act for word in EXPECTATIONS.values()]
        self.assertEqual(len(set(acts)), len(acts))


if __name__ == "__main__":
    unittest.main()
