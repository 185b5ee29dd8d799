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
import copy
import math
import random

from chaos.scenario import Fault, Mistake, known, seconds

from .lab.guest import CACHES

STEPS = {
    # name: (least words, most words, the options it knows); most None: the rest of the line is a command
    "boot": (1, 1, ("rtc", "cable")), "kill": (1, 1, ()), "reboot": (1, 1, ()), "poweroff": (1, 1, ()), "reset": (1, 1, ()),
    "pause": (2, 2, ()), "hang": (2, 2, ()), "save": (1, 1, ()), "revert": (1, 1, ()), "revert-disk": (1, 1, ()),
    "quit": (1, 1, ()), "clone": (1, 1, ()), "end-clones": (0, 0, ()),
    "isolate": (1, 1, ()), "unplug": (1, 1, ()), "heal": (0, 0, ()),
    "restart": (2, 2, ()), "stop": (2, 2, ()), "start": (2, 2, ()),
    "kill-process": (2, 2, ()), "move": (1, 1, ()), "await": (1, 1, ("within",)),
    "shell": (2, None, ()), "demand": (2, None, ()),
}
PROCESSES = ("daemon", "guard", "volume-server", "postgres", "pulse")
EXPECTATIONS = {
    # name: the options it knows
    "nothing-lost": (), "gap": ("within", "moves"), "single-owner": (), "down": ("within",), "quiet-consoles": (),
    "healthy": ("within",), "moved": (), "stayed": (), "undisturbed": (),
}
HEADS = ("nbd", "watchdog", "cache", "formed", "repeat", "at", "run", "expect")
AWAITED = ("healthy", "running", "reset")
ALL = "all"  # instead of a node, in `kill` and `boot`


class Scenario:
    """A file in memory."""

    def __init__(self, path):
        self.path = path
        self.name = path.rsplit("/", 1)[-1].removesuffix(".txt")
        self.why, self.steps, self.expectations = [], [], []
        self.nbd, self.watchdog = False, ""  # the watchdog: "", "software" or "hardware"
        self.repeat = 1  # how often the steps are played
        self.fresh = False  # the cluster is formed in the scenario itself, and nothing kept from before is used
        self.cache, self.length = "writeback", 10.0
        with open(path) as file:
            for place, line in enumerate(file, 1):
                try:
                    self.take(place, line.strip())
                except (ValueError, IndexError) as error:
                    raise Mistake(f"{path}:{place}: `{line.strip()}`: {error}") from None
        if not self.why:
            raise Mistake(f"{path}: say in a # comment at the head why this scenario exists")
        if not self.expectations:
            raise Mistake(f"{path}: it expects nothing; add expect lines")

    def take(self, place, line):
        if not line:
            return
        if line.startswith("#"):
            self.why.append(line[1:].strip())
            return
        head, *words = line.split()
        if head not in HEADS:
            raise ValueError(f"a line begins with {', '.join(HEADS)}")
        if head == "at":
            self.add_step(place, line, words)
        elif head == "expect":
            self.expect([word for word in words if "=" not in word],
                        dict(word.split("=", 1) for word in words if "=" in word))
        elif head == "watchdog":
            if words not in ([], ["hardware"]):
                raise ValueError("watchdog stands alone, or is `watchdog hardware`")
            self.watchdog = words[0] if words else "software"
        elif head in ("cache", "run", "formed", "repeat"):
            if len(words) != 1:
                raise ValueError(f"{head} wants one word")
            self.set(head, words[0])
        else:
            if words:
                raise ValueError(f"{head} stands alone")
            setattr(self, head, True)

    def set(self, head, word):
        if head == "run":
            self.length = seconds(word)
        elif head == "repeat":
            if not word.isdigit() or word == "0":
                raise ValueError("repeat wants a number")
            self.repeat = int(word)
        elif head == "cache":
            if word not in CACHES:
                raise ValueError(f"cache is {', '.join(CACHES)}")
            self.cache = word
        elif word != "here":
            raise ValueError("formed is `here`, or is left out")
        else:
            self.fresh = True

    def add_step(self, place, line, words):
        if len(words) < 2:
            raise ValueError("at wants a time and a step")
        after, name, *rest = words
        if name not in STEPS:
            raise ValueError(f"unknown step; there are {', '.join(STEPS)}")
        least, most, names = STEPS[name]
        options = {}
        if most is None:
            # The command as it stands, not its words put together again.
            rest = line.split(None, 4)[3:]
        else:
            options = dict(word.split("=", 1) for word in rest if "=" in word)
            rest = [word for word in rest if "=" not in word]
        if len(rest) < least or (most is not None and len(rest) > most):
            raise ValueError(f"{name} wants {least} words, not {rest}")
        known(options, names, name)
        if name in ("pause", "hang"):
            for part in rest[1].split(".."):
                seconds(part)
        if options.get("cable", "in") not in ("in", "out"):
            raise ValueError("cable is in or out")
        if name == "kill-process" and rest[1] not in PROCESSES:
            raise ValueError(f"the processes are {', '.join(PROCESSES)}")
        if name == "await" and rest[0] not in AWAITED:
            raise ValueError(f"await wants {', '.join(AWAITED[:-1])} or {AWAITED[-1]}")
        if "within" in options:
            seconds(options["within"])
        if rest and rest[0] == ALL and name not in ("kill", "boot"):
            raise ValueError(f"`all` is for kill and boot, not for {name}")
        bounds = [seconds(part) for part in after.removeprefix("+").split("..")]
        self.steps.append(Fault(place, (bounds[0], bounds[-1]), after.startswith("+"), name, rest, options))

    def expect(self, words, options):
        if len(words) != 1 or words[0] not in EXPECTATIONS:
            raise ValueError(f"unknown expectation; there are {', '.join(EXPECTATIONS)}")
        known(options, EXPECTATIONS[words[0]], words[0])
        if EXPECTATIONS[words[0]] and not options:
            raise ValueError(f"{words[0]} wants {' or '.join(f'{key}=' for key in EXPECTATIONS[words[0]])}")
        if "within" in options:
            seconds(options["within"])
        if "moves" in options and (float(options["moves"]) <= 0 or not any(step.name == "move" for step in self.steps)):
            raise ValueError("moves= is a factor, and compares with a `move` above")
        self.expectations.append((words[0], options))

    def schedule(self, seed):
        """The steps with the time before each, drawn from this seed; lengths too."""
        chance = random.Random(f"{self.name}/{seed}")
        return [(chance.uniform(*step.after), drawn(step, chance)) for step in self.steps]


def drawn(step, chance):
    """A step whose range of lengths has become one length: as many short ones as long ones."""
    if step.name not in ("pause", "hang") or ".." not in step.words[1]:
        return step
    least, most = (seconds(part) for part in step.words[1].split(".."))
    one = copy.copy(step)
    one.words = [step.words[0], f"{least * math.exp(chance.uniform(0, math.log(most / least))):.2f}s"]
    return one


__all__ = ["Mistake", "Scenario"]
