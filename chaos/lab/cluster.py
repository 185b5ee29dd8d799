"""A Holdfast cluster on the laboratory's nodes, made with the product's own commands."""
from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .shell import REPOSITORY, CommandFailed, clock, compile_c, wait_until

if TYPE_CHECKING:
    from .lab import Lab
    from .node import Node
    from .shell import Report, Result, Say

HERE = os.path.dirname(os.path.abspath(__file__))
FLOATING = "100"
DATABASE = "pgdata"


def binary() -> str:
    """The product under test: HOLDFAST_BINARY, else the release build of this repository."""
    path = os.environ.get("HOLDFAST_BINARY", os.path.join(REPOSITORY, ".build", "release", "holdfast"))
    if not os.access(path, os.X_OK):
        raise SystemExit(f"{path} is missing; build it: make build")
    return os.path.realpath(path)


class Cluster:
    """Daemons on every node of `lab`, and questions to them."""

    def __init__(self, lab: Lab, name: str = "demo", say: Say = lambda text: None, descriptors: int | None = None) -> None:
        self.lab, self.name, self.say = lab, name, say
        self.environments: dict[str, dict[str, str]] = {}  # what a node's daemon finds in its environment beside the usual, by name
        self.descriptors = descriptors  # how many each daemon may have, soft and hard; None: as this process
        self.program = binary()
        lab.program_directory = os.path.dirname(self.program)
        self.members = [node.name for node in lab.nodes.values() if node.role == "member"]
        self.pulses = os.path.join(lab.directory, "pulses")
        self.heartbeat = compile_c(os.path.join(HERE, "..", "workload", "heartbeat.c"), "heartbeat")
        self.floating = f"{lab.subnet}.{FLOATING}"
        self.group = "orders"
        self.last_leader: str | None = None

    # Commands

    def run(self, node: str, *words: str, check: bool = True, timeout: float = 60) -> Result:
        """Runs a holdfast command on a node."""
        return self.lab.node(node).run([self.program, *words], check=check, timeout=timeout)

    def ask(self, node: str, *words: str, timeout: float = 20) -> Report | None:
        """Runs a holdfast command that prints JSON, and returns it; None when it failed."""
        result = self.run(node, *words, "-o", "json", check=False, timeout=timeout)
        try:
            report: Report = json.loads(result.stdout)
            return report
        except ValueError:
            return None

    def start_daemon(self, name: str) -> None:
        """Starts the daemon of a node that is a member of the cluster, and keeps it started as systemd would."""
        node = self.lab.node(name)
        limit = f"ulimit -n {self.descriptors}; " if self.descriptors else ""
        loop = limit + 'while true; do "$0" daemon; echo "the daemon ended with $?; it is started again" >&2; sleep 0.1; done'
        node.spawn(["bash", "-c", loop, self.program], node.daemon_log, self.environments.get(name, {}))

    # Birth

    def form(self) -> None:
        """`init` on the first node, `join` on the others."""
        nodes = list(self.lab.nodes.values())
        first = nodes[0]
        self.shown(first, ["init", "--cluster", self.name, *self.about(first)])
        self.start_daemon(first.name)
        self.wait_status(first.name, lambda status: status["leader"] == first.name, 20, "the first node leads")
        for node in nodes[1:]:
            token = self.ask(first.name, "token")
            if not token or "token" not in token:
                raise RuntimeError(f"`holdfast token` gave no token: {self.run(first.name, 'token', check=False)}")
            self.shown(node, ["join", token["token"], *self.about(node)], hide=token["token"])
            self.start_daemon(node.name)
        self.wait_status(
            first.name, lambda status: len(status["nodes"]) == len(nodes) and self.all_up(status), 30,
            "every node is up")

    def about(self, node: Node) -> list[str]:
        words = ["--name", node.name, "--site", node.site, "--address", f"{node.address}:7400"]
        return words + (["--role", node.role] if node.role != "member" else [])

    def shown(self, node: Node, words: list[str], hide: str | None = None) -> None:
        printed = " ".join("TOKEN" if word == hide else word for word in words)
        self.say(f"{node.name}# holdfast {printed}")
        self.run(node.name, *words)

    def apply(self, text: str, name: str = "cluster.yaml") -> Result:
        """Writes the configuration on the first living node and applies it."""
        node = self.any_node()
        path = os.path.join(self.lab.node(node).state, name)
        with open(path, "w") as file:
            file.write(text)
        self.say(f"{node}# holdfast apply /var/lib/holdfast/{name}")
        return self.run(node, "apply", f"/var/lib/holdfast/{name}", "--yes", timeout=120)

    # Questions

    def living(self) -> list[str]:
        """Names of nodes that are powered on and plugged in."""
        return [node.name for node in self.lab.nodes.values() if node.is_up and node.plugged]

    def any_node(self) -> str:
        """A node to ask: one without a broken disk, if there is one."""
        return min(self.living(), key=self.has_broken_disk)

    def has_broken_disk(self, name: str) -> bool:
        """Whether the laboratory broke this node's disk: such a node may answer from memory, or not at all."""
        disk = self.lab.node(name).disk
        return disk is not None and disk.is_broken

    def status(self, node: str | None = None) -> Report | None:
        """The status report as a node tells it, or None; without a name the leader is asked, who knows best."""
        if node is not None:
            return self.ask(node, "status")
        last = None
        for name in sorted(self.living(), key=lambda name: (self.has_broken_disk(name), name != self.last_leader)):
            report = self.ask(name, "status")
            if report:
                last = report
                if report.get("leader") == name:
                    self.last_leader = name
                    return report
        return last

    def told(self, node: str | None = None) -> Report:
        """`status`, which somebody must give."""
        report = self.status(node)
        if report is None:
            raise RuntimeError(f"{node or 'nobody'} gives no status")
        return report

    @staticmethod
    def all_up(status: Report) -> bool:
        """Whether every node of a status is up."""
        return all(node["state"] == "up" for node in status["nodes"])

    def wait_status(self, node: str | None, condition: Callable[[Report], object], seconds: float, what: str) -> Report:
        """Polls the status of a node (None: of any) until the condition holds."""
        last = {}

        def look() -> Report | None:
            last["status"] = self.status(node)
            try:
                return last["status"] if last["status"] and condition(last["status"]) else None
            except (KeyError, TypeError, IndexError):
                return None

        try:
            return wait_until(look, seconds, what, step=0.1)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the last status was {json.dumps(last.get('status'))}") from None

    def group_of(self, status: Report) -> Report:
        """The report of the group under test."""
        return next((group for group in status["groups"] if group["name"] == self.group), {})

    def owner(self) -> str | None:
        """The node that the group is assigned to."""
        status = self.status()
        return self.group_of(status).get("owner") if status else None

    def leader(self) -> str | None:
        """The leader."""
        status = self.status()
        return status.get("leader") if status else None

    def wait_running(self, seconds: float = 60, on: str | None = None, node: str | None = None) -> str:
        """Waits until the group runs (on a node, if one is named), and returns its owner."""
        def runs(status: Report) -> bool:
            group = self.group_of(status)
            return group.get("state") == "running" and (on is None or group.get("owner") == on)
        status = self.wait_status(node, runs, seconds, f"{self.group} runs" + (f" on {on}" if on else ""))
        return str(self.group_of(status)["owner"])

    def wait_in_sync(self, seconds: float = 120, progress: Callable[[list[Report]], None] | None = None) -> Report:
        """Waits until every replica of every volume holds every write."""
        def synced(status: Report) -> bool:
            replicas = [replica for volume in status["volumes"] for replica in volume["replicas"]]
            if progress:
                progress(replicas)
            return all(replica["inSync"] and replica["connected"] for replica in replicas) and self.all_up(status)
        return self.wait_status(None, synced, seconds, "every replica is in sync")

    def wait_healthy(self, seconds: float = 90) -> None:
        """Waits until all nodes are up, the group runs and its replicas are in sync."""
        self.wait_running(seconds)
        self.wait_in_sync(seconds)
        for node in self.lab.nodes.values():
            node.block_devices()

    def return_node(self, name: str) -> None:
        """Powers a node on and starts its daemon."""
        self.lab.node(name).boot()
        self.start_daemon(name)

    def change(self, count: int) -> None:
        """Makes the log grow by entries that disturb nothing: that the group shall run, which it does."""
        for _ in range(count):
            self.run(self.any_node(), "group", "start", self.group, check=False, timeout=10)

    def events(self) -> list[Report]:
        """Every event of the log that is kept, oldest first, with times of the boot clock as `at`."""
        offset = time.time() - clock()
        for node in self.living():
            result = self.run(node, "events", "--limit", "10000", "-o", "json", check=False)
            if result.returncode == 0:
                found = [json.loads(line) for line in result.stdout.splitlines() if line.strip()]
                for event in found:
                    event["at"] = event["wallClockMilliseconds"] / 1000 - offset
                return found
        return []

    # Configurations

    def service_policy(self, takeover: str = "after-lease", failback: str = "false", extra: str = "",
                       headless: bool = False, nodes: Sequence[str] = ()) -> str:
        """One group with nothing but a heartbeat; headless, its main thread ends and another goes on."""
        thread = " 5 headless" if headless else ""
        return f"""cluster: {self.name}
{extra}groups:
  {self.group}:
    nodes: [{', '.join(nodes or self.members)}]
    takeover: {takeover}
    failback: {failback}
    moves: {{ maximum: 1000, window: 1h }}
    resources:
      - {{ name: pulse, agent: exec, command: "{self.heartbeat} {self.pulses}{thread}" }}
"""

    def backing(self, name: str) -> str:
        """Where a node keeps its copies: on the disk that can fail, if there is one."""
        disk = self.lab.node(name).disk
        return disk.place if disk else "/var/lib/holdfast"

    def volume_policy(self) -> str:
        """A cluster with one small volume `d`, a copy on each member; the groups are to follow."""
        replicas = "\n".join(
            f'      {name}: {{ backing: {self.backing(name)}/d.img, address: "{self.lab.node(name).address}:7410" }}'
            for name in self.members)
        return f"cluster: {self.name}\nvolumes:\n  d:\n    size: 32MiB\n    replicas:\n{replicas}\n"

    def database_policy(self, takeover: str = "after-lease", size: str = "512MiB", resync: str = "200MB/s", extra: str = "") -> str:
        """PostgreSQL on a mirrored file system behind a floating address, and a heartbeat that starts first."""
        script = os.path.join(REPOSITORY, "chaos", "workload", "postgres_service.sh")
        replicas = "\n".join(
            f"      {name}: {{ backing: {self.backing(name)}/{DATABASE}.img, "
            f'address: "{self.lab.node(name).address}:7410" }}' for name in self.members)
        return f"""cluster: {self.name}
{extra}volumes:
  {DATABASE}:
    size: {size}
    resyncRate: {resync}
    replicas:
{replicas}
groups:
  {self.group}:
    nodes: [{', '.join(self.members)}]   # most preferred first
    takeover: {takeover}
    failback: false
    moves: {{ maximum: 1000, window: 1h }}
    resources:                           # started in this order, stopped in reverse
      - {{ name: pulse, agent: exec, command: "{self.heartbeat} {self.pulses}" }}
      - {{ name: disk, agent: volume, volume: {DATABASE} }}
      - {{ name: fs, agent: filesystem, volume: {DATABASE}, mount: /srv/pg, type: ext4, format: if-blank }}
      - name: db
        agent: exec
        command: "{script} run /srv/pg/data"
        stop: "{script} stop /srv/pg/data"
        check: "{pg_isready()} -q -h 127.0.0.1"
        startTimeout: 120s
      - {{ name: ip, agent: address, address: {self.floating}/24, interface: eth0 }}
"""


def pg_isready() -> str:
    """The check of the newest PostgreSQL that is installed, without Debian's wrapper."""
    root = "/usr/lib/postgresql"
    versions = sorted(os.listdir(root), key=lambda text: int(text) if text.isdigit() else 0)
    return os.path.join(root, versions[-1], "bin", "pg_isready")


__all__ = ["Cluster", "CommandFailed", "binary"]
