"""A disk of one node that can be full, fail, hang or be slow: ext4 on a loop device on memory that nbdkit serves through FUSE.

In memory, so that three nodes do not wait for each other's syncs on the one disk of this machine. The kernel's own error
paths are met, as with a real disk: nbdkit's error filter answers EIO while a file exists, and a stopped server is a disk
that never answers. (A device mapper would do the same, where there is one.)
"""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from . import leftovers
from .shell import identity, is_alive, run, send, wait_until

if TYPE_CHECKING:
    from .shell import Identity

if TYPE_CHECKING:
    from .lab import Lab

FILE = leftovers.DISK_FILE


class Disk:
    """Mounted at `place` of its node, and survives the node's reboots.

    The server lives in a mount namespace of its own, so nothing else sees its mount.
    """

    moment = 0.003  # in which a slow one answers

    def __init__(self, lab: Lab, name: str, size: int, place: str = "/var/lib/holdfast") -> None:
        for program in ("nbdkit", "nbdfuse", "mkfs.ext4"):
            if shutil.which(program) is None:
                raise SystemExit(
                    f"{program} is missing; disks that fail need it: apt-get install nbdkit libnbd-bin e2fsprogs")
        self.lab, self.name, self.place = lab, name, place
        self.directory = os.path.join(lab.directory, f"{name}-disk")
        self.size = size
        self.trigger = os.path.join(self.directory, "fails")
        os.makedirs(os.path.join(self.directory, "mount"))
        self.process: subprocess.Popen[bytes] | None = None
        self.server: Identity | None = None
        self.device = ""  # the loop device, once it is attached
        self.is_hung = self.is_full = False
        self.drags: threading.Event | None = None  # ends that it is slow

    def up(self) -> None:
        """Starts the server, attaches the loop device and makes the file system."""
        target = os.path.join(self.directory, "mount", FILE)
        with open(os.path.join(self.directory, "server.log"), "ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "nbdfuse", target,
                 "[", "nbdkit", "--exit-with-parent", "--foreground", "--filter=error", "memory", str(self.size),
                 "error=EIO", "error-rate=100%", f"error-file={self.trigger}", "]"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.server = identity(self.process.pid)
        self.lab.remember("processes", self.server)
        wait_until(self.is_served, 10, f"the disk of {self.name} is served (see {self.directory}/server.log)")
        self.drop_socket(self.process.pid)
        found = run([*self.beside(), "losetup", "--find", "--show", target])
        self.device = found.stdout.strip()
        self.lab.remember("loops", [self.device, target])
        # Small blocks: a full disk is noticed at the next small write, not four kilobytes later.
        now = "lazy_itable_init=0,lazy_journal_init=0"
        run(["mkfs.ext4", "-q", "-F", "-m", "0", "-b", "1024", "-E", now, self.device])

    @staticmethod
    def drop_socket(server: int) -> None:
        """Removes the directory in /tmp with the socket over which libnbd has met nbdkit: killed, it would leave it there."""
        with open(f"/proc/{server}/net/unix") as table:
            paths = {words[6]: words[7] for words in map(str.split, table) if len(words) > 7}
        with open(f"/proc/{server}/task/{server}/children") as children:
            for child in children.read().split():
                for entry in os.scandir(f"/proc/{child}/fd"):
                    path = paths.get(os.readlink(entry.path).removeprefix("socket:[").removesuffix("]"), "")
                    if os.path.basename(os.path.dirname(path)).startswith("libnbd"):
                        shutil.rmtree(os.path.dirname(path), ignore_errors=True)

    def beside(self) -> list[str]:
        """The words that put a command beside the server, where its mount is seen."""
        if self.process is None:
            raise RuntimeError(f"the disk of {self.name} is not served yet")
        return ["nsenter", "-t", str(self.process.pid), "-m", "--"]

    def is_served(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"the disk of {self.name} is not served: see {self.directory}/server.log")
        target = os.path.join(self.directory, "mount", FILE)
        return run([*self.beside(), "test", "-f", target], check=False).returncode == 0

    # Faults

    @property
    def is_broken(self) -> bool:
        """Whether any fault is in force."""
        return self.is_full or self.is_hung or self.drags is not None or self.fails

    @property
    def fails(self) -> bool:
        """Whether it answers EIO."""
        return os.path.exists(self.trigger)

    def fail(self) -> None:
        """From now on every read and write that reaches the disk fails."""
        with open(self.trigger, "w"):
            pass

    def repair(self) -> None:
        """It works again; a file system that had met the failure stays read-only until the node boots."""
        if self.fails:
            os.unlink(self.trigger)

    def hang(self) -> None:
        """From now on nothing is answered. Whoever waits for it cannot even be killed, until `answer` or `down`."""
        self.is_hung = send(self.server, signal.SIGSTOP)

    def answer(self) -> None:
        """It goes on where it stopped, at once."""
        if self.drags is not None:
            self.drags.set()
            self.drags = None
            time.sleep(2 * self.moment)  # it is let go of a last time
        if self.is_hung:
            send(self.server, signal.SIGCONT)
        self.is_hung = False

    def slow(self, milliseconds: int) -> None:
        """From now on it answers in short moments, so long apart; `answer` ends that. A sync waits for one or two of them."""
        self.answer()
        self.drags = threading.Event()
        threading.Thread(target=self.drag, args=(milliseconds / 1000, self.drags), daemon=True).start()

    def drag(self, seconds: float, end: threading.Event) -> None:
        while not end.is_set():
            send(self.server, signal.SIGSTOP)
            end.wait(seconds)
            send(self.server, signal.SIGCONT)
            time.sleep(self.moment)

    def fill(self, root: str) -> None:
        """Takes every free block of the file system that is mounted at `root`."""
        ballast = os.open(os.path.join(root, "ballast"), os.O_WRONLY | os.O_CREAT)
        try:
            at, piece = os.fstat(ballast).st_size, 1 << 26
            while piece >= 1024:
                try:
                    os.posix_fallocate(ballast, at, piece)
                    at += piece
                except OSError:
                    piece //= 2
        finally:
            os.close(ballast)
        self.is_full = True

    def free(self, root: str) -> None:
        """Gives them back."""
        try:
            os.unlink(os.path.join(root, "ballast"))
        except FileNotFoundError:
            pass
        self.is_full = False

    # The end

    def down(self) -> None:
        """Ends and detaches it. The server is killed first: what still waits for it gets an error, not an answer."""
        if self.process is None:
            return
        if self.drags is not None:
            self.drags.set()
        send(self.server, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not is_alive(self.server), 5, f"the disk of {self.name} ends")
        self.lab.detach([[self.device, os.path.join(self.directory, "mount", FILE)]])
        self.process = None
