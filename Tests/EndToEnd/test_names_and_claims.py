"""Real daemons: a group that never ran, one that is renamed, one that is removed, and who may have what.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_names_and_claims.py
"""
import json
import os
import sys
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.cluster import binary  # noqa: E402
from chaos.lab.lab import NODES  # noqa: E402
from chaos.lab.shell import Report, Result, wait_until  # noqa: E402

ADDRESS = "10.9.0.100/24"


class NamesAndClaims(ClusterCase):
    purpose, nodes = "end-to-end-names", NODES

    asker = "tok-1"  # the member that is asked; a witness gives no orders

    def holdfast(self, *words: str, node: str | None = None) -> Result:
        return self.cluster.run(node or self.asker, *words, check=False)

    def apply(self, *groups: tuple[str, list[str], list[str]]) -> None:
        """Groups as (name, nodes, resources), and no others."""
        text = "cluster: prod\n" + ("groups:\n" if groups else "groups: {}\n")
        for name, nodes, resources in groups:
            text += f"  {name}:\n    nodes: [{', '.join(nodes)}]\n    resources:\n"
            text += "".join(f"      - {{ {resource} }}\n" for resource in resources)
        path = os.path.join(self.lab.node(self.asker).state, "cluster.yaml")
        with open(path, "w") as file:
            file.write(text)
        words = ["apply", "/var/lib/holdfast/cluster.yaml", "--yes"]
        if "--allow-removal" in self.holdfast("apply", "--help").stdout:
            words.append("--allow-removal")
        result = self.holdfast(*words)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def group(self, name: str) -> Report | None:
        def ask() -> Report | None:
            report = json.loads(self.holdfast("status", "-o", "json").stdout or "{}")
            return report if "groups" in report else None
        # A daemon that restarts just now says so instead.
        report = wait_until(ask, 20, "the daemon answers")
        return next((group for group in report["groups"] if group["name"] == name), None)

    def present(self, name: str) -> Report:
        """A group that must be there."""
        group = self.group(name)
        assert group is not None, name
        return group

    def wait(self, name: str, state: str, seconds: float = 30) -> Report:
        def look() -> Report | None:
            group = self.group(name)
            return group if group is not None and group["state"] == state else None
        return wait_until(look, seconds, f"{name} is {state}")

    def gone(self, name: str, seconds: float = 30) -> None:
        wait_until(lambda: self.group(name) is None, seconds, f"{name} is gone")

    def has_address(self, node: str) -> bool:
        return "10.9.0.100" in self.lab.node(node).run(["ip", "-brief", "address"]).stdout

    def test_a_renamed_group_starts_once_the_old_one_has_stopped(self) -> None:
        exec_ = "name: s, agent: exec, command: sleep 7000"
        address = f'name: ip, agent: address, address: "{ADDRESS}"'
        self.apply(("shop", ["tok-1", "osk-1"], [exec_, address]))
        self.wait("shop", "running")
        self.apply(("store", ["osk-1", "tok-1"], [exec_, address]))
        owner = self.wait("store", "running")["owner"]
        self.assertIsNone(self.group("shop"))
        self.assertEqual([n for n in ("tok-1", "osk-1") if self.has_address(n)], [owner])
        self.apply()
        self.gone("store")

    def test_the_same_command_under_another_name_waits_for_its_stop(self) -> None:
        slow = ("name: s, agent: exec, command: \"sleep 7001\", stop: \"sleep 4\", stopTimeout: 20s")
        self.apply(("shop", ["osk-1"], [slow]))
        self.wait("shop", "running")
        self.apply(("store", ["tok-1"], [slow]))
        time.sleep(1.5)
        store = self.present("store")
        self.assertEqual(store["state"], "waiting")
        self.assertIn("shop on osk-1", store["reason"])
        self.assertIn("shop on osk-1", self.holdfast("explain", "store").stdout)
        self.wait("store", "running")
        self.assertIsNone(self.group("shop"))
        self.apply()
        self.gone("store")

    def test_what_is_found_is_said_everywhere_and_looked_for_again(self) -> None:
        self.lab.node("osk-1").run(["ip", "address", "add", ADDRESS, "dev", "eth0"])
        self.apply(("web", ["tok-1", "osk-1"], [f'name: ip, agent: address, address: "{ADDRESS}"']))
        wait_until(lambda: "osk-1 runs ip already" in (self.group("web") or {}).get("reason", ""), 20, "it is said")
        self.assertIn("osk-1 runs ip already", self.holdfast("explain", "web", node="wit-1").stdout)
        self.assertIn("--declare-absent", self.present("web")["reason"])
        self.lab.node("osk-1").run(["ip", "address", "del", ADDRESS, "dev", "eth0"])
        self.wait("web", "running")
        self.apply()
        self.gone("web")

    def test_a_node_that_is_down_is_signed_for(self) -> None:
        self.lab.node("osk-1").power_off()
        try:
            self.cluster.wait_status("wit-1", lambda s: any(
                node["name"] == "osk-1" and node["state"] == "lost" for node in s["nodes"]), 30, "osk-1 is lost")
            self.apply(("web", ["tok-1", "osk-1"], ["name: s, agent: exec, command: sleep 7002"]))
            wait_until(lambda: "osk-1 is down" in (self.group("web") or {}).get("reason", ""), 20, "it is said")
            refused = self.holdfast("group", "start", "web", "--declare-absent")
            self.assertEqual(refused.returncode, 6, refused.stdout + refused.stderr)
            self.assertIn("osk-1 (it is down)", refused.stdout + refused.stderr)
            signed = self.holdfast("group", "start", "web", "--declare-absent", "--yes", "--statement", "it is in the shop")
            self.assertEqual(signed.returncode, 0, signed.stdout + signed.stderr)
            self.assertEqual(self.wait("web", "running")["owner"], "tok-1")
            self.assertIn("it is in the shop", self.holdfast("events").stdout)
        finally:
            self.cluster.return_node("osk-1")
        self.cluster.wait_status("wit-1", self.cluster.all_up, 30, "all are up")
        self.apply()
        self.gone("web")

    def test_a_removed_group_goes_although_its_daemon_restarts(self) -> None:
        deaf = "name: s, agent: exec, command: \"trap '' TERM; while :; do sleep 1; done\", stopTimeout: 20s"
        self.apply(("gone", ["tok-1"], [deaf]))
        self.wait("gone", "running")
        self.apply()
        time.sleep(1.5)
        self.assertIsNotNone(self.group("gone"))
        self.lab.node("tok-1").signal("daemon", 15)
        self.gone("gone", 45)

    def test_a_removed_group_goes_with_its_lost_owner(self) -> None:
        self.apply(("ghost", ["tok-1"], ["name: s, agent: exec, command: sleep 7003"]))
        self.wait("ghost", "running")
        self.lab.isolate("tok-1")
        self.asker = "osk-1"
        try:
            time.sleep(0.3)
            self.apply()
            self.gone("ghost")
        finally:
            self.lab.rejoin("tok-1")
        self.cluster.wait_status("wit-1", self.cluster.all_up, 30, "all are up")


if __name__ == "__main__":
    binary()
    unittest.main()
