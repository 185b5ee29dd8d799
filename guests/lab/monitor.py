"""QEMU's control socket (QMP): commands, and the events that say when a guest stopped, was reset or went off."""
import json
import threading
from typing import Any

from chaos.lab.shell import clock

from .sockets import connected


class MonitorFailed(Exception):
    """QEMU refused a command, or is gone."""


class Monitor:
    """One connection. `events` grows by (instant, name) while a thread listens."""

    def __init__(self, path: str) -> None:
        self.socket = connected(path)
        self.socket.settimeout(10)
        self.file = self.socket.makefile("rb")
        self.events: list[tuple[float, str, dict[str, Any]]] = []
        self.answers: list[dict[str, Any]] = []
        self.changed = threading.Condition()
        self.is_open = True
        self.file.readline()  # the greeting
        self.socket.settimeout(None)
        threading.Thread(target=self.listen, daemon=True).start()
        self.command("qmp_capabilities")

    def listen(self) -> None:
        """Sorts what comes into events and answers."""
        try:
            for line in self.file:
                word = json.loads(line)
                with self.changed:
                    if "event" in word:
                        self.events.append((clock(), word["event"], word.get("data", {})))
                    else:
                        self.answers.append(word)
                    self.changed.notify_all()
        except (OSError, ValueError):
            pass
        with self.changed:
            self.is_open = False
            self.changed.notify_all()

    def command(self, name: str, /, seconds: float = 30, **arguments: object) -> Any:
        """Sends one command, and returns what it answers."""
        with self.changed:
            self.answers.clear()
        try:
            self.socket.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        except OSError as error:
            raise MonitorFailed(f"{name}: {error}") from error
        with self.changed:
            self.changed.wait_for(lambda: self.answers or not self.is_open, seconds)
            if not self.answers:
                raise MonitorFailed(f"{name}: no answer within {seconds:g} s")
            answer = self.answers.pop(0)
        if "error" in answer:
            raise MonitorFailed(f"{name}: {answer['error'].get('desc')}")
        return answer.get("return")

    def human(self, line: str, seconds: float = 120) -> None:
        """A command of the monitor for people, such as `savevm NAME`; what it prints is a complaint."""
        said = self.command("human-monitor-command", seconds, **{"command-line": line})
        if said.strip():
            raise MonitorFailed(f"{line}: {said.strip()}")

    def instant_of(self, name: str, since: float) -> float | None:
        """When an event of this name was first heard after an instant, or None."""
        with self.changed:
            return next((at for at, event, _ in self.events if event == name and at >= since), None)

    def close(self) -> None:
        """Hangs up."""
        self.socket.close()
