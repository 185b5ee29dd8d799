"""Many groups on one node, on a machine that is busy with other things: how long until all run, whether any node loses its
lease, and how long a failover of all of them takes.

HOLDFAST_GROUPS (200), HOLDFAST_LOAD (15 busy processes) and HOLDFAST_CHURN (seconds of kills, moves and applies) change what is
done."""
from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from common import NODES, Cluster, Lab, clock, keep, progress, table

if TYPE_CHECKING:
    from chaos.lab.node import Node

COMMAND = "sleep 100000"


class Load:
    """Processes that want the processors for themselves."""

    def __init__(self, count: int) -> None:
        self.busy = [subprocess.Popen(["bash", "-c", "while :; do :; done"]) for _ in range(count)]

    def end(self) -> None:
        for process in self.busy:
            process.kill()
        for process in self.busy:
            process.wait()
        self.busy = []


def document(cluster: Cluster, names: list[str], extra: str = "") -> str:
    """A calm group that must not notice anything, and many others."""
    text = cluster.service_policy()
    for name in names:
        text += f"""  {name}:
    nodes: [{', '.join(cluster.members)}]
    moves: {{ maximum: 1000, window: 1h }}
    restart: {{ attempts: 1000, window: 1h }}
    resources: [{{ name: s, agent: exec, command: {COMMAND}, checkInterval: 0s }}]
"""
    return text + extra


def running(node: Node) -> dict[str, int]:
    """The many groups of which a process runs on a node."""
    root = f"{node.cgroup}/holdfast/groups"
    found: dict[str, int] = {}
    try:
        entries = os.listdir(root)
    except OSError:
        return found
    for entry in entries:
        try:
            with open(f"{root}/{entry}/s/cgroup.procs") as file:
                pids = file.read().split()
        except OSError:
            continue
        if pids:
            found[entry] = int(pids[0])
    return found


def wait_for(node: Node, count: int, seconds: float, step: float = 0.05) -> tuple[float | None, float | None]:
    """When the first and the last of `count` groups ran on a node; the last is None when they never all did."""
    first: float | None = None
    end = clock() + seconds
    while clock() < end:
        found = len(running(node))
        if found and first is None:
            first = clock()
        if found >= count:
            return first, clock()
        time.sleep(step)
    return first, None


def lines(path: str, sentence: str) -> int:
    """How many lines of a file hold a sentence."""
    try:
        with open(path, errors="replace") as file:
            return sum(sentence in line for line in file)
    except OSError:
        return 0


def lost(cluster: Cluster, besides: str | None = None) -> int:
    """How often a node lost its lease, as its daemon or, while that is away, its guard tells; one node may be left out."""
    count = 0
    for node in cluster.lab.nodes.values():
        if node.name == besides:
            continue
        count += max(
            lines(node.daemon_log, "the lease ended"),
            lines(node.path(f"{node.run_directory}/guard.log"), "kills ") if node.is_up else 0)
    return count


def churn(cluster: Cluster, names: list[str], seconds: float) -> dict[str, int]:
    """Kills of services and daemons, moves and applies, one after the other without a pause."""
    chance, done = random.Random(7), {"kills": 0, "daemon kills": 0, "moves": 0, "applies": 0}
    end, extra = clock() + seconds, 0
    members = [cluster.lab.node(name) for name in cluster.members]
    while clock() < end:
        what = chance.choice(["kills"] * 4 + ["moves"] * 4 + ["applies"] + ["daemon kills"])
        if what == "kills":
            found = sorted(running(chance.choice(members)).items())
            for _, pid in chance.sample(found, min(10, len(found))):
                try:
                    os.kill(pid, 9)
                except OSError:
                    pass
        elif what == "moves":
            for name in chance.sample(names, 5):
                cluster.run(cluster.members[0], "group", "move", name, "--yes", check=False, timeout=30)
        elif what == "daemon kills":
            chance.choice(members).signal("daemon", 9)
            time.sleep(1)
        else:
            extra = 20 - extra
            more = [f"y{number:03}" for number in range(extra)]
            path = os.path.join(cluster.lab.node(cluster.members[0]).state, "churn.yaml")
            with open(path, "w") as file:
                file.write(document(cluster, names + more))
            cluster.run(
                cluster.members[0], "apply", "/var/lib/holdfast/churn.yaml", "--yes", "--allow-removal", check=False, timeout=60)
        done[what] += 1
    return done


