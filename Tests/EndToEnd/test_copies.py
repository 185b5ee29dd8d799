"""A copy of a machine is started: it is named, neither of the two runs anything until a person says which one it is, and the
other one is let in no more. docs/operating/hypervisors.md is what is done.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_copies.py
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
from chaos.lab.cluster import Cluster, binary  # noqa: E402
from chaos.lab.lab import NODES, Lab  # noqa: E402
from chaos.lab.node import Node  # noqa: E402
from chaos.lab.shell import wait_until  # noqa: E402
from chaos.workload import checkers  # noqa: E402

# A machine says that an address is its own, to all that are on its network.
ANNOUNCE = """
import socket, struct, sys
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0x0806))
own, address = link.getsockname()[4], socket.inet_aton(sys.argv[1])
link.send(b"\\xff" * 6 + own + b"\\x08\\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + own + address + bytes(6) + address)
"""
SECONDS = 15  # in which two machines are named; they are heard as two for 2 s first


@unittest.skipUnless(os.geteuid() == 0 and os.path.exists(binary()), "run as root, with the release binary built")
class Copies(unittest.TestCase):
    def setUp(self) -> None:
        self.lab = Lab("end-to-end-copies", [*NODES, ("copy", "tokyo", "member")]).up()
        # A machine that is no node: nobody asks it, or waits for it.
        self.machine: Node = self.lab.nodes.pop("copy")
        self.cluster = Cluster(self.lab, name="prod")
        self.cluster.form()
        self.cluster.apply(self.cluster.service_policy(nodes=["tok-1", "osk-1"]))
        self.assertEqual(self.cluster.wait_running(30), "tok-1")

    def tearDown(self) -> None:
        self.lab.nodes["copy"] = self.machine
        self.lab.down()

    # The machines

    def copy(self, address: str) -> None:
        """What tok-1 has on its disk is on that of the other machine."""
        source, target = (os.path.join(node.directory, "state") for node in (self.lab.node("tok-1"), self.machine))
        shutil.copytree(source, target, dirs_exist_ok=True)
        self.listen(target, address)

    @staticmethod
    def listen(state: str, address: str) -> None:
        path = os.path.join(state, "node.json")
        with open(path) as file:
            said = json.load(file)
        said["address"] = f"{address}:7400"
        with open(path, "w") as file:
            json.dump(said, file)

    def start(self, node: Node) -> None:
        """Its daemon, kept started as systemd would."""
        self.lab.nodes["a machine"] = node
        try:
            self.cluster.start_daemon("a machine")
        finally:
            del self.lab.nodes["a machine"]

    def said(self, node: str, *words: str, code: int = 0) -> str:
        result = self.cluster.run(node, *words, check=False, timeout=90)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result.stdout + result.stderr

    def of_copy(self, *words: str) -> str:
        result = self.machine.run([self.cluster.program, *words], check=False, timeout=30)
        return result.stdout + result.stderr

    def log_of(self, node: Node) -> str:
        with open(node.daemon_log, errors="replace") as file:
            return file.read()

    # Questions

    def told_of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.cluster.events() if event["kind"] == kind]

    def is_open(self, status: dict[str, Any]) -> bool:
        return any("several machines" in reason for reason in status["reasons"])

    def state_of(self, status: dict[str, Any], name: str = "tok-1") -> str:
        return next(str(node["state"]) for node in status["nodes"] if node["name"] == name)

    def wait_named(self) -> float:
        began = time.monotonic()
        self.cluster.wait_status("wit-1", self.is_open, SECONDS, "the two machines are named")
        return time.monotonic() - began

    def wait_single(self) -> None:
        self.cluster.wait_status(
            "osk-1", lambda status: not self.is_open(status) and self.cluster.all_up(status), 60, "tok-1 is one machine again")
        # Whoever is asked for the events may be the node that has just been let in.
        wait_until(lambda: len(self.told_of("node.singled")) == 1, 20, "it is among the events, once", step=0.2)

    def hears(self, text: str, seconds: float) -> None:
        """The copy says so itself, in its log and in its status."""
        for _ in range(int(seconds * 5)):
            if text in self.of_copy("status") and text in self.log_of(self.machine):
                return
            time.sleep(0.2)
        self.fail(f"the copy does not say `{text}`: {self.of_copy('status')}\n{self.log_of(self.machine)[-3000:]}")

    def never_two(self) -> None:
        runs = checkers.read_runs(self.cluster.pulses)
        checkers.check_single_owner(runs)
        self.assertGreater(len(runs), 1)

    # The cases

    def test_beside_the_original(self) -> None:
        self.assertIn("is one machine", self.said("osk-1", "node", "original", "tok-1", "--boot", "x", "--yes", code=4))
        original = self.lab.node("tok-1")
        self.copy(self.machine.address)
        self.start(self.machine)
        print(f"named within {self.wait_named():.1f} s", file=sys.stderr)
        self.cluster.wait_running(30, on="osk-1", node="osk-1")
        self.cluster.wait_status("osk-1", lambda status: self.state_of(status) == "lost", 30, "tok-1 has no life")
        (event,) = self.told_of("node.duplicated")
        for machine in (original, self.machine):
            self.assertIn(f"{machine.address}, boot {machine.boot_id[:8]}", event["sentence"])
        self.hears("several machines are this node", 20)
        self.assertEqual(self.lab.node("tok-1").find("service") + self.machine.find("service"), [])
        # Nobody gets in by being started anew.
        for node in (original, self.machine):
            node.signal("daemon", 9)
        time.sleep(5)
        self.assertEqual(self.state_of(self.cluster.told("osk-1")), "lost")
        self.assertIn("no machine at", self.said("osk-1", "node", "original", "tok-1", "--boot", "zzz", "--yes", code=6))
        self.assertIn("gets another key", self.said(
            "osk-1", "node", "original", "tok-1", "--address", original.address, "--dry-run"))
        self.assertTrue(self.is_open(self.cluster.told("osk-1")))

        self.said("osk-1", "node", "original", "tok-1", "--address", original.address, "--yes")
        self.wait_single()
        self.hears("this machine is a copy", 20)
        self.said("tok-1", "group", "move", "orders", "--to", "tok-1", "--yes", "--wait")
        self.assertEqual(self.cluster.owner(), "tok-1")
        # Nor after both machines were booted.
        self.machine.power_off()
        original.power_off()
        self.cluster.wait_running(30, on="osk-1", node="osk-1")
        self.machine.boot()
        self.start(self.machine)
        time.sleep(3)
        self.cluster.return_node("tok-1")
        self.cluster.wait_status("osk-1", self.cluster.all_up, 60, "tok-1 is up after it was booted")
        self.hears("this machine is a copy", 20)
        time.sleep(5)
        self.assertFalse(self.is_open(self.cluster.told("osk-1")))
        self.assertEqual(len(self.told_of("node.duplicated")), 1)
        self.never_two()

    def test_let_in_while_the_original_was_off(self) -> None:
        original = self.lab.node("tok-1")
        place = original.address
        self.copy(place)
        original.power_off()
        self.cluster.wait_running(30, on="osk-1", node="osk-1")
        # It has the address of the original, and cannot be told from it.
        self.machine.run(f"ip address add {place}/24 dev eth0")
        self.start(self.machine)
        self.cluster.wait_status("osk-1", self.cluster.all_up, 60, "the copy is taken for tok-1")
        self.said("osk-1", "group", "move", "orders", "--to", "tok-1", "--yes", "--wait")
        self.assertNotEqual(self.machine.find("service"), [])

        # The original comes back, and has another address by now.
        second = f"{self.lab.subnet}.77"
        original.address = second
        original.boot()
        self.listen(original.state, second)
        self.cluster.start_daemon("tok-1")
        print(f"named within {self.wait_named():.1f} s", file=sys.stderr)
        self.cluster.wait_running(30, on="osk-1", node="osk-1")
        self.assertEqual(original.find("service") + self.machine.find("service"), [])
        self.cluster.wait_status("osk-1", lambda status: self.state_of(status) == "lost", 30, "tok-1 has no life")

        # The copy is switched off, and the original is where it is.
        self.machine.power_off()
        self.said("osk-1", "node", "original", "tok-1", "--boot", original.boot_id[:8], "--yes")
        self.said("osk-1", "node", "set", "tok-1", "--address", f"{second}:7400", "--yes")
        self.wait_single()
        self.said("osk-1", "group", "move", "orders", "--to", "tok-1", "--yes", "--wait")
        self.assertNotEqual(original.find("service"), [])
        self.machine.boot()
        self.machine.run(f"ip address add {place}/24 dev eth0")
        self.start(self.machine)
        self.hears("this machine is a copy", 20)
        self.assertFalse(self.is_open(self.cluster.told("osk-1")))
        self.assertEqual(self.machine.find("service"), [])
        self.never_two()

    def test_at_the_same_address(self) -> None:
        """The network decides which of them is heard, now the one and now the other."""
        original = self.lab.node("tok-1")
        self.copy(original.address)
        # Its log is that of the present start: nothing tells it from the original but the boot (E2.9).
        self.machine.run(
            f"ip address del {self.machine.address}/24 dev eth0; ip address add {original.address}/24 dev eth0")
        self.start(self.machine)
        for number in range(20):
            speaker = original if number % 2 == 0 else self.machine
            speaker.run(["/usr/bin/python3", "-c", ANNOUNCE, original.address])
            time.sleep(3)
            if self.is_open(self.cluster.told("osk-1")):
                break
        else:
            self.fail("the two machines are not named, although both were heard")
        self.cluster.wait_running(30, on="osk-1", node="osk-1")
        self.cluster.wait_status("osk-1", lambda status: self.state_of(status) == "lost", 30, "tok-1 has no life")
        self.assertIn("name it by its boot", self.said(
            "osk-1", "node", "original", "tok-1", "--address", original.address, "--yes", code=6))
        self.machine.power_off()
        original.run(["/usr/bin/python3", "-c", ANNOUNCE, original.address])
        self.said("osk-1", "node", "original", "tok-1", "--boot", original.boot_id[:8], "--yes")
        self.wait_single()
        self.said("osk-1", "group", "move", "orders", "--to", "tok-1", "--yes", "--wait")
        self.assertNotEqual(original.find("service"), [])
        self.never_two()


if __name__ == "__main__":
    unittest.main()
