"""Faults do what their line says, to the node it means; shown on a laboratory that only notes what it is told."""
import os
import signal
import tempfile
import unittest
from typing import Any, cast

from chaos.faults import FAULTS, Faults
from chaos.lab.cluster import DATABASE, Cluster
from chaos.lab.lab import NODES
from chaos.words import Step, step


class Notes:
    """Notes every call of a method that it does not have."""

    def __init__(self, called: list[str], name: str = "") -> None:
        self.called, self.name, self.place = called, name, "/srv"

    def __getattr__(self, name: str) -> Any:
        def call(*words: object, **options: object) -> float:
            said = [str(word) for word in words] + [f"{key}={value}" for key, value in options.items() if value]
            self.called.append(" ".join([self.name, name, *said]).strip())
            return 7.0
        return call


class Node(Notes):
    """A machine that is up."""

    def __init__(self, called: list[str], name: str, role: str, directory: str) -> None:
        super().__init__(called, name)
        self.role, self.is_up, self.disk = role, True, Notes(called, f"{name}'s disk")
        self.state = self.directory = directory
        self.present = 1

    def signal(self, role: str, number: int) -> int:
        """How many processes there were."""
        self.called.append(f"{self.name} {role} {signal.Signals(number).name}")
        return self.present

    def path(self, inside: str) -> str:
        """As seen from outside."""
        return f"/proc/1{inside}"


class Laboratory(Notes):
    """Three nodes, of which tok-1 is owner and wit-1 leads."""

    def __init__(self, directory: str) -> None:
        super().__init__([], "lab")
        self.network = Notes(self.called, "network")
        self.nodes = {name: Node(self.called, name, role, directory) for name, _, role in NODES}
        self.node = self.nodes.__getitem__


class Company(Notes):
    """The cluster on them."""

    def __init__(self, lab: Laboratory) -> None:
        super().__init__(lab.called)
        self.lab, self.members, self.group, self.asked = lab, ["tok-1", "osk-1"], "orders", "wit-1"
        self.owner = lambda: "tok-1"
        self.leader = lambda: "wit-1"
        self.any_node = lambda: "wit-1"


