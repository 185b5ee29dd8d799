"""The rig's end of the virtio port over which `guest_shell` in a guest runs scripts."""
from __future__ import annotations

import socket
import subprocess
import threading
from typing import TYPE_CHECKING

from chaos.lab.shell import CommandFailed, clock

from .sockets import connected

if TYPE_CHECKING:
    from chaos.lab.shell import Result


class Gone(Exception):
    """The guest was booted anew, or its QEMU ended, while a script ran."""


class Script:
    """One script under way."""

    def __init__(self) -> None:
        self.output: list[bytes] = []
        self.status: int | None = None
        self.is_lost = False


class Channel:
    """Scripts in one guest, from any thread. `hellos` grows by (instant, boot id) at each start of the other end."""

    def __init__(self, path: str, name: str) -> None:
        self.name, self.last = name, 0
        self.hellos: list[tuple[float, str]] = []
        self.scripts: dict[int, Script] = {}
        self.changed = threading.Condition()
        self.sending = threading.Lock()
        self.is_open = True
        self.socket = connected(path)
        self.file = self.socket.makefile("rb")
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        """Gives each script what belongs to it."""
        try:
            while line := self.file.readline():
                words = line.decode(errors="replace").split()
                if len(words) == 3:
                    output = self.file.read(int(words[2])) if words[1] == "out" else b""
                    with self.changed:
                        self.take(int(words[0]), words[1], words[2], output)
                        self.changed.notify_all()
        except (OSError, ValueError):
            pass
        with self.changed:
            self.is_open = False
            self.changed.notify_all()

    def take(self, number: int, kind: str, word: str, output: bytes) -> None:
        if kind == "hello":
            self.hellos.append((clock(), word))
            for lost in self.scripts.values():  # whoever ran them is gone
                lost.is_lost = True
        script = self.scripts.get(number)
        if script is not None and kind == "out":
            script.output.append(output)
        elif script is not None and kind == "end":
            script.status = int(word)

    def send(self, number: int, what: bytes) -> None:
        with self.sending:
            self.socket.sendall(f"{number} ".encode() + what)

    def run(self, text: str, seconds: float = 60, check: bool = True) -> Result:
        """Runs a bash script and returns its result; `Gone` when the guest went away under it."""
        script, body = Script(), text.encode()
        with self.changed:
            self.last += 1
            number = self.last
            self.scripts[number] = script
        try:
            try:
                self.send(number, f"{len(body)}\n".encode() + body)
            except OSError as error:
                raise Gone(f"{self.name}: {error}") from None
            with self.changed:
                self.changed.wait_for(
                    lambda: script.status is not None or script.is_lost or not self.is_open, seconds)
                if script.status is None and (script.is_lost or not self.is_open):
                    raise Gone(f"{self.name} went away while it ran: {text[:80]}")
            if script.status is None:
                self.send(number, b"kill\n")
                raise TimeoutError(f"{self.name}: not within {seconds:g} s: {text[:200]}; so far: {self.said(script)}")
        finally:
            with self.changed:
                del self.scripts[number]
        result = subprocess.CompletedProcess(text, script.status, self.said(script), "")
        if check and script.status != 0:
            raise CommandFailed([f"{self.name}:", text], result)
        return result

    @staticmethod
    def said(script: Script) -> str:
        return b"".join(script.output).decode(errors="replace")

    def close(self) -> None:
        """Hangs up."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
