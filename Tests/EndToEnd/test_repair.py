"""The way to repair a file system that docs/repair.md gives, gone step by step.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_repair.py
"""
import json
import os
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.cluster import Cluster  # noqa: E402
from chaos.lab.lab import NODES, Lab  # noqa: E402


class Repair(unittest.TestCase):
    def setUp(self) -> None:
        self.lab = Lab("repair", NODES).up()
        self.cluster = Cluster(self.lab, name="prod")

    def tearDown(self) -> None:
        self.lab.down()

    def document(self, whole: bool) -> str:
        rest = """
      - { name: fs, agent: filesystem, volume: d, mount: /srv/d, type: ext4, format: if-blank }
      - { name: app, agent: exec, command: sleep infinity }""" if whole else ""
        return self.cluster.volume_policy() + f"""groups:
  orders:
    nodes: [{', '.join(self.cluster.members)}]
    resources:
      - {{ name: disk, agent: volume, volume: d }}{rest}
"""

    def opened(self) -> tuple[str, str]:
        """The volume alone; the node that has it, and its device there."""
        self.cluster.apply(self.document(whole=False), "repair.yaml")
        self.cluster.run(self.cluster.any_node(), "group", "start", "orders", "--wait")
        owner = self.cluster.wait_running(30)
        return owner, f"{self.lab.node(owner).run_directory}/volumes/d/device"

    def test_a_file_system_that_needs_a_person_is_repaired_through_the_mirror(self) -> None:
        self.cluster.form()
        self.cluster.apply(self.document(whole=True), "whole.yaml")
        owner = self.cluster.wait_running(30)
        self.lab.node(owner).run("echo kept >/srv/d/file && sync -f /srv/d")
        self.cluster.wait_in_sync(60)
        owner, device = self.opened()
        self.lab.node(owner).run(f"debugfs -w -R 'clri <2>' {device}")
        self.cluster.apply(self.document(whole=True), "whole.yaml")
        status = self.cluster.wait_status(
            None, lambda s: self.cluster.group_of(s)["state"] in ("failed", "waiting", "parked"), 60, "it cannot be mounted")
        self.assertIn("holdfast volume allow-repair d", str(status))
        words = ["volume", "allow-repair", "d"]
        asked = self.cluster.run(self.cluster.any_node(), *words, "--dry-run", "-o", "json").stdout
        self.cluster.run(self.cluster.any_node(), *words, "--statement", json.loads(asked)["statement"])
        self.cluster.run(self.cluster.any_node(), "group", "start", "orders", check=False)
        status = self.cluster.wait_status(
            None, lambda s: "docs/repair.md" in str(s), 60, "it is no damage that repairs itself")
        self.assertNotIn("e2fsck -f /dev", str(status))
        owner, device = self.opened()
        repaired = self.lab.node(owner).run(f"e2fsck -fy {device}", check=False)
        self.assertEqual(repaired.returncode & ~3, 0, repaired.stdout)
        self.cluster.apply(self.document(whole=True), "whole.yaml")
        self.cluster.run(self.cluster.any_node(), "group", "start", "orders", "--wait")
        owner = self.cluster.wait_running(60)
        found = self.lab.node(owner).run("cat /srv/d/file /srv/d/lost+found/* 2>/dev/null", check=False).stdout
        self.assertIn("kept", found)


if __name__ == "__main__":
    unittest.main()
