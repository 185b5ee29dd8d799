"""The few messages of PostgreSQL's protocol (version 3) that a writer needs, with a limit on every wait.

An ordinary client library rounds its connect timeout to seconds, which would hide what is measured here.
"""
import socket
import struct
import time


class Unavailable(Exception):
    """The server cannot be reached, is starting, or stopped answering: nothing is known about the last statement."""


class Refused(Exception):
    """The server answered the statement with an error, so it did not happen."""


class Connection:
    """One session, user postgres, trust authentication."""

    def __init__(self, host: str, port: int = 5432, database: str = "postgres", connect: float = 0.25, answer: float = 2.0) -> None:
        self.answer = answer
        try:
            self.socket = socket.create_connection((host, port), connect)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.settimeout(answer)
            body = struct.pack("!I", 196608) + f"user\0postgres\0database\0{database}\0\0".encode()
            self.socket.sendall(struct.pack("!I", len(body) + 4) + body)
            self.buffer = b""
            self.collect()
        except OSError as error:
            self.close()
            raise Unavailable(str(error)) from error
        except (Refused, Unavailable) as error:
            self.close()
            raise Unavailable(str(error)) from error

    def close(self) -> None:
        """Ends the session without a word."""
        try:
            self.socket.close()
        except (OSError, AttributeError):
            pass

    def execute(self, statement: str) -> list[list[str | None]]:
        """Runs one statement and returns its rows as lists of texts."""
        body = statement.encode() + b"\0"
        try:
            self.socket.sendall(b"Q" + struct.pack("!I", len(body) + 4) + body)
            return self.collect()
        except OSError as error:
            raise Unavailable(str(error)) from error

    def read(self, count: int, deadline: float) -> bytes:
        while len(self.buffer) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Unavailable(f"no answer within {self.answer:g} s")
            self.socket.settimeout(left)
            piece = self.socket.recv(65536)
            if not piece:
                raise Unavailable("the server closed the connection")
            self.buffer += piece
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def collect(self) -> list[list[str | None]]:
        """Reads until the server is ready again."""
        rows: list[list[str | None]] = []
        refusal = None
        deadline = time.monotonic() + self.answer
        while True:
            kind, length = struct.unpack("!cI", self.read(5, deadline))
            body = self.read(length - 4, deadline)
            if kind == b"Z":
                if refusal:
                    raise Refused(refusal)
                return rows
            if kind == b"E":
                refusal = "; ".join(part[1:].decode(errors="replace") for part in body.split(b"\0") if part[:1] == b"M")
                severity = [part for part in body.split(b"\0") if part[:1] == b"V"]
                if severity and severity[0] in (b"VFATAL", b"VPANIC"):
                    raise Unavailable(refusal)
            elif kind == b"R" and struct.unpack("!I", body[:4])[0] != 0:
                raise Unavailable("the server wants a password; this client expects `trust`")
            elif kind == b"D":
                rows.append(self.row(body))

    @staticmethod
    def row(body: bytes) -> list[str | None]:
        fields: list[str | None] = []
        position = 2
        for _ in range(struct.unpack("!H", body[:2])[0]):
            length = struct.unpack("!i", body[position:position + 4])[0]
            position += 4
            if length < 0:
                fields.append(None)
            else:
                fields.append(body[position:position + length].decode())
                position += length
        return fields
