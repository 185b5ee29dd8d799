"""The laboratory does what it says: wires, cuts, power, the WAN. Counts are asserted, times are printed."""
import os
import re
import unittest
from typing import ClassVar

from chaos.lab.disk import Disk
from chaos.lab.lab import Lab
from chaos.lab.node import Node
from chaos.lab.shell import Result, clock, compile_c, run, wait_until

DISKS = (16 << 20, "/var/lib/holdfast")
NODES = [("one", "left", "member"), ("two", "right", "member")]


def pings(node: Node, address: str, count: int = 3, wait: str = "0.3",
          interval: str = "0.05") -> tuple[int, str]:
    """How many of `count` pings are answered."""
    result = node.run(["ping", "-n", "-q", "-c", str(count), "-i", interval, "-W", wait, address], check=False)
    received = re.search(r"(\d+) received", result.stdout)
    return int(received[1]) if received else 0, result.stdout


def disk_of(node: Node) -> Disk:
    """A node's disk, where it has one of its own."""
    assert node.disk is not None
    return node.disk


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class Wires(unittest.TestCase):
    lab: ClassVar[Lab]
    one: ClassVar[Node]
    two: ClassVar[Node]

    @classmethod
    def setUpClass(cls) -> None:
        cls.lab = Lab("test-wires", NODES).up()
        cls.one, cls.two = cls.lab.node("one"), cls.lab.node("two")

    @classmethod
    def tearDownClass(cls) -> None:
        cls.lab.down()

    def test_a_cut_in_one_direction_and_its_end(self) -> None:
        self.assertEqual(pings(self.one, self.two.address)[0], 3)
        self.lab.partition(["one"], ["two"], one_way=True)
        self.assertEqual(pings(self.one, self.two.address)[0], 0)
        self.lab.heal()
        self.assertEqual(pings(self.one, self.two.address)[0], 3)

    def test_one_port_alone(self) -> None:
        self.two.spawn(["/usr/bin/python3", "-m", "http.server", "7410"], "/dev/null")
        self.two.spawn(["/usr/bin/python3", "-m", "http.server", "7411"], "/dev/null")

        def reaches(port: int) -> bool:
            words = ["timeout", "0.5", "bash", "-c", f"</dev/tcp/{self.two.address}/{port}"]
            return self.one.run(words, check=False).returncode == 0
        wait_until(lambda: reaches(7410) and reaches(7411), 10, "both ports answer")
        self.lab.partition(["one"], ["two"], port="7410")
        self.assertFalse(reaches(7410))
        self.assertTrue(reaches(7411))
        self.lab.heal()
        self.assertTrue(reaches(7410))

    def test_isolation_keeps_the_carrier(self) -> None:
        self.lab.isolate("one")
        self.assertEqual(pings(self.one, self.two.address, count=1)[0], 0)
        self.assertIn("LOWER_UP", self.one.run("ip link show eth0").stdout)
        self.lab.heal()
        self.assertEqual(pings(self.one, self.two.address)[0], 3)

    def test_power_loss_kills_everything_and_forgets_the_kernel(self) -> None:
        self.one.spawn(["sleep", "1000"], "/dev/null")
        self.one.run("ip addr add 10.9.0.77/24 dev eth0; echo kept > /var/lib/holdfast/file; echo gone > /run/file")
        before = self.one.boot_id
        victims = list(self.one.processes())
        self.one.power_off()
        self.assertEqual([pid for pid in victims if os.path.exists(f"/proc/{pid}")], [])
        self.one.boot()
        self.assertNotEqual(self.one.boot_id, before)
        self.assertNotIn("10.9.0.77", self.one.run("ip addr").stdout)
        self.assertEqual(self.one.run("cat /var/lib/holdfast/file; ls /run/file 2>/dev/null || true").stdout, "kept\n")

    def test_a_paused_node_goes_on_afterwards(self) -> None:
        self.two.spawn(["sleep", "1000"], "/dev/null")
        self.two.pause()

        def states() -> set[str]:
            found: set[str] = set()
            for pid in self.two.processes():
                with open(f"/proc/{pid}/stat") as file:
                    found.add(file.read().rsplit(")", 1)[1].split()[0])
            return found
        wait_until(lambda: states() == {"T"}, 10, "every process is stopped")
        self.two.resume()
        self.assertEqual(self.two.run("echo here").stdout, "here\n")

    def test_heartbeats_share_one_clock(self) -> None:
        program = compile_c(os.path.join(os.path.dirname(__file__), "..", "workload", "heartbeat.c"), "heartbeat")
        history = os.path.join(self.lab.directory, "pulses")
        for node in (self.one, self.two):
            node.spawn([program, history], "/dev/null")
        wait_until(lambda: os.path.exists(history) and os.path.getsize(history) > 4000, 10, "beats are written")
        with open(history) as file:
            lines = file.read().split("\n")[:-1]
        self.assertEqual({line.split()[0] for line in lines}, {"one", "two"})
        self.assertLess(abs(clock() - float(lines[-1].split()[3])), 10)


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class Disks(unittest.TestCase):
    lab: ClassVar[Lab]
    one: ClassVar[Node]
    two: ClassVar[Node]
    WRITE = "echo x > /var/lib/holdfast/{0} && sync /var/lib/holdfast/{0}"

    @classmethod
    def setUpClass(cls) -> None:
        cls.lab = Lab("test-disks", NODES, disks=DISKS).up()
        cls.one, cls.two = cls.lab.node("one"), cls.lab.node("two")

    @classmethod
    def tearDownClass(cls) -> None:
        cls.lab.down()

    def write(self, node: Node, name: str) -> Result:
        return node.run(self.WRITE.format(name), check=False)

    def test_full_and_free_again(self) -> None:
        disk_of(self.one).fill(self.one.state)
        self.assertIn("No space left", self.write(self.one, "full").stderr)
        self.assertEqual(self.write(self.two, "other").returncode, 0)
        disk_of(self.one).free(self.one.state)
        self.assertEqual(self.write(self.one, "free").returncode, 0)

    def test_failing_until_repaired_and_booted(self) -> None:
        self.assertEqual(self.write(self.two, "before").returncode, 0)
        disk_of(self.two).fail()
        self.assertIn("Input/output error", self.write(self.two, "lost").stderr)
        disk_of(self.two).repair()
        self.two.power_off()
        self.two.boot()
        self.assertEqual(self.two.run("cat /var/lib/holdfast/before").stdout, "x\n")
        self.assertEqual(self.write(self.two, "after").returncode, 0)

    def test_hanging_until_it_answers_and_past_a_power_loss(self) -> None:
        disk_of(self.one).hang()
        self.one.spawn(["bash", "-c", self.WRITE.format("late") + "; sleep 1000"], "/dev/null")

        def stuck() -> bool:
            for pid, words in self.one.processes().items():
                if words and words[0] == "sync":
                    with open(f"/proc/{pid}/stat") as file:
                        return file.read().rsplit(")", 1)[1].split()[0] == "D"
            return False
        wait_until(stuck, 10, "the writer waits in the kernel")
        disk_of(self.one).answer()
        wait_until(lambda: not stuck(), 10, "the writer goes on")
        self.assertEqual(self.one.run("cat /var/lib/holdfast/late").stdout, "x\n")
        disk_of(self.one).hang()
        self.one.spawn(["bash", "-c", self.WRITE.format("later")], "/dev/null")
        wait_until(stuck, 10, "the writer waits in the kernel")
        self.one.power_off()
        self.one.boot()
        self.assertEqual(self.write(self.one, "again").returncode, 0)

    def test_an_interrupted_run_is_cleaned_up_although_a_disk_hangs(self) -> None:
        first = Lab("test-hung", NODES, disks=DISKS).up()
        node, device = first.node("one"), disk_of(first.node("one")).device
        disk_of(node).hang()
        node.spawn(["bash", "-c", self.WRITE.format("never")], "/dev/null")
        first.state["owner"] = [first.state["owner"][0], 1]  # as if its process had ended
        first.save()
        Lab("test-hung", NODES).down()
        self.assertFalse(os.path.exists(first.cgroup))
        self.assertNotIn(first.name, run("losetup -l -n -O BACK-FILE").stdout)
        for each in first.nodes.values():
            each.outer.wait()
            server = disk_of(each).process
            assert server is not None
            server.wait()
        self.assertTrue(device.startswith("/dev/loop"))


