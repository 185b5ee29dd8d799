"""What all measurements share: a cluster, medians, a table, and a note of the machine."""
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Self

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from chaos.lab.cluster import Cluster  # noqa: E402
from chaos.lab.lab import NODES, Lab  # noqa: E402
from chaos.lab.shell import clock, wait_until  # noqa: E402
from chaos.workload import checkers  # noqa: E402
from chaos.workload.timeline import median  # noqa: E402

RESULTS = os.path.join(ROOT, "Benchmarks", "results")


class Bench:
    """A laboratory with a formed cluster; `policy` is given the cluster and answers its configuration."""

    def __init__(self, policy: Callable[[Cluster], str], purpose: str = "bench") -> None:
        self.policy, self.purpose = policy, purpose

    def __enter__(self) -> Self:
        self.lab = Lab(self.purpose, NODES).up()
        try:
            self.cluster = Cluster(self.lab, name="bench")
            self.cluster.form()
            self.cluster.apply(self.policy(self.cluster))
            self.cluster.wait_running(180)
            self.cluster.wait_in_sync()
        except BaseException:
            self.lab.keep_files = True
            self.lab.down()
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.lab.keep_files = kind is not None
        self.lab.down()
        if kind is not None:
            print(f"logs: {self.lab.directory}", file=sys.stderr)

    def runs(self) -> list[checkers.Run]:
        """The lives of the heartbeat so far."""
        return checkers.read_runs(self.cluster.pulses)

    def forget(self) -> None:
        """Begins a new heartbeat history."""
        if os.path.exists(self.cluster.pulses):
            os.truncate(self.cluster.pulses, 0)

    def first_life(self, node: str, after: float, seconds: float = 60) -> float:
        """When the service first ran on `node` after an instant."""
        def look() -> float | None:
            begins = [run.begin for run in self.runs() if run.node == node and run.begin > after]
            return min(begins) if begins else None
        return wait_until(look, seconds, f"the service runs on {node}")

    def settle(self, pause: float = 1.0) -> None:
        """Waits until the cluster is healthy, then for a moment of a random length (phases of timers)."""
        self.cluster.wait_healthy()
        time.sleep(pause + os.urandom(1)[0] / 255)

    def lead(self, name: str) -> None:
        """Hands leadership to a node."""
        if self.cluster.leader() != name:
            self.cluster.run(self.cluster.told()["leader"], "leader", "transfer", "--to", name, "--yes", "--wait")
            self.cluster.wait_status(None, lambda status: status.get("leader") == name, 20, f"{name} leads")

    def roles(self) -> tuple[str, str]:
        """Owner and the other member."""
        owner = self.cluster.wait_running()
        return owner, next(name for name in self.cluster.members if name != owner)


def summary(values: Sequence[float], digits: int = 2) -> str:
    """`median (min–max) n` as text."""
    if not values:
        return "no values"
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f}) n{len(values)}"


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table in Markdown."""
    widths = [max(len(str(row[place])) for row in [head, *rows]) for place in range(len(head))]
    print(f"\n### {title}\n")
    for row in [head, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |")
    print(flush=True)


def keep(name: str, values: object) -> None:
    """Writes raw values to Benchmarks/results/NAME.json."""
    os.makedirs(RESULTS, exist_ok=True)
    with open(os.path.join(RESULTS, f"{name}.json"), "w") as file:
        json.dump({"when": time.strftime("%Y-%m-%d %H:%M"), "machine": machine(), "values": values}, file, indent=1)


def machine() -> str:
    """The machine in one line."""
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) / (1 << 20)
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} × {model}, {memory:.0f} GiB, Linux {os.uname().release}, load {load:.1f}"


def progress(text: str) -> None:
    """A line of progress."""
    print(f"  {text}", file=sys.stderr, flush=True)


__all__ = [
    "NODES", "ROOT", "Bench", "Cluster", "Lab", "checkers", "clock", "keep", "machine", "median", "progress", "summary",
    "table", "wait_until"]
