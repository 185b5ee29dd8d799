"""Scenario files: what cluster, which faults when, and what must hold afterwards.

    # why this scenario exists
    workload service|database
    policy takeover=immediate
    wan tokyo delay=20 jitter=2
    disks size=64
    attributes clients=6
    at 2s..4s kill owner
    at +6s boot it
    run 15s
    expect nothing-lost

Times count from the start of the scenario; `+6s` counts from the fault before; `2s..4s` is drawn from the seed.
Nodes are named, or meant by what they do when the fault strikes: owner, standby, leader, witness, or `it`, the node
that the last fault was about. README.md lists all faults and expectations.
"""
import random
from collections.abc import Callable

from .faults import FAULTS, LINE, site
from .judge import EXPECTATIONS
from .words import Mistake, Step, Word, anything, checked, length, lines_of, looked_up, number, one_of, seconds, step

Options = dict[str, str]


class Scenario:
    """A file in memory."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = path.rsplit("/", 1)[-1].removesuffix(".txt")
        self.workload = "service"
        self.policy: Options = {}
        self.wan: dict[str, str] = {}  # site: the settings of its line
        self.disks: tuple[int, str] | None = None  # bytes, and the directory that is on such a disk
        self.clients = 0  # who change and read attributes
        self.faults: list[Step] = []
        self.expectations: list[tuple[str, Options]] = []
        self.length = 10.0  # seconds
        self.quick = False
        self.why: list[str] = []
        lines_of(path, self.take)
        if not self.why:
            raise Mistake(f"{path}: say in a # comment at the head why this scenario exists")
        if self.disks is None and any(fault.name.startswith("disk-") for fault in self.faults):
            raise Mistake(f"{path}: disks can fail only with a line such as `disks size=64` (MiB)")
        if self.disks and any(fault.name.startswith("copy-") for fault in self.faults):
            raise Mistake(f"{path}: copies are lost and put back only without a `disks` line")
        if ("linearizable" in [name for name, _ in self.expectations]) != (self.clients > 0):
            raise Mistake(f"{path}: `expect linearizable` and a line `attributes clients=6` go together")
        if not self.expectations:
            raise Mistake(f"{path}: it expects nothing; add expect lines")

    def take(self, index: int, line: str) -> None:
        """One line of the file."""
        if line.startswith("#"):
            self.why.append(line[1:].strip())
        elif line:
            name, _, rest = line.partition(" ")
            if name == "at":
                self.faults.append(step(FAULTS, "fault", index, rest))
            elif name == "expect":
                self.expect(rest)
            elif name not in HEADS:
                raise ValueError(f"a line begins with {', '.join([*HEADS, 'at', 'expect'])}")
            else:
                words, options = checked(name, HEADS[name], rest)
                HEADS[name].act(self, words, options)

    def expect(self, text: str) -> None:
        """A line `expect …`, without its head."""
        name, _, rest = text.partition(" ")
        _, options = checked(name, looked_up(EXPECTATIONS, name, "expectation"), rest)
        if "fault" in options and not 1 <= int(options["fault"]) <= len(self.faults):
            raise ValueError(f"fault={options['fault']}: there are {len(self.faults)} `at` lines above")
        self.expectations.append((name, options))

    def set_workload(self, words: list[str], _: Options) -> None:
        """`workload …`"""
        self.workload = words[0]

    def set_quick(self, _: list[str], __: Options) -> None:
        """`quick`: one of those that run before every landing."""
        self.quick = True

    def set_policy(self, _: list[str], options: Options) -> None:
        """`policy …`"""
        self.policy.update(options)

    def set_wan(self, words: list[str], options: Options) -> None:
        """`wan SITE …`"""
        self.wan[words[0]] = " ".join(f"{key}={value}" for key, value in options.items())

    def set_disks(self, _: list[str], options: Options) -> None:
        """`disks size=MIB`"""
        if "size" not in options:
            raise ValueError("say how large, in MiB: disks size=64")
        self.disks = (int(options["size"]) << 20, options.get("at", "/var/lib/holdfast"))

    def set_clients(self, _: list[str], options: Options) -> None:
        """`attributes clients=6`"""
        if int(options.get("clients", "0")) < 1:
            raise ValueError("say how many: attributes clients=6")
        self.clients = int(options["clients"])

    def set_length(self, words: list[str], _: Options) -> None:
        """`run …`"""
        self.length = seconds(words[0])

    def schedule(self, seed: int) -> list[tuple[float, Step]]:
        """The faults with their instants under this seed."""
        chance = random.Random(f"{self.name}/{seed}")
        result, before = [], 0.0
        for fault in self.faults:
            at = chance.uniform(*fault.after) + (before if fault.relative else 0.0)
            result.append((at, fault))
            before = at
        return result


# The words at the head of a line, beside `at` and `expect`.
HEADS: dict[str, Word[Callable[[Scenario, list[str], Options], None]]] = {
    "workload": Word((one_of("service", "database"),), {}, Scenario.set_workload),
    "quick": Word((), {}, Scenario.set_quick),
    "policy": Word((), {
        "takeover": one_of("after-lease", "immediate"), "failback": one_of("true", "false"),
        "main-thread": one_of("lives", "ends"), "lease": length}, Scenario.set_policy),
    "wan": Word((site,), LINE, Scenario.set_wan),
    "disks": Word((), {"size": number, "at": anything}, Scenario.set_disks),
    "attributes": Word((), {"clients": number}, Scenario.set_clients),
    "run": Word((length,), {}, Scenario.set_length),
}
