"""The application is killed: how long until it runs again in the same place?"""
import signal

from common import Bench, clock, keep, progress, summary, table


def main(quick: bool) -> None:
    values = []
    with Bench(lambda cluster: cluster.service_policy().replace(
            "    resources:", "    restart: { attempts: 1000, window: 1h }\n    resources:")) as bench:
        for number in range(10 if quick else 30):
            bench.settle(0.3)
            owner, _ = bench.roles()
            killed = clock()
            bench.lab.node(owner).signal("service", signal.SIGKILL)
            values.append(bench.first_life(owner, killed) - killed)
            progress(f"kill {number + 1}: {values[-1] * 1000:.0f} ms")
    keep("restart", values)
    table("Application killed to running again in place, seconds", ["", "median (min–max)", "wanted"], [
        ["Holdfast", summary(values, 3), "at most 0.2 + its own start"],
        ["Pacemaker, monitor 10 s", "6.82 (2.39–10.23) n12", ""],
        ["Pacemaker, monitor 1 s", "0.98 (0.50–1.37) n10", ""]])
