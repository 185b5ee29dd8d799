"""Tests that ask a running cluster of three: one laboratory for all of a class."""
import unittest
from collections.abc import Sequence
from typing import ClassVar

from chaos.lab.cluster import Cluster
from chaos.lab.lab import Lab


class ClusterCase(unittest.TestCase):
    """`purpose` names the laboratory, `nodes` what it has; `lab` and `cluster` are there for the tests."""

    purpose: ClassVar[str] = ""
    nodes: ClassVar[Sequence[tuple[str, str, str]]] = ()
    lab: ClassVar[Lab]
    cluster: ClassVar[Cluster]

    @classmethod
    def setUpClass(cls) -> None:
        cls.lab = Lab(cls.purpose, cls.nodes).up()
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
