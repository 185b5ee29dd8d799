"""What happened to machines, beside the same events in the laboratory of namespaces.

usage: python3 -m guests.beside      plays the laboratory's part on this machine (some minutes), and keeps the figures

`guests/run` ends with the table: the gap between rows at each event, as it was and divided by how much slower the machines
are, and the laboratory's. What waits for times of `timing` is longer by their factor, not by the slowdown.
"""
import json
import os
import re
import statistics
import subprocess
import sys

from .lab import places

EVENTS = (  # (how a step begins, in words, the laboratory's scenario: none where a namespace knows no such thing)
    ("move ", "planned move", "move-under-load"),
    ("reboot owner", "reboot of the owner", None),
    ("poweroff owner", "poweroff of the owner", None),
    ("stop owner holdfast", "systemctl stop on the owner", None),
    ("restart owner holdfast", "restart of the owner's daemon", "daemon-restarted"),
    ("kill owner", "power loss of the owner", "owner-killed-database"),
    ("isolate owner", "the owner's port is dead", "owner-isolated-database"),
    ("unplug owner", "the owner's cable is pulled", "owner-isolated-database"),
    ("pause owner", "the owner is paused", "owner-paused-database"),
    ("hang owner", "the owner hangs", None),
    ("kill-process owner volume-server", "kill -9 of the volume server", "volume-server-killed"),
)
KEPT = "laboratory.json"


def event_of(step: str) -> int | None:
    """The number of a step's event; None for what is none."""
    return next((number for number, (head, _, _) in enumerate(EVENTS) if f"{step} ".startswith(head)), None)


def laboratory() -> dict[str, list[float]]:
    """The gaps that were measured in the laboratory, by scenario; empty when none were."""
    try:
        with open(places.built(KEPT)) as file:
            found: dict[str, list[float]] = json.load(file)
            return found
    except OSError:
        return {}


def measure(turns: int = 3) -> None:
    """Plays the laboratory's scenarios and keeps the gaps that they print."""
    found = {}
    for name in sorted({scenario for _, _, scenario in EVENTS if scenario}):
        said = subprocess.run(
            [os.path.join(places.HERE, "..", "chaos", "run"), name, "--rounds", str(turns), "--purpose", "guests-beside"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
        found[name] = [float(text) for text in re.findall(r"longest gap between rows ([0-9.]+) s", said)]
        print(f"{name}: {', '.join(f'{gap:.2f}' for gap in found[name]) or 'none'} s", flush=True)
        with open(places.built(KEPT), "w") as file:
            json.dump(found, file)


def table(gaps: list[tuple[str, float]], slowdown: float) -> list[str]:
    """The lines of the table. `gaps` has (step, seconds)."""
    beside = laboratory()
    rows = [("event", "gap of rows", f"÷ {slowdown:.1f}", "laboratory")]
    for number, (_, words, scenario) in enumerate(EVENTS):
        seen = [gap for step, gap in gaps if event_of(step) == number]
        if not seen:
            continue
        there = beside.get(scenario, []) if scenario else []
        rows.append((
            f"{words}, {len(seen)} times", f"{statistics.median(seen):.1f} s ({min(seen):.1f}–{max(seen):.1f})",
            f"{statistics.median(seen) / slowdown:.2f} s", f"{statistics.median(there):.2f} s" if there else "–"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows] if rows[1:] else []


if __name__ == "__main__":
    measure()
    sys.exit(0)
