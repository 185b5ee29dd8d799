"""Questions to the database, asked from the client's namespace through the floating address."""
import os
import subprocess
from typing import Protocol

from chaos.lab.shell import PYTHON, REPOSITORY, wait_until

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from chaos.workload.postgres import Connection
for row in Connection(sys.argv[2], answer=60).execute(sys.argv[3]):
    print(row[0])
"""


class Place(Protocol):
    """Where questions are asked from: a laboratory, or a rig of guests."""

    @property
    def client_namespace(self) -> str:
        """The network namespace that the client lives in."""


def ask(lab: Place, host: str, statement: str, seconds: float = 30) -> list[str]:
    """The first column of what a statement answers, as texts; tried again until the database answers."""
    def attempt() -> list[list[str]] | None:
        result = subprocess.run(
            ["nsenter", f"--net=/run/netns/{lab.client_namespace}", PYTHON, "-c", PROGRAM, REPOSITORY, host, statement],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=90,
            env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
        return [result.stdout.split()] if result.returncode == 0 else None
    return wait_until(attempt, seconds, "the database answers", step=0.3)[0]


def found_rows(lab: Place, host: str) -> list[int]:
    """Every number that the database holds."""
    return [int(word) for word in ask(lab, host, "SELECT number FROM numbered")]


def grow(lab: Place, host: str, megabytes: float) -> None:
    """Makes the database larger by about so much, in a table that nobody looks at."""
    name = f"ballast_{os.urandom(4).hex()}"
    ask(
        lab, host, f"CREATE TABLE {name} AS "
        f"SELECT sha512(number::text::bytea) || sha512((-number)::text::bytea) AS noise "
        f"FROM generate_series(1, {int(megabytes * 1e6 / 160)}) AS number", 60)
