"""From the instant of a fault to the first accepted row: phases from the log, from outside, and from the writer."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .observer import Observer

Phases = list[tuple[str, str, float | None]]  # name, explanation, seconds since the fault
Shares = list[tuple[str, str, float | None, float | None]]  # and seconds since the phase before


PHASES = {"node.silent": "detected", "node.lost": "lost", "group.assigned": "assigned", "group.started": "running"}


def from_events(events: list[dict[str, Any]], fault: float, lost_node: str) -> dict[str, float]:
    """Times of detected, lost, assigned and running, from events of the log that carry `at`."""
    found: dict[str, float] = {}
    for event in events:
        if event["at"] < fault - 0.05:
            continue
        phase = PHASES.get(event["kind"])
        if phase and (event["node"] == lost_node or not event["kind"].startswith("node.")):
            found.setdefault(phase, event["at"])
    return found


ORDER = (
    ("detected", "a majority heard nothing for the detection time"),
    ("lost", "the lease has certainly ended"),
    ("assigned", "the new owner is in the log"),
    ("promoted", "the mirror copy is writable and attached"),
    ("mounted", "journal replayed, file system mounted"),
    ("recovered", "PostgreSQL replayed its log and answers"),
    ("address up", "the floating address is on the new node"),
    ("first row accepted", "the writer has an acknowledgement"),
)


def build(fault: float, events: list[dict[str, Any]], observer: Observer, first_row: float | None, lost_node: str) -> Phases:
    """The phases as a list of (name, explanation, seconds since the fault or None)."""
    times = from_events(events, fault, lost_node)
    for phase, key in (("promoted", "device"), ("mounted", "mounted"), ("recovered", "recovered"),
                       ("address up", "address")):
        if key in observer.began:
            times[phase] = observer.began[key]
    if first_row is not None:
        times["first row accepted"] = first_row
    return [(name, why, times[name] - fault if name in times else None) for name, why in ORDER]


def shares(phases: Phases) -> Shares:
    """Each phase with the time since the one before it that is known."""
    result: Shares = []
    before = 0.0
    for name, why, at in phases:
        if at is None:
            result.append((name, why, None, None))
        else:
            result.append((name, why, at, at - before))
            before = max(before, at)
    return result


def render(phases: Phases) -> list[str]:
    """The timeline as lines of text, with the share of each phase as a bar."""
    rows = shares(phases)
    total = max((at for _, _, at, _ in rows if at is not None), default=0.0)
    lines = [f"  {'phase':<20}{'at':>9}{'took':>9}  share"]
    for name, why, at, took in rows:
        if at is None or took is None:
            lines.append(f"  {name:<20}{'not seen':>9}")
            continue
        share = max(0.0, took) / total if total > 0 else 0
        bar = "#" * round(share * 30)
        lines.append(f"  {name:<20}{at:>7.2f} s{took:>7.2f} s  {share * 100:>3.0f} % {bar:<30} {why}")
    return lines


def medians(timelines: list[Phases]) -> list[tuple[str, float, float]]:
    """The median time and share of each phase over several timelines."""
    result = []
    for name, _ in ORDER:
        rows = [(at, took) for phases in timelines for phase, _, at, took in shares(phases)
                if phase == name and at is not None and took is not None]
        if rows:
            result.append((name, median([at for at, _ in rows]), median([took for _, took in rows])))
    return result


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the middle two."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
