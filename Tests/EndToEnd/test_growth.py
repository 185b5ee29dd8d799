"""A volume on files grows when it is next opened, and its file system with it; nothing is lost, and it never shrinks.

XFS, because a mounted ext4 grows for nobody in a container without CAP_SYS_RESOURCE.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_growth.py
"""
import os
import shutil
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.cluster import binary  # noqa: E402
from chaos.stage import NODES  # noqa: E402

MIB = 1 << 20
SMALL, LARGE = 320, 512  # MiB; XFS wants 300


@unittest.skipUnless(shutil.which("xfs_growfs"), "install xfsprogs")
class Growth(ClusterCase):
    purpose, nodes = "end-to-end-growth", NODES

    def policy(self, mebibytes):
        replicas = "\n".join(
            f'      {name}: {{ backing: /var/lib/holdfast/d.img, address: "{self.lab.node(name).address}:7410" }}'
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

    def ask(self, node, verb, mebibytes, *words):
        """What a command says about the configuration with this size, and its exit code."""
        with open(os.path.join(self.lab.node(node).state, "next.yaml"), "w") as file:
            file.write(self.policy(mebibytes))
        result = self.cluster.run(node, verb, "/var/lib/holdfast/next.yaml", *words, check=False)
        return result.returncode, result.stdout + result.stderr

    def sizes(self, node):
        """Of the device and of the file system, in MiB."""
        said = self.lab.node(node).run(
            "blockdev --getsize64 $(findmnt -no SOURCE /srv/d) && findmnt -bno SIZE /srv/d").stdout
        return [int(word) // MIB for word in said.split()]

    def move(self, target):
        self.cluster.run(target, "group", "move", "orders", "--to", target, "--yes", "--wait")
        self.cluster.wait_running(30, on=target)

    def test_a_volume_grows_and_never_shrinks(self):
        self.cluster.apply(self.policy(SMALL))
        owner = self.cluster.wait_running(30)
        other = next(name for name in self.cluster.members if name != owner)
        self.cluster.wait_in_sync(60)
        node = self.lab.node(owner)
        self.assertEqual(self.sizes(owner)[0], SMALL)
        before = node.run("head -c 16M /dev/urandom >/srv/d/old && sync -f /srv/d && sha256sum /srv/d/old").stdout

        will = f"volume d grows to {LARGE * MIB} bytes when its group is stopped and started, or moves"
        self.assertIn(will, self.ask(owner, "plan", LARGE)[1])

        services = node.find("service")
        code, said = self.ask(owner, "apply", LARGE, "--yes", "--wait")
        self.assertEqual(code, 0, said)
        self.assertIn(will, said)
        self.assertEqual((node.find("service"), self.sizes(owner)[0]), (services, SMALL), "it runs on as it was")

        self.move(other)
        device, files = self.sizes(other)
        self.assertEqual(device, LARGE)
        self.assertGreater(files, SMALL)
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


if __name__ == "__main__":
    binary()
    unittest.main()
