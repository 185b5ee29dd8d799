"""A large state: a snapshot of it is made, sent, taken up and read again, and none of that costs a lease or a leader.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_large_state.py
HOLDFAST_STATE_BYTES (4 MiB) says how large; `make load` takes 100 MiB.
"""
import hashlib
import http.client
import json
import os
import re
import signal
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
from chaos.lab.shell import wait_until  # noqa: E402

STATE_BYTES = int(os.environ.get("HOLDFAST_STATE_BYTES", str(4 << 20)))
VALUE = 1024
COUNT = STATE_BYTES // VALUE
CLIENTS = 24


class Watch(threading.Thread):
    """The most memory that each daemon had, in megabytes."""

    def __init__(self, case: "LargeStates") -> None:
        super().__init__(daemon=True)
        self.case, self.ends = case, False
        self.most: dict[str, int] = {}

    def run(self) -> None:
        while not self.ends:
            for name in self.case.lab.nodes:
                try:
                    self.most[name] = max(self.most.get(name, 0), int(self.case.lab.node(name).memory("daemon") or 0))
                except OSError:
                    continue
            time.sleep(0.2)

    def took(self) -> str:
        """Says it, and begins anew."""
        most, self.most = self.most, {}
        return ", ".join(f"{name} {megabytes} MB" for name, megabytes in sorted(most.items()))


@unittest.skipUnless(os.geteuid() == 0 and os.path.exists(binary()), "run as root, with the release binary built")
class LargeStates(ClusterCase):
    purpose, nodes = "end-to-end-state", NODES

    def test_large_state(self) -> None:
        self.cluster.apply(self.cluster.service_policy(nodes=["tok-1", "osk-1"]))
        self.assertEqual(self.cluster.wait_running(30), "tok-1")
        leader = self.cluster.told("tok-1")["leader"]
        self.assertEqual(leader, "tok-1")
        watch = Watch(self)
        watch.start()
        self.tell(watch, "an empty cluster")
        self.put(range(COUNT))
        self.tell(watch, f"{STATE_BYTES >> 20} MiB of attributes were put")
        self.unharmed(leader)

        # The standby falls so far behind that the log it lacks is gone.
        self.lab.node("osk-1").power_off()
        self.put(range(4500), "anew")
        self.tell(watch, "the standby is behind")
        self.cluster.return_node("osk-1")
        self.caught_up("osk-1", f"n.{4499 % COUNT:06}", "anew")
        self.tell(watch, "it has caught up")
        self.assertIn("installs snapshot", self.log("osk-1"))
        self.unharmed(leader, but="osk-1")

        # Each reads it all again; what runs goes on meanwhile.
        self.assertEqual(len(set(self.everything().values())), 1, "nodes have different attributes")
        pulse, harm = self.pulse(), [event["index"] for event in self.harm()]
        for name in self.lab.nodes:
            before, began = self.lab.node(name).find("daemon"), time.monotonic()
            self.lab.node(name).signal("daemon", signal.SIGTERM)
            self.ended(name, before)
            self.cluster.wait_status(name, lambda status: status["leader"] is not None, 60, f"{name} is back")
            self.cluster.wait_status(None, self.cluster.all_up, 60, "every node is up")
            print(f"{name} was back after {time.monotonic() - began:.1f} s", file=sys.stderr)
        self.tell(watch, "all have started anew")
        self.assertEqual(len(set(self.everything().values())), 1, "something is missing")
        self.assertEqual(self.pulse(), pulse, "the service was started anew")
        lost = [event for event in self.harm() if event["index"] not in harm and event["kind"] != "node.silent"]
        self.assertEqual(lost, [], "a daemon that starts anew keeps its lease")
        watch.ends = True

    # What is looked at

    def harm(self) -> list[dict[str, Any]]:
        """What must not happen, but to who was stopped."""
        return [event for event in self.cluster.events() if event["kind"] in ("node.silent", "node.lost", "group.recovered")]

    def unharmed(self, leader: str, but: str = "") -> None:
        self.assertEqual([event for event in self.harm() if not but or but not in json.dumps(event)], [])
        self.assertEqual(self.cluster.told("tok-1")["leader"], leader)
        self.assertEqual(self.cluster.wait_running(30), "tok-1")

    def tell(self, watch: Watch, what: str) -> None:
        steps = [f"{name} {found[-1]}" for name in self.lab.nodes
                 if (found := re.findall(r"one step took ([0-9.]+ ?m?s)", self.log(name)))]
        print(f"{what}: {watch.took()}; slow steps so far: {', '.join(steps) or 'none'}", file=sys.stderr)

    def log(self, name: str) -> str:
        with open(self.lab.node(name).daemon_log) as file:
            return file.read()

    def pulse(self) -> list[int]:
        return self.lab.node("tok-1").find("service")

    def everything(self) -> dict[str, str]:
        """What each node has, as a digest."""
        digests = {}
        for name in self.lab.nodes:
            connection = self.connect(name)
            connection.request("GET", "/v1/attributes?stale=1")
            attributes = json.loads(connection.getresponse().read())["attributes"]
            connection.close()
            self.assertEqual(len(attributes), COUNT)
            digests[name] = hashlib.sha256(json.dumps(attributes, sort_keys=True).encode()).hexdigest()
        return digests

    def ended(self, name: str, daemons: list[int]) -> None:
        wait_until(lambda: self.lab.node(name).find("daemon") not in (daemons, []), 30, f"the daemon of {name} is another one")

    # What is done

    def connect(self, name: str) -> Connection:
        node = self.lab.node(name)
        return Connection(node.path(f"{node.run_directory}/api.sock"))

    def put(self, numbers: range, word: str = "first") -> None:
        """Puts one attribute for each number, on all nodes that answer."""
        began, left, failed = time.monotonic(), iter(numbers), []
        lock = threading.Lock()
        names = [node.name for node in self.lab.nodes.values() if node.find("daemon") and node.role == "member"]

        def work(number: int) -> None:
            connection = self.connect(names[number % len(names)])
            while True:
                with lock:
                    mine = next(left, None)
                if mine is None:
                    return connection.close()
                value = f"{word} {mine} ".ljust(VALUE - 8, "x")
                try:
                    connection.request(
                        "POST", f"/v1/attributes/cluster/n.{mine % COUNT:06}/put",
                        json.dumps({"value": value, "lifetime": "forever"}))
                    answer = connection.getresponse()
                    body = answer.read()
                    if answer.status != 200:
                        failed.append(body.decode())
                except (OSError, http.client.HTTPException) as error:
                    failed.append(repr(error))
                    connection.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - began
        print(f"{len(numbers)} attributes put in {seconds:.0f} s, {len(numbers) / seconds:.0f}/s", file=sys.stderr)
        self.assertEqual(failed, [])

    def caught_up(self, name: str, attribute: str, word: str) -> None:
        began = time.monotonic()

        def look() -> Any:
            report = self.cluster.ask(name, "attribute", "get", attribute, "--stale")
            return report and any(one["value"].startswith(word) for one in report.get("attributes", []))

        wait_until(look, 300, f"{name} has {attribute}", step=0.2)
        print(f"{name} caught up in {time.monotonic() - began:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
