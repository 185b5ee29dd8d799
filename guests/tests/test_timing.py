"""A `timing` for slow machines is one that the product accepts, and is left out where it is not needed."""
import os
import re
import subprocess
import tempfile
import unittest

from chaos.lab.shell import REPOSITORY
from guests.lab import places, timing


def check(document: str) -> subprocess.CompletedProcess[str]:
    """What `holdfast check` says about a document."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(document)
        file.flush()
        return subprocess.run(
            [places.binary(), "check", file.name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=30)


class Timing(unittest.TestCase):
    def test_the_defaults_need_no_line(self) -> None:
        self.assertEqual(timing.block(1.0), "")

    def test_a_slower_machine_gets_more_time(self) -> None:
        for is_emulated in (True, False):
            self.assertLess(timing.factor(50.0, is_emulated), timing.factor(100.0, is_emulated))

    def test_the_product_accepts_every_length(self) -> None:
        for slowdown in (9, 17, 40, 75):
            text = timing.block(timing.factor(slowdown, is_emulated=True) + slowdown / 7)
            with self.subTest(text):
                self.assertIn("timing:", text)
                said = check("cluster: prod\n" + text)
                self.assertEqual(said.returncode, 0, said.stdout)

    def test_the_product_refuses_one_length_alone(self) -> None:
        said = check("cluster: prod\n" + re.sub("lease: [0-9]+ms", "lease: 1000ms", timing.block(6.5)))
        self.assertNotEqual(said.returncode, 0, said.stdout)

    def test_the_defaults_are_those_of_the_documentation(self) -> None:
        with open(os.path.join(REPOSITORY, "docs", "configuration.md")) as file:
            text = file.read()
        for key, length in timing.DEFAULTS.items():
            shown = re.search(rf"(?m)^\| `{key}` \|.*\| `([0-9.]+)(ms|s)` \|$", text)
            assert shown is not None, key
            self.assertEqual(float(shown[1]) * {"ms": 1, "s": 1000}[shown[2]], length, key)


if __name__ == "__main__":
    unittest.main()
