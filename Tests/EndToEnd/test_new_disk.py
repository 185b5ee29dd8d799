"""A node's disk is lost with all that was on it, and a new one takes its place, as docs/disk.md says.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_new_disk.py
"""
import json
import os
import shutil
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.cluster import binary  # noqa: E402
from chaos.lab.lab import NODES  # noqa: E402

KEPT = "node.json", "tls"


class NewDisk(ClusterCase):
    purpose, nodes = "new-disk", NODES

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.cluster.apply(cls.policy())
        cls.cluster.wait_healthy(60)

    @classmethod
    def policy(cls) -> str:
        return cls.cluster.volume_policy() + f"""groups:
  orders:
    nodes: [{', '.join(cls.cluster.members)}]
    resources:
      - {{ name: disk, agent: volume, volume: d }}
      - {{ name: fs, agent: filesystem, volume: d, mount: /srv/d, type: ext4, format: if-blank }}
"""

    def exchange(self, name: str, owner: str) -> None:
        """The power fails; the disk that the machine boots from next is empty."""
        node = self.lab.node(name)
        node.power_off()
        self.cluster.wait_status(
            owner, lambda status: any(n["name"] == name and n["state"] != "up" for n in status["nodes"]), 20,
            f"{name} is missed")
        state = os.path.join(node.directory, "state")
        for entry in os.listdir(state):
            path = os.path.join(state, entry)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)

    def test_what_was_kept_of_a_node_brings_it_back_with_its_copies(self) -> None:
        owner = self.cluster.wait_running(30)
        other = next(name for name in self.cluster.members if name != owner)
        kept = os.path.join(self.lab.directory, "kept")
        os.mkdir(kept)
        self.lab.node(other).run(f"cp -a /var/lib/holdfast/{KEPT[0]} /var/lib/holdfast/{KEPT[1]} {kept}")
        self.exchange(other, owner)
        self.lab.node(owner).run("echo precious >/srv/d/file && sync -f /srv/d")

        node = self.lab.node(other)
        node.boot()
        token = json.loads(self.cluster.run(owner, "token", "-o", "json").stdout)["token"]
        said = self.cluster.run(other, "join", token, *self.cluster.about(node), check=False)
        self.assertEqual(said.returncode, 6)
        self.assertIn(f"a node named {other} exists already", said.stderr)

        node.run(f"cp -a {kept}/* /var/lib/holdfast/")
        self.cluster.start_daemon(other)
        self.cluster.wait_healthy(60)
        self.cluster.run(owner, "group", "move", "orders", "--to", other, "--yes", "--wait")
        self.cluster.wait_running(30, on=other)
        self.assertEqual(node.run("cat /srv/d/file").stdout, "precious\n")
        status = self.cluster.run(owner, "status").stdout
        self.assertIn("3 of 3 nodes up, any one may fail", status)


if __name__ == "__main__":
    binary()
    unittest.main()
