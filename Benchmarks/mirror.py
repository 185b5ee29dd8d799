"""Writes of 4 KiB into a mirrored volume over its NBD export, beside nbdkit in turns: throughput, and processor time for each.

Both copies are in memory (tmpfs), so what is measured is the product: the owner's volume server, TLS, and the other one.
With `--against BINARY` a second cluster runs another build of the product, and takes its turns with the first.
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from common import Cluster, Lab, keep, median, progress, table, wait_until

from chaos.lab.cluster import binary

# Two that hold a copy each, and a third vote.
NODES = [("tok-1", "tokyo", "member"), ("osk-1", "osaka", "member"), ("wit-1", "nagoya", "witness")]
VOLUME, SIZE = "d", 64  # MiB
DEPTHS = (1, 16)
TICKS = os.sysconf("SC_CLK_TCK")
OURS, OTHER, NBDKIT = "holdfast", "the other build", "nbdkit"


@dataclass
class Target:
    """Something that serves NBD, and the processes that a write keeps busy, in the order of the table's columns."""

    socket: str
    export: str
    processes: list[int]
    values: dict[int, list[dict[str, float]]] = field(default_factory=lambda: {depth: [] for depth in DEPTHS})

    def run(self, depth: int, seconds: float) -> None:
        """Writes for so long; keeps writes a second, latencies in microseconds, and each process's time for a write."""
        before = [processor(pid) for pid in self.processes]
        words = ["fio", "--name=job", "--ioengine=nbd", f"--uri=nbd+unix:///{self.export}?socket={self.socket}", "--rw=randwrite",
                 "--bs=4k", f"--iodepth={depth}", f"--size={SIZE}M", "--time_based", f"--runtime={seconds}",
                 "--output-format=json"]
        answer = subprocess.run(words, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
        spent = [processor(pid) - start for pid, start in zip(self.processes, before)]
        written: dict[str, Any] = json.loads(answer[answer.index("{"):])["jobs"][0]["write"]
        writes = written["total_ios"]
        percentiles = written["clat_ns"]["percentile"]
        found = {"iops": written["iops"], "p50": percentiles["50.000000"] / 1000, "p99": percentiles["99.000000"] / 1000}
        found.update({f"cpu{place}": 1e6 * used / writes for place, used in enumerate(spent)})
        self.values[depth].append(found)

    def of(self, depth: int, what: str) -> float:
        """The median of all runs; zero for a process that there is not."""
        values = [found[what] for found in self.values[depth] if what in found]
        return median(values) if values else 0.0


def processor(pid: int) -> float:
    """Seconds that a process has computed so far, with its threads that have ended: each connection has one of its own."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def mirrored(program: str, number: int) -> Iterator[Target]:
    """A cluster of this program whose one group is nothing but a volume."""
    before = os.environ.get("HOLDFAST_BINARY")
    os.environ["HOLDFAST_BINARY"] = program
    with Lab(f"bench-mirror-{number}", NODES, subnet=f"10.9.{number}") as lab:
        cluster = Cluster(lab, name=f"bench-{number}")
        if before is None:
            del os.environ["HOLDFAST_BINARY"]
        else:
            os.environ["HOLDFAST_BINARY"] = before
        cluster.form()
        cluster.apply(policy(cluster))
        owner = cluster.wait_running(60)
        cluster.wait_in_sync()
        ends = [owner, *(name for name in cluster.members if name != owner)]
        servers = [lab.node(name).find("volume-server")[0] for name in ends]
        yield Target(lab.node(owner).path(f"{lab.node(owner).run_directory}/volumes/{VOLUME}/nbd"), VOLUME, servers)


def policy(cluster: Cluster) -> str:
    """A volume in memory, and a group that holds it."""
    replicas = "\n".join(
        f'      {name}: {{ backing: /run/d.img, address: "{cluster.lab.node(name).address}:7410" }}' for name in cluster.members)
    return f"""cluster: {cluster.name}
volumes:
  {VOLUME}:
    size: {SIZE}MiB
    replicas:
{replicas}
groups:
  {cluster.group}:
    nodes: [{', '.join(cluster.members)}]
    resources:
      - {{ name: disk, agent: volume, volume: {VOLUME} }}
"""


@contextmanager
def plain() -> Iterator[Target]:
    """nbdkit over a file in memory: one copy, no mirror, no encryption."""
    directory = f"/dev/shm/hf-mirror-{os.getpid()}"
    os.makedirs(directory)
    socket, image = os.path.join(directory, "socket"), os.path.join(directory, "image")
    with open(image, "wb") as file:
        file.truncate(SIZE << 20)
    process = subprocess.Popen(["nbdkit", "-f", "-U", socket, "file", image], stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: os.path.exists(socket), 10, "nbdkit listens")
        yield Target(socket, "", [process.pid])
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(directory)


def main(quick: bool) -> None:
    for program in ("nbdkit", "fio"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is missing: apt-get install nbdkit fio")
    against = os.environ.get("HOLDFAST_AGAINST")
    seconds, rounds = (2, 3) if quick else (4, 10)
    with ExitStack() as stack:
        targets = {OURS: stack.enter_context(mirrored(binary(), 0))}
        if against:
            targets[OTHER] = stack.enter_context(mirrored(os.path.realpath(against), 1))
        targets[NBDKIT] = stack.enter_context(plain())
        for target in targets.values():  # every region is marked, and every page there
            target.run(DEPTHS[-1], 2)
            target.values[DEPTHS[-1]].clear()
        for number in range(rounds):
            # To and fro, so that none always follows the same other one.
            order = list(targets.values())[:: -1 if number % 2 else 1]
            for depth in DEPTHS:
                for target in order:
                    target.run(depth, seconds)
            progress(f"round {number + 1} of {rounds}")
    keep("mirror", {name: target.values for name, target in targets.items()})
    rows = []
    for depth in DEPTHS:
        for name, target in targets.items():
            rows.append([
                depth, name, f"{target.of(depth, 'iops'):.0f}", f"{target.of(depth, 'p50'):.0f} / {target.of(depth, 'p99'):.0f}",
                f"{target.of(depth, 'iops') / targets[NBDKIT].of(depth, 'iops'):.2f}", f"{target.of(depth, 'cpu0'):.1f}",
                f"{target.of(depth, 'cpu1'):.1f}" if len(target.processes) > 1 else "–"])
    table(f"Writes of 4 KiB into a mirrored volume in memory (medians of {rounds}, {seconds} s each, in turns)",
          ["depth", "who", "writes/s", "p50 / p99 µs", "ratio to nbdkit", "owner's µs CPU a write", "other's"], rows)
