"""What is told to who looks on: a real PostgreSQL in a laboratory, a client that writes rows, and how many are there in the end."""
from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from chaos.lab.cluster import Cluster
from chaos.lab.lab import NODES, Lab
from chaos.lab.shell import clock, end, identity, wait_until
from chaos.workload import checkers
from chaos.workload.database import found_rows

if TYPE_CHECKING:
    from .lab.shell import Report

HERE = os.path.dirname(os.path.abspath(__file__))


class Story:
    """A cluster of three, the writer of rows, and what both have to say; `program` is what the user called."""

    program: ClassVar[str]

    def __init__(self, lab: Lab, options: argparse.Namespace) -> None:
        self.lab, self.options = lab, options
        self.cluster = Cluster(lab, say=lambda text: self.say(f"  {text}"))
        self.history = os.path.join(lab.directory, "rows")
        self.shown_progress: str | None = None
        self.began = clock()

    def run(self) -> None:
        """All of it."""
        raise NotImplementedError

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

    def end_writer(self) -> None:
        """No more rows are tried."""
        end(identity(self.writer.pid))
        self.writer.wait()

    def other(self, name: str) -> str:
        return next(member for member in self.cluster.members if member != name)

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
        self.say(f"The writer goes on. The next {self.program}, or {self.program} --clean, removes all of it.")


def play(story_of: Callable[[Lab, argparse.Namespace], Story], options: argparse.Namespace, seconds: int = 0) -> int:
    """Builds the laboratory, tells a story in it, and removes every trace; the exit code says whether all went well.

    It is broken off after so many seconds, unless they are 0.
    """
    if options.rows < 1:
        print("--rows wants a number from 1", file=sys.stderr)
        return 2
    if options.clean:
        from chaos.lab import leftovers
        leftovers.clean(options.purpose)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))

    def too_long(*_: object) -> None:
        raise RuntimeError(f"it did not end within {seconds} s")
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    lab = Lab(options.purpose, NODES)
    lab.keep_files = True
    failed = True
    try:
        lab.up()
        story = story_of(lab, options)
        story.run()
        failed = False
        if options.keep:
            story.farewell()
            lab.hand_over()
            return 0
    except checkers.Broken as error:
        print(f"\n{error}", file=sys.stderr)
    except Exception as error:  # every failure must leave the logs and a non-zero exit
        print(f"\nthe demonstration failed: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        signal.alarm(0)
        if failed or not options.keep:
            lab.keep_files = failed
            lab.down()
    if failed:
        print(f"logs: {lab.directory}/NODE/daemon.log and the histories beside them", file=sys.stderr)
    return 1 if failed else 0


def common_options(parser: argparse.ArgumentParser, rows: int, purpose: str) -> None:
    """What every demonstration can be told."""
    parser.add_argument("--rows", type=int, default=rows, help=f"rows acknowledged before each step (default {rows})")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up, and say how to use it")
    parser.add_argument("--clean", action="store_true", help="remove what an earlier run left, and end")
    parser.add_argument("--purpose", default=purpose, help=argparse.SUPPRESS)
