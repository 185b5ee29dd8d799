"""A person at a guest's terminal (/dev/hvc0): what is pasted there is read by a shell as on any machine."""
from __future__ import annotations

import re
import select
import time
from typing import TYPE_CHECKING

from .sockets import connected

if TYPE_CHECKING:
    from .guest import Guest

REDRAWN = re.compile(r"(?m)^.*\n\x1b\[1A\x1b\[J")  # a line that the next one replaces on the screen
# Without line editing, which would echo and paint; each command says how it ended instead of a prompt.
SHELL = "exec env TERM=dumb PROMPT_COMMAND='echo \"<ended with $?>\"; PS1=' bash --norc --noediting -i"


class Terminal:
    """The root shell that systemd keeps on that line."""

    def __init__(self, guest: Guest) -> None:
        self.guest, self.seen, self.at = guest, "", 0
        # A machine that is slow enough gave up waiting for the device at boot.
        guest.run("systemctl start serial-getty@hvc0", seconds=120)
        self.socket = connected(guest.terminal_path)
        self.wake(120)
        self.send(f"{SHELL}\n")
        self.wait(r"<ended with \d+>\n", 60)
        self.send("stty -echo cols 200; cd /root; echo re''ady\n")
        self.wait(r"ready\n<ended with 0>\n", 60)

    def wake(self, seconds: float) -> None:
        """Until somebody reads what is typed: before that it may be thrown away."""
        end = time.monotonic() + seconds
        while True:
            self.send("\n")
            try:
                self.wait(r"# $", 3)
                return
            except TimeoutError:
                if time.monotonic() > end:
                    raise

    def send(self, text: str) -> None:
        self.socket.sendall(text.encode())

    def wait(self, pattern: str, seconds: float) -> str:
        """What was printed until the pattern was seen; the next look begins behind it."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.seen[self.at:])
            if found:
                text = self.seen[self.at:self.at + found.end()]
                self.at += len(text)
                return text
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(
                    f"{self.guest.name}: its terminal shows no {pattern!r} within {seconds:g} s:\n{self.seen[self.at:]}")
            if select.select([self.socket], [], [], left)[0]:
                piece = self.socket.recv(65536)
                if not piece:
                    raise RuntimeError(f"{self.guest.name} went off:\n{self.seen[self.at:]}")
                self.seen += piece.decode(errors="replace").replace("\r", "")

    def paste(self, text: str, seconds: float = 120) -> str:
        """Pastes lines at once and says yes where the last one asks; each must end with 0. What they printed."""
        said = ""
        self.send(text + "\n")
        for line in text.splitlines():
            said += self.wait(r"<ended with \d+>\n|\[y/N\] $", seconds)
            if said.endswith("[y/N] "):
                self.send("y\n")
                said += self.wait(r"<ended with \d+>\n", seconds)
            if not said.endswith("<ended with 0>\n"):
                raise RuntimeError(f"{self.guest.name}: pasted\n{text}\nand the line `{line}` failed:\n{said}")
        return REDRAWN.sub("", said)

    def close(self) -> None:
        """Leaves; the shell stays."""
        self.socket.close()
