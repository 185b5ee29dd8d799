"""Connections to the API of a daemon, for tests that ask more often than commands can."""
import http.client
import socket


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket, as every command speaks."""

    def __init__(self, path: str) -> None:
        super().__init__("holdfast", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(self.path)
