"""Questions to the database, asked from the client's namespace through the floating address."""
import os
import subprocess

from chaos.lab.shell import PYTHON, REPOSITORY, wait_until

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from chaos.workload.postgres import Connection
for row in Connection(sys.argv[2], answer=60).execute("SELECT number FROM numbered"):
    print(row[0])
"""


def found_rows(lab, host, seconds=30):
    """Every number that the database holds."""
    def ask():
        result = subprocess.run(
            ["nsenter", f"--net=/run/netns/{lab.client_namespace}", PYTHON, "-c", PROGRAM, REPOSITORY, host],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=90,
            env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))
        return [[int(word) for word in result.stdout.split()]] if result.returncode == 0 else None
    return wait_until(ask, seconds, "the database answers", step=0.3)[0]
