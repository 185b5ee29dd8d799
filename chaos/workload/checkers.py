"""Reads the histories of a run and names the guarantee that broke."""
import json
from collections.abc import Sequence
from typing import Any

Entry = dict[str, Any]  # a line of the writer's history
GAP = 0.25  # two beats of one process that lie further apart do not prove that it ran in between


class Broken(Exception):
    """A guarantee did not hold: its name and what was seen."""

    def __init__(self, guarantee: str, seen: str) -> None:
        super().__init__(f"{guarantee} is broken: {seen}")
        self.guarantee = guarantee


def read_rows(path: str) -> list[Entry]:
    """The writer's history as a list of entries; a torn last line is left out."""
    entries = []
    try:
        with open(path) as file:
            for line in file:
                if line.endswith("\n"):
                    entries.append(json.loads(line))
    except FileNotFoundError:
        pass
    return entries


def acknowledged(entries: list[Entry]) -> dict[int, float]:
    """Numbers of acknowledged rows with the time of their acknowledgement, in the order of the history."""
    return {entry["row"]: entry["ack"] for entry in entries if "ack" in entry}


def check_rows(entries: list[Entry], found: list[int]) -> tuple[int, int]:
    """NothingAcknowledgedIsLost: every acknowledged row is found, once; no row is found that was never tried."""
    numbers = [entry["row"] for entry in entries]
    acked = acknowledged(entries)
    if len(numbers) != len(set(numbers)):
        raise Broken("NothingAcknowledgedIsLost", "the writer's history names a row twice; the history is unusable")
    if len(found) != len(set(found)):
        twice = sorted({number for number in found if found.count(number) > 1})
        raise Broken("NothingAcknowledgedIsLost", f"rows are there twice: {shown(twice)}")
    missing = sorted(set(acked) - set(found))
    if missing:
        raise Broken(
            "NothingAcknowledgedIsLost",
            f"{len(missing)} of {len(acked)} acknowledged rows are missing: {shown(missing)}")
    refused = {entry["row"] for entry in entries if "refused" in entry}
    strangers = sorted((set(found) & refused) | (set(found) - set(numbers)))
    if numbers:
        # The row under way when the writer was ended may be there without a line.
        strangers = [number for number in strangers if number != max(numbers) + 1]
    if strangers:
        raise Broken(
            "NothingAcknowledgedIsLost", f"rows are there that were refused or never tried: {shown(strangers)}")
    return len(acked), len(found)


def shown(numbers: list[int], limit: int = 10) -> str:
    """A list of numbers as a short text."""
    text = ", ".join(str(number) for number in numbers[:limit])
    return text + (f" and {len(numbers) - limit} more" if len(numbers) > limit else "")


def longest_gap(entries: list[Entry], since: float = 0.0, until: float = float("inf")) -> tuple[float, float, float]:
    """The longest time without an acknowledgement between two of them, as (seconds, from, to)."""
    times = sorted(time for time in acknowledged(entries).values() if since <= time <= until)
    best = (0.0, since, since)
    for earlier, later in zip(times, times[1:]):
        if later - earlier > best[0]:
            best = (later - earlier, earlier, later)
    return best


def first_acknowledged_after(entries: list[Entry], instant: float) -> float | None:
    """The first acknowledgement of a row that was tried after `instant`, or None."""
    times = [entry["ack"] for entry in entries if "ack" in entry and entry["try"] > instant]
    return min(times) if times else None


class Run:
    """One life of a service on one node: when it certainly ran."""

    def __init__(self, node: str, pid: int, begin: float) -> None:
        self.node, self.pid, self.begin, self.last, self.ended = node, pid, begin, begin, False
        self.pieces = [[begin, begin]]

    def note(self, what: str, time: float) -> None:
        if time - self.last <= GAP:
            self.pieces[-1][1] = time
        else:
            self.pieces.append([time, time])
        self.last = time
        self.ended = what == "end"

    @property
    def is_beating(self) -> bool:
        return not self.ended


def read_runs(path: str) -> list[Run]:
    """The heartbeat history as runs in the order of their begin."""
    runs: list[Run] = []
    open_runs: dict[tuple[str, int], Run] = {}
    try:
        with open(path) as file:
            lines = file.read().split("\n")[:-1]
    except FileNotFoundError:
        return []
    for line in lines:
        node, pid, what, text = line.split()
        key, time = (node, int(pid)), float(text)
        if what == "begin" or key not in open_runs:
            open_runs[key] = Run(node, int(pid), time)
            runs.append(open_runs[key])
        else:
            open_runs[key].note(what, time)
    return runs


