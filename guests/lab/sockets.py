"""Connecting to the sockets that QEMU makes."""
import socket
import time


def connected(path: str, seconds: float = 20) -> socket.socket:
    """A connection to a socket that may be made, or listened at, only in a moment."""
    end = time.monotonic() + seconds
    while True:
        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(path)
            return line
        except (FileNotFoundError, ConnectionRefusedError):
            line.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
