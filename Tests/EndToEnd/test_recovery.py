"""Two of three nodes are believed dead; the last one goes on, and they come back one by one, as docs/operating/majority.md says.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_recovery.py
"""
import json
import os
import shutil
import sys
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.cluster import binary  # noqa: E402
from chaos.lab.lab import NODES  # noqa: E402

OTHER = "written-by-the-side-that-was-left-behind"


@unittest.skipUnless(os.geteuid() == 0 and os.path.exists(binary()), "run as root, with the release binary built")
class Recovery(ClusterCase):
    purpose, nodes = "end-to-end-recovery", NODES

    def wait_for_words(self, node: str, words: str, seconds: float = 30) -> str:
        deadline = time.monotonic() + seconds
        while True:
            text = self.cluster.run(node, "status", check=False).stdout
            if words in text:
                return text
            if time.monotonic() > deadline:
                self.fail(f"`{words}` is not in what {node} says:\n{text}")
            time.sleep(0.2)

    def policy(self) -> str:
        return self.cluster.volume_policy() + f"""groups:
  orders:
    nodes: [tok-1, osk-1]
    resources:
      - {{ name: disk, agent: volume, volume: d }}
      - {{ name: fs, agent: filesystem, volume: d, mount: /srv/d, type: ext4, format: if-blank }}
  pulse:
    nodes: [osk-1, tok-1]
    resources:
      - {{ name: pulse, agent: exec, command: "{self.cluster.heartbeat} {self.cluster.pulses}" }}
"""

    def test_a_lost_majority(self) -> None:
        self.cluster.apply(self.policy())
        self.cluster.wait_healthy(60)
        self.cluster.run("tok-1", "group", "move", "orders", "--to", "tok-1", "--yes", "--wait", check=False)
        self.lab.node("tok-1").run("echo precious >/srv/d/file && sync -f /srv/d")
        self.said("tok-1", "attribute", "put", "site-of-record", "tokyo")
        preview = self.said("tok-1", "cluster", "recover", "--preview")
        self.assertIn("a majority is alive", preview)
        self.assertIn("a majority is alive", self.said(
            "tok-1", "cluster", "recover", "--execute", "--dead", "osk-1", "--dead", "wit-1", "--yes", "--statement", "x", code=6))
        # The two others are cut off, and go on: tok-1 cannot know that, and its operator believes them dead.
        self.lab.partition(["tok-1"], ["osk-1", "wit-1"])
        self.wait_for_words("tok-1", "no majority of voters answers")
        self.cluster.wait_status(
            "osk-1", lambda status: all(g["state"] == "running" and g["owner"] == "osk-1" for g in status["groups"]), 60,
            "both groups run on osk-1")
        self.lab.node("osk-1").run(f"echo {OTHER} >/srv/d/other && sync -f /srv/d")
        self.go_on()
        self.old_majority_returns()
        self.come_back()

    def go_on(self) -> None:
        """tok-1 alone forms a new generation; nothing is believed that a person has not signed for."""
        deadline = time.monotonic() + 20
        while "To go on" not in (preview := self.said("tok-1", "cluster", "recover", "--preview")):
            self.assertLess(time.monotonic(), deadline, preview)
            time.sleep(0.5)
        self.assertIn("holdfast cluster recover --execute --dead osk-1 --dead wit-1", preview)
        self.assertIn("volume d:", preview)
        self.assertIn("nothing was said about wit-1", self.said(
            "tok-1", "cluster", "recover", "--execute", "--dead", "osk-1", "--statement", "x", code=6))
        unsigned = self.said("tok-1", "cluster", "recover", "--execute", "--dead", "osk-1", "--dead", "wit-1", code=6)
        statement = unsigned.split('--statement "')[1].split('"')[0]
        began = time.monotonic()
        self.said(
            "tok-1", "cluster", "recover", "--execute", "--dead", "osk-1", "--dead", "wit-1", "--start-although-unproven",
            "--statement", statement)
        self.assertLess(time.monotonic() - began, 30)
        self.wait_for_words("tok-1", "accept-loss d")
        self.assertIn("tokyo", self.said("tok-1", "attribute", "get", "site-of-record"))
        signed = self.said("tok-1", "volume", "accept-loss", "d", "--node", "tok-1", "--dry-run")
        statement = signed.split('--statement "')[1].split('"')[0]
        self.said("tok-1", "volume", "accept-loss", "d", "--node", "tok-1", "--statement", statement)
        self.cluster.wait_status(
            "tok-1", lambda status: all(g["state"] == "running" for g in status["groups"]), 60, "both groups run on tok-1")
        self.assertEqual(self.lab.node("tok-1").run("cat /srv/d/file").stdout, "precious\n")

    def old_majority_returns(self) -> None:
        """The others, who were alive, hear of it: they are refused, and run nothing any more, also after a restart."""
        self.assertNotEqual(self.lab.node("osk-1").find("service"), [])
        self.lab.heal()
        for name in ("osk-1", "wit-1"):
            self.wait_for_words(name, "was left behind by generation 1")
        deadline = time.monotonic() + 10
        while self.lab.node("osk-1").find("service"):
            self.assertLess(time.monotonic(), deadline, "osk-1 runs on")
            time.sleep(0.1)
        self.assertNotIn("/srv/d", self.lab.node("osk-1").run("cat /proc/mounts").stdout)
        for name in ("osk-1", "wit-1"):
            self.lab.node(name).signal("daemon", 9)
        time.sleep(1)
        for name in ("osk-1", "wit-1"):
            self.wait_for_words(name, "was left behind by generation 1")
        self.assertEqual(self.lab.node("osk-1").find("service"), [])
        self.assertIn("tok-1 follows a leader", self.said("osk-1", "cluster", "recover", "--preview"))
        self.cluster.wait_status(
            "tok-1", lambda status: all(g["state"] == "running" for g in status["groups"]), 20, "nothing has changed on tok-1")

    def other_side_is_in_the_copy(self) -> bool:
        return self.lab.node("osk-1").run(f"grep -aq {OTHER} /var/lib/holdfast/d.img", check=False).returncode == 0

    def come_back(self) -> None:
        """One comes back with an empty log and its copy, the other as a new machine; then all is as it was."""
        self.lab.node("tok-1").run("for n in $(seq 200); do echo $n; done >/srv/d/more && sync -f /srv/d")
        time.sleep(2)
        self.assertTrue(self.other_side_is_in_the_copy(), "nobody has given the order, and it is overwritten")
        self.said("osk-1", "cluster", "rejoin", "--yes")
        self.cluster.wait_status(
            "tok-1", lambda status: all(r["inSync"] for v in status["volumes"] for r in v["replicas"]), 60,
            "the copy on osk-1 is in sync")
        node = self.lab.node("wit-1")
        node.power_off()
        shutil.rmtree(os.path.join(node.directory, "state"))
        os.mkdir(os.path.join(node.directory, "state"))
        # The founder is no more special than any other member.
        token = json.loads(self.cluster.run("osk-1", "token", "-o", "json").stdout)["token"]
        node.boot()
        self.said("wit-1", "join", token, *self.cluster.about(node), "--replace")
        self.cluster.start_daemon("wit-1")
        self.cluster.wait_healthy(90)
        self.assertIn("any one may fail", self.said("tok-1", "status"))
        self.said("tok-1", "group", "move", "orders", "--to", "osk-1", "--yes", "--wait")
        files = self.lab.node("osk-1").run("ls /srv/d; cat /srv/d/file").stdout
        self.assertIn("precious", files)
        self.assertNotIn("other", files, "what was written on the side that was left behind is gone, on every copy")
        self.assertIn("tokyo", self.said("osk-1", "attribute", "get", "site-of-record"))


if __name__ == "__main__":
    binary()
    unittest.main()
