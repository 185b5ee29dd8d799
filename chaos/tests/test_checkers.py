"""The checkers must find what they are there for."""
import os
import tempfile
import unittest
from typing import cast

from chaos.workload import checkers, timeline
from chaos.workload.checkers import Broken
from chaos.workload.observer import Observer


def row(number: int, at: float = 1.0, kind: str = "ack") -> checkers.Entry:
    return {"row": number, "try": at - 0.1, kind: at if kind == "ack" else "why"}


class Rows(unittest.TestCase):
    def test_all_acknowledged_rows_found(self) -> None:
        self.assertEqual(checkers.check_rows([row(1), row(2), row(3, kind="lost")], [1, 2, 3]), (2, 3))

    def test_a_missing_row_is_named(self) -> None:
        with self.assertRaises(Broken) as caught:
            checkers.check_rows([row(1), row(2)], [1])
        self.assertEqual(caught.exception.guarantee, "NothingAcknowledgedIsLost")
        self.assertIn("2", str(caught.exception))

    def test_an_unanswered_row_may_be_there_or_not(self) -> None:
        checkers.check_rows([row(1), row(2, kind="lost")], [1])
        checkers.check_rows([row(1), row(2, kind="lost")], [1, 2])

    def test_a_refused_row_may_not_be_there(self) -> None:
        with self.assertRaises(Broken):
            checkers.check_rows([row(1), row(2, kind="refused"), row(3)], [1, 2, 3])

    def test_a_row_twice_is_found(self) -> None:
        with self.assertRaises(Broken):
            checkers.check_rows([row(1)], [1, 1])

    def test_a_row_that_nobody_tried_is_found(self) -> None:
        with self.assertRaises(Broken):
            checkers.check_rows([row(1), row(5)], [1, 3, 5])

    def test_the_row_under_way_is_no_stranger(self) -> None:
        checkers.check_rows([row(1), row(2)], [1, 2, 3])

    def test_a_torn_last_line_is_left_out(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "rows")
            with open(path, "w") as file:
                file.write('{"row": 1, "try": 1, "ack": 2}\n{"row": 2, "tr')
            self.assertEqual(len(checkers.read_rows(path)), 1)

    def test_gap_and_first_row(self) -> None:
        entries = [row(1, 1.0), row(2, 1.1), row(3, 4.1), row(4, 4.2)]
        self.assertAlmostEqual(checkers.longest_gap(entries)[0], 3.0)
        self.assertEqual(checkers.first_acknowledged_after(entries, 1.2), 4.1)
        self.assertIsNone(checkers.first_acknowledged_after(entries, 9))


