"""A pause that is announced moves nothing, and the same pause unannounced does; docs/operating/hypervisors.md.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_pauses.py
"""
import os
import sys
import time
import unittest
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.cluster import binary  # noqa: E402
from chaos.lab.lab import NODES  # noqa: E402


@unittest.skipUnless(os.geteuid() == 0 and os.path.exists(binary()), "run as root, with the release binary built")
class Pauses(ClusterCase):
    purpose, nodes = "end-to-end-pauses", NODES

    def told_of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.cluster.events() if event["kind"] == kind]

    def test_pauses(self) -> None:
        self.cluster.apply(self.cluster.service_policy(nodes=["tok-1", "osk-1"]))
        self.assertEqual(self.cluster.wait_running(30), "tok-1")
        self.refused()
        self.announced()
        self.unannounced()

    def refused(self) -> None:
        for words, code, text in (
                (["--for", "6m"], 6, "at most 300 s"), (["--cancel"], 4, "no pause of tok-1 is expected"), ([], 2, "--for 20s"),
                (["--for", "20s", "--dry-run"], 0, "nothing is taken over")):
            result = self.cluster.run("osk-1", "node", "expect-pause", "tok-1", *words, check=False)
            self.assertEqual(result.returncode, code, result.stdout + result.stderr)
            self.assertIn(text, result.stdout + result.stderr)
        self.assertEqual(self.told_of("node.pause-expected"), [])

    def announced(self) -> None:
        node = self.lab.node("tok-1")
        self.cluster.run("osk-1", "leader", "transfer", "--to", "tok-1", "--yes", "--wait")
        self.cluster.run("osk-1", "node", "expect-pause", "tok-1", "--for", "20s")
        # The leader goes first, so that nobody is without one.
        self.cluster.wait_status("osk-1", lambda status: status["leader"] not in (None, "tok-1"), 10, "another node leads")
        notes = " ".join(self.cluster.told("osk-1")["notes"])
        self.assertIn("tok-1 is expected to pause", notes)
        leader = self.cluster.told("osk-1")["leader"]
        node.pause()
        time.sleep(10)
        status = self.cluster.told("osk-1")
        self.assertEqual(status["leader"], leader, "nobody was without a leader")
        self.assertEqual(self.cluster.group_of(status)["owner"], "tok-1", "nothing was taken over")
        node.resume()
        self.assertEqual(self.cluster.wait_running(30, on="tok-1", node="osk-1"), "tok-1")
        for kind in ("node.silent", "node.lost"):
            self.assertEqual(self.told_of(kind), [])
        self.cluster.run("tok-1", "node", "expect-pause", "tok-1", "--cancel")
        self.assertNotIn("expected to pause", " ".join(self.cluster.told("osk-1")["notes"]))
        self.assertEqual(len(self.told_of("node.pause-over")), 1)
        self.cluster.wait_healthy(60)

    def unannounced(self) -> None:
        node = self.lab.node("tok-1")
        node.pause()
        self.cluster.wait_running(30, on="osk-1", node="osk-1")
        node.resume()
        self.cluster.wait_status(None, self.cluster.all_up, 30, "tok-1 is back")
        self.assertEqual(len(self.told_of("node.lost")), 1)


if __name__ == "__main__":
    unittest.main()
