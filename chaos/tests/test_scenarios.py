"""Every scenario file can be used, and a mistake in one is explained."""
import glob
import os
import tempfile
import unittest

from chaos.scenario import Scenario
from chaos.words import Mistake

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scenarios")


class Files(unittest.TestCase):
    def test_every_file_is_understood(self) -> None:
        paths = sorted(glob.glob(os.path.join(FOLDER, "*.txt")))
        self.assertGreater(len(paths), 20)
        for path in paths:
            with self.subTest(path):
                scenario = Scenario(path)
                times = [at for at, _ in scenario.schedule(7)]
                self.assertLess(max(times, default=0), scenario.length)

    def test_a_seed_fixes_every_time(self) -> None:
        scenario = Scenario(os.path.join(FOLDER, "owner-killed-service.txt"))
        once, twice, other = scenario.schedule(1), scenario.schedule(1), scenario.schedule(2)
        self.assertEqual([at for at, _ in once], [at for at, _ in twice])
        self.assertNotEqual([at for at, _ in once], [at for at, _ in other])

    def test_mistakes_name_line_and_remedy(self) -> None:
        for text, wanted in (
                ("# why\nat 1s explode owner\nexpect single-owner\n", ":2: .*unknown fault; there are kill"),
                ("# why\nat soon kill owner\nexpect single-owner\n", ":2: .*no length of time"),
                ("# why\nat 1s kill\nexpect single-owner\n", ":2: .*wants 1 words"),
                ("at 1s kill owner\nexpect single-owner\n", "comment at the head"),
                ("# why\nat 1s kill owner\n", "expects nothing"),
                ("# why\npolicy takover=immediate\nexpect stayed\n", ":2: .*unknown option `takover` of policy"),
                ("# why\npolicy takeover=soon\nexpect stayed\n", ":2: .*takeover wants after-lease or immediate"),
                ("# why\nat 1s kill owner\nexpect recovered withn=1s\n", ":3: .*unknown option `withn`"),
                ("# why\nat 1s kill owner\nexpect recovered within=1 fault=1\n", ":3: .*no length of time"),
                ("# why\nat 1s kill owner\nexpect recovered within=1s falt=3\n", ":3: .*unknown option `falt`"),
                ("# why\nat 1s kill owner\nexpect recovered fault=2\n", ":3: .*there are 1 `at` lines"),
                ("# why\nat 1s kill owner\nexpect healthy\n", ":3: .*unknown expectation"),
                ("# why\nat 1s cut owner rest oneway=yes\nexpect stayed\n", ":2: .*unknown option `oneway`"),
                ("# why\nat 1s wan tokyo lss=3\nexpect stayed\n", ":2: .*unknown option `lss`"),
                ("# why\nwan tokyo dely=3\nexpect stayed\n", ":2: .*unknown option `dely`"),
                ("# why\nat 1s kill ownr\nexpect stayed\n", ":2: .*kill wants tok-1, .*not `ownr`"),
                ("# why\nat 1s kill-process owner gaurd\nexpect stayed\n", ":2: .*wants daemon, guard.*not `gaurd`"),
                ("# why\nat 1s cut owner,tok-7 rest\nexpect stayed\n", ":2: .*not `tok-7`"),
                ("# why\nat 1s cut owner rest one-way=no\nexpect stayed\n", ":2: .*one-way is yes, or is left out"),
                ("# why\nat 1s cut owner rest port=7400 port=7410\nexpect stayed\n", ":2: .*port is said twice"),
                ("# why\nat 1s change count=many\nexpect stayed\n", ":2: .*count wants a number"),
                ("# why\nat 1s transfer to=osaka\nexpect stayed\n", ":2: .*to wants tok-1"),
                ("# why\nat 4s..2s kill owner\nexpect stayed\n", ":2: .*no length of time and no range"),
                ("# why\nat 1s disk-full owner\nexpect stayed\n", "only with a line such as `disks"),
                ("# why\nat 1s kill owner\nexpect recovered by=rows\n", ":3: .*by is service, or is left out"),
                ("# why\nquick yes\nexpect stayed\n", ":2: .*`quick` wants 0 words"),
                ("# why\ndisks at=/srv\nexpect stayed\n", ":2: .*say how large"),
                ("# why\nattributes\nexpect linearizable\n", ":2: .*say how many"),
                ("# why\nexpect linearizable\n", "go together"),
                ("# why\nattributes clients=6\nexpect stayed\n", "go together"),
                ("# why\nexpects stayed\n", ":2: .*a line begins with")):
            with self.subTest(text), tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
                file.write(text)
                file.flush()
                self.assertRaisesRegex(Mistake, wanted, Scenario, file.name)


if __name__ == "__main__":
    unittest.main()
