"""How much slower the guests are than this machine, and a `timing` for them that is not about slowness.

With the defaults a lease ends when a node gets no processor for 1.75 s. Under emulation that happens without any fault,
and a scenario would show starvation instead of what it is about. So every length is made longer by one factor: what held
between them (rule L13) holds as before.
"""
from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from chaos.lab.shell import run

if TYPE_CHECKING:
    from .guest import Guest

# The defaults of docs/configuration.md, in milliseconds. `clockRateErrorPpm` is no length.
DEFAULTS = {"lease": 1750, "grace": 750, "renewal": 200, "detection": 700, "guardKill": 500, "daemonRestart": 1000}
BEARABLE = 8.0  # a machine so many times slower than this one still keeps the default lease
EMULATED = 6.0  # three emulated machines share few processors with others: one may get none for seconds


def seconds_here(program: str, tries: int = 5) -> float:
    """How long `PROGRAM --version` takes on this machine: the shortest of some tries."""
    best = float("inf")
    for _ in range(tries):
        began = time.monotonic()
        run([program, "--version"])
        best = min(best, time.monotonic() - began)
    return best


def seconds_there(guest: Guest, tries: int = 5) -> float:
    """The same in a guest, by the guest's clock, so that the way there does not count."""
    said = guest.run(f"""holdfast --version >/dev/null
        for try in $(seq {tries}); do
            began=$(date +%s%N); holdfast --version >/dev/null; echo $(($(date +%s%N) - began))
        done""", seconds=120).stdout
    return min(int(word) for word in said.split()) / 1e9


def factor(slowdown: float, is_emulated: bool) -> float:
    """By how much the lengths are made longer: HOLDFAST_GUESTS_TIMING, or what the slowdown asks for, in halves."""
    given = os.environ.get("HOLDFAST_GUESTS_TIMING")
    if given:
        return float(given)
    least = EMULATED if is_emulated else 1.0
    return max(least, round(2 * slowdown / BEARABLE) / 2)


def block(by: float) -> str:
    """The line for cluster.yaml; nothing where the defaults will do."""
    if by == 1.0:
        return ""
    return f"timing: {{ {', '.join(f'{key}: {round(length * by)}ms' for key, length in DEFAULTS.items())} }}\n"
