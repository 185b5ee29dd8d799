"""Nodes without a vote tell each other nothing by themselves, and each says in `status` what is so of all (J7).

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_observers.py
"""
import os
import re
import sys
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.cluster import binary  # noqa: E402
from chaos.lab.lab import NODES  # noqa: E402
from chaos.lab.shell import wait_until  # noqa: E402

MORE = [*NODES, ("obs-1", "tokyo", "observer"), ("obs-2", "osaka", "observer")]


@unittest.skipUnless(os.geteuid() == 0 and os.path.exists(binary()), "run as root, with the release binary built")
class Observers(ClusterCase):
    purpose, nodes = "end-to-end-observers", MORE

    def sent(self, node: str, other: str) -> int:
        """Bytes that a node has sent on its connections to another one's daemon."""
        address = self.lab.node(other).address
        printed = self.lab.node(node).run(f"ss -tinH dst {address}:7400").stdout
        return sum(int(count) for count in re.findall(r"bytes_sent:(\d+)", printed))

    def sent_within(self, seconds: float, node: str, other: str) -> int:
        before = self.sent(node, other)
        self.assertGreater(before, 0, f"{node} is linked to {other}")
        time.sleep(seconds)
        return self.sent(node, other) - before

    def test_observers(self) -> None:
        self.cluster.apply(self.cluster.service_policy(nodes=["obs-1", "obs-2"]))
        self.assertEqual(self.cluster.wait_running(30), "obs-1")
        wait_until(lambda: self.sent_within(3, "obs-2", "obs-1") == 0, 30, "obs-2 tells obs-1 nothing by itself")
        self.assertGreater(self.sent_within(3, "obs-2", "tok-1"), 1000)
        told = self.cluster.told("obs-2")
        other = next(node for node in told["nodes"] if node["name"] == "obs-1")
        self.assertLess(other["lastHeardSeconds"], 2, "as the voter that it asked has heard")
        self.assertIn("programs", other)
        group = self.cluster.group_of(told)
        self.assertEqual((group["state"], group["owner"]), ("running", "obs-1"))
        self.assertTrue(all(resource["state"] == "running" for resource in group["resources"]), group)
        self.assertEqual(told["health"], self.cluster.told("tok-1")["health"])
        self.assertNotIn("is not heard", self.said("obs-2", "upgrade", "status"))
        # The questions about a configuration go from one to the other through a voter.
        with open(os.path.join(self.lab.node("obs-2").state, "cluster.yaml"), "w") as file:
            file.write(self.cluster.service_policy(nodes=["obs-1", "obs-2"]))
        self.assertNotIn("did not answer", self.said("obs-2", "check", "/var/lib/holdfast/cluster.yaml"))
        # The owner dies: the other one takes over, and every node says so.
        self.lab.node("obs-1").power_off()
        self.assertEqual(self.cluster.wait_running(30, on="obs-2"), "obs-2")
        self.assertEqual(self.cluster.group_of(self.cluster.told("obs-2"))["owner"], "obs-2")
        self.cluster.return_node("obs-1")
        self.cluster.wait_status("obs-1", self.cluster.all_up, 30, "obs-1 is back and says that all are up")
        # Without any voter those that are left tell each other again: nobody else could say that they were left behind.
        for voter in ("tok-1", "osk-1", "wit-1"):
            self.lab.node(voter).power_off()
        wait_until(lambda: self.sent_within(3, "obs-2", "obs-1") > 1000, 30, "obs-2 tells obs-1 again")


if __name__ == "__main__":
    unittest.main()
