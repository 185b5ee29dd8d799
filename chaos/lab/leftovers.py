"""Cleaning up after a run that was interrupted, from the state file it left. Only what is named there is touched."""
import json
import os
import shutil
import signal
import time
from typing import Any

from .shell import clock, is_alive, is_zombie, run, send

ROOT = "/var/tmp/holdfast-lab"
State = dict[str, Any]  # the state file of a laboratory
DISK_FILE = "state-disk"  # what a node's own disk is called beside its server


def write(directory: str, state: State) -> None:
    """Replaces the state file in one step."""
    path = os.path.join(directory, "state.json")
    with open(path + ".new", "w") as file:
        json.dump(state, file, indent=1)
    os.rename(path + ".new", path)


def found(purpose: str | None = None) -> list[tuple[str, State]]:
    """All state files as (directory, state); of one purpose, or of all."""
    result = []
    for name in sorted(os.listdir(ROOT)) if os.path.isdir(ROOT) else []:
        directory = os.path.join(ROOT, name)
        try:
            with open(os.path.join(directory, "state.json")) as file:
                state = json.load(file)
        except (OSError, ValueError):
            continue
        if purpose is None or state["purpose"] == purpose:
            result.append((directory, state))
    return result


def clean(purpose: str) -> None:
    """Removes what earlier runs of this purpose left; refuses while one of them is alive."""
    for directory, state in found(purpose):
        owner = state["owner"]
        is_running = is_alive(owner) and not is_zombie(owner[0])
        if is_running and not state["kept"] and owner[0] != os.getpid():
            raise SystemExit(
                f"another {purpose} run is under way (process {state['owner'][0]}); wait for it, or end that process")
        print(f"removing what an earlier {purpose} run left ({state['name']})", flush=True)
        remove(directory, state)


def remove(directory: str, state: State, keep_files: bool = False) -> None:
    """Ends the processes, then removes loop devices, namespaces, cgroup and files named in `state`."""
    devices = state["loops"] + loop_devices_below(f"/run/{state['name']}-")
    for who in reversed(state["processes"]):
        send(who, signal.SIGKILL)
    deadline = clock() + 10
    while clock() < deadline and any(is_alive(who) and not is_zombie(who[0]) for who in state["processes"]):
        time.sleep(0.02)
    kill_cgroup(state["cgroup"])
    for name, below in devices:
        if is_attached(name, below):
            run(["losetup", "-d", name], check=False)
    for name in state["namespaces"]:
        run(["ip", "netns", "del", name], check=False)
    remove_cgroup(state["cgroup"])
    try:
        os.unlink(os.path.join(directory, "state.json"))
    except OSError:
        pass
    if not keep_files:
        shutil.rmtree(directory, ignore_errors=True)


def loop_devices_below(directory: str) -> list[list[str]]:
    """Loop devices on files whose path begins so, as [name, beginning]."""
    listed = run(["losetup", "-l", "-n", "-O", "NAME,BACK-FILE"], check=False).stdout.splitlines()
    pairs = [line.partition(" ") for line in listed]
    return [[name, directory] for name, _, path in pairs if path.strip().startswith(directory)]


def is_attached(name: str, directory: str) -> bool:
    """Whether a loop device stands on a file below a node's run directory, or on one that is gone."""
    result = run(["losetup", "-n", "-O", "BACK-FILE", name], check=False)
    path = result.stdout.strip()
    # Of a file system that is gone only the last part of the path is left.
    return result.returncode == 0 and (path.startswith(directory) or path in ("/nbd", f"/{DISK_FILE}"))


def kill_cgroup(path: str) -> None:
    """Kills everything in a cgroup of the laboratory."""
    for name, text in (("cgroup.freeze", "0"), ("cgroup.kill", "1")):
        try:
            with open(os.path.join(path, name), "w") as file:
                file.write(text)
        except OSError:
            pass


def remove_cgroup(path: str) -> None:
    """Removes a tree of empty cgroups, waiting a little for the last process to be collected."""
    deadline = clock() + 5
    while os.path.isdir(path):
        for folder, _, _ in os.walk(path, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                pass
        if not os.path.isdir(path) or clock() > deadline:
            return
        time.sleep(0.05)
