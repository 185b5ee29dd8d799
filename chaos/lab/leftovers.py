"""Cleaning up after a run that was interrupted, from the state file it left. Only what is named there is touched."""
import json
import os
import shutil
import signal
import time

from .shell import clock, is_alive, is_zombie, run, send

ROOT = "/var/tmp/holdfast-lab"


def write(directory, state):
    """Replaces the state file in one step."""
    path = os.path.join(directory, "state.json")
    with open(path + ".new", "w") as file:
        json.dump(state, file, indent=1)
    os.rename(path + ".new", path)


def found(purpose=None):
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


def clean(purpose):
    """Removes what earlier runs of this purpose left; refuses while one of them is alive."""
    for directory, state in found(purpose):
        if is_alive(state["owner"]) and not state["kept"] and state["owner"][0] != os.getpid():
            raise SystemExit(
                f"another {purpose} run is under way (process {state['owner'][0]}); wait for it, or end that process")
        print(f"removing what an earlier {purpose} run left ({state['name']})", flush=True)
        remove(directory, state)


def remove(directory, state, keep_files=False):
    """Ends the processes, then removes loop devices, namespaces, cgroup and files named in `state`."""
    devices = [list(device) for device in {tuple(device) for device in loop_devices_of(state) + state["loops"]}]
    for who in reversed(state["processes"]):
        send(who, signal.SIGKILL)
    deadline = clock() + 10
    while clock() < deadline and any(is_alive(who) and not is_zombie(who[0]) for who in state["processes"]):
        time.sleep(0.02)
    kill_cgroup(state["cgroup"])
    for name, backing in devices:
        if is_attached(name, backing):
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


def is_attached(name, backing):
    """Whether a loop device still stands on the FUSE mount with this device number, or on one that is gone."""
    result = run(["losetup", "-n", "-O", "BACK-MAJ:MIN,BACK-FILE", name], check=False)
    words = result.stdout.split()
    # A file system that is gone has no number any more, and its file's path is cut down to `/nbd`.
    return result.returncode == 0 and (words[:1] == [backing] or words == ["/nbd"])


def loop_devices_of(state):
    """Loop devices that stand on a FUSE mount of a node that is still up."""
    mine = set()
    for who in state["processes"]:
        if is_alive(who):
            try:
                with open(f"/proc/{who[0]}/mountinfo") as file:
                    mine |= {line.split()[2] for line in file if " - fuse" in line}
            except OSError:
                pass
    # FUSE mounts that this process sees itself belong to the machine, not to a node.
    with open("/proc/self/mountinfo") as file:
        mine -= {line.split()[2] for line in file}
    listed = run(["losetup", "-l", "-n", "-O", "NAME,BACK-MAJ:MIN"], check=False).stdout.splitlines()
    return [line.split() for line in listed if len(line.split()) == 2 and line.split()[1] in mine]


def kill_cgroup(path):
    """Kills everything in a cgroup of the laboratory."""
    for name, text in (("cgroup.freeze", "0"), ("cgroup.kill", "1")):
        try:
            with open(os.path.join(path, name), "w") as file:
                file.write(text)
        except OSError:
            pass


def remove_cgroup(path):
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
