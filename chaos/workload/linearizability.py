"""Could these answers have come from one register for each key, changed and read at one instant at a time?

The checker of Wing and Gong, with Lowe's improvements (G. Lowe, "Testing for linearizability", 2016): each key is judged by
itself, configurations that were seen are not looked at again, and an operation takes effect no earlier than the first return that
wants it. An operation whose outcome nobody knows may take effect at any time after it was called, or never.

A configuration is a pair: the operations that have taken effect and have not returned, and the value after them.
"""
from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

Value = str | None  # None: there is none
Configuration = tuple[frozenset[int], Value]
ABSENT = "absent"
VALUE = "value"


@dataclass(frozen=True)
class Operation:
    """What one client asked, and what it was told; times are of the clock that all clients share."""

    key: str
    kind: str  # get, put, delete
    called: float
    returned: float | None  # None: nobody knows what became of it
    value: Value = None  # of a put: what it puts
    expected: tuple[str, Value] | None = None  # only if there is none (ABSENT, None), or if it is this (VALUE, "x")
    done: bool = True  # False: it was refused, for what is there
    seen: Value = None  # of a get, and of what was refused: what is there
    where: str = ""  # who was asked, for people

    def fits(self, state: Value) -> bool:
        """Whether the state is what was expected."""
        if self.kind == "delete" and state is None:
            return False
        if self.expected is None:
            return True
        return state is None if self.expected[0] == ABSENT else state == self.expected[1]

    def apply(self, state: Value) -> tuple[bool, Value]:
        """Whether it may take effect in a state with what it was told, and the state after it."""
        if self.kind == "get":
            return state == self.seen, state
        fits = self.fits(state)
        after = (self.value if self.kind == "put" else None) if fits else state
        if self.returned is None:
            return True, after
        if self.done:
            return fits, after
        return not fits and state == self.seen, state

    @property
    def looks(self) -> bool:
        """Whether its answer says more than that it was done."""
        return self.kind == "get" or not self.done or self.expected is not None

    def __str__(self) -> str:
        wish = f"{self.kind} {self.key}" + (f" = {self.value!r}" if self.kind == "put" else "")
        if self.expected is not None:
            wish += " if there is none" if self.expected[0] == ABSENT else f" if it is {self.expected[1]!r}"
        told = "nobody knows" if self.returned is None else "done" if self.done and self.kind != "get" else f"is {self.seen!r}"
        until = "…" if self.returned is None else f"{self.returned:.4f}"
        return f"{self.called:.4f} to {until} {self.where or 'somebody'}: {wish}: {told}"


@dataclass(frozen=True)
class Fault:
    """What no register can have answered."""

    operation: Operation
    beside: list[Operation]  # what was under way with it
    possible: list[Value]  # what the register can have held before

    def __str__(self) -> str:
        beside = "".join(f"\n  beside {other}" for other in self.beside)
        return f"{self.operation}\n  although it can only have been {self.possible}{beside}"


def check(history: Iterable[Operation], first: Value = None) -> Fault | None:
    """None when the history is linearizable; `first` is what every key says before it. Raises nothing."""
    keys: dict[str, list[Operation]] = {}
    for operation in history:
        keys.setdefault(operation.key, []).append(operation)
    for key in sorted(keys):
        fault = check_key(keys[key], first)
        if fault is not None:
            return fault
    return None


def relevant(history: list[Operation]) -> list[Operation]:
    """Without what changes nothing for anybody: reads that were not answered, and puts of unknown fate whose value nobody saw.

    Whoever acted in the time of such a value would have seen it, if everything but a plain put says what it saw.
    """
    history = [operation for operation in history if operation.returned is not None or operation.kind != "get"]
    if any(operation.kind == "delete" and not operation.looks for operation in history):
        return history
    seen: set[Value] = {operation.seen for operation in history if operation.looks}
    seen |= {operation.expected[1] for operation in history if operation.expected is not None}
    return [operation for operation in history
            if operation.returned is not None or operation.kind != "put" or operation.value in seen]


def check_key(history: list[Operation], first: Value) -> Fault | None:
    """One key."""
    operations = relevant(history)
    # A call at the instant of a return counts as before it: they were under way together.
    events = sorted(
        [(operation.called, 0, place) for place, operation in enumerate(operations)]
        + [(operation.returned, 1, place) for place, operation in enumerate(operations) if operation.returned is not None])
    pending: set[int] = set()
    configurations: list[Configuration] = [(frozenset(), first)]
    for _, is_return, place in events:
        if not is_return:
            pending.add(place)
            continue
        after = ways(configurations, place, pending, operations)
        if not after:
            beside = [operations[other] for other in sorted(pending - {place})]
            possible = sorted({value for _, value in configurations}, key=lambda value: (value is not None, value))
            return Fault(operations[place], beside, possible)
        pending.discard(place)
        configurations = after
    return None


class Best:
    """Configurations without those that have spent more of what may never happen to come to the same."""

    def __init__(self, operations: list[Operation]) -> None:
        self.operations = operations
        self.kept: dict[Configuration, list[frozenset[int]]] = {}

    def add(self, configuration: Configuration) -> bool:
        """False when one that is as good, or better, was there."""
        effective, state = configuration
        spent = frozenset(place for place in effective if self.operations[place].returned is None)
        others = self.kept.setdefault((effective - spent, state), [])
        if any(other <= spent for other in others):
            return False
        others[:] = [other for other in others if not spent <= other]
        others.append(spent)
        return True

    def all(self) -> list[Configuration]:
        """What is left of them."""
        return [(owed | spent, state) for (owed, state), several in self.kept.items() for spent in several]


def ways(starts: list[Configuration], wanted: int, pending: set[int], operations: list[Operation]) -> list[Configuration]:
    """Every configuration in which `wanted` has taken effect, as late as can be; it is left out, for it returns now."""
    after, seen = Best(operations), Best(operations)
    # Those that have spent least come first, so that the others need not be followed.
    level = list(starts)
    while level:
        following: list[Configuration] = []
        for effective, state in level:
            effective |= {place for place in pending - effective if is_met(operations[place], state)}
            if wanted in effective:
                after.add((effective - {wanted}, state))
                continue
            if not seen.add((effective, state)):
                continue
            for place in pending - effective:
                may, then = operations[place].apply(state)
                # Whoever owes no return gains nothing by what changes nothing.
                if may and (then != state or operations[place].returned is not None):
                    following.append((effective | {place}, then))
        level = following
    return after.all()


def is_met(operation: Operation, state: Value) -> bool:
    """Whether it only looks, and sees just this: whenever that is so it may as well take effect, for it is in nobody's way."""
    if operation.returned is None or operation.done and operation.kind != "get":
        return False
    return operation.apply(state)[0]


def write(path: str, history: Iterable[Operation]) -> None:
    """One line of JSON for each."""
    with open(path, "w") as file:
        for operation in history:
            file.write(json.dumps(asdict(operation)) + "\n")


def read(path: str) -> list[Operation]:
    """What `write` wrote."""
    with open(path) as file:
        history = [Operation(**json.loads(line)) for line in file]
    return [operation if operation.expected is None
            else Operation(**{**asdict(operation), "expected": (operation.expected[0], operation.expected[1])})
            for operation in history]
