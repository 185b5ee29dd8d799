"""Real daemons, real PostgreSQL, real kernel: the demonstration as a test, and the command line as a user meets it.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_end_to_end.py
"""
import json
import os
import subprocess
import sys
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.cluster import binary  # noqa: E402
from chaos.lab.lab import NODES  # noqa: E402
from chaos.lab.shell import Result  # noqa: E402


class Demonstration(unittest.TestCase):
    def test_no_acknowledged_row_is_lost_when_servers_die(self) -> None:
        result = subprocess.run(
            ["/usr/bin/python3", os.path.join(ROOT, "chaos", "demo.py"), "--rows", "50", "--purpose", "end-to-end"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=420)
        print(result.stdout)
        self.assertEqual(result.returncode, 0)
        self.assertIn("none missing", result.stdout)


class CommandLine(ClusterCase):
    purpose, nodes = "end-to-end-cli", NODES

    def holdfast(self, *words: str, node: str = "tok-1") -> Result:
        return self.cluster.run(node, *words, check=False)

    def test_every_node_answers_status(self) -> None:
        for node in self.lab.nodes:
            report = json.loads(self.holdfast("status", "-o", "json", node=node).stdout)
            self.assertEqual(report["cluster"], "prod")
            self.assertEqual(len(report["nodes"]), 3)
        text = self.holdfast("status").stdout
        self.assertIn("tok-1", text)
        self.assertNotIn("\x1b", text)

    def test_a_wrong_file_is_explained_and_changes_nothing(self) -> None:
        before = json.loads(self.holdfast("status", "-o", "json").stdout)["policyIndex"]
        path = os.path.join(self.lab.node("tok-1").directory, "state", "wrong.yaml")
        with open(path, "w") as file:
            file.write(
                "cluster: prod\ngroups:\n  web:\n    nodes: [tok-9]\n    takeover: sometimes\n    resources: []\n")
        result = self.holdfast("apply", "/var/lib/holdfast/wrong.yaml", "--yes")
        said = result.stdout + result.stderr
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("takeover", said)
        self.assertIn("tok-9", said)
        self.assertRegex(said, r"wrong\.yaml:5")
        self.assertEqual(json.loads(self.holdfast("status", "-o", "json").stdout)["policyIndex"], before)

    def test_exit_codes_speak(self) -> None:
        self.assertEqual(self.holdfast("explain", "nothing-of-that-name").returncode, 3)
        self.assertEqual(self.holdfast("group", "move").returncode, 2)
        self.assertEqual(self.holdfast("--help").returncode, 0)

    def test_a_token_serves_once(self) -> None:
        words = ["--name", "x", "--site", "y", "--address", "10.9.0.9:7400"]
        self.assertNotEqual(self.holdfast("join", "not-a-token", *words).returncode, 0)

    def test_a_service_starts_moves_and_stops_on_command(self) -> None:
        self.cluster.apply(self.cluster.service_policy())
        owner = self.cluster.wait_running(30)
        other = next(name for name in self.cluster.members if name != owner)
        self.assertEqual(self.holdfast("group", "move", "orders", "--to", other, "--yes", "--wait").returncode, 0)
        self.cluster.wait_running(30, on=other)
        self.assertEqual(self.holdfast("group", "stop", "orders", "--yes", "--wait").returncode, 0)
        self.cluster.wait_status(None, lambda s: self.cluster.group_of(s)["state"] == "stopped", 30, "stopped")
        self.assertEqual(self.lab.node(other).find("service"), [])
        self.assertEqual(self.holdfast("group", "start", "orders", "--yes", "--wait").returncode, 0)
        self.cluster.wait_running(30)
        self.assertIn("orders", self.holdfast("explain", "orders").stdout)


class LivingConfiguration(ClusterCase):
    """Changes of a configuration while it is in force, as an operator makes them."""

    purpose, nodes = "end-to-end-configuration", NODES

    def write(self, name: str, text: str) -> None:
        with open(os.path.join(self.lab.node("tok-1").state, name), "w") as file:
            file.write(text)

    def holdfast(self, verb: str, groups: str, *words: str, volumes: str = "") -> tuple[int, str]:
        self.write("next.yaml", f"cluster: prod\n{volumes}groups:\n{groups}" if groups else f"cluster: prod\n{volumes}")
        result = self.cluster.run("tok-1", verb, "/var/lib/holdfast/next.yaml", *words, check=False, timeout=150)
        print(result.stdout + result.stderr, flush=True)
        return result.returncode, result.stdout + result.stderr

    @staticmethod
    def group(name: str, *resources: str) -> str:
        return f"  {name}:\n    nodes: [tok-1, osk-1]\n    resources:\n" + "".join(f"      - {{ {r} }}\n" for r in resources)

    def test_what_no_machine_has_is_said_by_name_and_node(self) -> None:
        code, said = self.holdfast("plan", self.group(
            "bad", "name: a, agent: exec, command: sleep 1, user: nobodyknows",
            "name: b, agent: address, address: 10.9.0.200/24, interface: eth9",
            'name: c, agent: "ocf:heartbeat:Nosuch"'))
        self.assertEqual(code, 2)
        self.assertRegex(said, r"next\.yaml:6:\d+: error: groups\.bad\.resources\[a\]\.user: there is no user `nobodyknows` "
                               r"on tok-1 and osk-1")
        self.assertIn("there is no interface `eth9` on tok-1 and osk-1", said)
        self.assertIn("there is no agent `ocf:heartbeat:Nosuch` on tok-1 and osk-1", said)
        self.assertEqual(self.holdfast("check", self.group(
            "bad", "name: a, agent: exec, command: sleep 1, user: nobodyknows"))[0], 2)

    @unittest.skipUnless(os.path.exists("/usr/lib/ocf/resource.d/heartbeat/Dummy"), "no stock OCF agents here")
    def test_an_agent_is_asked_for_its_parameters(self) -> None:
        code, said = self.holdfast("plan", self.group("bad", 'name: a, agent: "ocf:heartbeat:Dummy", stat: /run/x'))
        self.assertEqual(code, 2)
        self.assertIn("has no parameter `stat`; did you mean `state`?", said)
        listed = self.cluster.run("tok-1", "agent", "describe", "ocf:heartbeat:Dummy").stdout
        self.assertIn("state", listed)

    def test_waiting_ends_when_the_outcome_is_known(self) -> None:
        good = self.group("good", "name: s, agent: exec, command: sleep infinity")
        bad = self.group("bad", "name: s, agent: exec, command: /nowhere/nothing")
        self.assertEqual(self.holdfast("apply", good, "--wait")[0], 0)
        code, said = self.holdfast("apply", good + bad, "--wait")
        self.assertEqual(code, 1)
        self.assertIn("bad is failed", said)
        code, said = self.holdfast("apply", good)
        self.assertEqual(code, 6)
        self.assertIn("removes the group bad", said)
        self.assertEqual(self.holdfast("apply", good, "--allow-removal", "--wait")[0], 0)
        code, said = self.holdfast("apply", "", "--allow-removal", "--wait")
        self.assertEqual(code, 0)
        self.assertIn("good stops on", said)
        self.assertEqual(self.cluster.told("tok-1")["groups"], [])

    def test_a_move_whose_target_gives_up_is_waited_for_no_longer(self) -> None:
        with open(os.path.join(self.lab.node("tok-1").state, "fit"), "w"):
            pass
        self.assertEqual(self.holdfast("apply", self.group(
            "picky", "name: s, agent: exec, command: \"sh -c 'test -e /var/lib/holdfast/fit && exec sleep infinity'\""),
            "--wait")[0], 0)
        began = time.monotonic()
        result = self.cluster.run(
            "tok-1", "group", "move", "picky", "--to", "osk-1", "--yes", "--wait", "--timeout", "120s", check=False, timeout=150)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertIn("error: picky runs on tok-1: osk-1 did not keep it", result.stderr)
        self.assertLess(time.monotonic() - began, 100, "it was known long before the time was over")
        self.assertIn("osk-1", self.cluster.run("tok-1", "explain", "picky").stdout)
        self.assertEqual(self.holdfast("apply", "", "--allow-removal", "--wait")[0], 0)

    def test_what_stands_in_a_file_is_told_to_the_service_alone(self) -> None:
        for name in ("tok-1", "osk-1"):
            with open(os.path.join(self.lab.node(name).state, "secret"), "w") as file:
                file.write("hush-hush\n")
        group = self.group(
            "secret", 'name: s, agent: exec, command: "sh -c \'echo $WORD > /var/lib/holdfast/heard; exec sleep infinity\'", '
                      "environment: { WORD: { file: /var/lib/holdfast/secret } }")
        self.assertEqual(self.holdfast("apply", group, "--wait")[0], 0)
        owner = next(g for g in self.cluster.told("tok-1")["groups"] if g["name"] == "secret")["owner"]
        with open(os.path.join(self.lab.node(owner).state, "heard")) as file:
            self.assertEqual(file.read(), "hush-hush\n")
        self.assertNotIn("hush", self.cluster.run("tok-1", "policy").stdout)
        self.assertEqual(self.holdfast("apply", "", "--allow-removal", "--wait")[0], 0)


if __name__ == "__main__":
    binary()
    unittest.main()
