"""Tests that ask a running cluster of three: one laboratory for all of a class."""
import unittest

from chaos.lab.cluster import Cluster
from chaos.lab.lab import Lab


class ClusterCase(unittest.TestCase):
    """`purpose` names the laboratory, `nodes` what it has; `lab` and `cluster` are there for the tests."""

    purpose = ""
    nodes = ()

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(cls.purpose, cls.nodes).up()
        try:
            cls.cluster = Cluster(cls.lab, name="prod")
            cls.cluster.form()
        except BaseException:
            cls.lab.keep_files = True
            cls.lab.down()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.lab.down()
