"""What is looked at after a scenario: rows, owners, consoles, how long machines took to go down, the status."""
from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from chaos.lab.shell import clock
from chaos.words import seconds
from chaos.workload import checkers
from chaos.workload.database import found_rows

from .lab.rig import FLOATING

if TYPE_CHECKING:
    from .faults import Faults
    from .stage import Stage

HEALTHY = 60  # seconds in which a cluster becomes whole after the last fault, unless the scenario says otherwise
ALLOWED = 0.060  # two periods of the heartbeat and some: a datagram may wait so long in a queue of a guest that stood still
LOOK = 0.25  # what docs/guarantees.md leaves to a machine that was resumed, before its guard looked at the clocks
BEATS = 0.25  # two beats of one process no further apart say that it ran in between
COMPLAINTS = (  # what a console of a sound shutdown never shows
    "Waiting for process", "I/O error", "watchdog did not stop", "Aborting journal", "softdog: Initiating",
    "Failed unmounting", "timed out", "blocked for more than", "throttling activated", "Remounting filesystem read-only",
)
SHOWN = 160  # characters of a console's line


class Judge:
    """Made before the first step; `judge` returns what was seen and what is broken."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.rig, self.cluster, self.scenario = stage, stage.rig, stage.cluster, stage.scenario
        self.client_namespace = self.rig.namespace  # `database.ask` wants a laboratory: this is what it looks at
        self.sizes = {guest.name: guest.console_size() for guest in self.rig.guests.values()}
        self.seen: list[str] = []
        self.broken: list[str] = []
        self.turns: list[bool] = []  # of a scenario that is repeated: whether each turn was good
        # A slow machine beats more slowly too. A lease lasts seven times as long, so a takeover never fits in between.
        checkers.GAP = BEATS * stage.patience

    def judge(self, owner_before: str, faults: Faults) -> tuple[list[str], list[str]]:
        """Looks at everything; an expectation that does not hold is one sentence."""
        wanted = dict(self.scenario.expectations)
        if self.turns:
            self.say(f"{sum(self.turns)} of {len(self.turns)} turns were good", not all(self.turns))
        within = seconds(wanted.get("healthy", {}).get("within", f"{HEALTHY}s"))
        # What a step waited for in vain was waited for long enough.
        self.healthy(5.0 if any("await healthy" in text for text in faults.unmet) else within)
        self.served("nothing-lost" in wanted)
        ended = clock()
        self.rows("nothing-lost" in wanted)
        self.gaps(wanted.get("gap"), ended)
        self.owners("single-owner" in wanted, "undisturbed" in wanted, ended, faults.resumed)
        self.consoles("quiet-consoles" in wanted)
        self.downs(faults, wanted.get("down"))
        self.place(owner_before, wanted)
        self.broken += faults.unmet
        return self.seen, self.broken

    def turn(self) -> str:
        """After each turn of a scenario that is repeated: what was good or bad about it."""
        try:
            took = self.cluster.wait_whole(HEALTHY * self.stage.patience)
            acked, _ = self.count_rows()
            self.turns.append(True)
            return f"good: healthy after {took:.1f} s, {acked} rows acknowledged, none missing"
        except (checkers.Broken, TimeoutError) as error:
            self.turns.append(False)
            return f"BAD: {error}"

    def say(self, text: str, is_broken: bool = False) -> None:
        self.seen.append(text)
        if is_broken:
            self.broken.append(text)

    def healthy(self, within: float) -> None:
        try:
            took = self.cluster.wait_whole(within * self.stage.patience)
            self.say(f"healthy {took:.1f} s after the last fault ended")
        except TimeoutError as error:
            self.stage.is_sound = False
            self.say(f"not healthy: {error}", True)

    def served(self, wanted: bool) -> None:
        """Waits for a row that is tried after all steps, so that a gap which it opened has an end and is counted."""
        now = clock()
        while checkers.first_acknowledged_after(checkers.read_rows(self.stage.history), now) is None:
            if clock() > now + HEALTHY * self.stage.patience:
                self.say("no row was acknowledged after the last step", wanted)
                return
            time.sleep(0.2)

    def count_rows(self) -> tuple[int, int]:
        """(acknowledged, found) while the writer stands still; raises when one is missing."""
        self.stage.hold_writer(True)
        try:
            return checkers.check_rows(checkers.read_rows(self.stage.history), found_rows(self, FLOATING))
        finally:
            self.stage.hold_writer(False)

    def rows(self, wanted: bool) -> None:
        try:
            acked, there = self.count_rows()
            self.say(f"rows: {acked} acknowledged, {there} found, none missing")
        except (checkers.Broken, TimeoutError) as error:
            self.stage.is_sound = False
            self.say(f"rows: {error}", wanted)

    def gaps(self, wanted: Mapping[str, str] | None, ended: float) -> None:
        """The longest time without a row, of the whole scenario and of each step until the next."""
        entries = checkers.read_rows(self.stage.history)
        length, since, _ = checkers.longest_gap(entries, self.stage.began - 0.5, ended)
        within = seconds(wanted["within"]) * self.stage.patience if wanted and "within" in wanted else float("inf")
        self.say(f"longest gap between rows: {length:.1f} s, from {since - self.stage.began:.1f} s on"
                 + (f" (at most {within:g} s were wanted)" if length > within else ""), length > within)
        parts = self.gaps_of_steps(sorted(time for time in checkers.acknowledged(entries).values() if time <= ended))
        moves = max((part for part, text in parts if text.startswith("move ")), default=0.0)
        most = float(wanted["moves"]) * moves if wanted and "moves" in wanted else float("inf")
        self.stage.gaps += [(text, part) for part, text in parts]
        for part, text in parts:
            late = part > most and not text.startswith("move ")
            if late or part >= 1.0:
                self.say(f"  {part:.1f} s at `{text}`" + (f" (a move: {moves:.1f} s)" if late else ""), late)

    def gaps_of_steps(self, times: list[float]) -> list[tuple[float, str]]:
        """For each step the longest gap that began in it; it may end in a later one."""
        marks = self.stage.marks + [(float("inf"), "")]
        return [
            (max((later - earlier for earlier, later in zip(times, times[1:])
                  if instant - 0.5 <= earlier < following - 0.5), default=0.0), text)
            for (instant, text), (following, _) in zip(marks, marks[1:])]

    def owners(self, wanted: bool, undisturbed: bool, ended: float, resumed: Sequence[tuple[str, float]] = ()) -> None:
        """SingleOwner, by the heartbeats and the rig's clock. Who was paused and `resumed` may run for one look."""
        runs = checkers.read_runs(self.stage.pulses)
        if not runs:
            self.say("owners: no heartbeat was ever heard, so nothing can be said", wanted)
            return
        overlaps = [found for found in checkers.overlaps(runs) if found[0] >= ALLOWED]
        for length, first, second, since in overlaps:
            is_look = length <= LOOK and any(
                node in (first.node, second.node) and abs(since - at) <= LOOK for node, at in resumed)
            self.say(f"owners: {first.node} and {second.node} both ran for {length:.2f} s, from "
                     f"{since - self.stage.began:.2f} s on{', before the first look at the clocks' if is_look else ''}",
                     wanted and not is_look)
        try:
            checkers.check_one_process(runs)  # a clone has the node's name
        except checkers.Broken as error:
            self.say(f"owners: {error}", wanted)
        if not overlaps:
            lives = [f"{run.node} from {run.begin - self.stage.began:.1f} to {run.last - self.stage.began:.1f} s"
                     for run in runs if run.last > self.stage.began]
            self.say(f"owners: one at a time ({'; '.join(lives)})")
        if undisturbed:
            try:
                checkers.check_never_stopped(runs, self.stage.began, ended - self.stage.patience, [(0, float("inf"))])
            except checkers.Broken as error:
                self.say(str(error), True)

    def consoles(self, wanted: bool) -> None:
        """Complaints on the consoles, each kind once with how often."""
        for guest in self.rig.guests.values():
            found: dict[str, list[str]] = {}
            for line in guest.console_text(self.sizes[guest.name]).split("\n"):
                for complaint in COMPLAINTS:
                    if complaint in line:
                        found.setdefault(complaint, []).append(re.sub(r"^\[[ 0-9.]+\] *", "", line.strip())[:SHOWN])
            for lines in found.values():
                self.say(f"console of {guest.name}, {len(lines)} times: {lines[0]}", wanted)

    def downs(self, faults: Faults, wanted: Mapping[str, str] | None) -> None:
        """From the command to the moment in which the machine was down. Not lengthened on slow machines: systemd's
        90 s are not longer there either."""
        for name, took in faults.downs:
            late = took > seconds(wanted["within"]) if wanted is not None else False
            self.say(f"{name} was down {took:.1f} s after the command"
                     + (f" ({wanted['within']} were wanted)" if wanted is not None and late else ""), late)

    def place(self, before: str, wanted: Mapping[str, Mapping[str, str]]) -> None:
        try:
            owner = self.cluster.owner(5)
        except TimeoutError:
            self.say("the group has no owner", "moved" in wanted or "stayed" in wanted)
            return
        wrong = ("moved" in wanted and owner == before) or ("stayed" in wanted and owner != before)
        self.say(f"the group was on {before} and is on {owner}", wrong)
