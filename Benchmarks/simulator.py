"""How many hours of a whole cluster with faults one core simulates in a minute, plain and with all features."""
import os
import re
import resource
import subprocess

from common import ROOT, keep, progress, summary, table

WANTED = {"none": 200, "all": 60}


def main(quick: bool) -> None:
    program = os.path.join(ROOT, ".build", "release", "simulate")
    values: dict[str, list[float]] = {features: [] for features in WANTED}
    # Short and often, in turns: on a shared machine one measurement says more about its neighbours than about the program. In
    # minutes of processor time: what a host takes away for other machines is not this core's.
    for number in range(5 if quick else 20):
        for features in WANTED:
            words = [program, "--seed", "1", "--runs", "8", "--minutes", "20", "--nodes", "3", "--features", features]
            began = spent()
            said = subprocess.run(["taskset", "-c", "0", *words], check=True, stdout=subprocess.PIPE, text=True).stdout
            values[features].append(hours(said) / (spent() - began) * 60)
        progress(f"measurement {number + 1}: {', '.join(f'{name} {those[-1]:.0f}' for name, those in values.items())}")
    keep("simulator", values)
    table("Simulator, one core, three nodes at the start",
          ["features", "cluster-hours a minute of processor time, median (min–max)", "wanted"],
          [[name, summary(those, 0), f"at least {WANTED[name]}"] for name, those in values.items()])


def hours(said: str) -> float:
    """What the program says that it has simulated."""
    found = re.search(r"^([0-9.]+) cluster-hours in ", said, re.MULTILINE)
    if found is None:
        raise ValueError(f"no cluster-hours in {said[-300:]!r}")
    return float(found.group(1))


def spent() -> float:
    """Processor seconds of all children so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
