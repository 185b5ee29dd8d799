"""A volume server that is killed under PostgreSQL: it is opened again, and nothing that runs on the volume notices.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_volume_server.py
"""
import os
import signal
import sys
import unittest
from typing import ClassVar

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.cluster import Cluster, binary  # noqa: E402
from chaos.lab.lab import NODES, Lab  # noqa: E402
from chaos.lab.shell import clock, wait_until  # noqa: E402
from chaos.workload import checkers  # noqa: E402
from chaos.workload.database import found_rows  # noqa: E402


@unittest.skipIf(os.path.exists("/sys/module/nbd"), "the kernel's nbd attaches volumes here")
class VolumeServer(unittest.TestCase):
    lab: ClassVar[Lab]
    cluster: ClassVar[Cluster]

    @classmethod
    def setUpClass(cls) -> None:
        cls.lab = Lab("end-to-end-volume-server", NODES).up()
        try:
            cls.cluster = Cluster(cls.lab, name="prod")
            cls.cluster.form()
            cls.cluster.apply(cls.cluster.database_policy(size="256MiB"))
            cls.cluster.wait_running(180)
            cls.cluster.wait_in_sync()
        except BaseException:
            cls.lab.keep_files = True
            cls.lab.down()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        cls.lab.down()

    def test_a_killed_server_is_opened_again_under_the_database(self) -> None:
        history = os.path.join(self.lab.directory, "rows")
        self.lab.client_python(
            os.path.join(ROOT, "chaos", "workload", "writer.py"), self.cluster.floating, history, "--pause", "0.015",
            log=os.path.join(self.lab.directory, "writer.log"))

        def accepted_after(instant: float) -> None:
            wait_until(
                lambda: checkers.first_acknowledged_after(checkers.read_rows(history), instant + 0.05), 60,
                "a row is accepted", step=0.1)

        accepted_after(0)
        owner = self.cluster.wait_running()
        node = self.lab.node(owner)
        before = node.find("postgres"), node.find("volume-device")
        self.assertTrue(all(before), before)
        for _ in range(3):
            killed = clock()
            self.assertEqual(node.signal("volume-server", signal.SIGKILL), 1)
            accepted_after(killed + 1)
            gap = checkers.longest_gap(checkers.read_rows(history), since=killed - 0.2)[0]
            print(f"longest gap between rows {gap:.2f} s", file=sys.stderr)
            self.cluster.wait_healthy(60)
        self.assertEqual(self.cluster.owner(), owner)
        self.assertEqual((node.find("postgres"), node.find("volume-device")), before)
        entries = checkers.read_rows(history)
        last = max(entry["row"] for entry in entries)
        found = [row for row in found_rows(self.lab, self.cluster.floating) if row <= last]
        self.assertGreater(checkers.check_rows(entries, found)[0], 0)


if __name__ == "__main__":
    binary()
    unittest.main()
