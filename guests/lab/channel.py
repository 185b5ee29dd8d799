"""The rig's end of the virtio port over which `guest_shell` in a guest runs scripts."""
import socket
import subprocess
import threading

from chaos.lab.shell import CommandFailed, clock

from .sockets import connected


class Gone(Exception):
    """The guest was booted anew, or its QEMU ended, while a script ran."""


class Script:
    """One script under way."""

    def __init__(self):
        self.output, self.status, self.is_lost = [], None, False


class Channel:
    """Scripts in one guest, from any thread. `hellos` grows by (instant, boot id) at each start of the other end."""

    def __init__(self, path, name):
        self.name, self.hellos, self.scripts, self.last = name, [], {}, 0
        self.changed = threading.Condition()
        self.sending = threading.Lock()
        self.is_open = True
        self.socket = connected(path)
        self.file = self.socket.makefile("rb")
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        """Gives each script what belongs to it."""
        try:
            while line := self.file.readline():
                words = line.decode(errors="replace").split()
                if len(words) == 3:
                    body = self.file.read(int(words[2])) if words[1] == "out" else words[2]
                    with self.changed:
                        self.take(int(words[0]), words[1], body)
                        self.changed.notify_all()
        except (OSError, ValueError):
            pass
        with self.changed:
            self.is_open = False
            self.changed.notify_all()

    def take(self, number, kind, body):
        if kind == "hello":
            self.hellos.append((clock(), body))
            for script in self.scripts.values():  # whoever ran them is gone
                script.is_lost = True
        script = self.scripts.get(number)
        if script is not None and kind == "out":
            script.output.append(body)
        elif script is not None and kind == "end":
            script.status = int(body)

    def send(self, number, what):
        with self.sending:
            self.socket.sendall(f"{number} ".encode() + what)

    def run(self, text, seconds=60, check=True):
        """Runs a bash script and returns its result; `Gone` when the guest went away under it."""
        script, body = Script(), text.encode()
        with self.changed:
            self.last += 1
            number = self.last
            self.scripts[number] = script
        try:
            try:
                self.send(number, f"{len(body)}\n".encode() + body)
            except OSError as error:
                raise Gone(f"{self.name}: {error}") from None
            with self.changed:
                self.changed.wait_for(
                    lambda: script.status is not None or script.is_lost or not self.is_open, seconds)
                if script.status is None and (script.is_lost or not self.is_open):
                    raise Gone(f"{self.name} went away while it ran: {text[:80]}")
            if script.status is None:
                self.send(number, b"kill\n")
                raise TimeoutError(f"{self.name}: not within {seconds:g} s: {text[:200]}; so far: {self.said(script)}")
        finally:
            with self.changed:
                del self.scripts[number]
        result = subprocess.CompletedProcess(text, script.status, self.said(script), "")
        if check and script.status != 0:
            raise CommandFailed([f"{self.name}:", text], result)
        return result

    @staticmethod
    def said(script):
        return b"".join(script.output).decode(errors="replace")

    def close(self):
        """Hangs up."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
