"""One node: namespaces with their own first process, mounts and cgroup, on a port of the switch."""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .leftovers import loop_devices_below
from .shell import PYTHON, CommandFailed, clock, identity, is_alive, run, send, wait_until

if TYPE_CHECKING:
    from .disk import Disk
    from .shell import Identity

if TYPE_CHECKING:
    from .lab import Lab
    from .shell import Result

HERE = os.path.dirname(os.path.abspath(__file__))

BOOT = r"""
set -e
echo 0 > "$LAB_CGROUP/system/cgroup.procs"
hostname "$LAB_HOST"
mount --make-rprivate /
# Mounts of the machine that stand on FUSE or loop devices are none of this node's business.
awk '$3 ~ /^fuse/ || $1 ~ /^\/dev\/loop/ { print $2 }' /proc/mounts | tac |
    while read -r place; do umount -l "$place"; done
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 tmp /dev/shm
mkdir -p /run/lock /run/user /run/sshd "$LAB_STATE" "$LAB_SRV"
mkdir -p /var/lib/holdfast /srv
mount --bind "$LAB_STATE" /var/lib/holdfast
mount --bind "$LAB_SRV" /srv
if [ -n "$LAB_DISK" ]; then
    e2fsck -p "$LAB_DISK" || [ $? -lt 4 ]
    mkdir -p "$LAB_DISK_PLACE"
    mount -t ext4 -o errors=remount-ro "$LAB_DISK" "$LAB_DISK_PLACE"
fi
exec "$LAB_PYTHON" "$LAB_REAPER"
"""


