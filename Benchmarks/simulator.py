"""How many hours of a whole cluster with faults one core simulates in a minute."""
import os
import subprocess
import time

from common import ROOT, keep, progress, summary, table


def main(quick):
    program = os.path.join(ROOT, ".build", "release", "simulate")
    runs, minutes = 9, 20
    words = [program, "--seed", "1", "--runs", str(runs), "--minutes", str(minutes)]
    values = []
    # Short and often: on a shared machine one measurement says more about its neighbours than about the program.
    for number in range(5 if quick else 20):
        began = time.monotonic()
        subprocess.run(["taskset", "-c", "0", *words], check=True, stdout=subprocess.DEVNULL)
        values.append(runs * minutes / (time.monotonic() - began))
        progress(f"measurement {number + 1}: {values[-1]:.0f}")
    keep("simulator", values)
    table("Simulator, one core", ["cluster-hours a minute, median (min–max)", "wanted"],
          [[summary(values, 0), "at least 100"]])
