"""Every scenario file can be used, and a mistake in one is explained."""
import glob
import os
import tempfile
import unittest

from chaos.scenario import Mistake, Scenario

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scenarios")


class Files(unittest.TestCase):
    def test_every_file_is_understood(self):
        paths = sorted(glob.glob(os.path.join(FOLDER, "*.txt")))
        self.assertGreater(len(paths), 20)
        for path in paths:
            with self.subTest(path):
                scenario = Scenario(path)
                times = [at for at, _ in scenario.schedule(7)]
                self.assertLess(max(times, default=0), scenario.length)

    def test_a_seed_fixes_every_time(self):
        scenario = Scenario(os.path.join(FOLDER, "owner-killed-service.txt"))
        once, twice, other = scenario.schedule(1), scenario.schedule(1), scenario.schedule(2)
        self.assertEqual([at for at, _ in once], [at for at, _ in twice])
        self.assertNotEqual([at for at, _ in once], [at for at, _ in other])

    def test_mistakes_name_line_and_remedy(self):
        for text, wanted in (
                ("# why\nat 1s explode owner\nexpect single-owner\n", ":2: .*unknown fault; there are kill"),
                ("# why\nat soon kill owner\nexpect single-owner\n", ":2: .*no length of time"),
                ("# why\nat 1s kill\nexpect single-owner\n", ":2: .*wants 1 words"),
                ("at 1s kill owner\nexpect single-owner\n", "comment at the head"),
                ("# why\nat 1s kill owner\n", "expects nothing")):
            with self.subTest(text), tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
                file.write(text)
                file.flush()
                self.assertRaisesRegex(Mistake, wanted, Scenario, file.name)


if __name__ == "__main__":
    unittest.main()
