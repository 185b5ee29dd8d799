"""Slow disks, which are no hung ones: under the log of one voter, of the leader, and of all. Nobody loses a lease, puts go on.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_slow_disk.py
HOLDFAST_SLOW_SECONDS (4) says how long each stays slow, HOLDFAST_GROUPS (50) how many groups run.
"""
import http.client
import json
import os
import sys
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.api import Connection  # noqa: E402
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.cluster import binary  # noqa: E402
from chaos.lab.disk import Disk  # noqa: E402
from chaos.lab.lab import NODES  # noqa: E402

SECONDS = float(os.environ.get("HOLDFAST_SLOW_SECONDS", "4"))
GROUPS = int(os.environ.get("HOLDFAST_GROUPS", "50"))


class Putter(threading.Thread):
    """Puts one attribute after the other on one node, and keeps when each was answered."""

    def __init__(self, case: "SlowDisks", name: str) -> None:
        super().__init__(daemon=True)
        self.case, self.name, self.ends = case, name, False
        self.answered: list[float] = []
        self.failed: list[str] = []

    def run(self) -> None:
        node = self.case.lab.node(self.name)
        while not self.ends:
            connection = Connection(node.path(f"{node.run_directory}/api.sock"))
            try:
                connection.request(
                    "POST", f"/v1/attributes/cluster/put.{self.name}/put",
                    json.dumps({"value": str(len(self.answered)), "lifetime": "forever"}))
                answer = connection.getresponse()
                body = answer.read().decode()
                if answer.status == 200:
                    self.answered.append(time.monotonic())
                else:
                    self.failed.append(body)
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
            connection.close()


@unittest.skipUnless(os.geteuid() == 0 and os.path.exists(binary()), "run as root, with the release binary built")
class SlowDisks(ClusterCase):
    purpose, nodes, disks = "end-to-end-slow", NODES, (96 << 20, "/var/lib/holdfast")

    def test_slow_disks(self) -> None:
        self.cluster.apply(self.policy())
        self.cluster.wait_status(
            "tok-1", lambda status: len(status["groups"]) == GROUPS + 1
            and all(group["state"] == "running" for group in status["groups"]), 120, f"{GROUPS} groups run")
        services = {name: self.lab.node(name).find("service") for name in self.lab.nodes}
        for milliseconds in (50, 200):
            leader = self.cluster.told()["leader"]
            voter = next(name for name in self.lab.nodes if name != leader)
            for what, names in ((f"{voter}, which does not lead", [voter]), (f"{leader}, the leader", [leader]),
                                ("all", list(self.lab.nodes))):
                self.slow(what, names, milliseconds)
        self.assertEqual({name: self.lab.node(name).find("service") for name in self.lab.nodes}, services)

    def slow(self, what: str, names: list[str], milliseconds: int) -> None:
        before = self.changes()
        putters = [Putter(self, name) for name in self.cluster.members]
        disks = [self.disk(name) for name in names]
        for disk in disks:
            disk.slow(milliseconds)
        began = time.monotonic()
        for putter in putters:
            putter.start()
        time.sleep(SECONDS)
        for putter in putters:
            putter.ends = True
        for putter in putters:
            putter.join()
        changes = self.changes() - before
        for disk in disks:
            disk.answer()
        times = sorted([began, *(at for putter in putters for at in putter.answered)])
        gap = max((later - earlier for earlier, later in zip(times, times[1:])), default=SECONDS)
        failed = [line for putter in putters for line in putter.failed]
        print(f"the disk of {what} answers every {milliseconds} ms: {(len(times) - 1) / SECONDS:.0f} puts/s, "
              f"{gap:.2f} s without one at most, the lead changed {changes} times", file=sys.stderr)
        self.assertEqual(failed, [], what)
        for putter in putters:
            self.assertTrue(putter.answered, f"nothing was put on {putter.name}: {what}")
        harm = [event for event in self.cluster.events() if event["kind"] in ("node.silent", "node.lost", "group.recovered")]
        self.assertEqual(harm, [], what)
        # A leader whose disk is the only slow one may hand over. (Rule C10)
        self.assertLessEqual(changes, 1, what)

    def changes(self) -> int:
        """How often somebody began to lead."""
        count = 0
        for node in self.lab.nodes.values():
            with open(node.daemon_log) as log:
                count += log.read().count("leads term")
        return count

    def disk(self, name: str) -> Disk:
        disk = self.lab.node(name).disk
        assert disk is not None
        return disk

    def policy(self) -> str:
        text = self.cluster.service_policy(nodes=["tok-1", "osk-1"])
        for number in range(GROUPS):
            first, second = ("tok-1", "osk-1") if number % 2 else ("osk-1", "tok-1")
            text += (f"  load-{number}:\n    nodes: [{first}, {second}]\n"
                     f"    resources: [{{ name: s, agent: exec, command: sleep 100000, checkInterval: 0s }}]\n")
        return text


if __name__ == "__main__":
    unittest.main()
