"""Puts of 256 bytes with real fsync from closed-loop clients, Holdfast beside etcd in turns, and planned transfers under them."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import Any, Protocol

from common import ROOT, Cluster, Lab, clock, keep, median, progress, table, wait_until

from chaos.lab.node import Node
from chaos.lab.shell import compile_c

# Three machines that all vote and all run services: etcd has no other kind.
NODES = [("tok-1", "tokyo", "member"), ("osk-1", "osaka", "member"), ("nag-1", "nagoya", "member")]
CLIENTS = (1, 16, 64, 256)
ALONE = 4  # seconds that both clusters have to become quiet
# What is measured: Holdfast's API, etcd's own protocol, and etcd's HTTP, which is a gateway to that within the same process.
OURS, GRPC, HTTP = "holdfast", "etcd-grpc", "etcd-json"
TITLES = {OURS: "Holdfast", GRPC: "etcd, gRPC", HTTP: "etcd, HTTP"}
CLIENT_PORT, PEER_PORT = 2379, 2380


class Side(Protocol):
    """One of the two clusters."""

    def leader(self) -> str | None:
        """The node that leads."""

    def place(self, node: str) -> str:
        """Where its clients on a node connect to."""

    def transfer(self, target: str) -> None:
        """Hands leadership to a node and waits until it leads."""

    def processes(self) -> list[int]:
        """Its processes on all nodes."""


class Holdfast:
    """Three daemons."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.cluster = Cluster(lab, name="bench")
        self.cluster.form()

    def leader(self) -> str | None:
        return self.cluster.leader()

    def place(self, node: str) -> str:
        return f"{self.lab.node(node).run_directory}/api.sock"

    def transfer(self, target: str) -> None:
        self.cluster.run(target, "leader", "transfer", "--to", target, "--yes", "--wait")

    def processes(self) -> list[int]:
        return [pid for node in self.lab.nodes.values() for pid in node.find("daemon")]


class Etcd:
    """Three members with default settings beside the daemons, their data on the same file system."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        members = ",".join(f"{node.name}=http://{node.address}:{PEER_PORT}" for node in lab.nodes.values())
        for node in lab.nodes.values():
            peer, own = f"http://{node.address}:{PEER_PORT}", f"http://{node.address}:{CLIENT_PORT}"
            node.spawn(
                ["etcd", "--name", node.name, "--data-dir", "/srv/etcd", "--log-level", "error", "--logger", "zap",
                 "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", members,
                 "--listen-client-urls", f"{own},http://127.0.0.1:{CLIENT_PORT}", "--advertise-client-urls", own],
                os.path.join(node.directory, "etcd.log"))
        wait_until(self.leader, 30, "etcd has a leader", step=0.2)

    def control(self, node: Node, *words: str) -> str:
        return node.run(["env", "ETCDCTL_API=3", "etcdctl", *words], check=False, timeout=20).stdout

    def identities(self) -> tuple[dict[int, str], int]:
        """Node names by etcd's number for them, and the leader's number (0: none)."""
        found, leader = {}, 0
        for node in self.lab.nodes.values():
            text = self.control(node, "endpoint", "status", "-w", "json")
            for told in json.loads(text) if text.strip() else []:
                found[told["Status"]["header"]["member_id"]] = node.name
                leader = told["Status"].get("leader", 0)
        return found, leader

    def leader(self) -> str | None:
        found, leader = self.identities()
        return found.get(leader)

    def place(self, node: str) -> str:
        return str(CLIENT_PORT)

    def transfer(self, target: str) -> None:
        found, leader = self.identities()
        number = next(number for number, name in found.items() if name == target)
        self.control(self.lab.node(found[leader]), "move-leader", f"{number:x}")
        wait_until(lambda: self.leader() == target, 20, f"{target} leads etcd")

    def processes(self) -> list[int]:
        return [pid for node in self.lab.nodes.values() for pid, words in node.processes().items()
                if words and os.path.basename(words[0]) == "etcd"]


@dataclass
class Load:
    """Clients that run on one node."""

    lab: Lab
    program: str
    protocol: str
    side: Side
    node: str
    clients: int
    warm_up: float
    seconds: float

    def start(self) -> subprocess.Popen[str]:
        words = [self.program, self.protocol, self.side.place(self.node), str(self.clients), str(self.warm_up), str(self.seconds)]
        node = self.lab.node(self.node)
        return subprocess.Popen(node.enter() + words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                env=node.environment())

    def result(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """What the clients saw, and the processor time of the cluster's processes for each put in microseconds."""
        output, _ = process.communicate(timeout=self.warm_up + self.seconds + 60)
        if process.returncode != 0:
            raise RuntimeError(f"the clients of {self.protocol} ended with {process.returncode}")
        told: dict[str, Any] = json.loads(output)
        return told

    def run(self) -> dict[str, Any]:
        before = processor(self.side.processes())
        told = self.result(self.start())
        spent = processor(self.side.processes()) - before
        whole = max(1, told["puts"]) * (self.warm_up + self.seconds) / self.seconds  # puts of the warm-up, as far as is known
        told["members"] = spent / whole * 1e6
        told["client"] = told["processor"] / whole * 1e6
        return told


