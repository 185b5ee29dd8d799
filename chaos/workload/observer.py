"""Looks at a node from outside, without asking the product: when was its volume attached, mounted, and so on."""
from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from chaos.lab.shell import clock

if TYPE_CHECKING:
    from ..lab.node import Node

PHASES = ("device", "mounted", "recovered", "address")


class Observer:
    """Polls one node and notes when each phase began to hold, and when it ceased to."""

    def __init__(self, node: Node, floating: str, volume: str = "pgdata", mount: str = "/srv/pg", step: float = 0.004) -> None:
        self.node, self.floating, self.mount, self.step = node, floating, mount, step
        self.root = f"/proc/{node.pid}"
        self.device = f"{self.root}/root{node.run_directory}/volumes/{volume}/device"
        self.began: dict[str, float] = {}
        self.ceased: dict[str, float] = {}
        self.left_behind: str | None = None  # what the pid file said at the first look after the mount
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.state = self.look()
        self.thread.start()

    def look(self) -> dict[str, bool]:
        """Which phases hold now."""
        try:
            with open(f"{self.root}/mountinfo") as file:
                mounted = any(line.split()[4] == self.mount for line in file)
            with open(f"{self.root}/net/fib_trie") as file:
                address = f"|-- {self.floating}\n" in file.read()
        except OSError:
            return dict.fromkeys(PHASES, False)
        recovered = mounted and not self.node_is_cut_off() and self.is_ready()
        return {
            "device": os.path.islink(self.device), "mounted": mounted, "recovered": recovered, "address": address}

    def is_ready(self) -> bool:
        """Whether PostgreSQL answers, by its own pid file; one that a dead server left says `ready` too."""
        try:
            with open(f"{self.root}/root{self.mount}/data/postmaster.pid") as file:
                text = file.read()
        except OSError:
            self.left_behind = ""
            return False
        if self.left_behind is None:
            self.left_behind = text
        return text != self.left_behind and any(line.strip() == "ready" for line in text.split("\n"))

    def node_is_cut_off(self) -> bool:
        """A read below the mount of a node whose volume is frozen would hang."""
        return not self.node.plugged

    def watch(self) -> None:
        while not self.ending.is_set():
            state, now = self.look(), clock()
            for phase in PHASES:
                if state[phase] and not self.state[phase]:
                    self.began.setdefault(phase, now)
                elif self.state[phase] and not state[phase]:
                    self.ceased[phase] = now
            self.state = state
            time.sleep(self.step)

    def stop(self) -> None:
        """Ends the watch."""
        self.ending.set()
        self.thread.join(2)
