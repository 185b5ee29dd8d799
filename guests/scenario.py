"""Scenario files of the rig: the language of `chaos/scenario.py`, with what happens to whole machines.

    # why this scenario exists
    nbd                         the kernel's nbd carries the volume; else a file over FUSE and a loop device do
    watchdog                    softdog is loaded, and the daemon is told of it; `watchdog hardware`: a card instead
    cache writethrough          of the guests' disks
    at 5s reboot owner
    at +10s await healthy
    at +0s shell owner ip -brief address
    expect nothing-lost

`at 5s` counts from the beginning, `at +5s` from the end of the step before; `2s..4s` is drawn from the seed. README.md
lists all steps and expectations.
"""
import dataclasses
import math
import random

from chaos.words import Mistake, Step, Word, checked, factor, length, lengths, lines_of, looked_up, one_of, seconds, step

from .faults import STEPS
from .lab.guest import CACHES

# What is said about them stands in judge.py, which looks at everything whether it is expected or not.
EXPECTATIONS: dict[str, Word[None]] = {
    "nothing-lost": Word((), {}, None),
    "gap": Word((), {"within": length, "moves": factor}, None),
    "single-owner": Word((), {}, None),
    "down": Word((), {"within": length}, None),
    "quiet-consoles": Word((), {}, None),
    "healthy": Word((), {"within": length}, None),
    "moved": Word((), {}, None),
    "stayed": Word((), {}, None),
    "undisturbed": Word((), {}, None),
}
HEADS = ("nbd", "watchdog", "cache", "formed", "repeat", "at", "run", "expect")


class Scenario:
    """A file in memory."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = path.rsplit("/", 1)[-1].removesuffix(".txt")
        self.why: list[str] = []
        self.steps: list[Step] = []
        self.expectations: list[tuple[str, dict[str, str]]] = []
        self.nbd = False
        self.watchdog = ""  # "", "software" or "hardware"
        self.repeat = 1  # how often the steps are played
        self.fresh = False  # the cluster is formed in the scenario itself, and nothing kept from before is used
        self.cache, self.length = "writeback", 10.0
        lines_of(path, self.take)
        if not self.why:
            raise Mistake(f"{path}: say in a # comment at the head why this scenario exists")
        if not self.expectations:
            raise Mistake(f"{path}: it expects nothing; add expect lines")

    def take(self, index: int, line: str) -> None:
        """One line of the file."""
        if line.startswith("#"):
            self.why.append(line[1:].strip())
        elif line:
            head, _, rest = line.partition(" ")
            if head == "at":
                self.add_step(index, rest)
            elif head == "expect":
                self.expect(rest)
            elif head not in HEADS:
                raise ValueError(f"a line begins with {', '.join(HEADS)}")
            else:
                self.set(head, rest.split())

    def set(self, head: str, words: list[str]) -> None:
        """A line about the machines, or about the run."""
        if head == "nbd":
            if words:
                raise ValueError("nbd stands alone")
            self.nbd = True
        elif head == "watchdog":
            if words not in ([], ["hardware"]):
                raise ValueError("watchdog stands alone, or is `watchdog hardware`")
            self.watchdog = words[0] if words else "software"
        elif len(words) != 1:
            raise ValueError(f"{head} wants one word")
        elif head == "run":
            self.length = seconds(words[0])
        elif head == "repeat":
            if not words[0].isdigit() or words[0] == "0":
                raise ValueError("repeat wants a number")
            self.repeat = int(words[0])
        elif head == "cache":
            one_of(*CACHES)("cache", words[0])
            self.cache = words[0]
        elif words[0] != "here":
            raise ValueError("formed is `here`, or is left out")
        else:
            self.fresh = True

    def add_step(self, index: int, text: str) -> None:
        """A line `at …`, without its head."""
        one = step(STEPS, "step", index, text)
        if one.words and one.words[0] == "all" and one.name not in ("kill", "boot"):
            raise ValueError(f"`all` is for kill and boot, not for {one.name}")
        self.steps.append(one)

    def expect(self, text: str) -> None:
        """A line `expect …`, without its head."""
        name, _, rest = text.partition(" ")
        expectation = looked_up(EXPECTATIONS, name, "expectation")
        _, options = checked(name, expectation, rest)
        if expectation.options and not options:
            raise ValueError(f"{name} wants {' or '.join(f'{key}=' for key in expectation.options)}")
        if "moves" in options and not any(one.name == "move" for one in self.steps):
            raise ValueError("moves= is a factor, and compares with a `move` above")
        self.expectations.append((name, options))

    def schedule(self, seed: int | str) -> list[tuple[float, Step]]:
        """The steps with the time before each, drawn from this seed; lengths too."""
        chance = random.Random(f"{self.name}/{seed}")
        return [(chance.uniform(*one.after), drawn(one, chance)) for one in self.steps]


def drawn(one: Step, chance: random.Random) -> Step:
    """A step whose range of lengths has become one length: as many short ones as long ones."""
    if one.name not in ("pause", "hang") or ".." not in one.words[1]:
        return one
    least, most = lengths(one.name, one.words[1])
    exactly = least * math.exp(chance.uniform(0, math.log(most / least)))
    return dataclasses.replace(one, words=[one.words[0], f"{exactly:.2f}s"])


__all__ = ["EXPECTATIONS", "Mistake", "Scenario"]
