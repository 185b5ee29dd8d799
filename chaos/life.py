#!/usr/bin/python3
"""Ten years of a cluster in some minutes: machines burn, disks and majorities are lost, releases change, and every row is counted.

What is typed is really run. These machines have no systemd: `systemctl start holdfast` begins a loop that starts the daemon
again whenever it ends, and `restart` ends the daemon, as the unit of the release does. /media/stick is a directory that
every machine sees.
"""
from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Callable
from typing import NamedTuple

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from chaos.lab.lab import Lab  # noqa: E402
from chaos.lab.node import Node  # noqa: E402
from chaos.lab.shell import clock, wait_until  # noqa: E402
from chaos.story import Story, common_options, play  # noqa: E402
from chaos.workload import checkers  # noqa: E402

SECONDS = 900  # for all of it
PROGRAM = "/srv/bin/holdfast"  # on every machine, its own copy
STATE = "/var/lib/holdfast"
NEW_ADDRESS = 77


class Act(NamedTuple):
    """What the table at the end says of one act."""

    number: int
    done: str
    pause: float  # seconds, the longest between two acknowledged rows
    acknowledged: int  # in this act
    unanswered: int  # tried in this act, without an answer or refused


class Life(Story):
    """One run of the demonstration, act by act."""

    program = "scripts/demo-life"

    def __init__(self, lab: Lab, options: argparse.Namespace) -> None:
        super().__init__(lab, options)
        self.release = self.cluster.program
        self.cluster.program, lab.program_directory = PROGRAM, os.path.dirname(PROGRAM)
        self.stick = os.path.join(lab.directory, "stick")
        self.acts: list[Act] = []
        self.act_began = self.began
        os.mkdir(self.stick, 0o700)

    # The operator

    def types(self, node: str, command: str, code: int = 0, lines: int = 0, hide: str = "", timeout: float = 120) -> str:
        """An operator's command: printed, run on a node, and as many lines of its answer shown."""
        self.say(f"  {clock() - self.act_began:>5.1f} s  {node}# {command.replace(hide, 'TOKEN') if hide else command}")
        machine = self.lab.node(node)
        if command == "systemctl start holdfast":
            self.cluster.start_daemon(node)
            return ""
        if command == "systemctl restart holdfast":
            machine.signal("daemon", signal.SIGTERM)
            return ""
        result = machine.run(command.replace("/media/stick", self.stick), check=False, timeout=timeout)
        text = result.stdout + result.stderr
        shown = text.rstrip().split("\n")[:lines] if result.returncode == code else text.rstrip().split("\n")
        for line in shown:
            self.say(f"         | {line}")
        if result.returncode != code:
            raise RuntimeError(f"`{command}` on {node} ended with {result.returncode}, not with {code}")
        return text

    def install(self, node: str) -> None:
        """The product is put on a machine's disk."""
        self.lab.node(node).run(["install", "-D", "-m", "755", self.release, PROGRAM])

    def power_off(self, *names: str) -> float:
        """All at once, as far as a script can."""
        instant = clock()
        for name in names:
            self.lab.node(name).power_off()
        return instant

    def burn(self, name: str) -> None:
        """Nothing is left of a machine that is off: its disk goes into a drawer, and an empty one takes its place."""
        node = self.lab.node(name)
        drawer = os.path.join(self.lab.directory, f"{name}-found")
        if os.path.exists(drawer):
            shutil.rmtree(os.path.join(node.directory, "state"))
            shutil.rmtree(os.path.join(node.directory, "srv"))
        else:
            os.mkdir(drawer)
            os.rename(os.path.join(node.directory, "state"), os.path.join(drawer, "state"))
            os.rename(os.path.join(node.directory, "srv"), os.path.join(drawer, "srv"))

    def state_of(self, name: str, state: str, seconds: float = 40) -> None:
        """Waits until the others say this of a node."""
        self.cluster.wait_status(
            None, lambda status: any(n["name"] == name and n["state"] == state for n in status["nodes"]), seconds,
            f"{name} is {state}")

    def join_again(self, name: str, token_from: str) -> None:
        """A new machine takes a dead one's name and place."""
        node = self.lab.node(name)
        node.boot()
        self.install(name)
        token = self.types(token_from, "holdfast token").split()
        code = max(token, key=len)
        self.types(name, " ".join(["holdfast join", code, *self.cluster.about(node), "--replace"]), hide=code)
        self.types(name, "systemctl start holdfast")
        self.state_of(name, "up")

    def keep_identity(self, name: str) -> None:
        """What docs/disk.md advises: a copy of the two things that make a node this node."""
        self.types(name, f"mkdir -p /media/stick/{name} && cp -a {STATE}/node.json {STATE}/tls /media/stick/{name}")

    def compare(self, node: str) -> None:
        """Waits until the copies are equal, as an operator does."""
        began = clock()
        self.types(node, "holdfast volume wait pgdata", lines=3, timeout=200)
        self.cluster.wait_in_sync(120)
        self.say(f"  every copy holds every write {clock() - began:.1f} s later")

    def on(self, name: str) -> None:
        """The acts say where PostgreSQL runs: on a busy machine it may have gone elsewhere meanwhile."""
        owner = self.cluster.wait_running(60)
        if owner != name:
            self.say(f"  PostgreSQL runs on {owner}, which nobody asked for: this machine was too busy")
            self.move(owner, name)
            self.wait_rows(self.options.rows)

    def move(self, source: str, target: str) -> None:
        self.types(source, f"holdfast group move orders --to {target} --yes --wait", lines=1)
        self.cluster.wait_running(60, on=target)

    # The acts

    def act(self, title: str, owner: str, tell: Callable[[], str]) -> None:
        """Plays an act that begins with PostgreSQL on a node, counts rows, and notes what it cost."""
        number = len(self.acts) + 1
        self.step(number, title)
        self.on(owner)
        self.act_began = began = clock()
        done = tell()
        self.wait_rows(self.options.rows)
        self.count()
        entries = [entry for entry in checkers.read_rows(self.history) if entry["try"] >= began - 0.5]
        pause, since, _ = checkers.longest_gap(entries)
        act = Act(number, done, pause, len(checkers.acknowledged(entries)), sum(1 for entry in entries if "ack" not in entry))
        self.say(f"  the longest pause of rows was {pause:.2f} s, {since - began:.1f} s after the act began")
        self.acts.append(act)

    def prepare(self) -> None:
        self.step(0, "three nodes in three places, one PostgreSQL on a mirrored volume, a client that writes rows all the time")
        for name in self.lab.nodes:
            self.install(name)
        self.cluster.form()
        self.cluster.apply(self.cluster.database_policy())
        self.cluster.wait_running(180, on="tok-1")
        self.cluster.wait_in_sync()
        self.start_writer()
        self.wait_rows(self.options.rows)
        self.say("  what a prudent operator does while all is well: the key of the cluster's authority, which only the first node")
        self.say("  has, is copied to the other member, and what makes a node this node is kept elsewhere")
        self.share_key("tok-1", "osk-1")
        self.keep_identity("osk-1")
        self.status()

    def share_key(self, source: str, target: str) -> None:
        """Tokens can be had on the target too from then on (docs/operating/members.md)."""
        self.types(source, f"cp -p {STATE}/tls/ca.key /media/stick/ca.key")
        self.types(target, f"cp -p /media/stick/ca.key {STATE}/tls/ca.key && rm /media/stick/ca.key")

    def fire(self) -> str:
        fault = self.power_off("tok-1")
        self.burn("tok-1")
        self.say("  tok-1 has burnt down: it ran PostgreSQL, and it was the node that founded the cluster")
        first = self.first_row_after(fault, 120)
        self.say(f"  the first row was accepted by osk-1 {first - fault:.2f} s after the power was gone")
        self.state_of("tok-1", "lost")
        self.join_again("tok-1", token_from="osk-1")
        self.compare("tok-1")
        self.share_key("osk-1", "tok-1")
        self.move("osk-1", "tok-1")
        return "the owner burns down, and is replaced"

    def new_disk(self) -> str:
        self.power_off("osk-1")
        self.state_of("osk-1", "lost")
        node = self.lab.node("osk-1")
        for part in ("state", "srv"):
            shutil.rmtree(os.path.join(node.directory, part))
        node.boot()
        self.install("osk-1")
        self.say("  osk-1 has an empty disk; node.json and tls/ were kept elsewhere. They are from before tok-1 was replaced")
        self.say("  and do not know it, but they know the witness")
        self.types("osk-1", f"install -d -m 700 {STATE} && cp -a /media/stick/osk-1/node.json /media/stick/osk-1/tls {STATE}/")
        self.types("osk-1", "systemctl start holdfast")
        self.state_of("osk-1", "up")
        self.compare("osk-1")
        self.move("tok-1", "osk-1")
        return "a disk is lost, node.json and tls/ kept"

    def new_address(self) -> str:
        node = self.lab.node("osk-1")
        before = node.find("daemon")
        old, node.address = node.address, f"{self.lab.subnet}.{NEW_ADDRESS}"
        # Without it the kernel takes every address of the subnet away with the first, the floating one too.
        self.types("osk-1", "sysctl -q -w net.ipv4.conf.eth0.promote_secondaries=1")
        self.types("osk-1", f"ip address add {node.address}/24 dev eth0")
        self.types("osk-1", f"holdfast node set osk-1 --address {node.address}:7400 --yes", lines=2)
        self.say(f"  in cluster.yaml the copy of the volume on osk-1 is at {node.address}:7410 now")
        self.cluster.apply(self.cluster.database_policy())
        self.cluster.wait_in_sync(60)
        wait_until(lambda: any(
            n["name"] == "osk-1" and n["address"] == f"{node.address}:7400" for n in self.cluster.told()["nodes"]), 20,
            "the others know the address")
        self.say("  what osk-1 connects to comes from the new address now, once it connects anew")
        self.types("osk-1", f"ip route change {self.lab.subnet}.0/24 dev eth0 src {node.address}")
        self.types("osk-1", "systemctl restart holdfast")
        self.restarted("osk-1", before)
        self.types("osk-1", f"ip address del {old}/24 dev eth0")
        self.types("osk-1", "ip -4 -brief address show dev eth0", lines=1)
        self.cluster.wait_in_sync(60)
        return "the owner's address changes while it runs"

    def upgrade(self) -> str:
        self.say("  the same program stands in for the next release: a copy of it takes the place of the one that runs")
        service, database = self.lab.node("osk-1").find("service"), self.lab.node("osk-1").find("postgres")
        if not (service and database):
            raise RuntimeError("PostgreSQL does not run on osk-1")
        began = clock()
        shutil.copyfile(self.release, os.path.join(self.stick, "holdfast"))
        for name in ("wit-1", "tok-1", "osk-1"):
            before = self.lab.node(name).find("daemon")
            self.types(name, f"install -m 755 /media/stick/holdfast {PROGRAM}.new && mv {PROGRAM}.new {PROGRAM}")
            self.types(name, "systemctl restart holdfast")
            self.restarted(name, before)
            self.types(name, "holdfast --version", lines=1)
            self.wait_rows(self.options.rows)
            self.renewed(name)
        if (service, database) != (self.lab.node("osk-1").find("service"), self.lab.node("osk-1").find("postgres")):
            raise RuntimeError("what runs on osk-1 was started anew")
        unanswered = [entry for entry in checkers.read_rows(self.history) if "ack" not in entry and entry["try"] >= began]
        if unanswered:
            raise RuntimeError(f"rows had no answer: {unanswered}")
        self.say("  PostgreSQL and the service before it are the processes that they were; no row was refused")
        return "three nodes are upgraded"

    def restarted(self, name: str, before: list[int]) -> None:
        """Waits until a node has another daemon than before, and all is well."""
        wait_until(lambda: self.lab.node(name).find("daemon") not in ([], before), 20, f"{name} has a new daemon")
        self.state_of(name, "up")
        self.cluster.wait_in_sync(60)

    def renewed(self, name: str) -> None:
        """Waits until the daemon has renewed what outlived it; what shows a volume to the kernel stays while its group runs."""
        node = self.lab.node(name)
        wait_until(lambda: not node.replaced("guard", "volume-server"), 40, f"what runs on {name} is renewed", step=0.1)
        self.cluster.wait_in_sync(60)
        roles = [role for role in ("daemon", "guard", "volume-server", "volume-device") if node.find(role)]
        old = node.replaced(*roles)
        self.say(f"  run from the new file on {name}: {', '.join(role for role in roles if role not in old)}; "
                 f"from the old one: {', '.join(old) or 'nothing'}")

    def recover(self, survivor: str, *dead: str) -> None:
        """docs/operating/majority.md, step by step, on the only node that is left."""
        words = " ".join(f"--dead {name}" for name in dead)
        wait_until(
            lambda: "To go on" in self.cluster.run(survivor, "cluster", "recover", "--preview", check=False).stdout, 60,
            "the preview says how to go on", step=0.5)
        self.types(survivor, "holdfast cluster recover --preview", lines=40)
        execute = f"holdfast cluster recover --execute {words}"
        self.sign(survivor, execute, "--yes", code=6)
        self.sign(survivor, f"holdfast volume accept-loss pgdata --node {survivor}", "--dry-run")
        self.types(survivor, "holdfast group start orders --yes --wait", lines=1)
        self.cluster.wait_running(60, on=survivor, node=survivor)

    def sign(self, node: str, command: str, look: str, code: int = 0) -> None:
        """A command that wants a sentence: it is asked for first, then typed."""
        asked = self.types(node, f"{command} {look}", code=code, lines=20)
        statement = asked.split('--statement "')[1].split('"')[0]
        yes = " --yes" if look == "--yes" else ""
        self.types(node, f'{command}{yes} --statement "{statement}"', lines=20)

    def majority(self) -> str:
        self.say("  osk-1, which runs PostgreSQL, and the witness go in the same moment. Every row that was acknowledged is on")
        self.say("  tok-1 too: as long as its copy counts, osk-1 acknowledges nothing without it, and to go on without it osk-1")
        self.say("  and the witness would have needed time together. That is what could be lost; here it is nothing, and counted.")
        self.power_off("osk-1", "wit-1")
        self.burn("osk-1")
        self.burn("wit-1")
        self.recover("tok-1", "osk-1", "wit-1")
        self.wait_rows(self.options.rows)
        self.count()
        self.say("  two new machines take the places of the dead")
        self.join_again("osk-1", token_from="tok-1")
        self.join_again("wit-1", token_from="tok-1")
        self.compare("tok-1")
        self.share_key("tok-1", "osk-1")
        self.status()
        return "two of three are lost and replaced"

    def old_disks(self) -> str:
        self.say("  tok-1 and the witness lose power and are given up, too early: their disks are as they were")
        self.power_off("tok-1", "wit-1")
        self.recover("osk-1", "tok-1", "wit-1")
        self.wait_rows(self.options.rows)
        for name in ("tok-1", "wit-1"):
            self.lab.node(name).boot()
            self.types(name, "systemctl start holdfast")
        for name in ("tok-1", "wit-1"):
            wait_until(
                lambda: "was left behind by generation" in self.cluster.run(name, "status", check=False).stdout, 60,
                f"{name} knows that it was left behind", step=0.3)
            self.types(name, "holdfast status --check", code=5, lines=3)
        for name in ("tok-1", "wit-1"):
            self.types(name, "holdfast cluster rejoin --yes", lines=3)
            self.state_of(name, "up", 60)
        self.compare("osk-1")
        self.move("osk-1", "tok-1")
        return "two come back after they were given up"

    def ghost(self) -> str:
        node = Node(self.lab, "tok-1-found", "tokyo", 8)
        self.lab.nodes[node.name] = node
        self.say("  the disk of the machine that burnt down in act 1 is found, and put into another one, at another address")
        node.boot()
        self.types(node.name, f"holdfast listen {node.address}:7400", lines=1)
        self.types(node.name, "systemctl start holdfast")
        wait_until(lambda: self.cluster.ask(node.name, "status"), 20, "its daemon answers", step=0.2)
        self.wait_rows(self.options.rows)
        self.types(node.name, "holdfast status", lines=6)
        if node.find("service") or node.find("postgres"):
            raise RuntimeError("it runs something")
        self.say("  nobody listens to it, and it runs nothing")
        node.power_off()
        return "a replaced machine's disk is switched on"

    def run(self) -> None:
        self.prepare()
        for title, owner, tell in (
                ("a machine burns down", "tok-1", self.fire),
                ("a machine loses its disk, but not its name", "tok-1", self.new_disk),
                ("a machine moves to another address while PostgreSQL runs on it", "osk-1", self.new_address),
                ("the next release comes to all three, one after the other", "osk-1", self.upgrade),
                ("two of three are lost for good", "osk-1", self.majority),
                ("two of three are given up, and come back with their old disks", "tok-1", self.old_disks),
                ("what was replaced is switched on again", "tok-1", self.ghost)):
            self.act(title, owner, tell)
        self.conclude()

    def conclude(self) -> None:
        self.say()
        self.say("== the end: every acknowledged row, counted once more")
        if not self.options.keep:
            self.end_writer()
        acked, _ = self.count(final=not self.options.keep)
        checkers.check_single_owner(checkers.read_runs(self.cluster.pulses), origin=self.began)
        self.cluster.wait_healthy(60)
        self.say()
        self.say(f"  {'act':<45} {'longest pause':>13} {'rows':>7} {'no answer':>9} {'missing':>7}")
        for act in self.acts:
            self.say(f"  {act.number} {act.done:<43} {act.pause:>11.2f} s {act.acknowledged:>7} {act.unanswered:>9} {0:>7}")
        self.say()
        self.say(f"  {acked} rows acknowledged, none missing; never two owners. ({clock() - self.began:.0f} s)")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo-life", description=(__doc__ or "").split("\n\n")[0])
    common_options(parser, 200, "demo-life")
    return play(Life, parser.parse_args(), seconds=SECONDS)


if __name__ == "__main__":
    sys.exit(main())
