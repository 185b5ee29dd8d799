"""Stock OCF agents on real daemons: what they keep in the kernel ends with a lost lease, and a failed stop is no stop.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_agents.py
"""
import os
import shutil
import sys
import unittest
from typing import TYPE_CHECKING

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.cluster import binary  # noqa: E402
from chaos.lab.lab import NODES  # noqa: E402
from chaos.lab.node import Node  # noqa: E402
from chaos.lab.shell import wait_until  # noqa: E402

AGENTS = "/usr/lib/ocf/resource.d/heartbeat"
ADDRESS = "10.9.0.100"
# Debian 12 pairs an iptables that lists protocols by number with a portblock that looks for their names: its stop finds
# no rule, takes none away, and says that it succeeded. With names in the list it works.
IPTABLES = r"""#!/bin/bash
case " $* " in
    *" -L "*) /usr/sbin/iptables "$@" | sed -E 's/^(DROP +)6 /\1tcp /' ;;
    *) exec /usr/sbin/iptables "$@" ;;
esac
"""


if TYPE_CHECKING:
    Base = ClusterCase
else:
    Base = object  # what has no agent yet is no test


class Kept(Base):
    """What one agent keeps in the kernel: `resources` of the group, where it is seen, and how a person removes it."""

    nodes = NODES
    agent = ""
    stays = True  # after a stop that failed; not so where it goes with an address, which Holdfast takes away itself

    def prepare(self, node: Node) -> None:
        """On each member, before the first group starts."""

    def is_on(self, node: Node) -> bool:
        raise NotImplementedError

    def remove(self, node: Node) -> None:
        raise NotImplementedError

    @property
    def resources(self) -> str:
        """What the group has."""
        raise NotImplementedError

    prepared = False

    def setUp(self) -> None:
        if not self.prepared:
            for name in self.cluster.members:
                self.prepare(self.lab.node(name))
        type(self).prepared = True

    def policy(self) -> str:
        cluster = self.cluster
        return f"""cluster: {cluster.name}
groups:
  {cluster.group}:
    nodes: [{', '.join(cluster.members)}]
    resources:{self.resources}"""

    def holders(self) -> list[str]:
        return [name for name in self.cluster.members if self.is_on(self.lab.node(name))]

    def other(self, node: str) -> str:
        return next(name for name in self.cluster.members if name != node)

    def break_stop(self, name: str) -> None:
        """On this node the agent's stop fails from now on, and changes nothing."""
        script = (
            "cp $0 /var/lib/holdfast/agent.stock && printf '#!/bin/sh\\n[ $1 != stop ] || exit 1\\n"
            "exec /var/lib/holdfast/agent.stock \"$@\"\\n' >/var/lib/holdfast/agent.broken && "
            "chmod +x /var/lib/holdfast/agent.* && mount --bind /var/lib/holdfast/agent.broken $0")
        self.lab.node(name).run(["bash", "-c", script, f"{AGENTS}/{self.agent}"])

    def test_a_lost_lease_leaves_nothing_behind(self) -> None:
        self.cluster.apply(self.policy())
        owner = self.cluster.wait_running(60)
        self.assertEqual(self.holders(), [owner])
        other = self.other(owner)
        self.lab.isolate(owner)
        self.cluster.wait_running(60, on=other, node=other)
        # The node that was cut off calls the agent's stop by itself, after the kill.
        wait_until(lambda: self.holders() == [other], 30, "it is on the new owner alone")
        self.lab.rejoin(owner)
        self.cluster.wait_healthy(60)
        self.assertEqual(self.holders(), [other])

    def test_a_stop_that_fails_holds_the_group_until_a_person_signs(self) -> None:
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
        self.assertEqual(self.holders(), [owner] if self.stays else [])
        self.remove(self.lab.node(owner))
        self.cluster.run(
            other, "group", "confirm-stopped", self.cluster.group, "--on", owner, "--statement", "it was removed",
            "--yes")
        self.cluster.wait_running(60, on=other)
        self.assertEqual(self.holders(), [other])
        self.assertNotIn(ADDRESS, self.lab.node(owner).run(["ip", "-brief", "address"]).stdout)


@unittest.skipUnless(os.path.exists(f"{AGENTS}/Route"), "install resource-agents")
class Routes(Kept, ClusterCase):
    purpose, agent = "end-to-end-routes", "Route"
    resources = """
      - name: route
        agent: ocf:heartbeat:Route
        destination: 10.77.0.0/24
        device: eth0
        gateway: 10.9.0.77
"""

    def is_on(self, node: Node) -> bool:
        return "10.77.0.0/24" in node.run(["ip", "route", "show"]).stdout

    def remove(self, node: Node) -> None:
        node.run(["ip", "route", "del", "10.77.0.0/24"])


@unittest.skipUnless(os.path.exists(f"{AGENTS}/IPsrcaddr"), "install resource-agents")
class SourceAddresses(Kept, ClusterCase):
    """What the machine itself says to a network, it says from a certain address: here one that each machine has."""

    purpose, agent = "end-to-end-sources", "IPsrcaddr"
    source, first = "10.9.0.50", ""

    @property
    def resources(self) -> str:
        return f"""{self.first}
      - {{ name: source, agent: "ocf:heartbeat:IPsrcaddr", ipaddress: {self.source}, destination: 10.77.0.0/24 }}
"""

    def prepare(self, node: Node) -> None:
        node.run(["ip", "address", "add", f"{self.source}/24", "dev", "eth0"])

    def is_on(self, node: Node) -> bool:
        routes = node.run(["ip", "route", "show"]).stdout
        self.assertIn("10.9.0.0/24 dev eth0", routes, "the way to the other nodes")
        return f"src {self.source}" in routes

    def remove(self, node: Node) -> None:
        node.run(["ip", "route", "flush", "10.77.0.0/24"])


class FloatingSources(SourceAddresses):
    """The same with the group's own address. The kernel drops a route together with the address that is its source."""

    purpose, stays = "end-to-end-floating", False
    source, first = ADDRESS, f"""
      - {{ name: ip, agent: address, address: {ADDRESS}/24, interface: eth0 }}"""

    def prepare(self, node: Node) -> None:
        pass


@unittest.skipUnless(shutil.which("iptables"), "install iptables")
@unittest.skipUnless(os.path.exists(f"{AGENTS}/portblock"), "install resource-agents")
class BlockedPorts(Kept, ClusterCase):
    purpose, agent = "end-to-end-ports", "portblock"
    resources = f"""
      - name: block
        agent: ocf:heartbeat:portblock
        ip: {ADDRESS}
        protocol: tcp
        portno: 5432
        action: block
"""

    def prepare(self, node: Node) -> None:
        node.run(["mount", "-t", "tmpfs", "tools", "/usr/local/sbin"])
        with open(node.path("/usr/local/sbin/iptables"), "w") as file:
            file.write(IPTABLES)
        os.chmod(node.path("/usr/local/sbin/iptables"), 0o755)

    def is_on(self, node: Node) -> bool:
        return "5432" in node.run(["iptables", "-S", "INPUT"]).stdout

    def remove(self, node: Node) -> None:
        node.run(["iptables", "--flush", "INPUT"])


if __name__ == "__main__":
    binary()
    unittest.main()
