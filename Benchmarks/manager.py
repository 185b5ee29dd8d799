"""The manager's own share: one exec resource, node killed and its cable cut in the same instant."""
from common import Bench, keep, progress, summary, table


def measure(takeover: str, runs: int) -> list[tuple[float, bool]]:
    """Seconds from the kill to the service's first sign of life elsewhere; and whether the leader was killed."""
    values = []
    with Bench(lambda cluster: cluster.service_policy(takeover=takeover)) as bench:
        for number in range(runs):
            bench.settle()
            owner, other = bench.roles()
            was_leader = number % 2 == 0
            bench.lead(owner if was_leader else other)
            bench.settle(0.5)
            fault = bench.lab.node(owner).power_off()
            took = bench.first_life(other, fault) - fault
            values.append((took, was_leader))
            progress(f"{takeover}, kill {number + 1} of {runs}: {took:.3f} s{' (leader)' if was_leader else ''}")
            bench.cluster.return_node(owner)
    return values


def main(quick: bool) -> None:
    runs = 5 if quick else 20
    rows = []
    for takeover, wanted in (("after-lease", "3"), ("immediate", "1")):
        values = measure(takeover, runs)
        keep(f"manager-{takeover}", values)
        rows.append([
            takeover, summary([took for took, _ in values]), summary([took for took, leader in values if leader]),
            summary([took for took, leader in values if not leader]), wanted])
    rows.append(["Pacemaker, defaults", "8.27 (7.56–9.35) n20", "8.64 n10", "8.17 n10", ""])
    rows.append(["Pacemaker, token 500", "2.24 (1.19–2.41) n10", "2.30 n5", "1.24 n5", ""])
    table(
        "Node loss to the service running elsewhere, seconds",
        ["", "all", "lost node led", "it did not", "wanted median"], rows)
