"""Inserts numbered rows through the floating address, and writes down which were acknowledged.

usage: writer.py HOST HISTORY [--pause SECONDS] [--first NUMBER] [--connect SECONDS] [--answer SECONDS]

Each line of the history is {"row": N, "try": T, "ack": T}, or {"row": N, "try": T, "lost": REASON} when nothing is
known about the row, or {"row": N, "try": T, "refused": REASON}; times are seconds of the boot clock. A number is
tried once only, so a row that is found without its acknowledgement is never mistaken for another attempt.
A line is written before the next row is tried: killing the writer loses nothing that it counted.
"""
import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
from chaos.lab.shell import clock  # noqa: E402
from chaos.workload.postgres import Connection, Refused, Unavailable  # noqa: E402

TABLE = "CREATE TABLE IF NOT EXISTS numbered (number bigint PRIMARY KEY, written timestamptz DEFAULT now())"


def connect(host: str, to_connect: float, to_answer: float) -> Connection:
    """Connects as soon as the database answers."""
    while True:
        began = time.monotonic()
        try:
            connection = Connection(host, connect=to_connect, answer=to_answer)
            connection.execute(TABLE)
            return connection
        except (Unavailable, Refused):
            time.sleep(max(0.0, 0.02 - (time.monotonic() - began)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("history")
    parser.add_argument("--pause", type=float, default=0.002)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--connect", type=float, default=0.2, help="how long a connection may take")
    parser.add_argument("--answer", type=float, default=2.0, help="how long an answer may take: longer on slow machines")
    options = parser.parse_args()
    history = os.open(options.history, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(entry: dict[str, object]) -> None:
        os.write(history, (json.dumps(entry) + "\n").encode())

    connection, number = None, options.first
    while True:
        if connection is None:
            connection = connect(options.host, options.connect, options.answer)
        tried = clock()
        try:
            connection.answer = options.answer
            connection.execute(f"INSERT INTO numbered (number) VALUES ({number})")
            note({"row": number, "try": round(tried, 6), "ack": round(clock(), 6)})
            time.sleep(options.pause)
        except Refused as error:
            note({"row": number, "try": round(tried, 6), "refused": str(error)})
            time.sleep(0.02)
        except Unavailable as error:
            note({"row": number, "try": round(tried, 6), "lost": str(error)})
            connection.close()
            connection = None
        number += 1


if __name__ == "__main__":
    main()
