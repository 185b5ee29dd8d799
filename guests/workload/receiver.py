"""Writes down when the guests' services were heard, by this machine's clock, in the form of `chaos/workload/checkers`.

usage: receiver.py ADDRESS PORT HISTORY

A datagram "NODE PID begin|beat|end NUMBER" becomes the line "NODE PID begin|beat|end TIME". The time is the kernel's, taken
as the datagram came in, so that a busy machine does not move it. A process that was first heard in its middle (its guest
was reverted, or the first datagram was lost) counts from then on.
"""
import os
import socket
import struct
import sys
import time

STAMP = 35  # SO_TIMESTAMPNS, and SCM_TIMESTAMPNS: Python has no name for it


def arrival(ancillary: list[tuple[int, int, bytes]]) -> float:
    """The kernel's stamp, of the wall clock, in seconds of the boot clock."""
    for _, kind, data in ancillary:
        if kind == STAMP:
            seconds, nanoseconds = struct.unpack("qq", data[:16])
            since: float = time.time() - (seconds + nanoseconds / 1e9)
            return time.clock_gettime(time.CLOCK_BOOTTIME) - max(0.0, since)
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def main() -> None:
    address, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    door.setsockopt(socket.SOL_SOCKET, STAMP, 1)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    door.bind((address, port))
    history = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    while True:
        data, ancillary, _, _ = door.recvmsg(512, 256)
        words = data.decode(errors="replace").split()
        if len(words) == 4 and words[2] in ("begin", "beat", "end"):
            os.write(history, f"{words[0]} {words[1]} {words[2]} {arrival(ancillary):.6f}\n".encode())


if __name__ == "__main__":
    main()
