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

FAULTS = {
    # name: (least, most) words after it
    "kill": (1, 1), "boot": (1, 1), "pause": (1, 1), "resume": (1, 1), "freeze": (1, 1), "thaw": (1, 1),
    "isolate": (1, 1), "rejoin": (1, 1), "cut": (2, 2), "heal": (0, 0), "wan": (1, 1),
    "kill-process": (2, 2), "stop-process": (2, 2), "continue-process": (2, 2), "restart-daemon": (1, 1),
    "move": (1, 1), "transfer": (0, 0), "drain": (1, 1), "undrain": (1, 1), "change": (0, 0),
    "disk-full": (1, 1), "disk-freed": (1, 1), "disk-fails": (1, 1), "disk-repaired": (1, 1), "disk-hangs": (1, 1),
    "disk-answers": (1, 1),
}
EXPECTATIONS = ("single-owner", "nothing-lost", "recovered", "undisturbed", "moved", "stayed", "healthy")


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
            for number, line in enumerate(file, 1):
                try:
                    self.take(number, line.strip())
                except (ValueError, IndexError) as error:
                    raise Mistake(f"{path}:{number}: `{line.strip()}`: {error}") from None
        if not self.why:
            raise Mistake(f"{path}: say in a # comment at the head why this scenario exists")
        if self.disks is None and any(fault.name.startswith("disk-") for fault in self.faults):
            raise Mistake(f"{path}: disks can fail only with a line such as `disks size=64` (MiB)")
        if not self.expectations:
            raise Mistake(f"{path}: it expects nothing; add expect lines")

    def take(self, number, line):
        if not line:
            return
        if line.startswith("#"):
            self.why.append(line[1:].strip())
            return
        words = line.split()
        plain = [word for word in words[1:] if "=" not in word]
        options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        if words[0] == "workload":
            if plain[0] not in ("service", "database"):
                raise ValueError("workload is service or database")
            self.workload = plain[0]
        elif words[0] == "quick":
            self.quick = True
        elif words[0] == "policy":
            self.policy.update(options)
        elif words[0] == "wan":
            self.wan[plain[0]] = " ".join(f"{key}={value}" for key, value in options.items())
        elif words[0] == "disks":
            self.disks = (int(options["size"]) << 20, options.get("at", "/var/lib/holdfast"))
        elif words[0] == "run":
            self.length = seconds(plain[0])
        elif words[0] == "expect":
            if plain[0] not in EXPECTATIONS:
                raise ValueError(f"unknown expectation; there are {', '.join(EXPECTATIONS)}")
            self.expectations.append((plain[0], options))
        elif words[0] == "at":
            if plain[1] not in FAULTS:
                raise ValueError(f"unknown fault; there are {', '.join(FAULTS)}")
            least, most = FAULTS[plain[1]]
            if not least <= len(plain) - 2 <= most:
                raise ValueError(f"{plain[1]} wants {least} words")
            text = plain[0].removeprefix("+")
            bounds = [seconds(part) for part in text.split("..")]
            self.faults.append(Fault(
                number, (bounds[0], bounds[-1]), plain[0].startswith("+"), plain[1], plain[2:], options))
        else:
            raise ValueError("a line begins with workload, policy, wan, disks, quick, at, run or expect")

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
