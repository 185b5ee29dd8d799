"""Questions to the database, asked from the client's namespace through the floating address."""
import os
import subprocess

from chaos.lab.shell import PYTHON, REPOSITORY, wait_until

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from chaos.workload.postgres import Connection
for row in Connection(sys.argv[2], answer=60).execute(sys.argv[3]):
    print(row[0])
"""


def ask(lab, host, statement, seconds=30):
    """The first column of what a statement answers, as texts; tried again until the database answers."""
    def attempt():
        result = subprocess.run(
            ["nsenter", f"--net=/run/netns/{lab.client_namespace}", PYTHON, "-c", PROGRAM, REPOSITORY, host, statement],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=90,
            env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
        return [result.stdout.split()] if result.returncode == 0 else None
    return wait_until(attempt, seconds, "the database answers", step=0.3)[0]


def found_rows(lab, host):
    """Every number that the database holds."""
    return [int(word) for word in ask(lab, host, "SELECT number FROM numbered")]


def grow(lab, host, megabytes):
    """Makes the database larger by about so much, in a table that nobody looks at."""
    name = f"ballast_{os.urandom(4).hex()}"
    ask(
        lab, host, f"CREATE TABLE {name} AS "
        f"SELECT sha512(number::text::bytea) || sha512((-number)::text::bytea) AS noise "
        f"FROM generate_series(1, {int(megabytes * 1e6 / 160)}) AS number", 60)