class Performing(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.lab = Laboratory(folder.name)
        self.faults = Faults(cast(Cluster, Company(self.lab)))

    def perform(self, text: str) -> list[str]:
        """What was called for a line `at 1s …`."""
        self.lab.called.clear()
        self.faults.perform(step(FAULTS, "fault", 1, f"1s {text}"))
        return self.lab.called

    def test_each_fault_does_its_own_deed(self) -> None:
        for text, wanted in (
                ("kill owner", "tok-1 power_off"), ("isolate standby", "lab isolate osk-1"),
                ("rejoin witness", "lab rejoin wit-1"), ("pause leader", "wit-1 pause"), ("resume it", "wit-1 resume"),
                ("freeze osk-1", "osk-1 freeze True"), ("thaw it", "osk-1 freeze False"), ("heal", "lab heal"),
                ("wan tokyo delay=20 loss=1", "network set_wan tokyo delay=20 loss=1"),
                ("restart-daemon owner", "tok-1 daemon SIGTERM"),
                ("kill-process owner guard", "tok-1 guard SIGKILL"),
                ("stop-process owner daemon", "tok-1 daemon SIGSTOP"),
                ("continue-process owner daemon", "tok-1 daemon SIGCONT"),
                ("move standby", "run wit-1 group move orders --to osk-1 --yes timeout=90"),
                ("drain owner", "run wit-1 node drain tok-1 --yes timeout=90"),
                ("undrain owner", "run wit-1 node undrain tok-1 --yes timeout=90"),
                ("role standby observer", "run wit-1 node set osk-1 --role observer --allow-worse --yes timeout=90"),
                ("transfer to=owner", "run wit-1 leader transfer --yes --to tok-1 --wait --timeout 5s"),
                ("transfer", "run wit-1 leader transfer --yes"), ("change", "change 20"), ("change count=3", "change 3"),
                ("disk-full owner", "tok-1's disk fill /proc/1/srv"), ("disk-freed owner", "tok-1's disk free /proc/1/srv"),
                ("disk-fails owner", "tok-1's disk fail"), ("disk-repaired owner", "tok-1's disk repair"),
                ("disk-hangs owner", "tok-1's disk hang"), ("disk-answers owner", "tok-1's disk answer")):
            with self.subTest(text):
                self.assertEqual(self.perform(text), [wanted])

    def test_members_are_replaced_without_power_and_clients_rest_where_there_are_some(self) -> None:
        for text, wanted in (("replace standby", "powered off first"), ("clients-rest", "a line `attributes`")):
            with self.subTest(text), self.assertRaisesRegex(RuntimeError, wanted):
                self.perform(text)

    def test_a_node_that_is_up_is_not_booted_again(self) -> None:
        self.assertEqual(self.perform("boot owner"), [])
        self.lab.nodes["tok-1"].is_up = False
        self.assertEqual(self.perform("boot owner"), ["return_node tok-1"])

    def test_it_is_the_node_of_the_fault_before(self) -> None:
        with self.assertRaisesRegex(RuntimeError, "before any fault named a node"):
            self.perform("kill it")
        self.perform("pause standby")
        self.assertEqual(self.perform("kill it"), ["osk-1 power_off"])

    def test_a_cut_has_two_sides(self) -> None:
        self.assertEqual(
            self.perform("cut owner rest"), ["lab partition ['tok-1'] ['osk-1', 'wit-1', 'client']"])
        self.assertEqual(
            self.perform("cut rest owner one-way=yes"),
            ["lab partition ['osk-1', 'wit-1', 'client'] ['tok-1'] one_way=True"])
        self.assertEqual(
            self.perform("cut owner,witness standby port=7400"),
            ["lab partition ['tok-1', 'wit-1'] ['osk-1'] port=7400"])
        with self.assertRaisesRegex(RuntimeError, "on one side at least"):
            self.perform("cut rest rest")

    def test_a_process_that_is_not_there_cannot_be_killed(self) -> None:
        self.lab.nodes["tok-1"].present = 0
        with self.assertRaisesRegex(RuntimeError, "no postgres runs on tok-1"):
            self.perform("kill-process owner postgres")

    def test_a_log_comes_back_as_it_was_copied(self) -> None:
        log = os.path.join(self.folder, "log", "entries")
        os.mkdir(os.path.dirname(log))
        for text, found in (("copy-log owner", "old"), ("restore-log owner", "old")):
            with open(log, "w") as file:
                file.write("old" if text.startswith("copy") else "new")
            self.perform(text)
            with open(log) as file:
                self.assertEqual(file.read(), found)
        self.assertEqual(self.lab.called, ["tok-1 daemon SIGSTOP", "tok-1 daemon SIGKILL"])
        self.perform("lose-log owner")
        self.assertFalse(os.path.exists(os.path.dirname(log)))

    def test_a_copy_is_lost_and_put_back_only_without_power(self) -> None:
        copy = os.path.join(self.folder, "state", f"{DATABASE}.img")
        metadata = os.path.join(self.folder, "state", "volumes", f"{DATABASE}.meta")
        os.makedirs(os.path.dirname(metadata))
        for path in (copy, metadata):
            with open(path, "w") as file:
                file.write("old")
        self.perform("copy-saved owner")
        for path in (copy, metadata):
            with open(path, "w") as file:
                file.write("new")
        with self.assertRaisesRegex(RuntimeError, "wants tok-1 powered off first"):
            self.perform("copy-lost owner")
        self.lab.nodes["tok-1"].is_up = False
        self.perform("copy-lost owner")
        self.assertFalse(os.path.exists(copy))
        self.perform("copy-put-back owner")
        with open(copy) as one, open(metadata) as other:
            self.assertEqual((one.read(), other.read()), ("old", "new"))
        self.perform("copy-saved owner")
        self.perform("copy-put-back owner metadata=too")
        self.assertFalse(os.path.exists(metadata + ".saved"))

    def test_a_name_that_is_not_there_is_refused(self) -> None:
        with self.assertRaisesRegex(RuntimeError, "`tok-9` is no node"):
            FAULTS["kill"].act(self.faults, Step(1, (0.0, 0.0), False, "kill", ["tok-9"]))


if __name__ == "__main__":
    unittest.main()
