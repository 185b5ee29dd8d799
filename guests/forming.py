"""README's first cluster on the guests, typed at their terminals as printed; and the disks that remember it.

Forming takes minutes under emulation, so it is done once for each image. Scenarios begin with disks above those of the
formed cluster, and change only their own.
"""
from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from chaos.lab.shell import REPOSITORY, clock, wait_until
from Tests.EndToEnd.test_readme import blocks

from . import evidence
from .cluster import Cluster
from .lab import accelerator, places, timing
from .lab.guest import make_overlay
from .lab.image import digest
from .lab.rig import HOST, MANAGEMENT, opened
from .lab.terminal import Terminal

if TYPE_CHECKING:
    from chaos.lab.shell import Say

    from .lab.rig import Rig

Facts = dict[str, float]  # what was measured: `slowdown`, `factor`, `seconds`
SIZE = "20GiB", "512MiB"  # of the volume, in README and here
PORT = 7777  # where the rig hears the heartbeats
CONFIGURATION = "/var/lib/holdfast/cluster.yaml"
TOKEN = re.compile(r"(?m)^\s*([A-Za-z0-9._:+/=-]{40,})\s*$")
PULSE = f"      - {{ name: pulse, agent: exec, command: /usr/local/bin/pulse {MANAGEMENT} {PORT} }}"


class Forming:
    """`form` on machines that are up."""

    def __init__(self, rig: Rig, by: float, say: Say) -> None:
        self.rig, self.by, self.say = rig, by, say
        self.cluster = Cluster(rig, patience=by)
        self.left = blocks()
        self.terminals: dict[str, Terminal] = {}
        self.began = clock()

    def note(self, text: str) -> None:
        self.say(f"  {clock() - self.began:6.1f} s  {text}")

    def block(self, before: str, start: str) -> str:
        """README's next block; the words before it and its own first ones tell that it is the one that is meant."""
        prose, text = self.left.pop(0)
        if before not in prose or not text.startswith(start):
            raise RuntimeError(f"README has changed: after {prose!r} comes {text!r}, which was to begin with {start!r}")
        return text

    def paste(self, names: list[str], before: str, start: str, seconds: float = 120,
              change: Callable[[str], str] = lambda text: text) -> list[str]:
        """Pastes the next block at some terminals; what each printed."""
        text = change(self.block(before, start))
        return [self.type(name, text, seconds) for name in names]

    def type(self, name: str, text: str, seconds: float = 120) -> str:
        began = clock()
        said = self.terminals[name].paste(text, seconds * self.by)
        self.note(f"{name}# {text.splitlines()[0][:70]} … ({clock() - began:.1f} s)")
        return said

    def write(self, text: str, sign: str) -> None:
        self.rig.guests["tok-1"].run(f"cat {sign}{CONFIGURATION} <<'END'\n{text}\nEND")

    def form(self) -> None:
        """All of README's section, in its order."""
        try:
            self.terminals = {name: Terminal(guest) for name, guest in self.rig.guests.items()}
            self.join_nodes()
            self.start_database()
            self.add_own()
            self.move_as_printed()
            if self.left:
                raise RuntimeError(f"README has a block that is not tried: {self.left}")
        finally:
            for terminal in self.terminals.values():
                terminal.close()

    def join_nodes(self) -> None:
        every, members = list(self.terminals), self.cluster.members
        self.block("Build once", "apt-get install")  # where Swift is
        # The image was made with this block's other lines.
        self.paste(every, "to all three machines, and there", "apt-get install",
                   change=lambda text: text.splitlines()[0])
        said = self.paste(["tok-1"], "On 10.0.0.1:", "holdfast init")[0]
        again = self.type("tok-1", "holdfast token")
        for name, text in (("osk-1", said), ("wit-1", again)):
            found = TOKEN.search(text)
            if found is None:
                raise RuntimeError(f"no token was printed: {text}")
            self.paste([name], "On 10.0.0.2 and 10.0.0.3", f"holdfast join TOKEN --name {name}",
                       change=with_token(found[1]))
        status = self.block("Anywhere:", "holdfast status")
        healthy = "3 of 3 nodes up, any one may fail"
        for name in every:
            terminal = self.terminals[name]
            wait_until(lambda: healthy in terminal.paste(status, 30 * self.by), 60 * self.by,  # noqa: B023 it ends before
                       f"{name} says {healthy!r}", step=1)
        self.note(f"every machine says: {healthy}")
        self.paste(members, "On 10.0.0.1 and 10.0.0.2", "mkdir -p /etc/postgresql-common")

    def start_database(self) -> None:
        document = self.block("On 10.0.0.1 write", "cluster: prod").replace(*SIZE)
        self.write(document.replace("cluster: prod\n", "cluster: prod\n" + timing.block(self.by)), ">")
        said = self.paste(["tok-1"], "On 10.0.0.1 write", "cd /var/lib/holdfast")[0]
        if SIZE[1] not in self.rig.guests["tok-1"].run(f"cat {CONFIGURATION}").stdout:
            raise RuntimeError(f"README's volume is not of {SIZE[0]} any more; the apply said {said}")
        self.paste(["tok-1"], "Make the database there", "cd /", 300)
        # The rig's writer has no password: its own line comes first, for its own address only.
        self.rig.guests["tok-1"].run(f"sed -i '1i host all all {HOST}/32 trust' /srv/pg/data/pg_hba.conf")
        self.write(self.block("Add the rest", "      - name: db"), ">>")
        self.paste(["tok-1"], "Add the rest", "holdfast apply")
        query = self.block("From any machine", "psql").split("#")[0].strip()
        said = self.rig.guests["wit-1"].run(f'PGPASSWORD=secret {query} -Atc "SELECT 6 * 7"', seconds=30 * self.by).stdout
        if said.strip() != "42":
            raise RuntimeError(f"the database answered {said!r} to another machine")

    def add_own(self) -> None:
        """The heartbeat, first of all resources: it is the first that runs on a new owner, and the last on an old one."""
        self.rig.guests["tok-1"].run(f"""sed -i 's|^    resources:$|&\\n{PULSE}|' {CONFIGURATION}
            holdfast check {CONFIGURATION} && holdfast apply {CONFIGURATION} --yes --wait""", seconds=180 * self.by)
        self.note("the rig's heartbeat is added")

    def move_as_printed(self) -> None:
        self.paste(["tok-1"], "Then move it", "holdfast volume wait", 300)
        self.type("tok-1", "holdfast group move orders --to tok-1 --wait")
        self.cluster.wait_whole(60 * self.by)
        self.note("moved there and back; all is healthy")


