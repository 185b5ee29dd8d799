"""Faults that operators make on purpose: nodes become something else, are replaced, and a lost majority is left behind."""
from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from .lab.shell import clock, wait_until
from .words import Step

if TYPE_CHECKING:
    from .faults import Faults


def role(faults: Faults, step: Step) -> float:
    """`node set --role`: who votes changes with it."""
    return faults.command("node", "set", faults.target(step).name, "--role", step.words[1], "--allow-worse")


def replace(faults: Faults, step: Step) -> float:
    """A machine that is off burns down; an empty one takes its name, once the others have given its life up."""
    node, cluster = faults.target(step), faults.cluster
    if node.is_up:
        raise RuntimeError(f"replace wants {node.name} powered off first: kill {node.name}")
    instant = clock()
    state = os.path.join(node.directory, "state")
    for entry in os.listdir(state):
        path = os.path.join(state, entry)
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    cluster.wait_status(
        None, lambda status: any(n["name"] == node.name and n["state"] == "lost" for n in status["nodes"]), 30,
        f"{node.name} is lost")
    issuer = next(name for name in cluster.living() if os.path.exists(os.path.join(faults.lab.node(name).state, "tls", "ca.key")))
    told = cluster.ask(issuer, "node", "replace", node.name)
    if not told:
        raise RuntimeError(f"{issuer} does not say how {node.name} is replaced")
    node.boot()
    cluster.run(node.name, *told["command"][1:])
    cluster.start_daemon(node.name)
    return instant


def recover(faults: Faults, step: Step) -> float:
    """`cluster recover` on a survivor: every node that is off is given up."""
    survivor, cluster, instant = faults.target(step).name, faults.cluster, clock()
    dead = [word for name, node in faults.lab.nodes.items() if not node.is_up for word in ("--dead", name)]
    wait_until(lambda: "To go on" in cluster.run(survivor, "cluster", "recover", "--preview", check=False).stdout, 30,
               f"{survivor} sees that the majority is lost")
    order = ("cluster", "recover", "--execute", *dead, "--start-although-unproven")
    unsigned = cluster.run(survivor, *order, check=False)
    statement = (unsigned.stdout + unsigned.stderr).split('--statement "')[1].split('"')[0]
    cluster.run(survivor, *order, "--statement", statement)
    return instant


def come_back(faults: Faults, step: Step) -> float:
    """`cluster rejoin` on a node that was left behind, once it knows that."""
    node, instant = faults.target(step).name, clock()
    wait_until(lambda: "was left behind by generation" in faults.cluster.run(node, "status", check=False).stdout, 30,
               f"{node} knows that it was left behind")
    faults.cluster.run(node, "cluster", "rejoin", "--yes")
    return instant


def rest(faults: Faults, step: Step) -> float:
    """Clients of attributes ask for nothing, or go on: what a lost majority alone knows is lost with it."""
    if faults.clients is None:
        raise RuntimeError("there are clients only with a line `attributes`")
    faults.clients.rest(step.name == "clients-rest")
    return clock()
