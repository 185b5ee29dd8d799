"""The faults of a scenario: a table of words, and what each does to the laboratory."""
import os
import shutil
import signal
import subprocess
from collections.abc import Callable

from . import members
from .lab.cluster import DATABASE, Cluster
from .lab.lab import NODES
from .lab.node import Node
from .lab.shell import clock
from .words import Reader, Step, Word, anything, number, one_of
from .workload.attribute_clients import Clients

NAMES = [name for name, _, _ in NODES]
MEANT = ["owner", "standby", "leader", "witness", "it"]
PROCESSES = ("daemon", "guard", "volume-server", "volume-device", "service", "postgres")

node = one_of(*NAMES, *MEANT)
site = one_of(*(place for _, place, _ in NODES))
process = one_of(*PROCESSES)
# The head of wan_relay.c says what they mean.
LINE: dict[str, Reader] = dict.fromkeys(("delay", "jitter", "loss", "rate", "queue", "cut", "reorder"), anything)


def side(name: str, text: str) -> None:
    """One side of a cut: nodes and `client` with commas between them, or `rest`."""
    if text != "rest":
        for part in text.split(","):
            one_of(*NAMES, *MEANT, "client")(name, part)


class Faults:
    """Performs the faults of one scenario after the other."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.lab = cluster, cluster.lab
        self.last_target: str | None = None
        self.clients: Clients | None = None  # of attributes, while a scenario has them

    def perform(self, step: Step) -> float:
        """Does what a fault line says, and returns the instant at which it took effect."""
        return FAULTS[step.name].act(self, step)

    def resolve(self, word: str) -> str:
        """The node that a word means at this moment."""
        if word in self.lab.nodes:
            return word
        if word == "it":
            if self.last_target is None:
                raise RuntimeError("`it` is used before any fault named a node")
            return self.last_target
        if word == "witness":
            return next(node.name for node in self.lab.nodes.values() if node.role == "witness")
        found = self.cluster.leader() if word == "leader" else self.cluster.owner()
        if word not in ("owner", "standby", "leader"):
            raise RuntimeError(f"`{word}` is no node; use a name, {', '.join(MEANT[:-1])} or {MEANT[-1]}")
        if found is None:
            raise RuntimeError(f"nobody is {'leader' if word == 'leader' else 'owner'} at this moment")
        return next(name for name in self.cluster.members if name != found) if word == "standby" else found

    def target(self, step: Step) -> Node:
        """The node that the first word of a fault means; from now on it is `it`."""
        self.last_target = self.resolve(step.words[0])
        return self.lab.node(self.last_target)

    # Power and wires

    def kill(self, step: Step) -> float:
        """Power loss."""
        return self.target(step).power_off()

    def boot(self, step: Step) -> float:
        """Power comes back."""
        node = self.target(step)
        if not node.is_up:
            self.cluster.return_node(node.name)
        return clock()

    def isolate(self, step: Step) -> float:
        """The node's port leaves the switch."""
        return self.lab.isolate(self.target(step).name)

    def rejoin(self, step: Step) -> float:
        """And comes back."""
        self.lab.rejoin(self.target(step).name)
        return clock()

    def cut(self, step: Step) -> float:
        """Nothing passes between two sides; or only nothing one way, or of one port."""
        def those(word: str) -> list[str] | None:
            return None if word == "rest" else [part if part == "client" else self.resolve(part) for part in word.split(",")]

        def others(chosen: list[str]) -> list[str]:
            return [name for name in [*self.lab.nodes, "client"] if name not in chosen]
        left, right = (those(word) for word in step.words)
        if left is None and right is None:
            raise RuntimeError("a cut wants nodes on one side at least")
        left = others(right or []) if left is None else left
        right = others(left) if right is None else right
        self.last_target = left[0] if left[0] != "client" else right[0]
        instant = clock()
        self.lab.partition(left, right, one_way="one-way" in step.options, port=step.options.get("port"))
        return instant

    def heal(self, _: Step) -> float:
        """Every wire is as it was."""
        self.lab.heal()
        return clock()

    def wan(self, step: Step) -> float:
        """The line of a site changes."""
        self.lab.network.set_wan(step.words[0], " ".join(f"{key}={value}" for key, value in step.options.items()))
        return clock()

    # Processes

    def pause(self, step: Step) -> float:
        """SIGSTOP to every process."""
        node, instant = self.target(step), clock()
        node.pause()
        return instant

    def resume(self, step: Step) -> float:
        """SIGCONT."""
        node, instant = self.target(step), clock()
        node.resume()
        return instant

    def freeze(self, step: Step) -> float:
        """The whole node at once, as a virtual machine."""
        node, instant = self.target(step), clock()
        node.freeze(step.name == "freeze")
        return instant

    def restart_daemon(self, step: Step) -> float:
        """In order, as after an upgrade."""
        node, instant = self.target(step), clock()
        node.signal("daemon", signal.SIGTERM)
        return instant

    def signal_process(self, step: Step) -> float:
        """Ends, stops or continues the processes of one kind."""
        node, instant = self.target(step), clock()
        number = {"kill-process": signal.SIGKILL, "stop-process": signal.SIGSTOP,
                  "continue-process": signal.SIGCONT}[step.name]
        if node.signal(step.words[1], number) == 0:
            raise RuntimeError(f"no {step.words[1]} runs on {node.name}")
        return instant

    # An operator

    def move(self, step: Step) -> float:
        """`group move`."""
        return self.command("group", "move", self.cluster.group, "--to", self.target(step).name)

    def drain(self, step: Step) -> float:
        """`node drain` and `node undrain`."""
        return self.command("node", step.name, self.target(step).name)

    def command(self, *words: str) -> float:
        """A command that must succeed."""
        instant = clock()
        self.cluster.run(self.cluster.any_node(), *words, "--yes", timeout=90)
        return instant

    def transfer(self, step: Step) -> float:
        """`leader transfer`, which may be refused."""
        to = ["--to", self.resolve(step.options["to"]), "--wait", "--timeout", "5s"] if "to" in step.options else []
        self.cluster.run(self.cluster.any_node(), "leader", "transfer", "--yes", *to, check=False)
        return clock()

    def change(self, step: Step) -> float:
        """The log grows by entries that disturb nothing."""
        self.cluster.change(int(step.options.get("count", "20")))
        return clock()

    # Disks

    def disk(self, step: Step) -> float:
        """The disk of a node fills, fails, hangs, or is mended."""
        node = self.target(step)
        instant, disk = clock(), node.disk
        if disk is None:
            raise RuntimeError(f"{node.name} has no disk that could fail")
        if step.name == "disk-full":
            disk.fill(node.path(disk.place))
        elif step.name == "disk-freed":
            disk.free(node.path(disk.place))
        else:
            {"disk-fails": disk.fail, "disk-repaired": disk.repair, "disk-hangs": disk.hang,
             "disk-answers": disk.answer}[step.name]()
        return instant

    def log(self, step: Step) -> float:
        """Copies the log directory of a node, loses it, or brings the copy back; the daemon does not see it coming."""
        node = self.target(step)
        log, copy = os.path.join(node.state, "log"), os.path.join(node.state, "log.copy")
        instant = clock()
        node.signal("daemon", signal.SIGSTOP)
        if step.name == "copy-log":
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(log, copy)
            node.signal("daemon", signal.SIGCONT)
            return instant
        shutil.rmtree(log)
        if step.name == "restore-log":
            shutil.copytree(copy, log)
        node.signal("daemon", signal.SIGKILL)
        return instant

    def copy(self, step: Step) -> float:
        """Loses the file with a node's copy, saves it with its metadata, or puts back what was saved."""
        node, instant = self.target(step), clock()
        # Without `disks` both are in the state directory, which a node that is off has too.
        copy = f"{node.directory}/state/{DATABASE}.img"
        metadata = f"{node.directory}/state/volumes/{DATABASE}.meta"
        if step.name == "copy-saved":
            for path in (copy, metadata):
                subprocess.run(["cp", "--sparse=always", path, path + ".saved"], check=True)
            return instant
        if node.is_up:
            raise RuntimeError(f"{step.name} wants {node.name} powered off first: kill {node.name}")
        if step.name == "copy-lost":
            os.unlink(copy)
            return instant
        for path in (copy, metadata) if "metadata" in step.options else (copy,):
            os.rename(path + ".saved", path)
        return instant


