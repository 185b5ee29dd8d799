#!/usr/bin/python3
"""The demonstration: a real PostgreSQL survives the death of its server, and says what it cost."""
from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from chaos.lab.cluster import Cluster  # noqa: E402
from chaos.lab.lab import NODES, Lab  # noqa: E402
from chaos.lab.shell import clock, end, identity, wait_until  # noqa: E402
from chaos.workload import checkers, timeline  # noqa: E402
from chaos.workload.database import found_rows, grow  # noqa: E402
from chaos.workload.observer import Observer  # noqa: E402

if TYPE_CHECKING:
    from .lab.shell import Report

HERE = os.path.dirname(os.path.abspath(__file__))
MISSED_MEGABYTES = 64  # written while the other copy is away, so that there is something to catch up with


class Demo:
    """One run of the demonstration, step by step."""

    def __init__(self, lab: Lab, options: argparse.Namespace) -> None:
        self.lab, self.options = lab, options
        self.cluster = Cluster(lab, say=lambda text: self.say(f"  {text}"))
        self.history = os.path.join(lab.directory, "rows")
        self.shown_progress: str | None = None
        self.active = self.dead = ""  # the member that has the group, and the other one
        self.began = clock()

    # Printing

    def say(self, text: str = "") -> None:
        print(text, flush=True)

    def step(self, number: int, text: str) -> None:
        self.say()
        self.say(f"== {number}. {text}")

    def status(self) -> None:
        result = self.cluster.run(self.cluster.leader() or self.cluster.any_node(), "status", check=False)
        for line in (result.stdout + result.stderr).rstrip().split("\n"):
            self.say(f"  | {line}")

    def progress(self, replicas: list[Report]) -> None:
        total = sum(replica["resyncTotalBytes"] for replica in replicas)
        left = sum(replica["resyncRemainingBytes"] for replica in replicas)
        if total <= 0:
            return
        done = 1 - min(1.0, left / total)
        bar = "#" * round(done * 40)
        text = f"  resync [{bar:<40}] {done * 100:3.0f} %  {(total - left) / 1e6:.1f} of {total / 1e6:.1f} MB"
        if sys.stdout.isatty():
            print("\r" + text, end="", flush=True)
        elif text != self.shown_progress:
            self.say(text)
        self.shown_progress = text

    def catch_up(self) -> None:
        self.shown_progress = None
        self.cluster.wait_in_sync(180, self.progress)
        if sys.stdout.isatty() and self.shown_progress:
            self.say()

    # The writer

    def start_writer(self) -> None:
        entries = checkers.read_rows(self.history)
        first = max((entry["row"] for entry in entries), default=0) + 2
        self.writer = self.lab.client_python(
            os.path.join(HERE, "workload", "writer.py"), self.cluster.floating, self.history, "--first", str(first),
            log=os.path.join(self.lab.directory, "writer.log"))

    def wait_rows(self, more: int, seconds: float = 180) -> None:
        """Waits until so many more rows are acknowledged."""
        before = len(checkers.acknowledged(checkers.read_rows(self.history)))

        def enough() -> bool:
            if self.writer.poll() is not None:
                raise RuntimeError(f"the writer ended; see {self.lab.directory}/writer.log")
            return len(checkers.acknowledged(checkers.read_rows(self.history))) >= before + more
        wait_until(enough, seconds, f"{more} more rows are acknowledged", step=0.1)

    def first_row_after(self, instant: float, seconds: float) -> float:
        return wait_until(
            # A row that was on its way when the fault struck is not one that was accepted after it.
            lambda: checkers.first_acknowledged_after(checkers.read_rows(self.history), instant + 0.05), seconds,
            "a row is accepted again", step=0.05)

    def count(self, final: bool = False) -> tuple[int, int]:
        """Compares acknowledged rows with the rows that the database holds now."""
        entries = checkers.read_rows(self.history)
        found = found_rows(self.lab, self.cluster.floating)
        if not final:
            # The writer goes on: rows beyond the history that was read are none of this count's business.
            last = max(entry["row"] for entry in entries)
            found = [number for number in found if number <= last]
        acked, there = checkers.check_rows(entries, found)
        unknown = sum(1 for entry in entries if "lost" in entry)
        self.say(
            f"  acknowledged rows: {acked}   found: {there}   missing: 0"
            f"   (tried without an answer: {unknown}, of which found: {there - acked})")
        return acked, there

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
            end(identity(self.writer.pid))
            self.writer.wait()
        acked, found = self.count(final=not self.options.keep)
        checkers.check_single_owner(checkers.read_runs(self.cluster.pulses), origin=self.began)
        self.say(f"  {acked} rows acknowledged, {found} found, none missing; never two owners. "
                 f"({clock() - self.began:.0f} s)")

    def other(self, name: str) -> str:
        return next(member for member in self.cluster.members if member != name)

    def run(self) -> None:
        self.prepare()
        for step in (self.kill, self.resync, self.move, self.cut_off, self.transfer)[:self.options.steps]:
            step()
        self.conclude()

    def farewell(self) -> None:
        """What to try on a cluster that stays."""
        self.say()
        self.say(f"The cluster stays up (files in {self.lab.directory}). Enter a node, then use holdfast there:")
        for node in self.lab.nodes.values():
            if node.is_up:
                variables = " ".join(f"{key}={value}" for key, value in node.variables().items())
                self.say(
                    f"  {node.name}:  nsenter -t {node.pid} -m -u -i -n -p env {variables} "
                    f'PATH="{self.lab.program_directory}:$PATH" bash')
        self.say("and there, for example:")
        for words in ("status --watch", "explain orders", "events --follow", "volume status",
                      "group move orders --to tok-1", "node drain osk-1", "leader transfer"):
            self.say(f"  holdfast {words}")
        self.say(f"Kill a node by the number after -t:  kill -9 {next(iter(self.lab.nodes.values())).pid}")
        self.say("The writer goes on. The next scripts/demo, or scripts/demo --clean, removes all of it.")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--rows", type=int, default=500, help="rows acknowledged before each step (default 500)")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up, and say how to use it")
    parser.add_argument("--clean", action="store_true", help="remove what an earlier run left, and end")
    parser.add_argument("--steps", type=int, default=5, help=argparse.SUPPRESS)
    parser.add_argument("--purpose", default="demo", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rows < 1:
        parser.error("--rows wants a number from 1")
    if options.clean:
        from chaos.lab import leftovers
        leftovers.clean(options.purpose)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    lab = Lab(options.purpose, NODES)
    lab.keep_files = True
    failed = True
    try:
        lab.up()
        demo = Demo(lab, options)
        demo.run()
        failed = False
        if options.keep:
            demo.farewell()
            lab.hand_over()
            return 0
    except checkers.Broken as error:
        print(f"\n{error}", file=sys.stderr)
    except (TimeoutError, RuntimeError, Exception) as error:  # every failure must leave the logs and a non-zero exit
        print(f"\nthe demonstration failed: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        if failed or not options.keep:
            lab.keep_files = failed
            lab.down()
    if failed:
        print(f"logs: {lab.directory}/NODE/daemon.log and the histories beside them", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
