"""Isolations: does the lonely owner stop before the other side starts? Counts the times when both ran."""
from __future__ import annotations

import time

from common import Bench, checkers, keep, progress, summary, table


def measure(runs: int) -> tuple[list[float], list[float], list[float]]:
    """(dual activations, their seconds, stop after the cut, start after the cut)."""
    dual, stops, starts = [], [], []
    with Bench(lambda cluster: cluster.service_policy()) as bench:
        for number in range(runs):
            bench.settle(0.5)
            owner, other = bench.roles()
            bench.forget()
            time.sleep(0.05)
            fault = bench.lab.isolate(owner)
            started = bench.first_life(other, fault)
            time.sleep(1.2)
            runs_seen = bench.runs()
            overlaps = checkers.overlaps(runs_seen)
            stopped = max(run.last for run in runs_seen if run.node == owner)
            stops.append(stopped - fault)
            starts.append(started - fault)
            dual += [overlap[0] for overlap in overlaps]
            progress(
                f"isolation {number + 1} of {runs}: stopped {stops[-1]:.2f} s, started {starts[-1]:.2f} s"
                + (" BOTH RAN" if overlaps else ""))
            bench.lab.rejoin(owner)
    return dual, stops, starts


def main(quick: bool) -> bool:
    runs = 10 if quick else 100
    dual, stops, starts = measure(runs)
    keep("isolation", {"dual": dual, "stops": stops, "starts": starts})
    table(
        "The owner is isolated, seconds", ["", "it stopped", "the other started", "both ran at once"], [
            ["Holdfast, after-lease", summary(stops), summary(starts), f"{len(dual)} of {runs} (wanted: 0)"],
            ["Pacemaker without fencing", "8.81 / 3.35 / 2.22", "8.72 / 3.43 / 1.83", "24 of 50"],
        ])
    return len(dual) == 0
