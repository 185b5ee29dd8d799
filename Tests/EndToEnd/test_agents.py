"""Stock OCF agents on real daemons: what they keep in the kernel does not outlive a lost lease, and a failed stop is no stop.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_agents.py
"""
import os
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.cluster import binary  # noqa: E402
from chaos.lab.shell import wait_until  # noqa: E402
from chaos.stage import NODES  # noqa: E402

ROUTE = "10.77.0.0/24"
AGENT = "/usr/lib/ocf/resource.d/heartbeat/Route"


@unittest.skipUnless(os.path.exists(AGENT), "install resource-agents")
class Routes(ClusterCase):
    purpose, nodes = "end-to-end-agents", NODES

    def policy(self):
        cluster = self.cluster
        return f"""cluster: {cluster.name}
groups:
  {cluster.group}:
    nodes: [{', '.join(cluster.members)}]
    resources:
      - name: route
        agent: ocf:heartbeat:Route
        destination: {ROUTE}
        device: eth0
        gateway: {self.lab.subnet}.77
"""

    def has_route(self, node):
        return ROUTE in self.lab.node(node).run(["ip", "route", "show"]).stdout

    def holders(self):
        return [name for name in self.cluster.members if self.has_route(name)]

    def other(self, node):
        return next(name for name in self.cluster.members if name != node)

    def break_stop(self, name):
        """On this node the agent's stop fails from now on, and changes nothing."""
        node = self.lab.node(name)
        script = (
            "cp $0 /var/lib/holdfast/Route.stock && printf '#!/bin/sh\\n[ $1 != stop ] || exit 1\\n"
            "exec /var/lib/holdfast/Route.stock \"$@\"\\n' >/var/lib/holdfast/Route.broken && "
            "chmod +x /var/lib/holdfast/Route.* && mount --bind /var/lib/holdfast/Route.broken $0")
        node.run(["bash", "-c", script, AGENT])

    def test_a_lost_lease_leaves_no_route_behind(self):
        self.cluster.apply(self.policy())
        owner = self.cluster.wait_running(60)
        other = self.other(owner)
        self.lab.isolate(owner)
        self.cluster.wait_running(60, on=other, node=other)
        # The node that was cut off calls the agent's stop by itself, after the kill.
        wait_until(lambda: self.holders() == [other], 30, "the route to be on the new owner alone")
        self.lab.rejoin(owner)
        self.cluster.wait_healthy(60)
        self.assertEqual(self.holders(), [other])

    def test_a_stop_that_fails_holds_the_group_until_a_person_signs(self):
        self.cluster.apply(self.policy())
        owner = self.cluster.wait_running(60)
        other = self.other(owner)
        self.break_stop(owner)
        self.cluster.run(owner, "group", "move", self.cluster.group, "--to", other, "--yes")
        said = f"confirm-stopped {self.cluster.group} --on {owner}"
        for node in self.lab.nodes:
            wait_until(
                lambda: said in self.cluster.run(node, "status", check=False).stdout, 60, f"{node} to say what is left")
        self.assertIn(said, self.cluster.run(other, "explain", self.cluster.group, check=False).stdout)
        self.assertFalse(self.has_route(other))
        self.assertTrue(self.has_route(owner))
        self.lab.node(owner).run(["ip", "route", "del", ROUTE])
        self.cluster.run(
            other, "group", "confirm-stopped", self.cluster.group, "--on", owner, "--statement", "the route was removed",
            "--yes")
        self.cluster.wait_running(60, on=other)
        self.assertEqual(self.holders(), [other])


if __name__ == "__main__":
    binary()
    unittest.main()
