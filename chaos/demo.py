#!/usr/bin/python3
"""The demonstration: a real PostgreSQL survives the death of its server, and says what it cost."""
from __future__ import annotations

import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from chaos.lab.lab import Lab  # noqa: E402
from chaos.lab.shell import clock  # noqa: E402
from chaos.story import Story, common_options, play  # noqa: E402
from chaos.workload import checkers, timeline  # noqa: E402
from chaos.workload.database import grow  # noqa: E402
from chaos.workload.observer import Observer  # noqa: E402

MISSED_MEGABYTES = 64  # written while the other copy is away, so that there is something to catch up with


class Demo(Story):
    """One run of the demonstration, step by step."""

    program = "scripts/demo"

    def __init__(self, lab: Lab, options: argparse.Namespace) -> None:
        super().__init__(lab, options)
        self.active = self.dead = ""  # the member that has the group, and the other one

    # The steps

    def prepare(self) -> None:
        self.step(0, "three nodes in three places, one PostgreSQL on a mirrored volume")
        self.cluster.form()
        self.cluster.apply(self.cluster.database_policy(resync="25MB/s"))
        self.active = self.cluster.wait_running(180)
        self.cluster.wait_in_sync()
        self.start_writer()
        self.wait_rows(self.options.rows)
        self.status()

    def kill(self) -> None:
        victim, other = self.active, self.other(self.active)
        self.step(1, f"power loss on {victim}: every process gets SIGKILL, its cable goes dead in the same instant")
        before = len(checkers.acknowledged(checkers.read_rows(self.history)))
        observer = Observer(self.lab.node(other), self.cluster.floating)
        fault = self.lab.node(victim).power_off()
        self.say(f"  {before} rows were acknowledged by then")
        try:
            first = self.first_row_after(fault, 120)
        finally:
            observer.stop()
        self.cluster.wait_running(30, on=other)
        phases = timeline.build(fault, self.cluster.events(), observer, first, victim)
        for line in timeline.render(phases):
            self.say(line)
        self.say(f"  from power loss to the first accepted row: {first - fault:.2f} s")
        self.wait_rows(self.options.rows)
        self.count()
        self.active, self.dead = other, victim

    def resync(self) -> None:
        self.step(2, f"{self.dead} comes back with its old disk, and catches up")
        grow(self.lab, self.cluster.floating, MISSED_MEGABYTES)
        self.say(f"  meanwhile the database took another {MISSED_MEGABYTES} MB; the copy may use 25 MB/s to catch up")
        began = clock()
        self.cluster.return_node(self.dead)
        self.catch_up()
        self.say(f"  in sync again {clock() - began:.1f} s after power on; nothing moved meanwhile")
        self.status()

    def move(self) -> None:
        source, target = self.active, self.dead
        self.step(3, f"planned maintenance: the group moves from {source} to {target}")
        self.wait_rows(self.options.rows)
        observers = Observer(self.lab.node(source), self.cluster.floating), Observer(
            self.lab.node(target), self.cluster.floating)
        asked = clock()
        self.say(f"  {source}# holdfast group move {self.cluster.group} --to {target} --yes --wait")
        self.cluster.run(source, "group", "move", self.cluster.group, "--to", target, "--yes", "--wait", timeout=120)
        self.cluster.wait_running(60, on=target)
        self.wait_rows(max(1, self.options.rows // 4))
        for observer in observers:
            observer.stop()
        gap, gap_from, _ = checkers.longest_gap(checkers.read_rows(self.history), since=asked - 0.5)
        self.say(f"  the longest gap between two accepted rows was {gap:.2f} s:")
        marks: list[tuple[str, float | None]] = [("last row accepted", gap_from)]
        marks += [(f"{what} on {source}", observers[0].ceased.get(key)) for key, what in (
            ("address", "address gone"), ("mounted", "unmounted"), ("device", "volume closed"))]
        marks += [(f"{what} on {target}", observers[1].began.get(key)) for key, what in (
            ("device", "volume open"), ("mounted", "mounted"), ("recovered", "PostgreSQL answers"),
            ("address", "address up"))]
        marks += [("first row accepted", gap_from + gap)]
        for what, at in marks:
            if at is not None:
                self.say(f"    {at - asked:>7.2f} s  {what}")
        self.active, self.dead = target, source

    def cut_off(self) -> None:
        victim, other = self.active, self.other(self.active)
        self.step(4, f"{victim} is cut off from everybody, but lives on")
        self.wait_rows(max(1, self.options.rows // 2))
        fault = self.lab.isolate(victim)
        first = self.first_row_after(fault, 120)
        time.sleep(1.0)
        runs = checkers.read_runs(self.cluster.pulses)
        checkers.check_single_owner(runs, origin=fault)
        last_here = max(run.last for run in runs if run.node == victim)
        first_there = min(run.begin for run in runs if run.node == other and run.begin > fault)
        self.say(f"  {last_here - fault:>7.2f} s  last sign of life of the service on {victim}, which stopped itself")
        self.say(f"  {first_there - fault:>7.2f} s  first sign of life of the service on {other}")
        self.say(f"  {first - fault:>7.2f} s  first row accepted")
        self.say(f"  {first_there - last_here:>7.2f} s lay between them: never two owners")
        self.lab.rejoin(victim)
        self.say(f"  {victim} is plugged in again, and follows")
        self.catch_up()
        self.count()
        self.active, self.dead = other, victim

    def transfer(self) -> None:
        self.step(5, "leadership is handed over; nothing else notices")
        old = str(self.cluster.told()["leader"])
        asked = clock()
        self.say(f"  {old}# holdfast leader transfer --yes --wait")
        self.cluster.run(old, "leader", "transfer", "--yes", "--wait", timeout=60)
        self.cluster.wait_status(
            None, lambda status: status.get("leader") not in (None, old), 20, "another node leads")
        took = clock() - asked
        self.wait_rows(max(1, self.options.rows // 4))
        gap, _, _ = checkers.longest_gap(checkers.read_rows(self.history), since=asked)
        self.say(
            f"  {old} handed over to {self.cluster.leader()} (known {took:.2f} s later); "
            f"the longest gap between two rows was {gap * 1000:.0f} ms")

    def conclude(self) -> None:
        self.say()
        self.say("== the end: every acknowledged row, counted once more")
        if not self.options.keep:
            self.end_writer()
        acked, found = self.count(final=not self.options.keep)
        checkers.check_single_owner(checkers.read_runs(self.cluster.pulses), origin=self.began)
        self.say(f"  {acked} rows acknowledged, {found} found, none missing; never two owners. "
                 f"({clock() - self.began:.0f} s)")

    def run(self) -> None:
        self.prepare()
        for step in (self.kill, self.resync, self.move, self.cut_off, self.transfer)[:self.options.steps]:
            step()
        self.conclude()


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    common_options(parser, 500, "demo")
    parser.add_argument("--steps", type=int, default=5, help=argparse.SUPPRESS)
    return play(Demo, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
