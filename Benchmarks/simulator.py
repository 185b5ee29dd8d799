"""How many hours of a whole cluster with faults one core simulates in a minute."""
import os
import resource
import subprocess

from common import ROOT, keep, progress, summary, table


def main(quick: bool) -> None:
    program = os.path.join(ROOT, ".build", "release", "simulate")
    runs, minutes = 9, 20
    words = [program, "--seed", "1", "--runs", str(runs), "--minutes", str(minutes)]
    values = []
    # Short and often: on a shared machine one measurement says more about its neighbours than about the program. In
    # minutes of processor time: what a host takes away for other machines is not this core's.
    for number in range(5 if quick else 20):
        began = spent()
        subprocess.run(["taskset", "-c", "0", *words], check=True, stdout=subprocess.DEVNULL)
        values.append(runs * minutes / (spent() - began))
        progress(f"measurement {number + 1}: {values[-1]:.0f}")
    keep("simulator", values)
    table("Simulator, one core", ["cluster-hours a minute of processor time, median (min–max)", "wanted"],
          [[summary(values, 0), "at least 100"]])


def spent() -> float:
    """Processor seconds of all children so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
