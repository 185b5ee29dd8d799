"""A node that was off while another one joined, and leads, follows it when it comes back.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_behind.py
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


@unittest.skipUnless(os.geteuid() == 0 and os.path.exists(binary()), "run as root, with the release binary built")
class Behind(ClusterCase):
    purpose, nodes = "end-to-end-behind", [*NODES, ("fuk-1", "fukuoka", "member"), ("osk-2", "osaka", "member")]

    def wait_state(self, name: str, state: str) -> None:
        self.cluster.wait_status(
            "tok-1", lambda status: any(n["name"] == name and n["state"] == state for n in status["nodes"]), 40,
            f"{name} is {state}")

    def test_behind(self) -> None:
        self.cluster.apply(self.cluster.service_policy(nodes=["tok-1", "osk-2"]))
        self.cluster.wait_healthy(60)
        self.lab.node("fuk-1").power_off()
        self.wait_state("fuk-1", "lost")
        # A machine is destroyed and replaced meanwhile: another node, at the same address. It leads.
        node = self.lab.node("osk-1")
        node.power_off()
        state = os.path.join(node.directory, "state")
        for entry in os.listdir(state):
            path = os.path.join(state, entry)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        self.wait_state("osk-1", "lost")
        token = json.loads(self.cluster.run("tok-1", "token", "-o", "json").stdout)["token"]
        node.boot()
        self.cluster.run("osk-1", "join", token, *self.cluster.about(node), "--replace")
        self.cluster.start_daemon("osk-1")
        self.wait_state("osk-1", "up")
        self.cluster.run("tok-1", "leader", "transfer", "--to", "osk-1", "--yes", "--wait", "--timeout", "30s")
        self.assertEqual(self.cluster.leader(), "osk-1")
        self.lab.node("fuk-1").boot()
        self.cluster.start_daemon("fuk-1")
        self.wait_state("fuk-1", "up")
        self.assertEqual(self.cluster.leader(), "osk-1", "nobody else had to lead for that")
        self.cluster.wait_healthy(40)


if __name__ == "__main__":
    unittest.main()
