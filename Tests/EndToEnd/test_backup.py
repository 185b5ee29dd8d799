"""All machines of a cluster are lost; new ones begin with its backup and, on one of them, with the disk that was saved.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_backup.py
"""
import json
import os
import shutil
import sys
import unittest
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.cluster import binary  # noqa: E402
from chaos.lab.lab import NODES  # noqa: E402

FILE = "/var/lib/holdfast/prod.backup"


@unittest.skipUnless(os.geteuid() == 0 and os.path.exists(binary()), "run as root, with the release binary built")
class Backup(ClusterCase):
    purpose, nodes = "end-to-end-backup", NODES

    def policy(self) -> str:
        return self.cluster.volume_policy() + """groups:
  orders:
    nodes: [tok-1, osk-1]
    resources:
      - { name: disk, agent: volume, volume: d }
      - { name: fs, agent: filesystem, volume: d, mount: /srv/d, type: ext4, format: if-blank }
"""

    def group(self) -> dict[str, Any]:
        status = self.cluster.status("tok-1")
        self.assertIsNotNone(status)
        return status["groups"][0] if status else {}

    def host(self, path: str, node: str) -> str:
        """Where a file of a node's state directory lies outside of it."""
        return os.path.join(self.lab.node(node).directory, "state", os.path.basename(path))

    def test_a_cluster_that_begins_anew(self) -> None:
        self.cluster.apply(self.policy())
        self.cluster.wait_healthy(60)
        self.cluster.run("tok-1", "group", "move", "orders", "--to", "tok-1", "--yes", "--wait", check=False)
        self.lab.node("tok-1").run("echo precious >/srv/d/file && sync -f /srv/d")
        self.said("tok-1", "attribute", "put", "site-of-record", "tokyo")
        text = self.said("tok-1", "cluster", "backup", FILE)
        self.assertIn("had agreed on up to entry", text)
        self.assertIn("is there already", self.said("tok-1", "cluster", "backup", FILE, code=6))
        self.said("osk-1", "cluster", "backup", FILE, "--stale")
        self.assertEqual(os.stat(self.host(FILE, "tok-1")).st_mode & 0o777, 0o600)
        # It goes on after the backup: the copy is started anew, and written to.
        self.said("tok-1", "group", "move", "orders", "--to", "osk-1", "--yes", "--wait")
        self.lab.node("osk-1").run("echo later >/srv/d/later && sync -f /srv/d")
        self.said("osk-1", "group", "stop", "orders", "--yes", "--wait")
        self.lose_all()
        self.restore()
        self.join()
        self.sign()

    def lose_all(self) -> None:
        """Nothing is left but the backup and the disk that osk-1 had, which is put into the machine that becomes tok-1."""
        saved = {name: os.path.join(self.lab.node(name).directory, f"saved-{name}") for name in ("tok-1", "osk-1")}
        backing = "d.img"
        shutil.copy(self.host(FILE, "tok-1"), saved["tok-1"])
        for node in self.lab.nodes.values():
            node.power_off()
        shutil.copy(self.host(backing, "osk-1"), saved["osk-1"])
        for node in self.lab.nodes.values():
            state = os.path.join(node.directory, "state")
            shutil.rmtree(state)
            os.mkdir(state)
        shutil.copy(saved["tok-1"], self.host(FILE, "tok-1"))
        shutil.copy(saved["osk-1"], self.host(backing, "tok-1"))

    def restore(self) -> None:
        node = self.lab.node("tok-1")
        node.boot()
        about = self.cluster.about(node)
        damaged = self.host(FILE, "tok-1") + ".damaged"
        with open(self.host(FILE, "tok-1")) as file:
            content = json.load(file)
        state = content["state"]
        middle = len(state) // 2
        content["state"] = state[:middle] + ("B" if state[middle] == "A" else "A") + state[middle + 1:]
        with open(damaged, "w") as file:
            json.dump(content, file)
        self.assertIn("checksum", self.said("tok-1", "cluster", "restore", FILE + ".damaged", *about, code=1))
        self.assertIn("would begin anew", self.said("tok-1", "cluster", "restore", FILE, *about, "--dry-run"))
        text = self.said("tok-1", "cluster", "restore", FILE, *about, "--yes")
        self.assertIn("takes the place of osk-1, of wit-1", text)
        self.assertIn("holdfast volume accept-loss d", text)
        self.cluster.start_daemon("tok-1")
        self.cluster.wait_status("tok-1", lambda status: status["leader"] == "tok-1", 30, "tok-1 leads")
        self.assertIn("tokyo", self.said("tok-1", "attribute", "get", "site-of-record"))
        self.assertIn("begins anew with the backup that tok-1 made", self.said("tok-1", "events"))
        self.assertNotIn("begins", self.said("tok-1", "cluster", "restore", FILE, *about, "--yes", code=1))

    def join(self) -> None:
        for name in ("osk-1", "wit-1"):
            node = self.lab.node(name)
            node.boot()
            token = json.loads(self.cluster.run("tok-1", "token", "-o", "json").stdout)["token"]
            self.said(name, "join", token, *self.cluster.about(node), "--replace")
            self.cluster.start_daemon(name)
        self.cluster.wait_status(
            "tok-1", lambda status: all(node["state"] == "up" for node in status["nodes"] if "~" not in node["name"])
            and len([node for node in status["nodes"] if node["state"] == "up"]) == 3, 60, "three nodes are up")

    def sign(self) -> None:
        """Nothing is used before a person has said which copy: then it is as it was when its disk was saved."""
        self.assertNotEqual(self.group()["state"], "running")
        self.assertNotIn("precious", self.lab.node("tok-1").run("cat /srv/d/file", check=False).stdout)
        looked = self.said("tok-1", "volume", "accept-loss", "d", "--node", "tok-1", "--dry-run")
        statement = looked.split('--statement "')[1].split('"')[0]
        self.said("tok-1", "volume", "accept-loss", "d", "--node", "tok-1", "--statement", statement)
        self.said("tok-1", "group", "start", "orders", "--wait", "--timeout", "60s")
        self.assertEqual(self.group()["owner"], "tok-1", "the copy that was signed for is there")
        files = self.lab.node("tok-1").run("cat /srv/d/file /srv/d/later").stdout
        self.assertEqual(files, "precious\nlater\n")
        self.cluster.wait_healthy(90)
        self.said("tok-1", "group", "move", "orders", "--to", "osk-1", "--yes", "--wait")
        files = self.lab.node("osk-1").run("cat /srv/d/file /srv/d/later").stdout
        self.assertEqual(files, "precious\nlater\n", "the other copy was compared as a whole, and made equal")


if __name__ == "__main__":
    binary()
    unittest.main()
