"""Every scenario file of the rig can be used, and a mistake in one is explained."""
import glob
import os
import tempfile
import unittest

from guests.scenario import EXPECTATIONS, Mistake, Scenario

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scenarios")


def scenario(text: str) -> Scenario:
    """A scenario of this text."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(text)
        file.flush()
        return Scenario(file.name)


class Files(unittest.TestCase):
    def test_every_file_is_understood(self) -> None:
        paths = sorted(glob.glob(os.path.join(FOLDER, "*.txt")))
        self.assertGreater(len(paths), 20)
        seen = set()
        for path in paths:
            with self.subTest(path):
                seen |= {name for name, _ in Scenario(path).expectations}
        self.assertEqual(seen, set(EXPECTATIONS) - {"healthy"}, "an expectation that no file uses")

    def test_a_seed_fixes_every_time(self) -> None:
        path = os.path.join(FOLDER, "owner-power-cut.txt")
        once, twice, other = (Scenario(path).schedule(seed) for seed in (1, 1, 2))
        self.assertEqual([at for at, _ in once], [at for at, _ in twice])
        self.assertNotEqual([at for at, _ in once], [at for at, _ in other])

    def test_a_seed_fixes_every_length(self) -> None:
        story = scenario("# why\nat 1s pause owner 500ms..30s\nat 2s pause owner 8s\nexpect moved\n")
        lengths = [float(story.schedule(seed)[0][1].words[1].removesuffix("s")) for seed in range(200)]
        self.assertEqual(story.schedule(7)[0][1].words, story.schedule(7)[0][1].words)
        self.assertTrue(0.5 <= min(lengths) < 0.7 and 20 < max(lengths) <= 30, lengths)
        self.assertEqual(story.schedule(7)[1][1].words, ["owner", "8s"])

    def test_a_command_is_taken_as_it_stands(self) -> None:
        step = scenario("# why\nat +2s shell owner echo 'a  b' | grep x=1\nexpect gap within=2s\n").steps[0]
        self.assertEqual(step.words, ["owner", "echo 'a  b' | grep x=1"])
        self.assertTrue(step.relative)

    def test_mistakes_name_line_and_remedy(self) -> None:
        for text, wanted in (
                ("# why\nat 1s explode owner\nexpect moved\n", ":2: .*unknown step; there are boot"),
                ("# why\nat soon kill owner\nexpect moved\n", ":2: .*no length of time"),
                ("# why\nat 1s pause owner\nexpect moved\n", ":2: .*wants 2 words"),
                ("# why\nat 1s pause owner long\nexpect moved\n", ":2: .*no length of time"),
                ("# why\nat 1s reboot all\nexpect moved\n", ":2: .*`all` is for kill and boot"),
                ("# why\nat 1s kill-process owner init\nexpect moved\n", ":2: .*kill-process wants daemon, guard"),
                ("# why\nat 1s await sleepy\nexpect moved\n", ":2: .*await wants healthy, running or reset"),
                ("# why\nat 1s reboot ownr\nexpect moved\n", ":2: .*reboot wants tok-1, .*not `ownr`"),
                ("# why\nat 1s boot owner cable=in cable=out\nexpect moved\n", ":2: .*cable is said twice"),
                ("# why\ncache fast\nexpect moved\n", ":2: .*cache wants writeback"),
                ("# why\nrepeat often\nexpect moved\n", ":2: .*repeat wants a number"),
                ("# why\nwatchdog fierce\nexpect moved\n", ":2: .*is `watchdog hardware`"),
                ("# why\nat 1s boot owner cable=half\nexpect moved\n", ":2: .*cable wants in or out"),
                ("# why\nat 1s pause owner 1s..long\nexpect moved\n", ":2: .*no length of time"),
                ("# why\nnbd please\nexpect moved\n", ":2: .*stands alone"),
                ("at 1s kill owner\nexpect moved\n", "comment at the head"),
                ("# why\nat 1s kill owner\n", "expects nothing"),
                ("# why\nexpect gap\n", ":2: .*gap wants within= or moves="),
                ("# why\nexpect gap moves=2\n", ":2: .*compares with a `move` above"),
                ("# why\nexpect down withn=1s\n", ":2: .*unknown option `withn`"),
                ("# why\nexpect wonders\n", ":2: .*unknown expectation")):
            with self.subTest(text), self.assertRaisesRegex(Mistake, wanted):
                scenario(text)


if __name__ == "__main__":
    unittest.main()