def processor(pids: list[int]) -> float:
    """Seconds that processes took of the processors so far."""
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            ticks += sum(int(word) for word in file.read().rsplit(")", 1)[1].split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def fsync_milliseconds(directory: str) -> float:
    """What one write of 512 bytes with fdatasync takes here, within a file that has its blocks; median of 200."""
    path, took = os.path.join(directory, "fsync"), []
    with open(path, "wb", buffering=0) as file:
        file.write(bytes(200 * 512))
        os.fsync(file.fileno())
        file.seek(0)
        for _ in range(200):
            began = clock()
            file.write(b"x" * 512)
            os.fdatasync(file.fileno())
            took.append((clock() - began) * 1000)
    os.remove(path)
    return median(took)


def measure_puts(lab: Lab, program: str, sides: dict[str, Side], rounds: int, warm_up: float,
                 seconds: float) -> dict[str, dict[int, list[dict[str, Any]]]]:
    """Rounds of all counts of clients, the three in turns, so that what disturbs the machine meets all."""
    values: dict[str, dict[int, list[dict[str, Any]]]] = {name: {count: [] for count in CLIENTS} for name in sides}
    for number in range(rounds):
        for count in CLIENTS:
            for name, side in sides.items():
                node = wait_until(side.leader, 20, f"{name} has a leader")
                told = Load(lab, program, name, side, node, count, warm_up, seconds).run()
                values[name][count].append(told)
                progress(f"round {number + 1} of {rounds}, {count} clients, {TITLES[name]}: {told['puts'] / seconds:.0f} puts/s")
    return values


def measure_transfers(lab: Lab, program: str, name: str, side: Side, transfers: int, pause: float) -> dict[str, Any]:
    """Sixteen clients on one node, while leadership goes from it to another and back."""
    home = wait_until(side.leader, 20, f"{name} has a leader")
    other = next(node for node in lab.nodes if node != home)
    load = Load(lab, program, name, side, home, 16, 1, pause * (transfers + 1))
    process = load.start()
    time.sleep(1)
    began = clock()
    for number in range(transfers):
        time.sleep(max(0, began + pause * (number + 1) - clock()))
        side.transfer(home if number % 2 else other)
    told = load.result(process)
    told["transfers"] = transfers
    progress(f"{transfers} transfers, {TITLES[name]}: {told['failures']} puts failed, longest gap {told['gap'] / 1000:.0f} ms")
    return told


def show_puts(values: dict[str, dict[int, list[dict[str, Any]]]], seconds: float, title: str) -> None:
    def middle(name: str, count: int, what: str) -> float:
        return median([float(told[what]) for told in values[name][count]])

    def latency(name: str, count: int, place: int) -> str:
        return f"{median([told['latencies'][place] / 1000 for told in values[name][count]]):.2f}"

    rows, costs = [], []
    for count in CLIENTS:
        row = [str(count)]
        for name in values:
            row += [f"{middle(name, count, 'puts') / seconds:.0f}", latency(name, count, 0), latency(name, count, 1)]
        ours = middle(OURS, count, "puts")
        rows.append(row + [f"{ours / middle(name, count, 'puts'):.2f}" for name in (GRPC, HTTP)])
        costs.append([str(count), *(f"{middle(name, count, 'members'):.0f}" for name in values),
                      *(f"{middle(name, count, 'client'):.0f}" for name in values)])
    head = ["clients"]
    for name in values:
        head += [f"{TITLES[name]}: puts/s", "p50 ms", "p99 ms"]
    table(title, [*head, "ratio to etcd, gRPC", "ratio to etcd, HTTP"], rows)
    titles = [TITLES[name] for name in values]
    table("Processor time for one put, microseconds: the three members together, and the clients",
          ["clients", *titles, *(f"clients of {title}" for title in titles)], costs)


def show_transfers(found: dict[str, dict[str, Any]], values: dict[str, dict[int, list[dict[str, Any]]]]) -> None:
    rows = []
    for name, told in found.items():
        undisturbed = max(told["gap"] for told in values[name][16])
        times = [f"{time / 1000:.0f}" for time in (told["gap"], told["latencies"][2], undisturbed)]
        rows.append([TITLES[name], told["transfers"], told["puts"], told["failures"] + told["unanswered"], *times,
                     told["failure"][:120].strip()])
    table("Planned transfers under 16 clients",
          ["", "transfers", "puts", "failed (wanted 0)", "longest gap ms", "slowest put ms", "gap without a transfer ms",
           "first failure"], rows)


def main(quick: bool) -> bool:
    for program in ("etcd", "etcdctl"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is missing: apt-get install etcd-server etcd-client")
    client = compile_c(os.path.join(ROOT, "Benchmarks", "closed_loop.c"), "closed_loop")
    rounds, warm_up, seconds, transfers, pause = (2, 0.5, 2.0, 4, 1.5) if quick else (5, 1.0, 4.0, 10, 2.0)
    with Lab("bench-consensus", NODES) as lab:
        fsync = fsync_milliseconds(lab.directory)
        etcd = Etcd(lab)
        sides: dict[str, Side] = {OURS: Holdfast(lab), GRPC: etcd, HTTP: etcd}
        time.sleep(ALONE)
        values = measure_puts(lab, client, sides, rounds, warm_up, seconds)
        found = {name: measure_transfers(lab, client, name, sides[name], transfers, pause) for name in sides}
    keep("consensus", {"fsync": fsync, "puts": values, "transfers": found})
    show_puts(values, seconds, f"Puts of 256 bytes, three members (medians of {rounds} × {seconds:g} s in turns; fdatasync of 512 "
                               f"bytes here: {fsync:.2f} ms)")
    show_transfers(found, values)
    ours = [told for runs in values[OURS].values() for told in runs] + [found[OURS]]
    return all(told["failures"] + told["unanswered"] == 0 for told in ours)
