"""The expectations of a scenario: a table of words, and how each is judged from the histories of a run."""
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .lab.cluster import Cluster
from .lab.shell import identity, wait_until
from .words import Word, length, number, one_of, seconds
from .workload import checkers
from .workload.attribute_clients import Clients
from .workload.database import found_rows

SLACK = 0.030  # a guard that was itself stopped may be scheduled this much later than the service
Options = Mapping[str, str]


@dataclass(frozen=True)
class Played:
    """What a run left behind, beside its histories."""

    owner_before: str | None
    began: float  # instants of the boot clock
    ended: float
    instants: list[float]  # when each fault took effect
    policy: Options
    rows: str  # the writer's history
    reference: str  # the pulse of a process that nothing manages
    writer: "subprocess.Popen[bytes] | None"  # of the database; None: the group is only a service
    attributes: Clients | None = None  # who change and read them, if the scenario wants it


class Judge:
    """Looks at one run."""

    def __init__(self, cluster: Cluster, played: Played) -> None:
        self.cluster, self.played = cluster, played
        self.runs = checkers.read_runs(cluster.pulses)
        if not self.runs:
            raise RuntimeError(f"nothing was recorded in {cluster.pulses}: there is nothing to judge")

    def judge(self, expectations: list[tuple[str, dict[str, str]]]) -> str:
        """Each expectation, as a sentence about what was checked; raises `Broken`."""
        return ", ".join(EXPECTATIONS[name].act(self, options) for name, options in expectations)

    def single_owner(self, options: Options) -> str:
        """The sentence says no more than was checked: owners may overlap where the policy allows it."""
        checkers.check_one_process(self.runs)
        if self.played.policy.get("takeover") == "immediate":
            return "one process on each node (owners may overlap: takeover=immediate)"
        checkers.check_single_owner(self.runs, SLACK if "guard" in options else 0.0, origin=self.played.began)
        return "one owner at a time"

    def nothing_lost(self, _: Options) -> str:
        """Counts acknowledged and found rows while the writer stands still."""
        if self.played.writer is None:
            raise RuntimeError("rows are written only with `workload database`")
        who = identity(self.played.writer.pid)
        try:
            os.kill(who[0], signal.SIGSTOP)
            time.sleep(0.05)
            entries = checkers.read_rows(self.played.rows)
            acked, there = checkers.check_rows(entries, found_rows(self.cluster.lab, self.cluster.floating))
        finally:
            os.kill(who[0], signal.SIGCONT)
        return f"{acked} rows acknowledged, {there} found, none missing"

    def linearizable(self, _: Options) -> str:
        """What was told of attributes could have been told by one register for each."""
        if self.played.attributes is None:
            raise RuntimeError("attributes are changed only with a line `attributes`")
        return self.played.attributes.finish(f"{self.played.rows}-of-attributes")

    def recovered(self, options: Options) -> str:
        """Rows are accepted again after a fault, or the service runs again, within a bound."""
        within = seconds(options.get("within", "10s"))
        instants = self.played.instants
        instant = instants[int(options.get("fault", "1")) - 1] if instants else self.played.began
        if self.played.writer is None or "by" in options:
            return f"running again after {checkers.check_recovered(self.runs, instant, within):.2f} s"
        first = wait_until(
            lambda: checkers.first_acknowledged_after(checkers.read_rows(self.played.rows), instant + 0.05), 30,
            "a row is accepted after the fault")
        gap, _, _ = checkers.longest_gap(checkers.read_rows(self.played.rows), since=instant - 0.5)
        took = max(first - instant, gap)
        if took > within:
            raise checkers.Broken("BoundedRecovery", f"no row for {took:.2f} s, wanted at most {within:g} s")
        return f"longest gap between rows {took:.2f} s"

    def undisturbed(self, _: Options) -> str:
        """One process of the service ran all the time."""
        stalls = checkers.read_stalls(self.played.reference)
        node = checkers.check_never_stopped(self.runs, self.played.began, self.played.ended, stalls)
        if self.played.writer is None:
            return f"never stopped on {node}"
        gap = checkers.longest_gap(checkers.read_rows(self.played.rows), since=self.played.began)[0]
        return f"never stopped on {node}, longest gap between rows {gap:.2f} s"

    def whole(self, options: Options) -> str:
        """Every node is there again and votes."""
        self.cluster.wait_status(
            None, lambda status: status["survivesFailures"] >= 1 and self.cluster.all_up(status),
            seconds(options.get("within", "20s")), "every node is up and votes: any one may fail")
        return "whole again"

    def moved(self, _: Options) -> str:
        """The group is on another node than before."""
        return f"moved ({self.played.owner_before} → {self.owner(moved=True)})"

    def stayed(self, _: Options) -> str:
        """The group is on the node it was on."""
        self.owner(moved=False)
        return "stayed"

    def owner(self, moved: bool) -> str | None:
        """The owner now."""
        owner, before = self.cluster.owner(), self.played.owner_before
        if (owner != before) != moved:
            raise checkers.Broken("BoundedRecovery", f"the group is on {owner} and was on {before}")
        return owner


# name: the words that follow, the options with how each is read, and the function that judges it.
EXPECTATIONS: dict[str, Word[Callable[[Judge, Options], str]]] = {
    "single-owner": Word((), {"guard": one_of("stopped")}, Judge.single_owner),
    "linearizable": Word((), {}, Judge.linearizable),
    "nothing-lost": Word((), {}, Judge.nothing_lost),
    "recovered": Word((), {"within": length, "fault": number, "by": one_of("service")}, Judge.recovered),
    "undisturbed": Word((), {}, Judge.undisturbed),
    "moved": Word((), {}, Judge.moved),
    "stayed": Word((), {}, Judge.stayed),
    "whole": Word((), {"within": length}, Judge.whole),
}
