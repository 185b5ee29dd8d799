"""What the steps of a scenario do, and what is measured while they do."""
import time

from chaos.lab.shell import clock, wait_until
from chaos.scenario import seconds

from .cluster import GROUP
from .machines import BOOT, Machines

DEMAND = 30  # seconds for what a `demand` wants
SHOWN = 400  # characters of what a command printed
PATTERNS = {
    "daemon": "holdfast daemon", "guard": "holdfast guard", "volume-server": "holdfast volume-server",
    "postgres": "^/usr/lib/postgresql/.*/postgres ", "pulse": "^/usr/local/bin/pulse ",
}


class Faults(Machines):
    """`perform` does a step and returns a sentence about it. `downs`, `resumed` and `unmet` are for the judge."""

    def __init__(self, stage):
        self.stage, self.rig, self.cluster = stage, stage.rig, stage.cluster
        self.last = None
        self.resumed = []  # (guest's name, when the hypervisor let it go on after a pause)
        self.downs = []  # (guest's name, seconds from the command until the machine was down)
        self.unmet = []  # demands that were not met, as sentences
        self.instants = []

    def perform(self, step):
        """Does one step."""
        instant = clock()
        self.instants.append(instant)
        if step.name == "heal":
            self.rig.heal()
            return "all ports are in the switch"
        if step.name == "end-clones":
            self.rig.end_clones()
            return "only the originals are left"
        if step.name == "await":
            return self.wait_for(step)
        if step.words[0] == "all":
            return "; ".join(self.act(step, guest) for guest in self.rig.guests.values())
        guest = self.cluster.resolve(step.words[0], self.last)
        self.last = guest
        return f"{guest.name} {self.act(step, guest)}"

    def act(self, step, guest):
        """Does a step to one machine."""
        actions = {
            "boot": self.boot, "kill": self.kill, "reboot": self.reboot, "poweroff": self.poweroff, "reset": self.reset,
            "quit": self.quit, "revert-disk": self.revert_disk, "clone": self.clone, "pause": self.pause, "hang": self.hang,
            "save": self.save, "revert": self.revert, "isolate": self.isolate, "unplug": self.unplug,
            "restart": self.systemctl, "stop": self.systemctl, "start": self.systemctl, "kill-process": self.kill_process,
            "move": self.move, "shell": self.shell, "demand": self.demand}
        return actions[step.name](guest, step)

    def wait_for(self, step):
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

    def isolate(self, guest, _):
        self.rig.isolate(guest)
        return "is cut off, and keeps its carrier"

    def unplug(self, guest, _):
        guest.set_cable(False)
        return "has no carrier any more"

    # Inside

    def ask(self, guest, command, within):
        """How a command ended and what it printed; None when it did not end in time: that is an answer too."""
        try:
            said = guest.run(command, seconds=within, check=False)
            return said.returncode, said.stdout.strip()[-SHOWN:]
        except TimeoutError as error:
            return None, str(error)

    def systemctl(self, guest, step):
        command = f"systemctl {step.name} {step.words[1]}"
        began = clock()
        status, said = self.ask(guest, command, 200)
        if status != 0:
            self.unmet.append(f"{guest.name}: {command} ended with {status} {said}")
        return f"{command}: {status} after {clock() - began:.1f} s {said}".strip()

    def kill_process(self, guest, step):
        said = guest.run(f"pkill -KILL -f '{PATTERNS[step.words[1]]}'", check=False)
        if said.returncode != 0:
            raise RuntimeError(f"no {step.words[1]} runs on {guest.name}")
        return f"lost its {step.words[1]}"

    def move(self, guest, _):
        began = clock()
        self.cluster.command(f"group move {GROUP} --to {guest.name} --yes --wait", seconds=180)
        return f"has the group after {clock() - began:.1f} s"

    def shell(self, guest, step):
        status, said = self.ask(guest, step.words[1], 60 * self.stage.patience)
        return f"ended with {status} {said}".strip()

    def demand(self, guest, step):
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
