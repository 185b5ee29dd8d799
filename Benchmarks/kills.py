"""Kills at random moments, one after the other: are all acknowledged rows found after each?"""
import os
import random
import signal
import time

from common import ROOT, Bench, checkers, clock, keep, progress, summary, table, wait_until

from chaos.lab.shell import identity, send
from chaos.workload.database import found_rows

ROLES = ("daemon", "guard", "volume-server", "postgres", "volume-device")


class Rows:
    """A writer of 50 rows a second, and what became of its rows."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.history = os.path.join(bench.lab.directory, "rows")
        bench.lab.client_python(
            os.path.join(ROOT, "chaos", "workload", "writer.py"), bench.cluster.floating, self.history, "--pause",
            "0.015", log=os.path.join(bench.lab.directory, "writer.log"))
        self.accepted_after(0, 90)

    def accepted_after(self, instant: float, seconds: float = 120) -> float:
        return wait_until(
            lambda: checkers.first_acknowledged_after(checkers.read_rows(self.history), instant + 0.05), seconds,
            "a row is accepted", step=0.1)

    def check(self) -> int:
        """Raises `Broken` when a row that was acknowledged is missing; answers how many were."""
        entries = checkers.read_rows(self.history)
        last = max(entry["row"] for entry in entries)
        found = [row for row in found_rows(self.bench.lab, self.bench.cluster.floating) if row <= last]
        return checkers.check_rows(entries, found)[0]


def power(bench: Bench, rows: Rows, runs: int, dice: random.Random) -> tuple[list[float], int]:
    """The active node loses power, at any moment after the copies are in sync again."""
    took, acknowledged = [], 0
    for number in range(runs):
        bench.cluster.wait_healthy(120)
        time.sleep(dice.uniform(0, 3))
        owner, _ = bench.roles()
        fault = bench.lab.node(owner).power_off()
        took.append(rows.accepted_after(fault) - fault)
        acknowledged = rows.check()
        progress(f"power loss {number + 1} of {runs} on {owner}: rows again after {took[-1]:.2f} s, "
                 f"{acknowledged} acknowledged, none missing")
        bench.cluster.return_node(owner)
    return took, acknowledged


def candidates(bench: Bench) -> list[tuple[str, str, int]]:
    """The first process of every role that runs on a node at this moment."""
    found = []
    for name in sorted(bench.lab.nodes):
        for role in ROLES:
            found += [(name, role, pid) for pid in bench.lab.node(name).find(role)[:1]]
    return found


def processes(bench: Bench, rows: Rows, runs: int, dice: random.Random) -> tuple[list[float], int, dict[str, int]]:
    """One process of any node is killed, whatever it is doing, and restarted by whoever restarts it."""
    gaps: list[float] = []
    acknowledged = 0
    died: dict[str, int] = {}
    for number in range(runs):
        name, role, target = dice.choice(candidates(bench))
        instant = clock()
        send(identity(target), signal.SIGKILL)
        died[role] = died.get(role, 0) + 1
        rows.accepted_after(instant + dice.uniform(0.5, 4))
        gap = checkers.longest_gap(checkers.read_rows(rows.history), since=instant - 0.2)[0]
        gaps.append(gap)
        acknowledged = rows.check()
        progress(f"process {number + 1} of {runs}: {role} on {name}, longest gap {gap:.2f} s, none missing")
        if number % 5 == 4:
            bench.cluster.wait_healthy(120)
    bench.cluster.wait_healthy(120)
    return gaps, acknowledged, died


def main(quick: bool) -> None:
    seed = int(os.environ.get("SEED", "0")) or int.from_bytes(os.urandom(3), "big")
    print(f"seed {seed}")
    dice = random.Random(seed)
    runs = 3 if quick else 50
    # Dozens of kills in minutes are meant: with the default limit both nodes would give the group up, and rightly so.
    with Bench(lambda cluster: cluster.database_policy(size="384MiB").replace(
            "    resources:", "    restart: { attempts: 1000, window: 1h }\n    resources:", 1), "kills") as bench:
        rows = Rows(bench)
        took, lost = power(bench, rows, runs, dice)
        gaps, killed, died = processes(bench, rows, 5 if quick else 60, dice)
    keep("kills", {"seed": seed, "took": took, "gaps": gaps, "died": died})
    kinds = ", ".join(f"{role} {count}" for role, count in sorted(died.items()))
    # `check` ends the run at the first row that is missing, so whoever gets here has seen none.
    table("Kills at random moments under PostgreSQL", ["", "kills", "acknowledged by the end", "missing", "seconds"], [
        ["power loss of the active node", len(took), lost, "0 (wanted: 0)", f"rows again after {summary(took)}"],
        [f"one process ({kinds})", len(gaps), killed, "0 (wanted: 0)", f"longest gap {summary(gaps)}"]])