# name: the words that follow, the options with how each is read, and the function that does it.
FAULTS: dict[str, Word[Callable[[Faults, Step], float]]] = {
    "kill": Word((node,), {}, Faults.kill),
    "boot": Word((node,), {}, Faults.boot),
    "pause": Word((node,), {}, Faults.pause),
    "resume": Word((node,), {}, Faults.resume),
    "freeze": Word((node,), {}, Faults.freeze),
    "thaw": Word((node,), {}, Faults.freeze),
    "isolate": Word((node,), {}, Faults.isolate),
    "rejoin": Word((node,), {}, Faults.rejoin),
    "cut": Word((side, side), {"one-way": one_of("yes"), "port": number}, Faults.cut),
    "heal": Word((), {}, Faults.heal),
    "wan": Word((site,), LINE, Faults.wan),
    "kill-process": Word((node, process), {}, Faults.signal_process),
    "stop-process": Word((node, process), {}, Faults.signal_process),
    "continue-process": Word((node, process), {}, Faults.signal_process),
    "restart-daemon": Word((node,), {}, Faults.restart_daemon),
    "move": Word((node,), {}, Faults.move),
    "transfer": Word((), {"to": node}, Faults.transfer),
    "drain": Word((node,), {}, Faults.drain),
    "undrain": Word((node,), {}, Faults.drain),
    "change": Word((), {"count": number}, Faults.change),
    "disk-full": Word((node,), {}, Faults.disk),
    "disk-freed": Word((node,), {}, Faults.disk),
    "disk-fails": Word((node,), {}, Faults.disk),
    "disk-repaired": Word((node,), {}, Faults.disk),
    "disk-hangs": Word((node,), {}, Faults.disk),
    "disk-answers": Word((node,), {}, Faults.disk),
    "copy-log": Word((node,), {}, Faults.log),
    "lose-log": Word((node,), {}, Faults.log),
    "restore-log": Word((node,), {}, Faults.log),
    "role": Word((node, one_of("member", "witness", "observer")), {}, members.role),
    "replace": Word((node,), {}, members.replace),
    "recover": Word((node,), {}, members.recover),
    "come-back": Word((node,), {}, members.come_back),
    "clients-rest": Word((), {}, members.rest),
    "clients-go-on": Word((), {}, members.rest),
    "copy-lost": Word((node,), {}, Faults.copy),
    "copy-saved": Word((node,), {}, Faults.copy),
    "copy-put-back": Word((node,), {"metadata": one_of("too")}, Faults.copy),
}
