"""How many hours of a whole cluster with faults one core simulates in a minute, plain and with all features."""
import os
import re
import resource
import subprocess

from common import ROOT, keep, progress, summary, table

WANTED = {"none": 200, "all": 60}


def main(quick: bool) -> None:
    programs = {"ordinary": os.path.join(ROOT, ".build", "release", "simulate")}
    profiled = os.path.join(ROOT, ".build", "profiled", "release", "simulate")
    if is_newer_than_sources(profiled):
        programs["profiled"] = profiled
    else:
        progress("no program of scripts/profiled that is newer than the sources: the ordinary build alone is measured")
    values: dict[str, list[float]] = {f"{features}, {build}": [] for features in WANTED for build in programs}
    # Short and often, in turns: on a shared machine one measurement says more about its neighbours than about the program. In
    # minutes of processor time: what a host takes away for other machines is not this core's.
    for number in range(5 if quick else 20):
        for features in WANTED:
            for build, program in programs.items():
                words = [program, "--seed", "1", "--runs", "8", "--minutes", "20", "--nodes", "3", "--features", features]
                began = spent()
                said = subprocess.run(["taskset", "-c", "0", *words], check=True, stdout=subprocess.PIPE, text=True).stdout
                values[f"{features}, {build}"].append(hours(said) / (spent() - began) * 60)
        progress(f"measurement {number + 1}: {'; '.join(f'{name} {those[-1]:.0f}' for name, those in values.items())}")
    keep("simulator", values)
    table("Simulator, one core, three nodes at the start",
          ["features", "build", "cluster-hours a minute of processor time, median (min–max)", "wanted"],
          [[*name.split(", "), summary(those, 0), f"at least {WANTED[name.split(', ')[0]]}"]
           for name, those in values.items()])


def is_newer_than_sources(program: str) -> bool:
    """Whether a program is there, and was built of the sources as they are."""
    if not os.path.exists(program):
        return False
    sources = [os.path.join(place, name) for place, _, names in os.walk(os.path.join(ROOT, "Sources")) for name in names]
    latest = max(os.path.getmtime(source) for source in [*sources, os.path.join(ROOT, "Package.swift")])
    return os.path.getmtime(program) > latest


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
