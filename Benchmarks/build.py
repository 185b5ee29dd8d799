"""A clean build of one pure target's tests beside a clean build of all tests, which is what it took before there were walls.

Until the code was cut into targets, any test of the log was a test of the one module that held everything, the API's server and its
packages included: who wanted to run it built all of it. Each build has a directory of its own below the results, with the packages
checked out before, and nothing else in it; the builds take turns.
"""
import os
import resource
import shutil
import subprocess
import tempfile
import time

from common import ROOT, keep, median, progress, summary, table

# What is built: SwiftPM's options.
PART, WHOLE = "RaftTests alone", "all tests"
BUILDS = {PART: ["--target", "RaftTests"], WHOLE: ["--build-tests"]}
WANTED = 1 / 3


def main(quick: bool) -> None:
    values: dict[str, dict[str, list[float]]] = {name: {"cpu": [], "wall": []} for name in BUILDS}
    with tempfile.TemporaryDirectory(prefix="hf-build-", dir=os.path.join(ROOT, ".build")) as directory:
        packages = os.path.join(directory, "packages")
        swift("package", packages, "resolve")
        for number in range(1 if quick else 3):
            for name, options in BUILDS.items():
                place = os.path.join(directory, "build")
                shutil.copytree(packages, place, symlinks=True)
                cpu, wall = spent(), time.monotonic()
                swift("build", place, *options)
                values[name]["cpu"].append(spent() - cpu)
                values[name]["wall"].append(time.monotonic() - wall)
                shutil.rmtree(place)
                progress(f"{name}, {number + 1}: {values[name]['cpu'][-1]:.0f} s of processor, {values[name]['wall'][-1]:.0f} s")
    keep("build", values)
    rows = [[name, summary(found["cpu"], 0), summary(found["wall"], 0)] for name, found in values.items()]
    ratios = [f"{median(values[PART][kind]) / median(values[WHOLE][kind]):.2f}" for kind in ("cpu", "wall")]
    table("Clean debug builds, in turns", ["what", "processor time, s", "time, s"],
          [*rows, ["ratio", *ratios], ["wanted", f"at most {WANTED:.2f}", f"at most {WANTED:.2f}"]])


def swift(command: str, place: str, *options: str) -> None:
    """SwiftPM, in this directory; what it says is shown if it fails."""
    words = ["swift", command, "--package-path", ROOT, "--scratch-path", place, *options]
    result = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"`{' '.join(words)}` failed:\n{result.stdout[-3000:]}")


def spent() -> float:
    """Processor seconds of all children so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
