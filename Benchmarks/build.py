"""A clean build of one pure target's tests, beside one of the same tests at the last commit before there were walls.

Until the code was cut into targets the tests of the log needed the simulator, which needed one module that held everything else,
the API's server and its packages included. That commit had less code than there is now, so the comparison flatters nobody. Each
build has a directory of its own, with the packages checked out before and nothing else in it, and the builds take turns.
"""
import os
import resource
import shutil
import subprocess
import tempfile
import time

from common import ROOT, keep, median, progress, summary, table

BEFORE = "b768983"  # "Count the gap that the last step of a guests scenario opens"; the next one put up the walls
TARGET = "RaftTests"
NAMES = ("now", f"at {BEFORE}, before the walls")
WANTED = 1 / 3


def main(quick: bool) -> None:
    values: dict[str, dict[str, list[float]]] = {name: {"cpu": [], "wall": []} for name in NAMES}
    with tempfile.TemporaryDirectory(prefix="hf-build-", dir=os.path.join(ROOT, ".build")) as directory:
        sources = dict(zip(NAMES, (ROOT, export(os.path.join(directory, "source")))))
        packages = {name: os.path.join(directory, f"packages-{number}") for number, name in enumerate(NAMES)}
        for name in NAMES:
            swift("package", sources[name], packages[name], "resolve")
        for number in range(1 if quick else 3):
            for name, found in values.items():
                place = os.path.join(directory, "build")
                shutil.copytree(packages[name], place, symlinks=True)
                cpu, wall = spent(), time.monotonic()
                swift("build", sources[name], place, "--target", TARGET)
                found["cpu"].append(spent() - cpu)
                found["wall"].append(time.monotonic() - wall)
                shutil.rmtree(place)
                progress(f"{number + 1}, {name}: {found['cpu'][-1]:.0f} s of processor, {found['wall'][-1]:.0f} s")
    keep("build", values)
    rows = [[name, summary(found["cpu"], 0), summary(found["wall"], 0)] for name, found in values.items()]
    now, before = (values[name] for name in NAMES)
    ratios = [f"{median(now[kind]) / median(before[kind]):.2f}" for kind in ("cpu", "wall")]
    table(f"Clean debug builds of {TARGET}, in turns", ["what", "processor time, s", "time, s"],
          [*rows, ["ratio", *ratios], ["wanted", f"at most {WANTED:.2f}", f"at most {WANTED:.2f}"]])


def export(place: str) -> str:
    """The sources before the walls, in a directory of their own."""
    known = subprocess.run(["git", "-C", ROOT, "cat-file", "-e", f"{BEFORE}^{{commit}}"], check=False, capture_output=True)
    if known.returncode != 0:
        raise RuntimeError(f"this clone has no commit {BEFORE}: git fetch --unshallow")
    os.makedirs(place)
    archive = subprocess.run(["git", "-C", ROOT, "archive", BEFORE], check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", place], input=archive.stdout, check=True)
    return place


def swift(command: str, source: str, place: str, *options: str) -> None:
    """SwiftPM over these sources, in this directory; what it says is shown if it fails."""
    words = ["swift", command, "--package-path", source, "--scratch-path", place, *options]
    result = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"`{' '.join(words)}` failed:\n{result.stdout[-3000:]}")


def spent() -> float:
    """Processor seconds of all children so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
