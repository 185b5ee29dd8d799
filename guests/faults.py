"""What the steps of a scenario do, and what is measured while they do."""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaos.lab.shell import clock
from chaos.words import Step, Word, anything, length, lengths, one_of, seconds

from .cluster import GROUP
from .lab.guest import Guest
from .lab.rig import MACHINES
from .machines import Machines

if TYPE_CHECKING:
    from .stage import Stage

DEMAND = 30  # seconds for what a `demand` wants
SHOWN = 400  # characters of what a command printed
PATTERNS = {
    "daemon": "holdfast daemon", "guard": "holdfast guard", "volume-server": "holdfast volume-server",
    "postgres": "^/usr/lib/postgresql/.*/postgres ", "pulse": "^/usr/local/bin/pulse ",
}


class Faults(Machines):
    """`perform` does a step and returns a sentence about it. `downs`, `resumed` and `unmet` are for the judge."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.rig, stage.cluster)
        self.stage = stage

    def perform(self, step: Step) -> str:
        """Does one step."""
        instant = clock()
        self.instants.append(instant)
        act = STEPS[step.name].act
        if not isinstance(act, Machine):
            return act(self, step)
        if step.words[0] == "all":
            return "; ".join(act.act(self, guest, step) for guest in self.rig.guests.values())
        guest = self.cluster.resolve(step.words[0], self.last)
        self.last = guest
        return f"{guest.name} {act.act(self, guest, step)}"

    def heal(self, _: object) -> str:
        self.rig.heal()
        return "all ports are in the switch"

    def end_clones(self, _: object) -> str:
        self.rig.end_clones()
        return "only the originals are left"

    def wait_for(self, step: Step) -> str:
        within = seconds(step.options.get("within", "90s")) * self.stage.patience
        if step.words[0] == "reset":
            return self.wait_for_reset(within)
        condition = self.cluster.is_whole if step.words[0] == "healthy" else self.cluster.runs
        began = clock()
        try:
            self.cluster.wait_status(condition, within, f"the cluster is {step.words[0]}")
        except TimeoutError as error:
            self.unmet.append(str(error))
            return f"in vain: {error}"
        return f"after {clock() - began:.1f} s"

    # Wires

    def isolate(self, guest: Guest, _: object) -> str:
        self.rig.isolate(guest)
        return "is cut off, and keeps its carrier"

    def unplug(self, guest: Guest, _: object) -> str:
        guest.set_cable(False)
        return "has no carrier any more"

    # Inside

    def ask(self, guest: Guest, command: str, within: float) -> tuple[int | None, str]:
        """How a command ended and what it printed; None when it did not end in time: that is an answer too."""
        try:
            said = guest.run(command, seconds=within, check=False)
            return said.returncode, said.stdout.strip()[-SHOWN:]
        except TimeoutError as error:
            return None, str(error)

    def systemctl(self, guest: Guest, step: Step) -> str:
        command = f"systemctl {step.name} {step.words[1]}"
        began = clock()
        status, said = self.ask(guest, command, 200)
        if status != 0:
            self.unmet.append(f"{guest.name}: {command} ended with {status} {said}")
        return f"{command}: {status} after {clock() - began:.1f} s {said}".strip()

    def kill_process(self, guest: Guest, step: Step) -> str:
        said = guest.run(f"pkill -KILL -f '{PATTERNS[step.words[1]]}'", check=False)
        if said.returncode != 0:
            raise RuntimeError(f"no {step.words[1]} runs on {guest.name}")
        return f"lost its {step.words[1]}"

    def move(self, guest: Guest, _: object) -> str:
        began = clock()
        self.cluster.command(f"group move {GROUP} --to {guest.name} --yes --wait", seconds=180)
        return f"has the group after {clock() - began:.1f} s"

    def shell(self, guest: Guest, step: Step) -> str:
        status, said = self.ask(guest, step.words[1], 60 * self.stage.patience)
        return f"ended with {status} {said}".strip()

    def demand(self, guest: Guest, step: Step) -> str:
        """A command that must end with 0, soon."""
        end = clock() + DEMAND * self.stage.patience
        while True:
            status, said = self.ask(guest, step.words[1], DEMAND * self.stage.patience)
            if status == 0:
                return "is as demanded"
            if clock() > end:
                self.unmet.append(f"{guest.name}: `{step.words[1]}` ends with {status} {said}")
                return f"is not as demanded: {said}"
            time.sleep(1)


@dataclass(frozen=True)
class Machine:
    """What a step does to one machine: the first of its words."""

    act: Callable[[Faults, Guest, Step], str]


machine = one_of(*(name for name, *_ in MACHINES), "owner", "standby", "leader", "witness", "clone", "it", "all")

# name: the words that follow, the options with how each is read, and the function that does it.
STEPS: dict[str, Word[Machine | Callable[[Faults, Step], str]]] = {
    "boot": Word((machine,), {"rtc": anything, "cable": one_of("in", "out")}, Machine(Faults.boot)),
    "kill": Word((machine,), {}, Machine(Faults.kill)),
    "reboot": Word((machine,), {}, Machine(Faults.reboot)),
    "poweroff": Word((machine,), {}, Machine(Faults.poweroff)),
    "reset": Word((machine,), {}, Machine(Faults.reset)),
    "quit": Word((machine,), {}, Machine(Faults.quit)),
    "pause": Word((machine, lengths), {}, Machine(Faults.pause)),
    "hang": Word((machine, lengths), {}, Machine(Faults.hang)),
    "save": Word((machine,), {}, Machine(Faults.save)),
    "revert": Word((machine,), {}, Machine(Faults.revert)),
    "revert-disk": Word((machine,), {}, Machine(Faults.revert_disk)),
    "clone": Word((machine,), {}, Machine(Faults.clone)),
    "end-clones": Word((), {}, Faults.end_clones),
    "isolate": Word((machine,), {}, Machine(Faults.isolate)),
    "unplug": Word((machine,), {}, Machine(Faults.unplug)),
    "heal": Word((), {}, Faults.heal),
    "restart": Word((machine, anything), {}, Machine(Faults.systemctl)),
    "stop": Word((machine, anything), {}, Machine(Faults.systemctl)),
    "start": Word((machine, anything), {}, Machine(Faults.systemctl)),
    "kill-process": Word((machine, one_of(*PATTERNS)), {}, Machine(Faults.kill_process)),
    "move": Word((machine,), {}, Machine(Faults.move)),
    "await": Word((one_of("healthy", "running", "reset"),), {"within": length}, Faults.wait_for),
    "shell": Word((machine, anything), {}, Machine(Faults.shell), has_rest=True),
    "demand": Word((machine, anything), {}, Machine(Faults.demand), has_rest=True),
}