@unittest.skipUnless(os.geteuid() == 0, "needs root")
class FarApart(unittest.TestCase):
    def test_delay_loss_and_cuts_change_while_it_runs(self) -> None:
        lab = Lab("test-wan", NODES, wan={"left": "delay=10", "right": "delay=10"}).up()
        try:
            one, two = lab.node("one"), lab.node("two")
            received, text = pings(one, two.address, count=20, wait="2", interval="0.02")
            print("\n  20 + 20 ms both ways:", text.strip().split("\n")[-1])
            self.assertEqual(received, 20)
            lab.network.set_wan("left", "loss=50,0")
            received, text = pings(one, two.address, count=200, wait="1", interval="0.005")
            print(f"  50 % loss one way: {received} of 200 answered")
            self.assertTrue(50 <= received <= 150, received)
            lab.network.set_wan("left", "loss=0 cut=in")
            self.assertEqual(pings(one, two.address)[0], 0)
            lab.network.set_wan("left", "cut=none jitter=5 rate=10")
            self.assertEqual(pings(one, two.address, wait="2")[0], 3)
        finally:
            lab.down()

    def test_nothing_is_left(self) -> None:
        lab = Lab("test-left", NODES).up()
        lab.down()
        self.assertFalse(os.path.exists(lab.cgroup))
        self.assertNotIn(lab.name, run("ip netns list").stdout)
        self.assertFalse(os.path.exists(lab.directory))

    def test_an_interrupted_run_is_cleaned_up(self) -> None:
        first = Lab("test-interrupted", NODES).up()
        survivors = [first.node("one").init, first.node("two").init]
        first.state["owner"] = [first.state["owner"][0], 1]  # as if its process had ended
        first.save()
        Lab("test-interrupted", NODES).down()
        self.assertFalse(os.path.exists(first.cgroup))
        self.assertNotIn(first.name, run("ip netns list").stdout)
        for pid, _ in filter(None, survivors):
            self.assertFalse(os.path.exists(f"/proc/{pid}/root/run"))
        for node in first.nodes.values():
            node.outer.wait()


if __name__ == "__main__":
    unittest.main()
