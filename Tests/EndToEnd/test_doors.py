"""What somebody without a certificate can do to real daemons: nothing that they notice. (Rule N1)

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_doors.py
"""
import json
import os
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.cluster import Cluster  # noqa: E402
from chaos.lab.lab import NODES, Lab  # noqa: E402
from chaos.lab.shell import wait_until  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
DESCRIPTORS = 256


class Doors(unittest.TestCase):
    def setUp(self) -> None:
        self.lab = Lab("doors", NODES).up()
        self.cluster = Cluster(self.lab, name="prod", descriptors=DESCRIPTORS)
        self.floods: list[subprocess.Popen[str]] = []

    def tearDown(self) -> None:
        for flood in self.floods:
            flood.kill()
            flood.wait()
        self.lab.down()

    def policy(self) -> str:
        return self.cluster.volume_policy() + f"""groups:
  orders:
    nodes: [{', '.join(self.cluster.members)}]
    resources:
      - {{ name: disk, agent: volume, volume: d }}
      - {{ name: pulse, agent: exec, command: "{self.cluster.heartbeat} {self.cluster.pulses}" }}
"""

    def flood(self, target: str, port: int, kind: str, count: int, seconds: float) -> None:
        words = [
            "/usr/bin/python3", os.path.join(HERE, "flood.py"), self.stranger, self.lab.node(target).address, str(port),
            kind, str(count), str(seconds)]
        self.floods.append(
            subprocess.Popen(self.lab.node("wit-1").enter() + words, stdout=subprocess.PIPE, text=True))

    def descriptors(self, node: str, role: str) -> float:
        pids = wait_until(lambda: self.lab.node(node).find(role), 20, f"{role} of {node} runs")
        return max(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)

    def test_floods_of_strangers_cost_the_cluster_nothing(self) -> None:
        self.cluster.form()
        self.cluster.apply(self.policy())
        owner = self.cluster.wait_running(30)
        standby = next(name for name in self.cluster.members if name != owner)
        self.cluster.wait_in_sync(60)
        self.stranger = f"{self.lab.subnet}.66"
        self.lab.node("wit-1").run(f"ip addr add {self.stranger}/24 dev eth0")
        before = self.cluster.told()
        lives = {name: self.lab.node(name).find("daemon") for name in self.lab.nodes}
        for name in self.cluster.members:
            self.flood(name, 7400, "plain", 400, 45)
            self.flood(name, 7400, "tls", 60, 45)
            self.flood(name, 7410, "plain", 400, 45)
        # In the middle of it a node loses power and comes back: links, mirror and lease find their way.
        self.lab.node(standby).power_off()
        self.cluster.return_node(standby)
        del lives[standby]
        self.cluster.wait_status(None, self.cluster.all_up, 20, "all are up in the flood")
        self.cluster.wait_in_sync(20)
        for name in self.cluster.members:
            for role in ("daemon", "volume-server"):
                held = self.descriptors(name, role)
                print(f"{name} {role}: {held} descriptors")
                self.assertLess(held, DESCRIPTORS * 3 // 4, f"{role} of {name}")
        # Somebody with a token is heard in between, and one with a wrong address before that burns nothing.
        token = json.loads(self.cluster.run("tok-1", "token", "-o", "json").stdout)["token"]
        words = ["join", token, "--name", "new-1", "--site", "kobe", "--directory", "/run/joining", "--address"]
        for wrong in (f"{self.lab.subnet}.99:7400", f"{self.lab.node('tok-1').address}:7400", "localhost:7400"):
            refused = self.cluster.run("wit-1", *words, wrong, check=False)
            self.assertEqual(refused.returncode, 6, refused.stderr)
        self.cluster.run("wit-1", *words, f"{self.stranger}:7401")
        again = self.cluster.run(
            "wit-1", "join", token, "--name", "new-2", "--site", "kobe", "--directory", "/run/again", "--address",
            f"{self.stranger}:7402", check=False)
        self.assertEqual(again.returncode, 6, again.stderr)
        for flood in self.floods:
            print(flood.communicate(timeout=60)[0].strip())
        after = self.cluster.told()
        self.assertEqual(after["groups"][0]["epoch"], before["groups"][0]["epoch"], "the group never moved")
        for name in self.lab.nodes:
            if name in lives:
                self.assertEqual(self.lab.node(name).find("daemon"), lives[name], f"the daemon of {name} never ended")


if __name__ == "__main__":
    unittest.main()
