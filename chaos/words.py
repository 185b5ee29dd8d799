"""What the languages of chaos/scenarios and guests/scenarios share: words with their options, times, and mistakes.

A language is a table {name: Word}: what must follow the name, which options it knows and how each is read, and what is
done about it. Whatever nobody reads is a mistake: a misspelt bound would be no bound.
"""
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Act = TypeVar("Act")
# Looks at a value, given what it is called; a `ValueError` says what is wanted instead.
Reader = Callable[[str, str], object]


class Mistake(Exception):
    """A scenario file that cannot be used: place and remedy."""


@dataclass(frozen=True)
class Word(Generic[Act]):
    """One word of a language."""

    words: tuple[Reader, ...]  # what must follow, one reader for each
    options: Mapping[str, Reader]
    act: Act  # what is done about it: a function, whose arguments the language knows
    has_rest: bool = False  # the last of its words is the rest of the line: a command as it stands


@dataclass(frozen=True)
class Step:
    """A line `at …`: when, and what."""

    line: int  # of the file
    after: tuple[float, float]  # seconds, from and to: drawn from the seed
    relative: bool  # counted from the step before
    name: str
    words: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join([self.name, *self.words, *(f"{key}={value}" for key, value in self.options.items())])


def looked_up(table: Mapping[str, Word[Act]], name: str, what: str) -> Word[Act]:
    """The word of this name."""
    if name not in table:
        raise ValueError(f"unknown {what}; there are {', '.join(table)}")
    return table[name]


def checked(name: str, word: Word[Act], text: str) -> tuple[list[str], dict[str, str]]:
    """What follows a word in its line, as words and options, each of them read by its reader."""
    plain: list[str] = []
    options: dict[str, str] = {}
    if word.has_rest:
        # The command as it stands, not its words put together again.
        plain = text.split(None, len(word.words) - 1)
    else:
        plain, options = separated(text.split())
    if len(plain) != len(word.words):
        raise ValueError(f"`{name}` wants {len(word.words)} words, not {plain}")
    for key in options:
        if key not in word.options:
            there = f"there are {', '.join(word.options)}" if word.options else "it has none"
            raise ValueError(f"unknown option `{key}` of {name}; {there}")
    for read, value in zip(word.words, plain):
        read(name, value)
    for key, value in options.items():
        word.options[key](key, value)
    return plain, options


def separated(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Plain words and options."""
    options: dict[str, str] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign:
            continue
        if key in options:
            raise ValueError(f"{key} is said twice")
        options[key] = value
    return [word for word in words if "=" not in word], options


# What a value may be

def anything(_: str, text: str) -> str:
    """Any word."""
    return text


def one_of(*values: str) -> Reader:
    """One of these; a single one is a switch."""
    def read(name: str, text: str) -> str:
        if text not in values:
            raise ValueError(f"{name} is {values[0]}, or is left out" if len(values) == 1
                             else f"{name} wants {', '.join(values[:-1])} or {values[-1]}, not `{text}`")
        return text
    return read


def number(name: str, text: str) -> int:
    """A whole number."""
    if not text.isdigit():
        raise ValueError(f"{name} wants a number, not `{text}`")
    return int(text)


def factor(name: str, text: str) -> float:
    """A number above zero, with or without a fraction."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or float(text) <= 0:
        raise ValueError(f"{name} is a factor above 0, not `{text}`")
    return float(text)


def length(_: str, text: str) -> float:
    """A length of time."""
    return seconds(text)


def lengths(_: str, text: str) -> tuple[float, float]:
    """A length of time, or a range from which one is drawn: `2s..4s`."""
    bounds = [seconds(part) for part in text.split("..")]
    if len(bounds) > 2 or bounds[0] > bounds[-1]:
        raise ValueError(f"`{text}` is no length of time and no range of two; write 250ms, or 2s..4s")
    return bounds[0], bounds[-1]


def seconds(text: str) -> float:
    """`250ms`, `3s` or `2m` in seconds."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m)", text)
    if not match:
        raise ValueError(f"`{text}` is no length of time; write 250ms, 3s or 2m")
    return float(match[1]) * {"ms": 0.001, "s": 1, "m": 60}[match[2]]


def step(table: Mapping[str, Word[Act]], what: str, line: int, text: str) -> Step:
    """A line `at TIME NAME …`, without its `at`; `what` is what the language calls a step."""
    parts = text.split(None, 2)
    if len(parts) < 2:
        raise ValueError(f"at wants a time and a {what}")
    after, name = parts[:2]
    words, options = checked(name, looked_up(table, name, what), parts[2] if len(parts) > 2 else "")
    return Step(line, lengths("at", after.removeprefix("+")), after.startswith("+"), name, words, options)


def lines_of(path: str, take: Callable[[int, str], None]) -> None:
    """Feeds every line of a file to `take`; what is wrong with one becomes a mistake that names it."""
    with open(path) as file:
        for index, line in enumerate(file, 1):
            try:
                take(index, line.strip())
            except (ValueError, IndexError) as error:
                raise Mistake(f"{path}:{index}: `{line.strip()}`: {error}") from None
