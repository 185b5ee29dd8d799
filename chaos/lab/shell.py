"""Running commands, the one clock, and naming a process so that its number cannot be mistaken after reuse."""
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard, TypeVar

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(REPOSITORY, "chaos", "build")
PYTHON = "/usr/bin/python3"

Answer = TypeVar("Answer")
Result = subprocess.CompletedProcess[str]
Identity = tuple[int, int | None]  # a process: its number, and when it was started (None: it was not there)
Say = Callable[[str], None]
Report = dict[str, Any]  # what a command of the product printed as JSON


class CommandFailed(Exception):
    """A command of the laboratory failed; the text holds what it printed."""

    def __init__(self, command: str | Sequence[str], result: Result) -> None:
        shown = command if isinstance(command, str) else " ".join(command)
        super().__init__(f"`{shown}` ended with {result.returncode}: {(result.stdout + result.stderr).strip()}")
        self.returncode = result.returncode


def run(command: str | Sequence[str], check: bool = True, timeout: float = 60, **options: Any) -> Result:
    """Runs a command (a list, or a string for bash) and returns the result with its texts."""
    arguments = ["bash", "-c", command] if isinstance(command, str) else command
    result = subprocess.run(
        arguments, stdin=options.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, timeout=timeout, **options)
    if check and result.returncode != 0:
        raise CommandFailed(command, result)
    return result


def clock() -> float:
    """Seconds of the boot clock, which every node of the laboratory shares."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wait_until(condition: Callable[[], Answer | None], seconds: float, what: str, step: float = 0.02) -> Answer:
    """Polls until `condition` answers something true, and returns it."""
    end = clock() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if clock() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(step)


def start_time(pid: int) -> int | None:
    """The start time of a process in clock ticks since boot, or None when there is none."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rsplit(")", 1)[1].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def identity(pid: int) -> Identity:
    """A process as (number, start time): the pair is never reused."""
    return (pid, start_time(pid))


def is_alive(who: Identity | None) -> TypeGuard[Identity]:
    """Whether the process with this identity still runs."""
    return who is not None and who[1] is not None and start_time(who[0]) == who[1]


def send(who: Identity | None, number: int) -> bool:
    """Sends a signal to exactly the process with this identity; true when it was there."""
    if not is_alive(who):
        return False
    try:
        os.kill(who[0], number)
        return True
    except ProcessLookupError:
        return False


def end(who: Identity | None, grace: float = 2.0) -> None:
    """Ends a process that the laboratory started: politely, then by force."""
    if not send(who, signal.SIGTERM):
        return
    deadline = clock() + grace
    while is_alive(who) and not is_zombie(who[0]) and clock() < deadline:
        time.sleep(0.01)
    send(who, signal.SIGKILL)


def is_zombie(pid: int) -> bool:
    """Whether the process has ended and only waits to be collected."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def cgroup_root() -> str:
    """The mount point of cgroup version 2."""
    with open("/proc/self/mounts") as file:
        points = [line.split()[1] for line in file if line.split()[2] == "cgroup2"]
    for wanted in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        if wanted in points:
            return wanted
    if points:
        return points[0]
    raise RuntimeError("no cgroup version 2 is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup/unified")


def compile_c(source: str, name: str, flags: Sequence[str] = ()) -> str:
    """Compiles a C helper on first use, and again when its source is newer."""
    os.makedirs(BUILD, exist_ok=True)
    target = os.path.join(BUILD, name)
    if not os.path.exists(target) or os.path.getmtime(target) < os.path.getmtime(source):
        scratch = f"{target}.{os.getpid()}"
        run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", *flags, "-o", scratch, source, "-lm"])
        os.rename(scratch, target)
    return target
