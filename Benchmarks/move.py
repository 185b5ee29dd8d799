"""A planned move: the manager's own share with a bare service, and with PostgreSQL."""
from common import Bench, checkers, clock, keep, progress, summary, table, wait_until
from failover import Rows


def bare(runs: int) -> list[tuple[float, float]]:
    """Seconds between the service's last sign of life here and its first there."""
    values = []
    with Bench(lambda cluster: cluster.service_policy()) as bench:
        for number in range(runs):
            bench.settle(0.5)
            owner, other = bench.roles()
            asked = clock()
            bench.cluster.run(owner, "group", "move", bench.cluster.group, "--to", other, "--yes", "--wait")
            began = bench.first_life(other, asked)
            ended = max(run.last for run in bench.runs() if run.node == owner)
            values.append((began - asked, began - ended))
            progress(f"bare move {number + 1}: {values[-1][0]:.3f} s from the command, gap {values[-1][1]:.3f} s")
    return values


def database(runs: int) -> list[float]:
    """Seconds without an accepted row."""
    values = []
    with Bench(lambda cluster: cluster.database_policy()) as bench:
        written = Rows(bench)
        for number in range(runs):
            bench.settle(0.5)
            owner, other = bench.roles()
            written.grow(100)
            asked = clock()
            bench.cluster.run(
                owner, "group", "move", bench.cluster.group, "--to", other, "--yes", "--wait", timeout=120)
            bench.cluster.wait_running(60, on=other)
            wait_until(
                lambda: checkers.first_acknowledged_after(checkers.read_rows(written.history), asked + 0.1), 60, "a row")
            written.grow(50)
            values.append(checkers.longest_gap(checkers.read_rows(written.history), since=asked - 0.5)[0])
            progress(f"move with PostgreSQL {number + 1}: gap {values[-1]:.2f} s")
    return values


def main(quick: bool) -> None:
    runs = 3 if quick else 10
    bare_values, database_values = bare(runs), database(runs)
    keep("move", {"bare": bare_values, "database": database_values})
    table("Planned move, seconds", ["", "median (min–max)", "wanted"], [
        ["manager's own: command to running there", summary([whole for whole, _ in bare_values], 3), "0.3"],
        ["manager's own: gap of the service", summary([gap for _, gap in bare_values], 3), ""],
        ["PostgreSQL: gap between two accepted rows", summary(database_values), "at most 5"],
        ["Pacemaker, crm_standby, Dummy", "0.13 (0.10–0.15) n10", ""],
        ["Pacemaker, crm_resource --move, Dummy", "0.26 (0.21–0.42) n10", ""]])
