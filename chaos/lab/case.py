"""What classes of tests share that ask a running cluster."""
import os
import subprocess
import tempfile
import unittest
from collections.abc import Sequence
from typing import ClassVar

from chaos.lab.cluster import Cluster
from chaos.lab.lab import Lab
from chaos.lab.shell import REPOSITORY


class ClusterCase(unittest.TestCase):
    """One laboratory for all of a class: `purpose` names it, `nodes` is what it has, `disks` what `Lab` takes; `lab` and `cluster`
    are for the tests."""

    purpose: ClassVar[str] = ""
    nodes: ClassVar[Sequence[tuple[str, str, str]]] = ()
    disks: ClassVar[tuple[int, str] | None] = None
    lab: ClassVar[Lab]
    cluster: ClassVar[Cluster]

    @classmethod
    def setUpClass(cls) -> None:
        cls.lab = Lab(cls.purpose, cls.nodes, disks=cls.disks).up()
        try:
            cls.cluster = Cluster(cls.lab, name="prod")
            cls.cluster.form()
        except BaseException:
            cls.lab.keep_files = True
            cls.lab.down()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        cls.lab.down()

    def said(self, node: str, *words: str, code: int = 0) -> str:
        """What a command prints, which must end with this code."""
        result = self.cluster.run(node, *words, check=False, timeout=90)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result.stdout + result.stderr


class WrongClockCase(unittest.TestCase):
    """A laboratory for each test, in which wall clocks may be wrong: `setUp` makes `lab` and `cluster`."""

    place: ClassVar[str]
    shim: ClassVar[str]
    lab: Lab
    cluster: Cluster

    @classmethod
    def setUpClass(cls) -> None:
        cls.place = tempfile.mkdtemp(prefix="holdfast-clock-")
        cls.shim = os.path.join(cls.place, "wrong_clock.so")
        source = os.path.join(REPOSITORY, "Tests", "EndToEnd", "wrong_clock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", cls.shim, source], check=True)

    @classmethod
    def tearDownClass(cls) -> None:
        os.unlink(cls.shim)
        os.rmdir(cls.place)

    def tearDown(self) -> None:
        self.lab.down()

    def shift(self, name: str, seconds: float) -> None:
        """The next daemon of this node lives so many seconds later, by its wall clock."""
        words = {"LD_PRELOAD": self.shim, "WRONG_CLOCK_SECONDS": str(seconds)}
        self.cluster.environments[name] = self.cluster.environments.get(name, {}) | words
