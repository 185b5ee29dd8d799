"""The whole rig: a network namespace with two bridges, three guests, and a state file for an interrupted run.

What an interrupted run left is removed by the next one, as in the laboratory of namespaces (`chaos/lab/leftovers.py`).
"""
from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from chaos.lab import leftovers
from chaos.lab.shell import PYTHON, identity, run

from .guest import Guest

if TYPE_CHECKING:
    from chaos.lab.leftovers import State

if TYPE_CHECKING:
    from chaos.lab.shell import Result, Say

# name, site, role, memory in MiB: the machines of README's first cluster
MACHINES = (("tok-1", "tokyo", "member", 900), ("osk-1", "osaka", "member", 900), ("wit-1", "nagoya", "witness", 450))
HOST = "10.0.0.254"  # this side, in the data network
MANAGEMENT = "10.99.0.254"  # and in the other, which no scenario touches
FLOATING = "10.0.0.100"


class Rig:
    """Network and guests, from `up` to `down`."""

    def __init__(self, purpose: str = "guests", keep_files: bool = False) -> None:
        if os.geteuid() != 0:
            raise SystemExit("the rig needs root: it makes a network namespace and taps")
        leftovers.clean(purpose)
        self.name = f"hg{secrets.token_hex(2)}"
        self.keep_files = keep_files
        self.namespace = self.name
        self.directory = os.path.join(leftovers.ROOT, f"{purpose}-{self.name}")
        # The guests need no cgroup; the name keeps to the form that `leftovers` knows.
        self.state: State = {
            "name": self.name, "purpose": purpose, "owner": identity(os.getpid()), "kept": False,
            "cgroup": f"/sys/fs/cgroup/holdfast-lab-{self.name}", "namespaces": [], "processes": [], "loops": []}
        os.makedirs(self.directory)
        self.save()
        self.guests = {
            name: Guest(self, name, site, number, role, mebibytes)
            for number, (name, site, role, mebibytes) in enumerate(MACHINES, 1)}
        self.clones: list[Guest] = []
        self.children: list[subprocess.Popen[bytes]] = []

    # Life

    def up(self) -> Rig:
        """Makes the network. Guests are started one by one."""
        self.remember("namespaces", self.namespace)
        run(["ip", "netns", "add", self.namespace])
        self.ip("link", "set", "lo", "up")
        for bridge, addresses in (("data", (f"{HOST}/24", "fd77::fe/64")), ("management", (f"{MANAGEMENT}/24",))):
            self.ip("link", "add", bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0")
            for address in addresses:
                self.ip("addr", "add", address, "dev", bridge, *(["nodad"] if ":" in address else []))
            self.ip("link", "set", bridge, "up")
            for guest in self.guests.values():
                self.add_port(guest, bridge)
        return self

    def down(self) -> None:
        """Ends everything that was started, and removes the network; the files too, unless they are wanted."""
        try:
            for process in self.children:
                if process.poll() is None:
                    process.kill()
                process.wait()
            for guest in [*self.guests.values(), *self.clones]:
                if guest.process is not None:
                    guest.cut_power()
        finally:
            leftovers.remove(self.directory, self.state, keep_files=self.keep_files)

    def remember(self, kind: str, what: object) -> None:
        """Notes something to be removed later, before or right after it is made."""
        if what not in self.state[kind]:
            self.state[kind].append(what)
            self.save()

    def save(self) -> None:
        leftovers.write(self.directory, self.state)

    # Network

    def ip(self, *words: str, check: bool = True) -> Result:
        """`ip` inside the rig's network."""
        return run(["ip", "-n", self.namespace, *words], check=check)

    def add_port(self, guest: Guest, bridge: str) -> None:
        """A port of a switch for a machine's card."""
        self.ip("tuntap", "add", guest.tap(bridge), "mode", "tap")
        self.ip("link", "set", guest.tap(bridge), "master", bridge, "up")

    def clone(self, guest: Guest) -> Guest:
        """A second machine with the disk, the cards and the name of one that goes on; it is still off."""
        copy = Guest(self, f"{guest.name}-{len(self.clones) + 1}", guest.site, guest.number, guest.role, guest.mebibytes,
                     called=guest.name)
        copy.cache, copy.more_words, copy.more_devices = guest.cache, guest.more_words, guest.more_devices
        guest.pause()  # and so everything that QEMU holds is in the file
        shutil.copyfile(guest.disk, copy.disk)
        guest.go_on()
        self.clones.append(copy)
        for bridge in ("data", "management"):
            self.add_port(copy, bridge)
        return copy

    def end_clones(self) -> None:
        """Cuts the power of every clone, and takes its ports away."""
        for copy in self.clones:
            if copy.process is not None:
                copy.cut_power()
                for bridge in ("data", "management"):
                    self.ip("link", "del", copy.tap(bridge))

    def isolate(self, guest: Guest) -> None:
        """The switch forwards nothing of this machine any more, which keeps its carrier."""
        self.ip("link", "set", guest.tap("data"), "nomaster")
        guest.plugged = False

    def heal(self) -> None:
        """Every port is in the switch, every cable plugged in."""
        for guest in self.guests.values():
            self.ip("link", "set", guest.tap("data"), "master", "data", "up")
            if guest.is_on and not guest.plugged:
                guest.set_cable(True)
            guest.plugged = True

    # Programs beside the guests

    def inside(self, words: Sequence[str]) -> list[str]:
        """The words that run a command in the rig's network."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *words]

    def run(self, words: Sequence[str], seconds: float = 60, check: bool = True) -> Result:
        """Runs a command in the rig's network."""
        return run(self.inside(words), timeout=seconds, check=check)

    def python(self, script: str, *words: object, log: str) -> subprocess.Popen[bytes]:
        """Starts a Python program in the rig's network; its output is appended to `log`."""
        with open(log, "ab") as file:
            process = subprocess.Popen(
                self.inside([PYTHON, script, *map(str, words)]), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True, env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
        self.remember("processes", identity(process.pid))
        self.children.append(process)
        return process


@contextlib.contextmanager
def opened(purpose: str, say: Say = print) -> Iterator[Rig]:
    """A rig that is there within a `with`, and gone after it; what it wrote stays only after a failure."""
    rig = Rig(purpose)
    try:
        yield rig.up()
    except BaseException:
        rig.keep_files = True
        say(f"  consoles, logs and disks: {rig.directory}")
        raise
    finally:
        rig.down()
