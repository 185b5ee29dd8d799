"""Scenario files: what cluster, which faults when, and what must hold afterwards.

    # why this scenario exists
    workload service|database
    policy takeover=immediate
    wan tokyo delay=20 jitter=2
    disks size=64
    at 2s..4s kill owner
    at +6s boot it
    run 15s
    expect nothing-lost

Times count from the start of the scenario; `+6s` counts from the fault before; `2s..4s` is drawn from the seed.
Nodes are named, or meant by what they do when the fault strikes: owner, standby, leader, witness, or `it`, the node
that the last fault was about. README.md lists all faults and expectations.
"""
import random
import re

LINE_KEYS = ("delay", "jitter", "loss", "rate", "queue", "cut", "reorder")  # the head of wan_relay.c
FAULTS = {
    # name: (least words, most words, the options it knows)
    "kill": (1, 1, ()), "boot": (1, 1, ()), "pause": (1, 1, ()), "resume": (1, 1, ()), "freeze": (1, 1, ()),
    "thaw": (1, 1, ()), "isolate": (1, 1, ()), "rejoin": (1, 1, ()), "cut": (2, 2, ("one-way", "port")),
    "heal": (0, 0, ()), "wan": (1, 1, LINE_KEYS),
    "kill-process": (2, 2, ()), "stop-process": (2, 2, ()), "continue-process": (2, 2, ()),
    "restart-daemon": (1, 1, ()), "move": (1, 1, ()), "transfer": (0, 0, ("to",)), "drain": (1, 1, ()),
    "undrain": (1, 1, ()), "change": (0, 0, ("count",)),
    "disk-full": (1, 1, ()), "disk-freed": (1, 1, ()), "disk-fails": (1, 1, ()), "disk-repaired": (1, 1, ()),
    "disk-hangs": (1, 1, ()), "disk-answers": (1, 1, ()),
    "copy-log": (1, 1, ()), "lose-log": (1, 1, ()), "restore-log": (1, 1, ()),
    "copy-lost": (1, 1, ()), "copy-saved": (1, 1, ()), "copy-put-back": (1, 1, ("metadata",)),
}
EXPECTATIONS = {
    # name: the options it knows
    "single-owner": ("guard",), "nothing-lost": (), "recovered": ("within", "fault", "by"), "undisturbed": (),
    "moved": (), "stayed": (), "whole": ("within",),
}
POLICIES = {"takeover": ("after-lease", "immediate"), "failback": ("true", "false"), "main-thread": ("lives", "ends"), "lease": ()}
# word at the head of a line: (least words, most words, the options it knows; None for any)
HEADS = {
    "workload": (1, 1, ()), "quick": (0, 0, ()), "policy": (0, 0, tuple(POLICIES)), "wan": (1, 1, LINE_KEYS),
    "disks": (0, 0, ("size", "at")), "run": (1, 1, ()), "expect": (1, 1, None), "at": (2, 4, None),
}


def known(options, names, of):
    """Refuses an option that nobody reads: a misspelt bound would be no bound."""
    for key in options:
        if key not in names:
            there = f"there are {', '.join(names)}" if names else "it has none"
            raise ValueError(f"unknown option `{key}` of {of}; {there}")


def number(text, what):
    """A whole number, or a sentence that says where one is wanted."""
    if not text.isdigit():
        raise ValueError(f"{what} wants a number, not `{text}`")
    return int(text)


class Mistake(Exception):
    """A scenario file that cannot be used: place and remedy."""


class Fault:
    """One line `at …`."""

    def __init__(self, line, after, relative, name, words, options):
        self.line, self.after, self.relative = line, after, relative
        self.name, self.words, self.options = name, words, options

    def __str__(self):
        return " ".join([self.name, *self.words, *(f"{key}={value}" for key, value in self.options.items())])