def measure(count: int, busy: int, seconds: float) -> dict[str, Any]:
    """One cluster, one round; a row of the table."""
    names = [f"x{number:03}" for number in range(count)]
    lab = Lab("groups", NODES).up()
    load = Load(0)
    try:
        cluster = Cluster(lab, name="bench")
        cluster.form()
        cluster.apply(cluster.service_policy())
        owner = cluster.wait_running(60)
        other = next(name for name in cluster.members if name != owner)
        load = Load(busy)
        time.sleep(2)
        result: dict[str, Any] = {"groups": count, "busy": busy, "load before": os.getloadavg()[0]}
        path = os.path.join(lab.node(owner).state, "many.yaml")
        with open(path, "w") as file:
            file.write(document(cluster, names))
        began = clock()
        cluster.run(owner, "apply", "/var/lib/holdfast/many.yaml", "--yes", timeout=120)
        applied = clock()
        _, last = wait_for(lab.node(cluster.members[0]), count, 120)
        result["apply"] = applied - began
        result["all run"] = last and last - began
        progress(f"{count} groups, {busy} busy: applied {applied - began:.2f} s, all run {result['all run']}")
        result["lost, starting"] = lost(cluster)
        if seconds:
            result["churn"] = churn(cluster, names, seconds)
            result["lost, churning"] = lost(cluster) - result["lost, starting"]
            progress(f"churn: {result['churn']}, leases lost {result['lost, churning']}")
            wait_for(lab.node(cluster.members[0]), count // 3, 10)
        owner = max(cluster.members, key=lambda name: len(running(lab.node(name))))
        other = next(name for name in cluster.members if name != owner)
        before = lost(cluster, besides=owner)
        there = len(running(lab.node(owner)))
        already = len(running(lab.node(other)))
        fault = lab.node(owner).power_off()
        first, last = wait_for(lab.node(other), there + already, 120)
        result["failover, first"] = first and first - fault if already == 0 else None
        result["failover, all"] = last and last - fault
        result["lost, failing over"] = lost(cluster, besides=owner) - before
        result["load after"] = os.getloadavg()[0]
        progress(f"failover of {there}: first {result['failover, first']}, all {result['failover, all']}")
        return result
    finally:
        load.end()
        lab.keep_files = bool(os.environ.get("HOLDFAST_KEEP"))
        lab.down()


def main(quick: bool) -> bool:
    count = int(os.environ.get("HOLDFAST_GROUPS", "200"))
    busy = int(os.environ.get("HOLDFAST_LOAD", "15"))
    seconds = int(os.environ.get("HOLDFAST_CHURN", "0" if quick else "600"))
    results = [measure(count, load, seconds if load else 0) for load in ([busy] if quick else [0, busy])]
    keep("groups", results)
    heads = ["groups", "busy", "load before", "apply", "all run", "lost, starting", "lost, churning", "failover, first",
             "failover, all", "lost, failing over", "load after"]

    def text(value: object) -> str:
        return "never" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)

    table("Many groups on one node, seconds", heads, [[text(result.get(head, "")) for head in heads] for result in results])
    return all(
        result["all run"] and result["failover, all"]
        and not result["lost, starting"] + result.get("lost, churning", 0) + result["lost, failing over"]
        for result in results)


if __name__ == "__main__":
    sys.exit("run it with Benchmarks/run groups")
