"""The whole laboratory: switch, nodes, a client, and a state file from which an interrupted run is cleaned up."""
from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import leftovers
from .disk import Disk
from .network import Network
from .node import Node
from .shell import PYTHON, cgroup_root, clock, identity, run, wait_until

if TYPE_CHECKING:
    from .leftovers import State

ROOT = "/var/tmp/holdfast-lab"
# Two members and a witness in three places: (name, site, role).
NODES = [("tok-1", "tokyo", "member"), ("osk-1", "osaka", "member"), ("wit-1", "nagoya", "witness")]


class Lab:
    """Nodes on bridges. `nodes` is a list of (name, site, role); `wan` maps sites to relay settings, or is None.

    With `disks`, a pair of bytes and a directory, each node has that directory on a disk of its own that can fail.
    """

    def __init__(self, purpose: str, nodes: Sequence[tuple[str, str, str]], wan: dict[str, str] | None = None,
                 subnet: str = "10.9.0", keep_files: bool = False, disks: tuple[int, str] | None = None) -> None:
        if os.geteuid() != 0:
            raise SystemExit("the laboratory needs root: it makes namespaces, mounts and cgroups")
        leftovers.clean(purpose)
        self.name = f"hf{secrets.token_hex(2)}"
        self.purpose, self.subnet, self.keep_files = purpose, subnet, keep_files
        self.directory = os.path.join(ROOT, f"{purpose}-{self.name}")
        self.cgroup = f"{cgroup_root()}/holdfast-lab-{self.name}"
        self.state: State = {
            "name": self.name, "purpose": purpose, "owner": identity(os.getpid()), "kept": False,
            "cgroup": self.cgroup, "namespaces": [], "processes": [], "loops": []}
        os.makedirs(self.directory)
        os.chmod(self.directory, 0o755)
        self.save()
        os.makedirs(self.cgroup)
        sites = list(dict.fromkeys(site for _, site, _ in nodes))
        self.network = Network(self, sites, wan)
        self.nodes = {
            name: Node(self, name, site, number, role) for number, (name, site, role) in enumerate(nodes, 1)}
        if disks:
            for node in self.nodes.values():
                node.disk = Disk(self, node.name, *disks)
        self.client_namespace = f"{self.name}-client"
        self.children: list[subprocess.Popen[bytes]] = []
        self.program_directory = "/usr/local/bin"  # first in every node's PATH

    # Life

    def up(self) -> Lab:
        """Builds the wires, boots every node, and gives the client its address."""
        self.network.up()
        self.remember("namespaces", self.client_namespace)
        run(["ip", "netns", "add", self.client_namespace])
        self.network.plug_in_new("client", "", self.client_namespace, 250)
        run(f"""set -e
            ip -n {self.client_namespace} link set lo up
            ip -n {self.client_namespace} link set eth0 up
            ip -n {self.client_namespace} addr add {self.subnet}.250/24 dev eth0""")
        for node in self.nodes.values():
            if node.disk:
                node.disk.up()
            node.boot()
        return self

    def down(self) -> None:
        """Powers everything off and removes every trace but the logs (those too, unless `keep_files`)."""
        for process in self.children:
            if process.poll() is None:
                process.kill()
            process.wait()
        for node in self.nodes.values():
            if node.is_up:
                node.freeze(False)
                node.power_off()
            if node.disk:
                node.disk.down()
        run(["ip", "netns", "del", self.client_namespace], check=False)
        self.network.down()
        leftovers.remove(self.directory, self.state, keep_files=self.keep_files)

    def hand_over(self) -> None:
        """Leaves the laboratory running after this process; the next run of the same purpose removes it."""
        self.state["kept"] = True
        self.save()

    def __enter__(self) -> Lab:
        return self.up()

    def __exit__(self, *_: object) -> None:
        self.down()

    # The state file

    def remember(self, kind: str, what: object) -> None:
        """Notes something to be removed later, before or right after it is made."""
        if what not in self.state[kind]:
            self.state[kind].append(what)
            self.save()

    def save(self) -> None:
        leftovers.write(self.directory, self.state)

    # Client

    def client(self, words: Sequence[str], log: str | None = None, **options: Any) -> subprocess.Popen[bytes]:
        """Starts a program in the client's namespace."""
        output = open(log or os.devnull, "ab")
        process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.client_namespace}", *words], stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, start_new_session=True, **options)
        output.close()
        self.remember("processes", identity(process.pid))
        self.children.append(process)
        return process

    def client_python(self, script: str, *arguments: str, log: str | None = None) -> subprocess.Popen[bytes]:
        """Starts one of the laboratory's Python programs in the client's namespace."""
        return self.client([PYTHON, script, *arguments], log=log)

    # Faults that touch more than one node

    def node(self, name: str) -> Node:
        """The node of this name."""
        return self.nodes[name]

    def isolate(self, name: str) -> float:
        """Pulls the node's port out of the bridge; returns the instant."""
        self.nodes[name].block_devices()
        instant = clock()
        self.network.pull_out(name)
        self.nodes[name].plugged = False
        return instant

    def rejoin(self, name: str) -> None:
        """Plugs the node's port in again."""
        self.network.plug_in(name, self.nodes[name].site)
        self.nodes[name].plugged = True

    def partition(self, left: list[str], right: list[str], one_way: bool = False, port: str | None = None) -> None:
        """Drops traffic between two lists of nodes; `one_way` only from left to right."""
        pairs = [(a, b) for a in left for b in right]
        if not one_way:
            pairs += [(b, a) for a, b in pairs]
        self.network.cut(pairs, port)

    def heal(self) -> None:
        """Removes every cut, plugs every living node in, sets everything running again."""
        self.network.heal()
        for node in self.nodes.values():
            if node.is_up and not node.plugged:
                self.rejoin(node.name)

    def detach(self, devices: list[list[str]]) -> None:
        """Detaches loop devices of a dead node that the kernel did not release by itself."""
        for name, backing in devices:
            if leftovers.is_attached(name, backing):
                run(["losetup", "-d", name], check=False)
                try:
                    wait_until(lambda: not leftovers.is_attached(name, backing), 5, f"{name} is released")
                except TimeoutError as error:
                    print(f"laboratory: {error}", flush=True)
