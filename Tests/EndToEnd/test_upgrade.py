"""The product is replaced under a PostgreSQL, node by node: nothing stops, and what outlives a daemon is renewed too.

With the release before (`make previous`, or HOLDFAST_PREVIOUS) both are one cluster, in which everything works, and each goes back.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_upgrade.py
"""
import os
import shutil
import signal
import sys
import unittest
from typing import ClassVar

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.cluster import Cluster, binary  # noqa: E402
from chaos.lab.lab import NODES, Lab  # noqa: E402
from chaos.lab.shell import clock, wait_until  # noqa: E402
from chaos.workload import checkers  # noqa: E402
from chaos.workload.database import found_rows  # noqa: E402

PROGRAM = "/srv/bin/holdfast"  # on every machine, its own copy
PREVIOUS = os.environ.get("HOLDFAST_PREVIOUS", os.path.join(ROOT, ".build", "previous", "holdfast"))
STALL_MAXIMUM = 0.5  # seconds, between two rows


class Upgrade(unittest.TestCase):
    """Three machines, each with the product in a file of its own."""

    lab: ClassVar[Lab]
    cluster: ClassVar[Cluster]
    release: ClassVar[str]
    purpose: ClassVar[str]
    history: ClassVar[str]

    @classmethod
    def begin(cls, first: str) -> None:
        """A cluster of this program, with a PostgreSQL on it and a client that writes rows."""
        cls.release = binary()
        cls.lab = Lab(cls.purpose, NODES).up()
        try:
            cls.cluster = Cluster(cls.lab, name="prod")
            cls.cluster.program, cls.lab.program_directory = PROGRAM, os.path.dirname(PROGRAM)
            for name in cls.lab.nodes:
                cls.install(name, first)
            cls.cluster.form()
            cls.cluster.apply(cls.cluster.database_policy(size="256MiB"))
            cls.cluster.wait_running(180)
            cls.cluster.wait_in_sync()
            cls.history = os.path.join(cls.lab.directory, "rows")
            cls.lab.client_python(
                os.path.join(ROOT, "chaos", "workload", "writer.py"), cls.cluster.floating, cls.history, "--pause", "0.015",
                log=os.path.join(cls.lab.directory, "writer.log"))
            cls.accepted_after(0)
        except BaseException:
            cls.lab.keep_files = True
            cls.lab.down()
            raise

    @classmethod
    def tearDownClass(cls) -> None:
        cls.lab.down()

    @classmethod
    def install(cls, name: str, program: str) -> None:
        """Another file takes the place of the one that runs, as a package manager does it."""
        node = cls.lab.node(name)
        node.run(["install", "-D", "-m", "755", program, f"{PROGRAM}.new"])
        node.run(["mv", f"{PROGRAM}.new", PROGRAM])

    @classmethod
    def upgrade_alone(cls, name: str, program: str) -> None:
        """Installs a program and restarts the daemon, whatever becomes of it."""
        node = cls.lab.node(name)
        before = node.find("daemon")
        cls.install(name, program)
        node.signal("daemon", signal.SIGTERM)
        wait_until(lambda: node.find("daemon") not in ([], before), 20, f"{name} has a new daemon")

    @classmethod
    def upgrade(cls, name: str, program: str) -> None:
        """Installs a program, restarts the daemon, and waits until all is well again."""
        cls.upgrade_alone(name, program)
        cls.cluster.wait_status(None, cls.cluster.all_up, 40, "all nodes are up")
        cls.cluster.wait_in_sync(60)

    @classmethod
    def accepted_after(cls, instant: float) -> None:
        wait_until(
            lambda: checkers.first_acknowledged_after(checkers.read_rows(cls.history), instant + 0.05), 60,
            "a row is accepted", step=0.1)

    def renewed(self, name: str) -> None:
        """Waits until guard and volume servers run the file that is there, and all copies are in sync."""
        node = self.lab.node(name)
        wait_until(lambda: not node.replaced("guard", "volume-server"), 40, f"what runs on {name} is renewed")
        self.cluster.wait_in_sync(60)

    def longest_pause(self, since: float) -> float:
        """Between two rows."""
        self.accepted_after(clock())
        return checkers.longest_gap(checkers.read_rows(self.history), since=since)[0]

    def check_rows(self, all_answered: bool = False) -> None:
        """None that was acknowledged is missing; without a move each was answered, too."""
        entries = checkers.read_rows(self.history)
        last = max(entry["row"] for entry in entries)
        found = [row for row in found_rows(self.lab, self.cluster.floating) if row <= last]
        self.assertGreater(checkers.check_rows(entries, found)[0], 0)
        if all_answered:
            self.assertEqual([entry for entry in entries if entry["row"] < last and "ack" not in entry], [])


