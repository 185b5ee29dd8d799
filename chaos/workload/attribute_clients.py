"""Clients that put, compare, delete and read attributes on every node at once, and write down what they were told.

What they write down is a history for linearizability.py. They speak to the daemons' own sockets, as every command does. Values are
used once only, so that whoever sees one knows which put it was; and versions must tell the same story.
"""
from __future__ import annotations

import http.client
import json
import random
import socket
import threading
from collections import Counter
from typing import TYPE_CHECKING

from chaos.lab.shell import Report, clock
from chaos.workload.checkers import Broken
from chaos.workload.linearizability import ABSENT, VALUE, Operation, Value, check, write

if TYPE_CHECKING:
    from chaos.lab.cluster import Cluster

PATIENCE = 2.5  # seconds for an answer: then nobody knows what became of it
PAUSE = 0.03  # at most so many seconds between two questions of one client


class Untaken(Exception):
    """The daemon was not there, so nothing was asked."""


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("holdfast", timeout=PATIENCE)
        self.path = path

    def connect(self) -> None:
        """Raises `Untaken` when nobody listens."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        try:
            self.sock.connect(self.path)
        except OSError as error:
            self.sock.close()
            raise Untaken(str(error)) from None


def exchange(path: str, method: str, target: str, body: Report | None = None) -> tuple[int, Report]:
    """One request. Raises `Untaken`, or `OSError` when nobody knows whether it was taken."""
    connection = Connection(path)
    try:
        connection.request(method, target, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        text = answer.read()
        report: Report = json.loads(text)
        return answer.status, report
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


class Clients:
    """So many clients, each a thread that asks one node after the other; `finish` judges what they were told."""

    def __init__(self, cluster: Cluster, seed: int, count: int, keys: int = 3) -> None:
        self.cluster, self.seed = cluster, seed
        # Keys of this run alone: each begins with nothing.
        self.keys = [f"run{seed}.{number}.{int(clock() * 1000)}" for number in range(keys)]
        self.members = set(cluster.members)
        self.history: list[Operation] = []
        self.told: Counter[str] = Counter()
        self.versions: dict[int, tuple[str, Value]] = {}
        self.broken: str | None = None
        self.lock, self.ending = threading.Lock(), threading.Event()
        self.going = threading.Event()
        self.going.set()
        self.threads = [threading.Thread(target=self.ask_on, args=(number,), daemon=True) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def socket_path(self, node: str) -> str:
        """Where a node's daemon answers; raises `Untaken` when the node is off."""
        try:
            there = self.cluster.lab.node(node)
            return there.path(f"{there.run_directory}/api.sock")
        except (RuntimeError, AttributeError) as error:
            raise Untaken(str(error)) from None

    def ask_on(self, number: int) -> None:
        """One client."""
        chance = random.Random(f"{self.seed}/{number}")
        names = list(self.cluster.lab.nodes)
        seen: dict[str, tuple[Value, int | None]] = {}  # what this client saw last, and its version
        made = 0
        while not self.ending.wait(chance.random() * PAUSE):
            if not self.going.wait(PATIENCE):
                continue
            node, key = chance.choice(names), chance.choice(self.keys)
            wish = chance.choice(["get"] * 5 + ["put", "swap", "swap", "swap", "delete"])
            if node not in self.members:
                wish = "get"  # a witness reads, and changes nothing
            made += 1
            self.ask(node, key, wish, f"{number}-{made}", seen, chance)

    def rest(self, is_resting: bool) -> None:
        """From now on nobody begins to ask; or all go on."""
        if is_resting:
            self.going.clear()
        else:
            self.going.set()

    def ask(self, node: str, key: str, wish: str, fresh: str, seen: dict[str, tuple[Value, int | None]],
            chance: random.Random) -> None:
        """One question, and what becomes of it."""
        value, version = seen.get(key, (None, None))
        target, body = f"/v1/attributes/cluster/{key}", Report()
        expected: tuple[str, Value] | None = None
        if wish in ("swap", "delete"):
            # Values come once only, so that a version says the same as its value.
            expected = (ABSENT, None) if value is None else (VALUE, value)
            body = ({"ifAbsent": True} if value is None
                    else {"ifVersion": version} if version and chance.random() < 0.5 else {"ifValue": value})
        if wish == "delete" and value is None:
            wish = "get"
        kind = "put" if wish == "swap" else wish
        if kind == "put":
            body["value"] = fresh
        called = clock()
        try:
            path = self.socket_path(node)
            status, report = exchange(path, "GET", target) if kind == "get" else exchange(path, "POST", f"{target}/{kind}", body)
        except Untaken:
            self.told["untaken"] += 1
            return
        except OSError:
            status, report = 0, Report()
        operation = Operation(key, kind, called, clock(), value=fresh if kind == "put" else None,
                              expected=expected if kind != "get" else None, where=node)
        self.take(operation, status, report, seen)

    def take(self, asked: Operation, status: int, report: Report, seen: dict[str, tuple[Value, int | None]]) -> None:
        """Writes down what was told."""
        value: Value
        version: int | None
        done = asked.kind == "get" or status == 200
        if status == 200 and asked.kind == "get":
            found = report["attributes"][0]
            value, version = found["value"], found["version"]
        elif status == 200:
            value, version = asked.value, int(report["index"])
        elif status == 404:
            value, version = None, None
        elif status == 409:
            present = report.get("present")
            value, version = (present["value"], present["version"]) if present else (None, None)
        else:
            self.told["unknown"] += 1
            self.unknown(asked, status)
            return
        self.told[{200: asked.kind, 404: f"{asked.kind} of nothing", 409: "refused"}[status]] += 1
        seen[asked.key] = (value, version)
        looks = asked.kind == "get" or not done
        operation = Operation(asked.key, asked.kind, asked.called, asked.returned, asked.value, asked.expected, done,
                              value if looks else None, asked.where)
        with self.lock:
            self.history.append(operation)
            if version is not None and value is not None:
                story = (asked.key, value)
                if self.versions.setdefault(version, story) != story:
                    self.broken = f"version {version} is {self.versions[version]} and {story}"

    def unknown(self, asked: Operation, status: int) -> None:
        """An answer that tells nothing: 422 says that it was not done, and all others leave it open."""
        if status == 422 or asked.kind == "get":
            return
        with self.lock:
            self.history.append(Operation(
                asked.key, asked.kind, asked.called, None, asked.value, asked.expected, True, None, asked.where))

    def finish(self, path: str) -> str:
        """Ends the clients, reads everything once more on every node, and judges; raises `Broken`."""
        self.ending.set()
        for thread in self.threads:
            thread.join(PATIENCE * 4)
        chance = random.Random(self.seed)
        for node in self.cluster.lab.nodes:
            for key in self.keys:
                self.ask(node, key, "get", "", {}, chance)
        write(path, self.history)
        fault = check(self.history)
        if fault is not None:
            raise Broken("Linearizable (rules A1, A2)", f"{fault}\n  the whole history: {path}")
        if self.broken:
            raise Broken("Linearizable (rules A1, A2)", f"{self.broken}\n  the whole history: {path}")
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self.told.items()))
        return f"{len(self.history)} answers on attributes are linearizable ({counts})"
