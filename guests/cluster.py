"""The cluster on the guests: what an operator asks and commands, over the rig's shell in some guest that answers."""
from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from chaos.lab.shell import CommandFailed, clock, wait_until

from .lab.channel import Gone

if TYPE_CHECKING:
    from chaos.lab.shell import Report, Result

    from .lab.guest import Guest
    from .lab.rig import Rig

GROUP = "orders"


class Cluster:
    """Questions to `holdfast` in the guests. `patience` multiplies how long an answer may take."""

    def __init__(self, rig: Rig, patience: float = 1.0) -> None:
        self.rig, self.patience = rig, patience
        self.last_leader: str | None = None
        self.silent: set[str] = set()  # names of guests that are paused or hang: asking them would only take time

    @property
    def guests(self) -> dict[str, Guest]:
        return self.rig.guests

    @property
    def members(self) -> list[str]:
        """Names of the machines that can run the group."""
        return [guest.name for guest in self.guests.values() if guest.role == "member"]

    def reachable(self) -> list[Guest]:
        """Guests that can be asked, the last leader first: it knows best."""
        there = [guest for guest in self.guests.values()
                 if guest.is_on and guest.plugged and guest.name not in self.silent and guest.channel.hellos]
        return sorted(there, key=lambda guest: guest.name != self.last_leader)

    def ask(self, guest: Guest, words: str) -> Report | None:
        """What a command prints as JSON, or None when it gave no answer."""
        try:
            said = guest.run(f"timeout -k 1 {10 * self.patience:g} holdfast {words} -o json 2>/dev/null",
                             seconds=15 * self.patience, check=False)
            report: Report = json.loads(said.stdout)
            return report
        except (Gone, TimeoutError, OSError, ValueError):
            return None

    def command(self, words: str, seconds: float = 60, check: bool = True) -> Result:
        """Runs a `holdfast` command on a member that answers: a witness gives no orders."""
        for guest in self.reachable():
            if guest.role == "member" and self.ask(guest, "status"):
                return guest.run(f"holdfast {words}", seconds=seconds * self.patience, check=check)
        raise TimeoutError("no member's daemon answers")

    def status(self, node: str | None = None) -> Report | None:
        """The status as one guest tells it; without a name the leader's, if it answers."""
        if node is not None:
            return self.ask(self.guests[node], "status")
        last = None
        for guest in self.reachable():
            report = self.ask(guest, "status")
            if report:
                last = report
                if report.get("leader") == guest.name:
                    self.last_leader = guest.name
                    return report
        return last

    def wait_status(self, condition: Callable[[Report], object], seconds: float, what: str, node: str | None = None) -> Report:
        """Polls the status until the condition holds."""
        last = {}

        def look() -> Report | None:
            last["status"] = self.status(node)
            try:
                return last["status"] if last["status"] and condition(last["status"]) else None
            except (KeyError, TypeError, IndexError):
                return None
        try:
            return wait_until(look, seconds, what, step=0.25)
        except TimeoutError as error:
            status = last.get("status") or {}
            raise TimeoutError(f"{error}; the last status said: {status.get('healthSentence')} "
                               f"{' '.join(status.get('reasons', []))}") from None

    @staticmethod
    def group_of(status: Report) -> Report:
        """The report of the group, or an empty one."""
        return next((group for group in status["groups"] if group["name"] == GROUP), {})

    @staticmethod
    def all_up(status: Report) -> bool:
        """Whether all three are there."""
        return len(status["nodes"]) == 3 and all(node["state"] == "up" for node in status["nodes"])

    @staticmethod
    def runs(status: Report) -> bool:
        """Whether the group runs."""
        return Cluster.group_of(status).get("state") == "running"

    @staticmethod
    def is_whole(status: Report) -> bool:
        """Every node up, the group running, both copies holding everything."""
        replicas = [replica for volume in status["volumes"] for replica in volume["replicas"]]
        return (Cluster.all_up(status) and Cluster.runs(status) and status["survivesFailures"] >= 1
                and all(replica["inSync"] and replica["connected"] for replica in replicas))

    def wait_whole(self, seconds: float) -> float:
        """Waits until that is so, and says how long it took."""
        began = clock()
        self.wait_status(self.is_whole, seconds, "all nodes up, the group running, its copies in sync")
        return clock() - began

    def owner(self, seconds: float = 30) -> str:
        """The node that the group is assigned to."""
        status = self.wait_status(
            lambda status: self.group_of(status).get("owner"), seconds * self.patience, f"somebody owns {GROUP}")
        return str(self.group_of(status)["owner"])

    def resolve(self, word: str, last: Guest | None = None) -> Guest:
        """The guest that a word of a scenario means now."""
        if word in self.guests:
            return self.guests[word]
        if word == "clone" and self.rig.clones:
            return self.rig.clones[-1]
        if word == "it" and last is not None:
            return last
        if word == "witness":
            return next(guest for guest in self.guests.values() if guest.role == "witness")
        if word == "leader":
            report = self.status()
            if report is None:
                raise RuntimeError("nobody says who leads")
            return self.guests[report["leader"]]
        if word in ("owner", "standby"):
            owner = self.owner()
            return self.guests[owner if word == "owner" else next(name for name in self.members if name != owner)]
        raise RuntimeError(f"`{word}` is no machine; use a name, owner, standby, leader, witness, clone or it")


__all__ = ["Cluster", "CommandFailed", "GROUP"]
