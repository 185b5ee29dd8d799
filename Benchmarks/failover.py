"""PostgreSQL: from power loss of its server to the first row that the other one accepts, phase by phase."""
import os

from common import ROOT, Bench, checkers, keep, progress, summary, table, wait_until

from chaos.workload import timeline
from chaos.workload.database import found_rows
from chaos.workload.observer import Observer


class Rows:
    """A writer under way, and its history."""

    def __init__(self, bench: Bench) -> None:
        self.history = os.path.join(bench.lab.directory, "rows")
        self.writer = bench.lab.client_python(
            os.path.join(ROOT, "chaos", "workload", "writer.py"), bench.cluster.floating, self.history,
            log=os.path.join(bench.lab.directory, "writer.log"))
        self.grow(50)

    def count(self) -> int:
        """How many rows were acknowledged so far."""
        return len(checkers.acknowledged(checkers.read_rows(self.history)))

    def grow(self, more: int) -> None:
        """Waits until so many more are acknowledged."""
        before = self.count()
        wait_until(lambda: self.count() >= before + more, 90, f"{more} more rows", step=0.1)



def measure(runs: int) -> tuple[list[timeline.Phases], int, int]:
    """Kills the owner `runs` times and returns the timelines."""
    timelines = []
    with Bench(lambda cluster: cluster.database_policy()) as bench:
        written = Rows(bench)
        for number in range(runs):
            bench.settle()
            written.grow(100)
            owner, other = bench.roles()
            observer = Observer(bench.lab.node(other), bench.cluster.floating)
            fault = bench.lab.node(owner).power_off()
            first = wait_until(
                lambda: checkers.first_acknowledged_after(checkers.read_rows(written.history), fault + 0.05), 120,
                "a row is accepted", step=0.05)
            observer.stop()
            phases = timeline.build(fault, bench.cluster.events(), observer, first, owner)
            timelines.append(phases)
            progress(f"kill {number + 1} of {runs}: {first - fault:.2f} s")
            bench.cluster.return_node(owner)
        bench.settle()
        written.writer.kill()
        written.writer.wait()
        found = found_rows(bench.lab, bench.cluster.floating)
        acked, there = checkers.check_rows(checkers.read_rows(written.history), found)
    return timelines, acked, there


def main(quick: bool) -> None:
    timelines, acked, there = measure(3 if quick else 10)
    totals = [total for phases in timelines if (total := phases[-1][2]) is not None]
    keep("failover", totals)
    rows = [[name, f"{at:.2f}", f"{took:.2f}"] for name, at, took in timeline.medians(timelines)]
    table("PostgreSQL, power loss to the first accepted row, seconds", ["phase", "median at", "median took"], rows)
    print(f"total {summary(totals)}; wanted: median at most 10. Acknowledged {acked}, found {there}, missing 0.")
