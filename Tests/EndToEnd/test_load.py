"""Load without harm: very many groups, many who ask for the status, a full /run. None of it costs a lease or a leader.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_load.py
HOLDFAST_GROUPS (200) and HOLDFAST_CLIENTS (50) say how many; `make load` takes 2,000.
"""
import json
import os
import sys
import threading
import time
import unittest
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.api import Connection  # noqa: E402
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.cluster import binary  # noqa: E402
from chaos.lab.lab import NODES  # noqa: E402

GROUPS = int(os.environ.get("HOLDFAST_GROUPS", "200"))
CLIENTS = int(os.environ.get("HOLDFAST_CLIENTS", "50"))


@unittest.skipUnless(os.geteuid() == 0 and os.path.exists(binary()), "run as root, with the release binary built")
class Loads(ClusterCase):
    purpose, nodes = "end-to-end-load", NODES

    def harm(self) -> list[dict[str, Any]]:
        """What must not happen."""
        return [event for event in self.cluster.events() if event["kind"] in ("node.silent", "node.lost", "group.recovered")]

    def test_load(self) -> None:
        self.cluster.apply(self.cluster.service_policy(nodes=["tok-1", "osk-1"]))
        self.assertEqual(self.cluster.wait_running(30), "tok-1")
        leader = self.cluster.told("tok-1")["leader"]
        began = time.monotonic()
        self.cluster.apply(self.policy())
        self.cluster.wait_status(
            "tok-1", lambda status: len(status["groups"]) == GROUPS + 1
            and all(group["state"] == "running" for group in status["groups"]), 600, f"{GROUPS} groups run")
        print(f"{GROUPS} groups run {time.monotonic() - began:.0f} s after they were asked for", file=sys.stderr)
        self.assertEqual(self.harm(), [])
        self.assertGreater(self.ask_for(15), CLIENTS)
        self.assertEqual(self.harm(), [], "who asks for the status costs nobody a lease")
        self.fill_run("tok-1", 10)
        self.assertEqual(self.harm(), [], "a full /run costs nobody a lease")
        self.cluster.apply(self.policy(command="sleep 100001"))
        self.assertEqual(self.cluster.told("tok-1")["leader"], leader)
        self.assertEqual(self.cluster.wait_running(30), "tok-1")

    def policy(self, command: str = "sleep 100000") -> str:
        text = self.cluster.service_policy(nodes=["tok-1", "osk-1"])
        for number in range(GROUPS):
            first, second = ("tok-1", "osk-1") if number % 2 else ("osk-1", "tok-1")
            what = command if number == 0 else "sleep 100000"
            text += (f"  load-{number}:\n    nodes: [{first}, {second}]\n"
                     f"    resources: [{{ name: s, agent: exec, command: {what}, checkInterval: 0s }}]\n")
        return text

    def ask_for(self, seconds: float) -> int:
        """So many clients ask for the whole status, one time after the other."""
        answers: list[int] = []
        ending = time.monotonic() + seconds
        paths = [node.path(f"{node.run_directory}/api.sock") for node in self.lab.nodes.values()]

        def ask(number: int) -> None:
            while time.monotonic() < ending:
                connection = Connection(paths[number % len(paths)])
                connection.request("GET", "/v1/status")
                answer = connection.getresponse()
                report = json.loads(answer.read())
                connection.close()
                if answer.status == 200 and len(report["groups"]) == GROUPS + 1:
                    answers.append(number)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"{CLIENTS} clients were answered {len(answers)} times in {seconds:.0f} s", file=sys.stderr)
        self.assertEqual(len(set(answers)), CLIENTS, "somebody was never answered")
        return len(answers)

    def fill_run(self, name: str, seconds: float) -> None:
        """Not one more byte fits below /run, which holds the word about the lease."""
        node = self.lab.node(name)
        node.run("mount -o remount,size=64m /run && dd if=/dev/zero of=/run/full bs=1M 2>/dev/null; "
                 "dd if=/dev/zero of=/run/full.rest bs=4k 2>/dev/null; true")
        self.assertIn("100%", node.run("df /run").stdout)
        time.sleep(seconds)
        self.assertEqual(self.cluster.wait_running(30), name)
        node.run("rm /run/full /run/full.rest")


if __name__ == "__main__":
    unittest.main()