def with_token(token: str) -> Callable[[str], str]:
    """Puts a token where README has its word."""
    return lambda text: text.replace("TOKEN", token)


def formed_disks(image: str) -> str:
    """The folder for the disks of a formed cluster that was made of this image and README."""
    with open(os.path.join(REPOSITORY, "README.md")) as file:
        text = file.read()
    key = digest(image, text, accelerator.name(), os.environ.get("HOLDFAST_GUESTS_TIMING", ""), SIZE[1], PULSE)
    return places.built(f"formed-{key}")


def form_and_keep(purpose: str, image: str, say: Say) -> tuple[str, Facts]:
    """Forms the cluster once and keeps its disks, with what was measured; returns (folder, facts)."""
    folder = formed_disks(image)
    facts = os.path.join(folder, "facts.json")
    if not os.path.exists(facts):
        for name in os.listdir(places.directory()):
            if name.startswith("formed-"):
                shutil.rmtree(places.built(name), ignore_errors=True)
        os.makedirs(folder)
        say("the first real cluster of README.md, on fresh machines")
        with opened(purpose, say) as rig:
            try:
                # A database is made in a tenth of the time there; `first-cluster` is README without it.
                measured = form_on(rig, say, "modules_load=nbd")
            except Exception:
                evidence.collect(rig, "forming")
                raise
            put_to_rest(rig, measured["factor"])
            for guest in rig.guests.values():
                shutil.move(guest.disk, os.path.join(folder, f"{guest.name}.qcow2"))
        with open(facts + ".new", "w") as file:
            json.dump(measured, file)
        os.rename(facts + ".new", facts)
    with open(facts) as file:
        return folder, json.load(file)


def form_on(rig: Rig, say: Say, more_words: str = "") -> Facts:
    """Starts the machines, measures how slow they are, forms; returns the measurements."""
    began = clock()
    for guest in rig.guests.values():
        guest.more_words = more_words
        guest.start()
        guest.wait_up(300)
    say(f"  three machines are up after {clock() - began:.1f} s ({accelerator.name()})")
    slowdown = timing.seconds_there(rig.guests["tok-1"]) / timing.seconds_here(places.binary())
    by = timing.factor(slowdown, accelerator.name() == "tcg")
    say(f"  `holdfast --version` takes {slowdown:.1f} times as long there; lengths of `timing` x {by:g}")
    began = clock()
    Forming(rig, by, say).form()
    return {"slowdown": slowdown, "factor": by, "seconds": clock() - began}


def put_to_rest(rig: Rig, by: float) -> None:
    """Stops the group and cuts the power of all machines once their disks hold everything: no scenario begins with a
    database that has to be repaired, and none depends on how the product shuts down."""
    rig.guests["tok-1"].run("holdfast group stop orders --yes --wait", seconds=120 * by)
    for guest in rig.guests.values():
        guest.run("sync -f /")
    for guest in rig.guests.values():
        guest.cut_power()


def begin_from(folder: str, rig: Rig) -> None:
    """Gives each guest a disk above its formed one."""
    for guest in rig.guests.values():
        make_overlay(os.path.join(folder, f"{guest.name}.qcow2"), "qcow2", guest.disk)