class Renewal(Upgrade):
    purpose = "end-to-end-upgrade"

    @classmethod
    def setUpClass(cls) -> None:
        cls.begin(binary())

    def test_guard_and_volume_servers_are_renewed_and_nothing_stops(self) -> None:
        owner = self.cluster.wait_running()
        other = next(name for name in self.cluster.members if name != owner)
        node = self.lab.node(owner)
        before = node.find("postgres"), node.find("service"), node.find("volume-device")
        next_release = os.path.join(self.lab.directory, "holdfast")
        shutil.copyfile(self.release, next_release)
        for name in ("wit-1", other, owner):
            guards = self.lab.node(name).find("guard")
            began = clock()
            self.upgrade(name, next_release)
            self.renewed(name)
            pause = self.longest_pause(began - 0.2)
            print(f"{name}: renewed after {clock() - began:.1f} s, longest pause between rows {pause:.2f} s", file=sys.stderr)
            self.assertLess(pause, STALL_MAXIMUM)
            if name != "wit-1":
                # A node's processes are those of its machine: one guard, and another one.
                self.assertEqual(len(guards), 1)
                self.assertEqual(len(self.lab.node(name).find("guard")), 1)
                self.assertNotEqual(self.lab.node(name).find("guard"), guards)
        self.assertEqual((node.find("postgres"), node.find("service"), node.find("volume-device")), before)
        self.assertEqual(self.cluster.owner(), owner)
        # Other nodes hear a moment later what runs on this one.
        self.cluster.wait_status(
            None, lambda status: all(
                helper["isPresent"] for told in status["nodes"]
                for helper in [*told["programs"]["volumeServers"].values(), *filter(None, [told["programs"].get("guard")])]),
            20, "status knows that all of it is renewed")
        status = self.cluster.told()
        self.assertFalse([warning for warning in status["warnings"] if "guard" in warning], status["warnings"])
        self.check_rows(all_answered=True)


@unittest.skipUnless(os.access(PREVIOUS, os.X_OK), "the release before is not there: make previous")
class Mixed(Upgrade):
    purpose = "end-to-end-mixed"

    @classmethod
    def setUpClass(cls) -> None:
        cls.begin(PREVIOUS)

    def types(self, node: str, *words: str, code: int = 0) -> str:
        """A command on a node, which must end so."""
        result = self.cluster.run(node, *words, check=False, timeout=120)
        self.assertEqual(result.returncode, code, f"{words} on {node}: {result.stdout}{result.stderr}")
        return result.stdout + result.stderr

    def everything_works(self, owner: str, other: str) -> None:
        """What an operator does in the days between two nodes' upgrades."""
        for node in (owner, other):
            self.types(node, "attribute", "put", f"by-{node}", "1")
            self.types(node, "attribute", "get", f"by-{owner}")
            self.types(node, "note", "half way")
        self.types(other, "node", "set", other, "--label", "rack=a1", "--yes")
        self.types(owner, "leader", "transfer", "--to", other, "--yes")
        self.cluster.wait_status(None, lambda status: status["leader"] == other, 20, f"{other} leads")
        self.types(other, "group", "move", "orders", "--to", other, "--yes", "--wait")
        self.cluster.wait_healthy(60)
        self.types(other, "leader", "transfer", "--to", owner, "--yes")
        self.cluster.wait_status(None, lambda status: status["leader"] == owner, 20, f"{owner} leads")
        self.types(owner, "group", "move", "orders", "--to", owner, "--yes", "--wait")
        self.cluster.wait_healthy(60)
        for name in (owner, other):
            self.lab.node(name).signal("volume-server", signal.SIGKILL)
            self.cluster.wait_healthy(60)

    def versions(self, node: str) -> dict[str, str | None]:
        """What each node runs, as one of them says."""
        return {told["name"]: (told.get("programs") or {}).get("version") for told in self.cluster.told(node)["nodes"]}

    def test_both_releases_are_one_cluster_until_the_upgrade_is_finalized(self) -> None:
        owner = self.cluster.wait_running()
        other = next(name for name in self.cluster.members if name != owner)
        present = self.lab.node(owner).run([self.release, "--version"]).stdout.strip()
        self.upgrade("wit-1", self.release)
        self.everything_works(owner, other)
        self.assertEqual(self.versions("wit-1"), {owner: None, other: None, "wit-1": present})
        self.upgrade(other, self.release)
        self.renewed(other)
        self.everything_works(owner, other)
        self.assertEqual(self.versions(other), {owner: None, other: present, "wit-1": present})
        refused = self.types(other, "upgrade", "finalize", "--yes", code=6)
        self.assertIn(f"{owner} does not say what it runs", refused)
        self.assertIn(owner, self.types("wit-1", "upgrade", "status"))
        # Back to the release before, and on again.
        self.upgrade(other, PREVIOUS)
        self.everything_works(owner, other)
        self.assertEqual(self.versions("wit-1"), {owner: None, other: None, "wit-1": present})
        began = clock()
        for name in (other, owner):
            self.upgrade(name, self.release)
            self.renewed(name)
        print(f"longest pause between rows {self.longest_pause(began):.2f} s", file=sys.stderr)
        self.types(owner, "upgrade", "finalize", "--yes")
        self.assertIn("feature level 3", self.types("wit-1", "upgrade", "status"))
        self.everything_works(owner, other)
        self.check_rows()
        # The release before reads no more, says so, and does no harm; the present one is put back.
        self.upgrade_alone("wit-1", PREVIOUS)
        self.cluster.wait_status(
            "wit-1", lambda status: any("cannot be read" in reason for reason in status["reasons"]), 30, "it says what it lacks")
        self.upgrade("wit-1", self.release)
        self.cluster.wait_healthy(60)
        self.check_rows()


if __name__ == "__main__":
    binary()
    unittest.main()
