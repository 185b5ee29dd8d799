"""The table beside the laboratory: which step belongs to which event, and what is printed."""
import os
import unittest

from guests import beside
from guests.scenario import Scenario

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class BesideTests(unittest.TestCase):
    def test_steps_are_told_apart(self) -> None:
        events = [beside.event_of(step) for step in (
            "move standby", "reboot owner", "restart owner holdfast", "kill owner")]
        words = [beside.EVENTS[event][1] for event in events if event is not None]
        self.assertEqual(words, ["planned move", "reboot of the owner", "restart of the owner's daemon",
                                 "power loss of the owner"])
        self.assertIsNone(beside.event_of("await healthy"))
        self.assertIsNone(beside.event_of("kill standby"))

    def test_what_was_not_seen_is_not_in_the_table(self) -> None:
        self.assertEqual(beside.table([("await healthy", 3.0)], 16.0), [])
        lines = beside.table([("move standby", 16.0), ("move standby", 32.0), ("reboot owner", 24.0)], 16.0)
        self.assertEqual(len(lines), 3)
        self.assertRegex(lines[1], r"^planned move, 2 times +24\.0 s \(16\.0–32\.0\) +1\.50 s")
        self.assertRegex(lines[2], r"^reboot of the owner, 1 times +24\.0 s .* +1\.50 s +–$")

    def test_every_scenario_of_the_laboratory_exists_and_has_rows(self) -> None:
        for name in {scenario for _, _, scenario in beside.EVENTS if scenario}:
            with open(os.path.join(ROOT, "chaos", "scenarios", f"{name}.txt")) as file:
                self.assertIn("workload database", file.read(), name)

    def test_every_event_happens_in_some_scenario(self) -> None:
        folder = os.path.join(ROOT, "guests", "scenarios")
        steps = [str(step) for name in os.listdir(folder) for _, step in Scenario(os.path.join(folder, name)).schedule(1)]
        for number, (head, words, _) in enumerate(beside.EVENTS):
            self.assertIn(number, [beside.event_of(step) for step in steps], f"{words}: no step begins with {head}")


if __name__ == "__main__":
    unittest.main()
