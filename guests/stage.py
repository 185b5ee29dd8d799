"""Three machines on which scenarios are played: steps are done one after the other, and then it is judged."""
from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from chaos.lab.shell import REPOSITORY, CommandFailed, clock, identity, send, wait_until
from chaos.workload import checkers

from .cluster import GROUP, Cluster
from .faults import Faults
from .forming import PORT, begin_from, form_on
from .judge import Judge
from .lab import places
from .lab.guest import Gone, MonitorFailed
from .lab.rig import FLOATING, MANAGEMENT

if TYPE_CHECKING:
    from chaos.lab.shell import Say

    from .forming import Facts
    from .lab.rig import Rig
    from .scenario import Scenario

WATCHDOGS = {"software": "softdog", "hardware": "i6300esb"}  # the kernel's modules for them
WHOLE = 180  # seconds after which a cluster without any fault must have become whole


class Stage:
    """Three machines with writer and heartbeat, for one scenario after the other."""

    def __init__(self, rig: Rig, scenario: Scenario, folder: str, facts: Facts, say: Say) -> None:
        self.rig, self.scenario, self.folder, self.facts, self.say = rig, scenario, folder, facts, say
        self.patience = facts["factor"]
        self.cluster = Cluster(rig, self.patience)
        self.history = os.path.join(rig.directory, "rows")
        self.pulses = os.path.join(rig.directory, "pulses")
        self.began = clock()
        self.is_sound = True  # no longer, when a scenario leaves a cluster that is not healthy, or rows that are lost
        self.gaps: list[tuple[str, float]] = []  # the gap between rows at each step of all scenarios: (text, seconds)
        self.marks: list[tuple[float, str]] = []  # what was done: (instant, text), from which the gaps of the steps are told

    @staticmethod
    def make(scenario: Scenario) -> tuple[bool, bool, str, str]:
        """What must agree for two scenarios to share machines; those of a fresh cluster come last."""
        return (scenario.fresh, scenario.nbd, scenario.watchdog, scenario.cache)

    def suits(self, scenario: Scenario) -> bool:
        """Whether these machines will do for another scenario."""
        return self.is_sound and not scenario.fresh and Stage.make(scenario) == Stage.make(self.scenario)

    def begin(self) -> None:
        """Machines, cluster, heartbeats, writer."""
        self.rig.python(os.path.join(places.HERE, "workload", "receiver.py"), MANAGEMENT, PORT, self.pulses,
                        log=os.path.join(self.rig.directory, "receiver.log"))
        if self.scenario.fresh:
            form_on(self.rig, self.say)
        else:
            self.start_formed()
        self.start_writer()

    def begin_again(self, scenario: Scenario) -> None:
        """Another scenario on these machines. An operator forgives what the group failed at in the one before."""
        self.scenario, self.marks, self.began = scenario, [], clock()
        self.cluster.command(f"group start {GROUP} --yes --wait", 120)
        self.cluster.wait_whole(WHOLE * self.patience)
        os.truncate(self.pulses, 0)
        count = len(checkers.acknowledged(checkers.read_rows(self.history)))
        wait_until(lambda: len(checkers.acknowledged(checkers.read_rows(self.history))) > count, 60 * self.patience,
                   "rows are accepted")

    def play(self, seed: int) -> tuple[list[str], list[str]]:
        """The steps, and what came of them; returns (what was seen, what is broken)."""
        judge = Judge(self)
        self.began = clock()
        owner = self.cluster.owner()
        self.note(f"{GROUP} runs on {owner}, its file system on {self.device(owner)}")
        faults = Faults(self)
        for turn in range(1, self.scenario.repeat + 1):
            self.do_steps(faults, seed if turn == 1 else f"{seed}/{turn}")
            if self.scenario.repeat > 1:
                self.note(f"turn {turn}: {judge.turn()}")
        time.sleep(max(0.0, self.began + self.scenario.length - clock()))
        self.settle()
        return judge.judge(owner, faults)

    def device(self, owner: str) -> str:
        """What carries the volume there; a scenario about another device would show nothing."""
        found = self.rig.guests[owner].run("findmnt -no SOURCE /srv/pg", seconds=60 * self.patience).stdout.strip()
        if found.startswith("/dev/nbd") != self.scenario.nbd:
            raise RuntimeError(f"the file system is on {found}, and the scenario says {'nbd' if self.scenario.nbd else 'no nbd'}")
        return found

    def start_formed(self) -> None:
        """Starts the machines from the disks of the formed cluster, and waits until everything runs."""
        begin_from(self.folder, self.rig)
        watchdog = self.scenario.watchdog
        modules = [*(["nbd"] if self.scenario.nbd else []), *([WATCHDOGS[watchdog]] if watchdog else [])]
        more = [f"modules_load={','.join(modules)}"] if modules else []
        if watchdog:
            more.append("systemd.setenv=HOLDFAST_WATCHDOG=/dev/watchdog")
        if watchdog == "hardware":
            more.append("panic=0")  # nothing but the card resets a kernel that has died
        for guest in self.rig.guests.values():
            guest.cache, guest.more_words = self.scenario.cache, " ".join(more)
            if watchdog == "hardware":
                guest.more_devices = ["-device", "i6300esb", "-action", "watchdog=reset"]
            guest.start()
            # One after the other: three that boot at once on few processors are in each other's way for minutes.
            guest.wait_up(300)
        self.cluster.wait_status(self.cluster.all_up, WHOLE * self.patience, "all nodes are up")
        # A machine that has just booted may lose its leader once more: what counts is that the start was taken.
        wait_until(lambda: self.cluster.command(f"group start {GROUP} --yes --wait", 120, check=False).returncode == 0,
                   WHOLE * self.patience, f"`group start {GROUP}` is taken", step=1)
        took = self.cluster.wait_whole(WHOLE * self.patience)
        self.say(f"  the machines are up and the cluster is whole after {clock() - self.began:.1f} s ({took:.1f} s of it "
                 f"after `group start`)")

    def start_writer(self) -> None:
        """Rows from this side of the network; as patient as the machines are slow."""
        self.writer = self.rig.python(
            os.path.join(REPOSITORY, "chaos", "workload", "writer.py"), FLOATING, self.history, "--pause", 0.01,
            "--connect", 0.25 * self.patience, "--answer", 3 * self.patience,
            log=os.path.join(self.rig.directory, "writer.log"))
        wait_until(lambda: len(checkers.acknowledged(checkers.read_rows(self.history))) > 20, 60 * self.patience,
                   "the first rows are accepted")

    def note(self, text: str) -> None:
        """A line of the scenario's story."""
        self.say(f"  {clock() - self.began:6.1f} s  {text}")

    def do_steps(self, faults: Faults, seed: int | str) -> None:
        turn = ended = clock()
        for wait, step in self.scenario.schedule(seed):
            time.sleep(max(0.0, (ended if step.relative else turn) + wait - clock()))
            began = clock()
            self.marks.append((began, str(step)))
            try:
                seen = faults.perform(step)
            except (TimeoutError, RuntimeError, CommandFailed, Gone, MonitorFailed) as error:
                # What follows tells more about it; the scenario has failed all the same.
                seen = f"went wrong: {error}"
                faults.unmet.append(f"{step}: {error}")
            ended = clock()
            self.note(f"{step}: {seen} ({ended - began:.1f} s)")

    def settle(self) -> None:
        """Ends every fault. What the cluster itself must do then, it does without a command."""
        for guest in self.rig.guests.values():
            if guest.is_on:
                guest.hang(False)
                guest.go_on()
        self.cluster.silent.clear()
        self.rig.end_clones()
        self.rig.heal()
        for guest in self.rig.guests.values():
            if not guest.is_on:
                guest.collect()
                guest.start()
                guest.wait_up(300)
                self.note(f"{guest.name} is switched on again")

    def hold_writer(self, still: bool) -> None:
        """Lets the writer stand still while its rows are counted."""
        send(identity(self.writer.pid), signal.SIGSTOP if still else signal.SIGCONT)