class Owners(unittest.TestCase):
    def history(self, *lives: tuple[str, int, float, float, bool]) -> list[checkers.Run]:
        """Lives as (node, pid, begin, end, has an end line)."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "pulses")
            lines = []
            for node, pid, begin, end, is_ended in lives:
                lines.append((begin, f"{node} {pid} begin {begin:.6f}"))
                at = begin
                while at + 0.005 < end:
                    at += 0.005
                    lines.append((at, f"{node} {pid} beat {at:.6f}"))
                if is_ended:
                    lines.append((end, f"{node} {pid} end {end:.6f}"))
            with open(path, "w") as file:
                file.write("".join(line + "\n" for _, line in sorted(lines)))
            return checkers.read_runs(path)

    def test_one_after_the_other_is_fine(self) -> None:
        checkers.check_single_owner(self.history(("a", 1, 0, 1, False), ("b", 1, 1.5, 2, True)))

    def test_an_overlap_is_found_and_measured(self) -> None:
        with self.assertRaises(Broken) as caught:
            checkers.check_single_owner(self.history(("a", 1, 0, 1, False), ("b", 1, 0.9, 2, True)))
        self.assertEqual(caught.exception.guarantee, "SingleOwner")

    def test_an_overlap_of_one_beat_is_found(self) -> None:
        with self.assertRaises(Broken):
            checkers.check_single_owner(self.history(("a", 1, 0, 1.0, False), ("b", 1, 0.993, 2, True)))

    def test_a_pause_is_no_overlap_but_waking_up_is(self) -> None:
        early, late = ("a", 1, 0, 1, False), ("b", 1, 3, 6, False)
        checkers.check_single_owner(self.history(early, late))
        runs = self.history(early, late)
        runs[0].note("beat", 4.0)
        with self.assertRaises(Broken):
            checkers.check_single_owner(runs)
        checkers.check_single_owner(runs, allowed=0.030)

    def test_the_same_number_after_a_reboot_is_another_life(self) -> None:
        self.assertEqual(len(self.history(("a", 7, 0, 1, False), ("a", 7, 5, 6, False))), 2)

    def test_two_on_one_node_are_found(self) -> None:
        with self.assertRaises(Broken):
            checkers.check_one_process(self.history(("a", 1, 0, 1, False), ("a", 2, 0.5, 2, False)))

    def test_undisturbed_means_one_life_without_a_pause(self) -> None:
        checkers.check_never_stopped(self.history(("a", 1, 0, 9, False)), 1, 8)
        with self.assertRaises(Broken):
            checkers.check_never_stopped(self.history(("a", 1, 0, 4, False), ("a", 2, 4.1, 9, False)), 1, 8)
        with self.assertRaises(Broken):
            checkers.check_never_stopped(self.history(("a", 1, 0, 7, True)), 1, 8)

    def test_a_pause_is_a_disturbance_unless_the_whole_machine_stood_still(self) -> None:
        runs = self.history(("a", 1, 0, 4, False))
        for beat in range(4500, 9000, 5):
            runs[0].note("beat", beat / 1000)
        checkers.check_never_stopped(runs, 1, 8, stalls=[(3.9, 4.4)])
        for stalls in ([], [(4.4, 4.6)], [(1, 3)]):
            with self.assertRaises(Broken) as caught:
                checkers.check_never_stopped(runs, 1, 8, stalls)
            self.assertIn("stood still", str(caught.exception))

    def test_stalls_are_the_gaps_in_the_reference(self) -> None:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("".join(f"host 9 beat {time:.6f}\n" for time in (1.0, 1.005, 1.6, 1.605)) + "host 9 be")
            file.flush()
            self.assertEqual(checkers.read_stalls(file.name), [(1.005, 1.6)])

    def test_recovery_is_bounded(self) -> None:
        runs = self.history(("a", 1, 0, 1, False), ("b", 1, 3, 4, False))
        self.assertAlmostEqual(checkers.check_recovered(runs, 1, 5), 2.0)
        with self.assertRaises(Broken):
            checkers.check_recovered(runs, 1, 1.5)


class Timeline(unittest.TestCase):
    def test_phases_follow_from_events_observer_and_rows(self) -> None:
        class Seen:
            began = {"device": 13.1, "mounted": 13.2, "recovered": 13.9, "address": 14.0}
        events = [
            {"at": 3.0, "kind": "group.assigned", "node": "tok-1"},
            {"at": 10.2, "kind": "cluster.configured"},
            {"at": 10.5, "kind": "node.silent", "node": "nag-1"},
            {"at": 10.9, "kind": "node.silent", "node": "tok-1"},
            {"at": 12.6, "kind": "node.lost", "node": "tok-1"},
            {"at": 12.7, "kind": "group.assigned", "node": "osk-1"},
        ]
        phases = timeline.build(10.0, events, cast(Observer, Seen), 14.1, "tok-1")
        self.assertEqual([round(at, 1) for _, _, at in phases if at is not None], [0.9, 2.6, 2.7, 3.1, 3.2, 3.9, 4.0, 4.1])
        self.assertAlmostEqual(sum(took or 0.0 for *_, took in timeline.shares(phases)), 4.1)
        self.assertEqual(len(timeline.render(phases)), 9)
        self.assertEqual(timeline.medians([phases, phases])[0][0], "detected")


if __name__ == "__main__":
    unittest.main()
