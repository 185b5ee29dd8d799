"""Members come, change, go and are replaced while a service runs, which notices nothing; docs/operating/members.md is what is done.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_members.py
"""
import json
import os
import shutil
import sys
import time
import unittest
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.cluster import binary  # noqa: E402
from chaos.lab.lab import NODES  # noqa: E402

MORE = [*NODES, ("fuk-1", "fukuoka", "member"), ("osk-2", "osaka", "member")]


@unittest.skipUnless(os.geteuid() == 0 and os.path.exists(binary()), "run as root, with the release binary built")
class Members(ClusterCase):
    purpose, nodes = "end-to-end-members", MORE

    def node_of(self, name: str, seen_by: str = "tok-1") -> dict[str, Any] | None:
        return next((n for n in self.cluster.told(seen_by)["nodes"] if n["name"] == name), None)

    def wait_until_gone(self, name: str) -> None:
        self.cluster.wait_status(
            "tok-1", lambda status: not any(n["name"].startswith(name) for n in status["nodes"]), 40, f"{name} is gone")

    def test_members(self) -> None:
        self.cluster.apply(self.cluster.service_policy(nodes=["tok-1", "osk-1"]))
        self.assertEqual(self.cluster.wait_running(30), "tok-1")
        service = self.lab.node("tok-1").find("service")
        self.change_address()
        self.change_role()
        self.remove()
        self.replace()
        self.assertEqual(self.lab.node("tok-1").find("service"), service, "the service noticed nothing")
        self.cluster.wait_healthy(60)

    def change_address(self) -> None:
        """A node moves to another address while it runs, and once more while it is off."""
        node = self.lab.node("osk-1")
        second = f"{self.lab.subnet}.77"
        node.run(f"ip address add {second}/24 dev eth0")
        self.assertIn("not HOST:PORT", self.said("tok-1", "node", "set", "osk-1", "--address", second, "--yes", code=2))
        self.assertIn("is that of wit-1", self.said(
            "tok-1", "node", "set", "osk-1", "--address", f"{self.lab.node('wit-1').address}:7400", "--yes", code=6))
        self.said("tok-1", "node", "set", "osk-1", "--address", f"{second}:7400", "--yes")
        for _ in range(50):
            with open(os.path.join(node.state, "node.json")) as file:
                if json.load(file)["address"] == f"{second}:7400":
                    break
            time.sleep(0.1)
        else:
            self.fail("node.json does not have the new address")
        # The old one goes; the next daemon has the new one alone.
        node.run(f"ip address del {node.address}/24 dev eth0; ip address add {second}/24 dev eth0 2>/dev/null; true")
        self.cluster.wait_status(
            "tok-1", lambda status: all(n["state"] == "up" for n in status["nodes"]), 30, "osk-1 is up at its new address")
        node.signal("daemon", 15)
        time.sleep(1)
        self.cluster.wait_status(
            "tok-1", lambda status: all(n["state"] == "up" for n in status["nodes"]), 30, "osk-1 is up after a restart")
        # Off, moved back, and told where it is.
        node.power_off()
        node.boot()
        self.said("osk-1", "listen", f"{node.address}:7400")
        self.cluster.start_daemon("osk-1")
        self.cluster.wait_status(
            "tok-1", lambda status: any(
                n["name"] == "osk-1" and n["state"] == "up" and n["address"] == f"{node.address}:7400"
                for n in status["nodes"]), 40, "osk-1 told the others where it is")

    def change_role(self) -> None:
        """An observer has no vote; fewer failures survived are refused unless told."""
        self.cluster.wait_healthy(30)
        text = self.said("tok-1", "node", "set", "fuk-1", "--role", "observer", "--dry-run")
        self.assertIn("vote and survive", text)
        self.said("tok-1", "node", "set", "fuk-1", "--role", "observer", "--yes", "--allow-worse")
        node = self.node_of("fuk-1")
        assert node
        self.assertEqual(node["role"], "observer")
        self.said("tok-1", "node", "set", "fuk-1", "--label", "rack=a12", "--site", "kumamoto", "--yes")
        node = self.node_of("fuk-1")
        assert node
        self.assertEqual(node["site"], "kumamoto")
        said = self.said("tok-1", "node", "set", "osk-1", "--role", "witness", "--yes", code=6)
        self.assertIn("the configuration names it", said)
        # The witness becomes a member: its next daemon is one, with a guard.
        self.said("tok-1", "node", "set", "wit-1", "--role", "member", "--yes", "--allow-worse")
        for _ in range(100):
            if self.lab.node("wit-1").find("guard"):
                break
            time.sleep(0.1)
        else:
            self.fail("wit-1 has no guard")

    def remove(self) -> None:
        """A node that runs, the leader among them, is taken out for good, and is told so."""
        self.assertIn("the configuration names it (group orders)", self.said("tok-1", "node", "remove", "osk-1", "--yes", code=6))
        leader = self.cluster.leader()
        if leader != "osk-2":
            self.cluster.run("tok-1", "leader", "transfer", "--to", "osk-2", "--yes", "--wait", check=False)
        self.said("tok-1", "node", "remove", "osk-2", "--yes", "--wait", "--allow-worse")
        self.wait_until_gone("osk-2")
        for _ in range(100):
            text = self.cluster.run("osk-2", "status", check=False).stdout
            if "has left the cluster" in text:
                break
            time.sleep(0.2)
        else:
            self.fail(f"osk-2 does not know that it has left: {text}")
        # Its certificate opens nothing, whatever it does.
        self.lab.node("osk-2").signal("daemon", 9)
        time.sleep(3)
        self.assertIsNone(self.node_of("osk-2"))
        # A dead one is taken out in the same way.
        self.lab.node("fuk-1").power_off()
        self.said("tok-1", "node", "remove", "fuk-1", "--yes", "--wait", "--allow-worse")
        self.wait_until_gone("fuk-1")

    def replace(self) -> None:
        """A destroyed machine comes back as another one, with its name and its address."""
        node = self.lab.node("osk-1")
        token = json.loads(self.cluster.run("tok-1", "token", "-o", "json").stdout)["token"]
        node.power_off()
        state = os.path.join(node.directory, "state")
        for entry in os.listdir(state):
            path = os.path.join(state, entry)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        node.boot()
        early = self.cluster.run("osk-1", "join", token, *self.cluster.about(node), "--replace", check=False)
        if early.returncode:
            self.assertIn("is not lost", early.stderr)
            self.cluster.wait_status(
                "tok-1", lambda status: any(n["name"] == "osk-1" and n["state"] == "lost" for n in status["nodes"]), 20,
                "osk-1 is lost")
            self.assertIn("--replace", self.said("osk-1", "join", token, *self.cluster.about(node), code=6))
            told = json.loads(self.cluster.run("tok-1", "node", "replace", "osk-1", "-o", "json").stdout)
            self.assertEqual(told["command"][3:], [*self.cluster.about(node), "--replace"])
            self.said("osk-1", *told["command"][1:])
        self.cluster.start_daemon("osk-1")
        self.cluster.wait_status(
            "tok-1", lambda status: sorted((n["name"], n["state"]) for n in status["nodes"])
            == [("osk-1", "up"), ("tok-1", "up"), ("wit-1", "up")], 40, "the replacement is the only osk-1")


if __name__ == "__main__":
    unittest.main()