class Scenario:
    """A file in memory."""

    def __init__(self, path):
        self.path = path
        self.name = path.rsplit("/", 1)[-1].removesuffix(".txt")
        self.workload, self.policy, self.wan, self.disks = "service", {}, {}, None
        self.faults, self.expectations, self.length, self.quick = [], [], 10.0, False
        self.why = []
        with open(path) as file:
            for place, line in enumerate(file, 1):
                try:
                    self.take(place, line.strip())
                except (ValueError, IndexError) as error:
                    raise Mistake(f"{path}:{place}: `{line.strip()}`: {error}") from None
        if not self.why:
            raise Mistake(f"{path}: say in a # comment at the head why this scenario exists")
        if self.disks is None and any(fault.name.startswith("disk-") for fault in self.faults):
            raise Mistake(f"{path}: disks can fail only with a line such as `disks size=64` (MiB)")
        if self.disks and any(fault.name.startswith("copy-") for fault in self.faults):
            raise Mistake(f"{path}: copies are lost and put back only without a `disks` line")
        if not self.expectations:
            raise Mistake(f"{path}: it expects nothing; add expect lines")

    def take(self, number_of_line, line):
        if not line:
            return
        if line.startswith("#"):
            self.why.append(line[1:].strip())
            return
        words = line.split()
        plain = [word for word in words[1:] if "=" not in word]
        options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        if words[0] not in HEADS:
            raise ValueError(f"a line begins with {', '.join(HEADS)}")
        least, most, names = HEADS[words[0]]
        if not least <= len(plain) <= most:
            raise ValueError(f"`{words[0]}` wants {least if least == most else f'{least} to {most}'} words, not {plain}")
        if names is not None:
            known(options, names, words[0])
        if words[0] == "workload":
            if plain[0] not in ("service", "database"):
                raise ValueError("workload is service or database")
            self.workload = plain[0]
        elif words[0] == "quick":
            self.quick = True
        elif words[0] == "policy":
            for key, value in options.items():
                if key == "lease":
                    seconds(value)
                elif value not in POLICIES[key]:
                    raise ValueError(f"{key} is {' or '.join(POLICIES[key])}")
            self.policy.update(options)
        elif words[0] == "wan":
            self.wan[plain[0]] = " ".join(f"{key}={value}" for key, value in options.items())
        elif words[0] == "disks":
            if "size" not in options:
                raise ValueError("say how large, in MiB: disks size=64")
            self.disks = (number(options["size"], "size") << 20, options.get("at", "/var/lib/holdfast"))
        elif words[0] == "run":
            self.length = seconds(plain[0])
        elif words[0] == "expect":
            self.expect(plain[0], options)
        else:
            self.add_fault(number_of_line, plain, options)

    def expect(self, name, options):
        if name not in EXPECTATIONS:
            raise ValueError(f"unknown expectation; there are {', '.join(EXPECTATIONS)}")
        known(options, EXPECTATIONS[name], name)
        if "within" in options:
            seconds(options["within"])
        if "fault" in options and not 1 <= number(options["fault"], "fault") <= len(self.faults):
            raise ValueError(f"fault={options['fault']}: there are {len(self.faults)} `at` lines above")
        if options.get("guard", "stopped") != "stopped":
            raise ValueError("guard is stopped, or is left out")
        if options.get("by", "service") != "service":
            raise ValueError("by is service, or is left out")
        self.expectations.append((name, options))

    def add_fault(self, line, plain, options):
        name = plain[1]
        if name not in FAULTS:
            raise ValueError(f"unknown fault; there are {', '.join(FAULTS)}")
        least, most, names = FAULTS[name]
        if not least <= len(plain) - 2 <= most:
            raise ValueError(f"{name} wants {least} words")
        known(options, names, name)
        if options.get("metadata", "too") != "too":
            raise ValueError("metadata is too, or is left out")
        if options.get("one-way", "yes") != "yes":
            raise ValueError("one-way is yes, or is left out")
        for key in ("port", "count"):
            if key in options:
                number(options[key], key)
        text = plain[0].removeprefix("+")
        bounds = [seconds(part) for part in text.split("..")]
        self.faults.append(Fault(
            line, (bounds[0], bounds[-1]), plain[0].startswith("+"), name, plain[2:], options))

    def schedule(self, seed):
        """The faults with their instants under this seed."""
        chance = random.Random(f"{self.name}/{seed}")
        result, before = [], 0.0
        for fault in self.faults:
            at = chance.uniform(*fault.after) + (before if fault.relative else 0.0)
            result.append((at, fault))
            before = at
        return result


def seconds(text):
    """`250ms`, `3s` or `2m` in seconds."""
    match = re.fullmatch(r"([0-9.]+)(ms|s|m)", text)
    if not match:
        raise ValueError(f"`{text}` is no length of time; write 250ms, 3s or 2m")
    return float(match[1]) * {"ms": 0.001, "s": 1, "m": 60}[match[2]]
