"""Walks through all states of a model, breadth first, and tells the shortest way to one that breaks a promise.

A model gives its first states, what each may become (with a word for the step) and what is wrong with a state, if anything.
States are hashable values. Nothing is left out but what the model's own bounds leave out.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

S = TypeVar("S", bound=Hashable)


class Model(Protocol[S]):
    """What is walked through."""

    def initial(self) -> Iterable[S]:
        """The states that it may begin in."""

    def steps(self, state: S) -> Iterable[tuple[str, S]]:
        """What may happen next, each with its name."""

    def broken(self, state: S) -> str | None:
        """The promise that this state breaks, if it breaks one."""

    def reaches(self, state: S) -> bool:
        """Whether this is a state that every other must have a way to."""


@dataclass
class Outcome:
    """What a walk found."""
    states: int
    steps: int
    # The promise that is broken, and the steps to it; nothing when all hold.
    broken: str | None = None
    trace: list[str] = field(default_factory=list)
    # The walk came to its limit of states before its end.
    unfinished: bool = False


def trace_to(model: Model[S], order: list[S], parents: list[int], last: int) -> list[str]:
    """The names of the steps that lead to a state, found anew from its forebears."""
    names: list[str] = []
    place = last
    while (parent := parents[place]) >= 0:
        names.append(next(name for name, child in model.steps(order[parent]) if child == order[place]))
        place = parent
    return names[::-1]


def explore(model: Model[S], limit: int = 3_000_000, ways: bool = False) -> Outcome:
    """Visits every state. With `ways` also looks that each has a way to one that `reaches`."""
    order = list(model.initial())
    places = {state: place for place, state in enumerate(order)}
    parents = [-1] * len(order)
    # For `ways`: from which states each is reached.
    backward: list[list[int]] = [[] for _ in order]
    steps = 0
    # The list grows while it is walked through.
    for position, state in enumerate(order):
        if (wrong := model.broken(state)) is not None:
            return Outcome(len(order), steps, wrong, trace_to(model, order, parents, position))
        for _, child in model.steps(state):
            steps += 1
            place = places.setdefault(child, len(order))
            if place == len(order):
                order.append(child)
                parents.append(position)
                if ways:
                    backward.append([])
            if ways:
                backward[place].append(position)
        if len(order) > limit:
            return Outcome(len(order), steps, unfinished=True)
    if ways and (lost := without_way(order, backward, model.reaches)) is not None:
        return Outcome(len(order), steps, "no way leads on from here", trace_to(model, order, parents, lost))
    return Outcome(len(order), steps)


def without_way(order: list[S], backward: list[list[int]], reaches: Callable[[S], bool]) -> int | None:
    """The place of the first state from which no way leads to one that `reaches`."""
    can = bytearray(len(order))
    todo = [place for place, state in enumerate(order) if reaches(state)]
    for place in todo:
        can[place] = 1
    while todo:
        for place in backward[todo.pop()]:
            if not can[place]:
                can[place] = 1
                todo.append(place)
    lost = can.find(0)
    return None if lost < 0 else lost
