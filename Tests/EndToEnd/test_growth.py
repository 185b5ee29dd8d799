"""A volume on files grows in use, one on devices when it is next opened, once they have room; its file system with it. Nothing
is lost, and it never shrinks.

XFS, because a mounted ext4 grows for nobody in a container without CAP_SYS_RESOURCE.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_growth.py
"""
import os
import shutil
import subprocess
import sys
import time
import unittest
from typing import ClassVar

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.cluster import binary  # noqa: E402
from chaos.lab.lab import NODES  # noqa: E402

MIB = 1 << 20
SMALL, LARGE = 320, 512  # MiB; XFS wants 300


class GrowingCase(ClusterCase):
    nodes = NODES

    def backing(self, name: str) -> str:
        return "/var/lib/holdfast/d.img"

    def policy(self, mebibytes: int) -> str:
        replicas = "\n".join(
            f'      {name}: {{ backing: {self.backing(name)}, address: "{self.lab.node(name).address}:7410" }}'
            for name in self.cluster.members)
        return f"""cluster: prod
volumes:
  d:
    size: {mebibytes}MiB
    replicas:
{replicas}
groups:
  orders:
    nodes: [{', '.join(self.cluster.members)}]
    resources:
      - {{ name: disk, agent: volume, volume: d }}
      - {{ name: fs, agent: filesystem, volume: d, mount: /srv/d, type: xfs, format: if-blank }}
      - {{ name: pulse, agent: exec, command: "{self.cluster.heartbeat} {self.cluster.pulses}" }}
"""

    def ask(self, node: str, verb: str, mebibytes: int, *words: str) -> tuple[int, str]:
        """What a command says about the configuration with this size, and its exit code."""
        with open(os.path.join(self.lab.node(node).state, "next.yaml"), "w") as file:
            file.write(self.policy(mebibytes))
        result = self.cluster.run(node, verb, "/var/lib/holdfast/next.yaml", *words, check=False)
        return result.returncode, result.stdout + result.stderr

    def sizes(self, node: str) -> list[int]:
        """Of the device and of the file system, in MiB."""
        said = self.lab.node(node).run(
            "blockdev --getsize64 $(findmnt -no SOURCE /srv/d) && findmnt -bno SIZE /srv/d").stdout
        return [int(word) // MIB for word in said.split()]

    def grown(self, node: str) -> tuple[int, int]:
        """The sizes, once both are larger."""
        for _ in range(60):
            device, files = self.sizes(node)
            if device == LARGE and files > SMALL:
                return device, files
            time.sleep(0.5)
        raise AssertionError(f"the device has {device} MiB, and the file system {files}")

    def move(self, target: str) -> None:
        self.cluster.run(target, "group", "move", "orders", "--to", target, "--yes", "--wait")
        self.cluster.wait_running(30, on=target)


@unittest.skipUnless(shutil.which("xfs_growfs"), "install xfsprogs")
class Growth(GrowingCase):
    purpose = "end-to-end-growth"

    def test_a_volume_grows_and_never_shrinks(self) -> None:
        self.cluster.apply(self.policy(SMALL))
        owner = self.cluster.wait_running(30)
        other = next(name for name in self.cluster.members if name != owner)
        self.cluster.wait_in_sync(60)
        node = self.lab.node(owner)
        self.assertEqual(self.sizes(owner)[0], SMALL)
        before = node.run("head -c 16M /dev/urandom >/srv/d/old && sync -f /srv/d && sha256sum /srv/d/old").stdout

        will = f"volume d grows to {LARGE * MIB} bytes; who writes to it waits a moment for its servers"
        self.assertIn(will, self.ask(owner, "plan", LARGE)[1])

        services = node.find("service")
        writer = subprocess.Popen(node.enter() + [
            "bash", "-c",
            "while dd if=/dev/urandom of=/srv/d/busy bs=64K count=16 conv=fsync status=none; do sleep 0.05; done"])
        self.addCleanup(writer.kill)
        code, said = self.ask(owner, "apply", LARGE, "--yes", "--wait")
        self.assertEqual(code, 0, said)
        self.assertIn(will, said)
        device, files = self.grown(owner)
        self.assertIsNone(writer.poll(), "a write failed while it grew")
        writer.kill()
        self.assertEqual(node.find("service"), services, "it runs on as it was")
        self.cluster.wait_in_sync(60)

        self.move(other)
        self.assertEqual(self.sizes(other), [device, files])
        self.assertEqual(self.lab.node(other).run("sha256sum /srv/d/old").stdout, before)
        # Together more than the volume had before.
        after = self.lab.node(other).run(
            f"head -c {SMALL * MIB} /dev/urandom >/srv/d/new && sync -f /srv/d && sha256sum /srv/d/new").stdout
        self.cluster.wait_in_sync(60)
        self.move(owner)
        self.assertEqual(self.sizes(owner), [device, files])
        self.assertEqual(node.run("sha256sum /srv/d/old /srv/d/new").stdout, before + after)

        for verb, words in (("check", ()), ("plan", ()), ("apply", ("--yes",))):
            code, said = self.ask(owner, verb, SMALL, *words)
            self.assertEqual(code, 6, said)
            self.assertIn(f"volumes.d.size: it has {LARGE * MIB} bytes and cannot shrink to {SMALL * MIB}", said)
        self.cluster.wait_healthy(30)
        self.assertEqual(self.sizes(owner), [device, files])


@unittest.skipUnless(shutil.which("xfs_growfs"), "install xfsprogs")
class GrowthOnDevices(GrowingCase):
    purpose = "end-to-end-growth-on-devices"
    devices: ClassVar[dict[str, tuple[str, str]]] = {}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        for name in cls.cluster.members:
            path = os.path.join(cls.lab.node(name).state, "device")
            cls.resize(path, SMALL)
            made = subprocess.run(["losetup", "-f", "--show", path], check=True, capture_output=True, text=True)
            cls.devices[name] = (path, made.stdout.strip())

    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()
        for _, device in cls.devices.values():
            subprocess.run(["losetup", "-d", device], check=True)

    @staticmethod
    def resize(path: str, mebibytes: int) -> None:
        """A device of one MiB more than the volume: its label lies behind it."""
        subprocess.run(["truncate", "-s", f"{mebibytes + 1}M", path], check=True)

    def backing(self, name: str) -> str:
        return self.devices[name][1]

    def test_a_device_made_larger_under_a_running_server_is_noticed(self) -> None:
        self.cluster.apply(self.policy(SMALL))
        owner = self.cluster.wait_running(30)
        self.cluster.wait_in_sync(60)
        members = ", ".join(self.cluster.members)
        said = self.ask(owner, "apply", LARGE, "--yes")[1]
        self.assertIn(f"does not grow until the devices of {members} are larger", said)
        for path, device in self.devices.values():
            self.resize(path, LARGE)
            subprocess.run(["losetup", "-c", device], check=True)
        will = f"volume d grows to {LARGE * MIB} bytes when its group is stopped and started, or moves"
        said = ""
        for _ in range(30):
            said = self.ask(owner, "plan", LARGE)[1]
            if will in said:
                break
            time.sleep(1)
        self.assertIn(will, said)
        other = next(name for name in self.cluster.members if name != owner)
        self.move(other)
        self.assertEqual(self.sizes(other)[0], LARGE)


if __name__ == "__main__":
    binary()
    unittest.main()
