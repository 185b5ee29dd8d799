"""How many hours of a whole cluster with faults one core simulates in a minute."""
import os
import subprocess
import time

from common import ROOT, keep, table


def main(quick):
    program = os.path.join(ROOT, ".build", "release", "simulate")
    runs = 2 if quick else 9
    words = [program, "--seed", "1", "--runs", str(runs), "--minutes", "20"]
    began = time.monotonic()
    subprocess.run(["taskset", "-c", "0", *words], check=True, stdout=subprocess.DEVNULL)
    took = time.monotonic() - began
    rate = runs / 3 / took * 60
    keep("simulator", rate)
    table("Simulator, one core", ["cluster-hours a minute", "wanted"], [[f"{rate:.0f}", "at least 100"]])
