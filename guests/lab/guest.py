"""One guest: a QEMU process with its disk, console, monitor, and the way into it."""
from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

from chaos.lab.shell import clock, identity, is_alive, is_zombie, run, send, wait_until

from . import accelerator, places
from .channel import Channel, Gone
from .monitor import Monitor, MonitorFailed

if TYPE_CHECKING:
    from chaos.lab.shell import Identity

if TYPE_CHECKING:
    from chaos.lab.shell import Result

    from .rig import Rig

CACHES = ("writeback", "writethrough", "none", "unsafe")


class Guest:
    """A machine of the rig. `start` and a power cut may follow each other any number of times; only the disk stays."""

    def __init__(self, rig: Rig, name: str, site: str, number: int, role: str, mebibytes: int, called: str | None = None) -> None:
        self.rig, self.name, self.site, self.number, self.role = rig, name, site, number, role
        self.called = called or name  # a clone takes itself for its original
        self.mebibytes = mebibytes
        self.address = f"10.0.0.{number}"
        self.disk = os.path.join(rig.directory, f"{name}.qcow2")
        self.console = os.path.join(rig.directory, f"{name}.console")
        self.cache, self.more_words = "writeback", ""  # the disk's cache mode; more for the kernel's command line
        self.more_devices: list[str] = []  # more words for QEMU
        self.terminal_path = os.path.join(rig.directory, f"{name}.hvc")
        self.process: subprocess.Popen[bytes] | None = None
        self.who: Identity | None = None
        self.control: Monitor | None = None  # of the last start; see `monitor`
        self.shell: Channel | None = None  # of the last start; see `channel`
        self.plugged = True

    # Power

    def start(self, rtc: str | None = None) -> Guest:
        """Switches the machine on, its hardware clock at `rtc` (2050-01-01); it is not up before `wait_up`."""
        sockets = {kind: os.path.join(self.rig.directory, f"{self.name}.{kind}") for kind in ("qmp", "shell", "hvc")}
        for path in sockets.values():
            if os.path.exists(path):
                os.unlink(path)
        if not os.path.exists(self.disk):
            make_overlay(places.built("base.ext4"), "raw", self.disk)
        log = open(os.path.join(self.rig.directory, f"{self.name}.qemu"), "ab")
        process = self.process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.rig.namespace}", *self.words(sockets),
             *(["-rtc", f"base={rtc}T00:00:00"] if rtc else [])], stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True)
        log.close()
        self.who = identity(process.pid)
        self.rig.remember("processes", self.who)
        self.started = clock()
        wait_until(lambda: all(os.path.exists(path) for path in sockets.values()) or process.poll() is not None,
                   20, f"QEMU of {self.name} starts")
        if process.poll() is not None:
            with open(log.name) as file:
                raise RuntimeError(f"QEMU of {self.name} ended: {file.read()[-1000:]}")
        self.shell = Channel(sockets["shell"], self.name)
        self.control = Monitor(sockets["qmp"])
        return self

    @property
    def monitor(self) -> Monitor:
        """QEMU's control socket; the machine must have been started."""
        if self.control is None:
            raise MonitorFailed(f"{self.name} was never switched on")
        return self.control

    @property
    def channel(self) -> Channel:
        """The way into it; the machine must have been started."""
        if self.shell is None:
            raise Gone(f"{self.name} was never switched on")
        return self.shell

    def words(self, sockets: dict[str, str]) -> list[str]:
        """QEMU's command line: no device that the guest does not need, for each one costs time in emulation."""
        card = "52:54:00:48:{}:{:02x}"
        kernel = (f"console=ttyS0,115200 quiet loglevel=4 panic=5 guest={self.number} "
                  f"guest-name={self.called} systemd.show_status=1 mitigations=off {self.more_words}").strip()
        words = ["qemu-system-x86_64", "-name", f"{self.rig.name}-{self.name}", "-machine", "pc", "-smp", "1",
                 *accelerator.words(), "-m", str(self.mebibytes), "-nodefaults", "-no-user-config", "-display", "none",
                 "-kernel", places.built("vmlinuz"), "-initrd", places.built("initrd.gz"), "-append", kernel,
                 "-drive", f"file={self.disk},if=virtio,cache={self.cache},discard=unmap",
                 "-object", "rng-random,filename=/dev/urandom,id=chance", "-device", "virtio-rng-pci,rng=chance",
                 "-device", "vmgenid,guid=auto"]
        for kind, letters in (("data", "46"), ("management", "4d")):
            words += ["-netdev", f"tap,id={kind},ifname={self.tap(kind)},script=no,downscript=no",
                      "-device", f"virtio-net-pci,netdev={kind},romfile=,mac={card.format(letters, self.number)}"]
        words += ["-device", "virtio-serial-pci", *self.more_devices]
        for kind, device in (("shell", "virtserialport,name=holdfast.shell"), ("hvc", "virtconsole")):
            words += ["-chardev", f"socket,id={kind},path={sockets[kind]},server=on,wait=off",
                      "-device", f"{device},chardev={kind}"]
        return words + ["-chardev", f"file,id=log,path={self.console},append=on", "-serial", "chardev:log",
                        "-qmp", f"unix:{sockets['qmp']},server=on,wait=off"]

    def tap(self, kind: str) -> str:
        """The name of the machine's port in the rig's network."""
        return f"{kind[0]}-{self.name}"

    @property
    def is_on(self) -> bool:
        """Whether its QEMU runs."""
        return self.who is not None and is_alive(self.who) and not is_zombie(self.who[0])

    def cut_power(self) -> float:
        """QEMU gets SIGKILL: what the guest had not flushed to its disk may be gone. Returns the instant."""
        instant = clock()
        send(self.who, signal.SIGKILL)
        self.collect()
        return instant

    def collect(self) -> None:
        """Forgets a QEMU that ended."""
        if self.process is not None:
            self.process.wait()
        if self.shell is not None:
            self.shell.close()
        if self.control is not None:
            self.control.close()
        self.process = self.who = self.shell = self.control = None

    def wait_off(self, seconds: float, since: float = 0.0) -> float:
        """Waits until the machine has switched itself off, and returns the instant, or how long after another one it was."""
        wait_until(lambda: not self.is_on, seconds, f"{self.name} switches itself off", step=0.05)
        instant = clock()
        self.collect()
        return instant - since

    def wait_up(self, seconds: float, since: float | None = None) -> float:
        """Waits until the guest's shell has said hello after an instant (of this start), and returns when."""
        since = self.started if since is None else since
        channel = self.channel

        def hello() -> float | None:
            if not self.is_on:
                raise RuntimeError(f"{self.name} went off while it booted; see {self.console}")
            return next((at for at, _ in channel.hellos if at >= since), None)
        return wait_until(hello, seconds, f"{self.name} boots (see {self.console})", step=0.05)

    # Inside

    def run(self, script: str, seconds: float = 60, check: bool = True) -> Result:
        """Runs a bash script as root in the guest."""
        if not self.is_on:
            raise Gone(f"{self.name} is off")
        return self.channel.run(script, seconds, check)

    def boot_id(self) -> str | None:
        """The boot id of the guest's present life."""
        return self.channel.hellos[-1][1] if self.channel.hellos else None

    # What only a hypervisor can do

    def pause(self) -> float:
        """The virtual processor and all clocks of the guest stand still. Returns the instant."""
        instant = clock()
        self.monitor.command("stop")
        return instant

    def go_on(self) -> float:
        """The end of a pause, of which the guest's clocks know nothing."""
        self.monitor.command("cont")
        return clock()

    def hang(self, hanging: bool = True) -> float:
        """The whole QEMU stands still, as under a host that has no time for it: the guest's clocks count that."""
        send(self.who, signal.SIGSTOP if hanging else signal.SIGCONT)
        return clock()

    def reset(self) -> float:
        """The reset button."""
        self.monitor.command("system_reset")
        return clock()

    def quit(self) -> float:
        """QEMU is told to end."""
        instant = clock()
        self.monitor.command("quit")
        return instant

    def save(self, name: str = "saved") -> float:
        """A snapshot of disk and memory."""
        self.monitor.human(f"savevm {name}")
        return clock()

    def revert(self, name: str = "saved") -> float:
        """Disk and memory are again what they were."""
        self.monitor.human(f"loadvm {name}")
        return clock()

    def revert_disk(self, name: str = "saved") -> None:
        """The disk alone is again what it was; the machine is off."""
        run(["qemu-img", "snapshot", "-q", "-a", name, self.disk])

    def set_cable(self, plugged: bool) -> float:
        """The cable of the data network; pulled, the guest's card has no carrier. Returns the instant."""
        self.monitor.command("set_link", name="data", up=plugged)
        self.plugged = plugged
        return clock()

    # What was seen from outside

    def console_text(self, since: int = 0) -> str:
        """The console from a position (see `console_size`) on."""
        try:
            with open(self.console, "rb") as file:
                file.seek(since)
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", text)

    def console_size(self) -> int:
        """How long the console's log is now."""
        return os.path.getsize(self.console) if os.path.exists(self.console) else 0


def make_overlay(base: str, form: str, target: str) -> None:
    """An empty disk over another one, which is only read."""
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", form, "-b", base, target])


__all__ = ["Guest", "Gone", "MonitorFailed", "make_overlay"]