def overlaps(runs: list[Run]) -> list[tuple[float, Run, Run, float]]:
    """Pairs of runs on different nodes that both ran: (seconds, first run, second run, from)."""
    pieces = sorted(
        ((begin, end, run) for run in runs for begin, end in run.pieces), key=lambda piece: piece[0])
    found = []
    for index, (_, end, run) in enumerate(pieces):
        for other_begin, other_end, other in pieces[index + 1:]:
            if other_begin > end:
                break
            if other.node != run.node:
                found.append((min(end, other_end) - other_begin, run, other, other_begin))
    return found


def check_single_owner(runs: list[Run], allowed: float = 0.0, origin: float = 0.0) -> int:
    """SingleOwner: at no instant two nodes run the service. `allowed` is for faults that stop the guard itself."""
    found = [overlap for overlap in overlaps(runs) if overlap[0] >= allowed]
    if found:
        length, first, second, since = max(found, key=lambda overlap: overlap[0])
        raise Broken(
            "SingleOwner",
            f"{first.node} and {second.node} ran the service at once {len(found)} times; the longest lasted "
            f"{length * 1000:.1f} ms from {since - origin:.3f} s")
    return len(runs)


def check_one_process(runs: list[Run]) -> None:
    """SingleOwner on one node: two processes of the service never run at once there either."""
    for node in sorted({run.node for run in runs}):
        mine = sorted((run for run in runs if run.node == node), key=lambda run: run.begin)
        for earlier, later in zip(mine, mine[1:]):
            if earlier.last > later.begin:
                raise Broken(
                    "SingleOwner", f"{node} ran the service twice at once (processes {earlier.pid}, {later.pid})")


def check_never_stopped(runs: list[Run], since: float, until: float, stalls: Sequence[tuple[float, float]] = ()) -> str:
    """Nothing stops: one process runs all the time. A pause counts unless the whole machine stood still: `stalls`."""
    covering = [run for run in runs if run.begin <= since and run.last >= until]
    if not covering:
        lives = "; ".join(
            f"{run.node} process {run.pid} from {run.begin - since:+.3f} s to {run.last - since:+.3f} s"
            f"{' (ended)' if run.ended else ''}" for run in runs)
        raise Broken(
            "Adoption (rule L10)", "the service was stopped or restarted although nothing was wrong with it; "
            f"counted from the start it ran thus: {lives}")
    for before, after in zip(covering[0].pieces, covering[0].pieces[1:]):
        begin, end = before[1], after[0]
        excused = sum(max(0.0, min(end, to) - max(begin, start)) for start, to in stalls)
        if end > since and begin < until and end - begin - excused > GAP:
            raise Broken(
                "Adoption (rule L10)", f"{covering[0].node} process {covering[0].pid} lived on but stood still for "
                f"{end - begin:.3f} s from {begin - since:+.3f} s although nothing was wrong with it "
                f"(the whole machine for {excused:.3f} s of it)")
    return covering[0].node


def read_stalls(path: str, least: float = 0.1) -> list[tuple[float, float]]:
    """When the whole machine stood still: the gaps in the history of a process that nothing manages, as (from, to)."""
    with open(path) as file:
        beats = [float(line.split()[3]) for line in file.read().split("\n")[:-1]]
    return [(earlier, later) for earlier, later in zip(beats, beats[1:]) if later - earlier >= least]


def running_at(runs: list[Run], instant: float, tolerance: float = 0.1) -> list[str]:
    """Nodes that run the service at an instant."""
    return sorted({
        run.node for run in runs for begin, end in run.pieces if begin - tolerance <= instant <= end + tolerance})


def check_recovered(runs: list[Run], instant: float, within: float) -> float:
    """BoundedRecovery: a run that began after the fault, within the bound."""
    later = [run for run in runs if run.begin > instant]
    if not later:
        raise Broken("BoundedRecovery", f"the service did not run again (wanted within {within:g} s)")
    took = min(run.begin for run in later) - instant
    if took > within:
        raise Broken("BoundedRecovery", f"the service ran again after {took:.2f} s, wanted within {within:g} s")
    return took