class Node:
    """A machine of the laboratory. `boot` and `power_off` may follow each other any number of times."""

    def __init__(self, lab: Lab, name: str, site: str, number: int, role: str = "member") -> None:
        self.lab, self.name, self.site, self.number, self.role = lab, name, site, number, role
        self.namespace = f"{lab.name}-{name}"
        self.address = f"{lab.subnet}.{number}"
        self.directory = os.path.join(lab.directory, name)
        self.cgroup = f"{lab.cgroup}/{name}"
        # All nodes share the kernel's loop devices, which are known by their file's path: it must name the node.
        self.run_directory = f"/run/{lab.name}-{name}"
        self.noted_devices: list[list[str]] = []
        self.disk: Disk | None = None  # a `Disk` for /var/lib/holdfast that can fail; without one it is a directory
        self.init: Identity | None = None  # its first process
        self.boot_id = ""
        self.plugged = False
        # Commands that run now; they stop with the node, and must go on for it to be collected.
        self.sessions: list[subprocess.Popen[str]] = []
        self.daemon_log = os.path.join(self.directory, "daemon.log")
        os.makedirs(self.directory, exist_ok=True)

    # Power

    def boot(self) -> None:
        """Powers the node on: fresh kernel state, a new boot id, the old disk."""
        lab = self.lab
        for part in ("", "/system"):
            os.makedirs(self.cgroup + part, exist_ok=True)
        lab.remember("namespaces", self.namespace)
        run(["ip", "netns", "del", self.namespace], check=False)
        run(["ip", "netns", "add", self.namespace])
        lab.network.plug_in_new(self.name, self.site, self.namespace, self.number)
        run(f"""set -e
            ip -n {self.namespace} link set lo up
            ip -n {self.namespace} link set eth0 up
            ip -n {self.namespace} addr add {self.address}/24 dev eth0""")
        self.plugged = True
        self.boot_id = str(uuid.uuid4())
        environment = dict(
            os.environ, LAB_CGROUP=self.cgroup, LAB_HOST=self.name, LAB_PYTHON=PYTHON,
            LAB_STATE=f"{self.directory}/state", LAB_SRV=f"{self.directory}/srv",
            LAB_REAPER=os.path.join(HERE, "reaper.py"), LAB_DISK=self.disk.device if self.disk else "",
            LAB_DISK_PLACE=self.disk.place if self.disk else "")
        with open(os.path.join(self.directory, "boot.log"), "ab") as log:
            outer = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "--mount", "--uts", "--ipc", "--pid",
                 "--fork", "--mount-proc", "bash", "-c", BOOT],
                env=environment, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.outer = outer
        pid = wait_until(lambda: self.first_process(outer), 10, f"{self.name} boots (see {self.directory}/boot.log)")
        self.init = identity(pid)
        lab.remember("processes", identity(outer.pid))
        lab.remember("processes", self.init)

    def first_process(self, outer: subprocess.Popen[bytes]) -> int | None:
        if outer.poll() is not None:
            raise RuntimeError(f"{self.name} did not boot: see {self.directory}/boot.log")
        try:
            with open(f"/proc/{outer.pid}/task/{outer.pid}/children") as file:
                children = file.read().split()
            if children:
                with open(f"/proc/{children[0]}/cmdline") as file:
                    if "reaper.py" in file.read():
                        return int(children[0])
        except OSError:
            pass
        return None

    @property
    def pid(self) -> int:
        """The number of its first process; it must be up."""
        if self.init is None:
            raise RuntimeError(f"{self.name} is powered off")
        return self.init[0]

    @property
    def is_up(self) -> bool:
        """Whether the node is powered on."""
        return self.init is not None and is_alive(self.init)

    def power_off(self) -> float:
        """Power is lost: every process dies and the port goes dead in the same instant. Returns that instant."""
        devices = self.block_devices()
        if self.lab.keep_files:
            self.keep_run_logs()
        cut = self.lab.network.pull_out_begin(self.name) if self.plugged else None
        instant = clock()
        send(self.init, signal.SIGKILL)
        self.resume_sessions()
        if self.disk:
            self.disk.answer()  # who waits for a hung disk cannot die
        if cut is not None:
            cut.wait()
        self.plugged = False
        self.outer.wait()
        self.init = None
        self.lab.detach(devices)
        self.noted_devices = []
        run(["ip", "netns", "del", self.namespace], check=False)
        return instant

    def keep_run_logs(self) -> None:
        """Copies logs out of /run, which does not survive the node."""
        source = f"/proc/{self.pid}/root{self.run_directory}"
        for folder, _, names in os.walk(source):
            for name in names:
                if name.endswith(".log"):
                    target = f"{os.path.relpath(folder, source)}/{name}".replace("/", "-")
                    shutil.copyfile(os.path.join(folder, name), os.path.join(self.directory, target))

    def path(self, inside: str) -> str:
        """A path of the node, seen from outside; it must be up."""
        return f"/proc/{self.pid}/root{inside}"

    @property
    def state(self) -> str:
        """The node's state directory, seen from outside."""
        return self.path("/var/lib/holdfast")

    # Commands

    def enter(self, moved: bool = True) -> list[str]:
        """The words that put a command inside the node (and its cgroup)."""
        if not self.is_up:
            raise RuntimeError(f"{self.name} is powered off")
        words = ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "--"]
        if moved:
            words += ["bash", "-c", f'echo 0 > "{self.cgroup}/system/cgroup.procs"; exec "$@"', "bash"]
        return words

    def environment(self) -> dict[str, str]:
        """What a process of the node finds in its environment."""
        kept = {key: os.environ[key] for key in ("LANG", "TERM", "SWIFT_BACKTRACE") if key in os.environ}
        return dict(
            kept, PATH=f"{self.lab.program_directory}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            HOME="/root",
            **self.variables())

    def variables(self) -> dict[str, str]:
        """What tells the product which machine it is on."""
        return {
            "HOLDFAST_BOOT_ID": self.boot_id, "HOLDFAST_CGROUP": f"{self.cgroup}/holdfast",
            "HOLDFAST_RUN": self.run_directory}

    def run(self, command: str | list[str], check: bool = True, timeout: float = 60) -> Result:
        """Runs a command on the node (a list, or a string for bash) and returns its result."""
        words = ["bash", "-c", command] if isinstance(command, str) else command
        process = subprocess.Popen(
            self.enter() + words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=self.environment())
        self.sessions.append(process)
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGCONT)
            process.kill()
            output, errors = process.communicate()
            errors += f"(killed after {timeout} s)"
        finally:
            self.sessions.remove(process)
        result = subprocess.CompletedProcess(words, process.returncode, output, errors)
        if check and result.returncode != 0:
            raise CommandFailed([f"{self.name}:"] + words, result)
        return result

    def spawn(self, words: Sequence[str], log: str, environment: Mapping[str, str] | None = None) -> None:
        """Starts a command on the node as a child of its first process; its output is appended to `log`."""
        with open(log, "ab") as file:
            subprocess.run(
                self.enter() + ["bash", "-c", 'setsid "$@" &', "bash", *words], check=True,
                env={**self.environment(), **(environment or {})}, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    # Processes

    def processes(self) -> dict[int, list[str]]:
        """All processes of the node as {pid: command words}, its first process included."""
        found: dict[int, list[str]] = {}
        try:
            mine = os.readlink(f"/proc/{self.pid}/ns/pid")
        except (OSError, RuntimeError):
            return found
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                if os.readlink(f"/proc/{entry}/ns/pid") != mine:
                    continue
                with open(f"/proc/{entry}/cmdline") as file:
                    found[int(entry)] = file.read().split("\0")[:-1]
            except OSError:
                continue
        return found

    def find(self, role: str) -> list[int]:
        """Processes by what they do: `daemon`, `guard`, `volume-server[:NAME]`,
        `volume-device[:NAME]`, `service`, `postgres`."""
        kind, _, detail = role.partition(":")
        found = []
        for pid, words in sorted(self.processes().items()):
            if not words:
                continue
            program = os.path.basename(words[0])
            if kind in ("daemon", "guard", "volume-server", "volume-device") and program == "holdfast":
                if kind in words[1:3] and (not detail or any(detail in word for word in words)):
                    found.append(pid)
            elif kind == "service" and program == "heartbeat" or kind == "postgres" and program == "postgres" and "-D" in words:
                found.append(pid)
        return found

    def replaced(self, *roles: str) -> list[str]:
        """Those of these roles that still run a file that another one has taken the place of."""
        return [role for role in roles if any(self.file(pid).endswith("(deleted)") for pid in self.find(role))]

    @staticmethod
    def file(pid: int) -> str:
        """The file that a process runs; nothing once it has ended."""
        try:
            return os.readlink(f"/proc/{pid}/exe")
        except OSError:
            return ""

    def signal(self, role: str, number: int) -> int:
        """Signals every process of a role and returns how many there were."""
        targets = self.find(role)
        for pid in targets:
            send(identity(pid), number)
        return len(targets)

    def pause(self) -> None:
        """SIGSTOP to every process of the node, as often as new ones appear."""
        stopped = set()
        while True:
            fresh = [pid for pid in self.processes() if pid not in stopped]
            if not fresh:
                return
            for pid in sorted(fresh):
                send(identity(pid), signal.SIGSTOP)
                stopped.add(pid)

    def resume(self) -> None:
        """SIGCONT to every process of the node, in no useful order: the guard may come last."""
        for pid in sorted(self.processes()):
            send(identity(pid), signal.SIGCONT)
        self.resume_sessions()

    def resume_sessions(self) -> None:
        for process in list(self.sessions):
            process.send_signal(signal.SIGCONT)

    def freeze(self, frozen: bool = True) -> None:
        """Stops the whole node in one step, as a paused virtual machine."""
        with open(f"{self.cgroup}/cgroup.freeze", "w") as file:
            file.write("1" if frozen else "0")

    # What the kernel holds for the node

    def block_devices(self) -> list[list[str]]:
        """Loop devices on files below this node's run directory, now or at an earlier look, as [name, directory]."""
        for device in loop_devices_below(self.run_directory + "/"):
            if device not in self.noted_devices:
                self.noted_devices.append(device)
                self.lab.remember("loops", device)
        return self.noted_devices

    def memory(self, role: str) -> float | None:
        """Resident memory of a role's first process in MiB."""
        for pid in self.find(role):
            with open(f"/proc/{pid}/status") as file:
                for line in file:
                    if line.startswith("VmRSS"):
                        return int(line.split()[1]) / 1024
        return None
