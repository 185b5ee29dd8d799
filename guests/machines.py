"""Steps that are done to whole machines: their power, their time, their disks."""
from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from chaos.lab.shell import clock, wait_until
from chaos.words import seconds

from .lab.channel import Gone

if TYPE_CHECKING:
    from .cluster import Cluster
    from .lab.rig import Rig

if TYPE_CHECKING:
    from chaos.words import Step

    from .lab.guest import Guest

BOOT = 300  # seconds in which a machine must be up again, whatever shut down before
DOWN = 400  # and in which it must have gone down: three times systemd's 90 s, and more


class Machines:
    """The part of `Faults` that a hypervisor, or who stands before the machine, can do."""

    def __init__(self, rig: Rig, cluster: Cluster) -> None:
        self.rig, self.cluster = rig, cluster
        self.last: Guest | None = None  # the machine of the step before
        self.resumed: list[tuple[str, float]] = []  # (guest's name, when the hypervisor let it go on after a pause)
        self.downs: list[tuple[str, float]] = []  # (guest's name, seconds from the command until the machine was down)
        self.unmet: list[str] = []  # demands that were not met, as sentences
        self.instants: list[float] = []  # when each step began

    # Power

    def boot(self, guest: Guest, step: Step) -> str:
        if guest.is_on:
            return "is on"
        guest.collect()
        guest.start(rtc=step.options.get("rtc"))
        if step.options.get("cable") == "out":
            guest.set_cable(False)
        guest.wait_up(BOOT)
        return "is up"

    def quit(self, guest: Guest, _: object) -> str:
        """QEMU ends as somebody tells it to: it writes out what it holds, and the guest knows nothing."""
        return f"was off after {guest.wait_off(20, since=guest.quit()):.1f} s"

    def kill(self, guest: Guest, _: object) -> str:
        guest.cut_power()
        return "lost its power"

    def reboot(self, guest: Guest, _: object) -> str:
        """From the command to the reset, which QEMU tells, and on to the next life."""
        before, began = guest.boot_id(), clock()
        self.tell(guest, "systemctl reboot")
        reset = wait_until(lambda: guest.monitor.instant_of("RESET", began) or (not guest.is_on and clock()),
                           DOWN, f"{guest.name} goes down", step=0.05)
        self.downs.append((guest.name, reset - began))
        up = guest.wait_up(BOOT, since=reset)
        if guest.boot_id() == before:
            raise RuntimeError(f"{guest.name} still has the boot id {before}")
        return f"was down after {reset - began:.1f} s and up after {up - began:.1f} s"

    def poweroff(self, guest: Guest, _: object) -> str:
        began = clock()
        self.tell(guest, "systemctl poweroff")
        off = guest.wait_off(DOWN)
        self.downs.append((guest.name, off - began))
        return f"was off after {off - began:.1f} s"

    @staticmethod
    def tell(guest: Guest, command: str) -> None:
        """Runs what may take the shell away before it answers."""
        try:
            guest.run(command, seconds=30)
        except Gone:
            pass

    def reset(self, guest: Guest, _: object) -> str:
        began = guest.reset()
        return f"up after {guest.wait_up(BOOT, since=began) - began:.1f} s"

    def wait_for_reset(self, within: float) -> str:
        """Something in the machine of the step before resets it: a watchdog, or its kernel."""
        guest, since = self.last, self.instants[-2]
        if guest is None:
            raise RuntimeError("`await reset` wants a step before it that names the machine")
        try:
            reset = wait_until(lambda: guest.monitor.instant_of("RESET", since), max(0.1, since + within - clock()),
                               f"{guest.name} is reset", step=0.02)
        except TimeoutError as error:
            self.unmet.append(str(error))
            return f"in vain: {error}"
        up = guest.wait_up(BOOT, since=reset)
        return f"{guest.name} was reset after {reset - since:.2f} s and up after {up - since:.1f} s"

    # Time

    def pause(self, guest: Guest, step: Step) -> str:
        said = self.stand_still(guest, step, guest.pause, guest.go_on)
        self.resumed.append((guest.name, clock()))
        return said

    def hang(self, guest: Guest, step: Step) -> str:
        return self.stand_still(guest, step, guest.hang, lambda: guest.hang(False))

    def stand_still(self, guest: Guest, step: Step, begin: Callable[[], float], end: Callable[[], float]) -> str:
        length = seconds(step.words[1])
        self.cluster.silent.add(guest.name)
        began = begin()
        time.sleep(max(0.0, began + length - clock()))
        ended = end()
        self.cluster.silent.discard(guest.name)
        return f"stood still for {ended - began:.2f} s"

    def save(self, guest: Guest, _: object) -> str:
        guest.save()
        return "is saved with its memory"

    def revert(self, guest: Guest, _: object) -> str:
        guest.revert()
        return "is what it was when it was saved"

    def revert_disk(self, guest: Guest, _: object) -> str:
        """Without its memory: the machine boots from the disk of that moment, as after a loss of power then."""
        guest.cut_power()
        guest.revert_disk()
        guest.start()
        guest.wait_up(BOOT)
        return "is up, on the disk that was saved"

    def clone(self, guest: Guest, _: object) -> str:
        copy = self.rig.clone(guest)
        copy.start()
        copy.wait_up(BOOT)
        return "has a twin beside it"
