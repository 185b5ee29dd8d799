"""The README's first cluster, pasted as printed into the terminals of three machines and of a client.

The blocks of the section are taken from README.md: what does not work there fails here. Each is pasted in one piece, so
a command that asks something swallows the line after it, as on a real terminal. Stand-ins: `swift` and `apt-get` only
look whether what they are asked for can be there, and `systemctl` starts what the installed unit says, and waits until
it is ready.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_readme.py
"""
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.cluster import binary  # noqa: E402
from chaos.lab.lab import NODES, Lab  # noqa: E402
from chaos.lab.node import Node  # noqa: E402
from chaos.lab.shell import run, wait_until  # noqa: E402

SECTION = "## The first real cluster"
SIZE = "20GiB", "2GiB"  # of the volume, in the README and here: a test has no minutes for the first comparison
REDRAWN = re.compile(r"(?m)^.*\n\x1b\[1A\x1b\[J")  # a line that the next one replaces on the screen
TOOLS = {
    "systemctl": r"""#!/usr/bin/python3
import os, re, socket, subprocess, sys
if sys.argv[1:] != ["enable", "--now", "holdfast"]:
    sys.exit(f"systemctl: unknown words {sys.argv[1:]}")
unit = open("/etc/systemd/system/holdfast.service").read()
command = re.search(r"(?m)^ExecStart=(.*)$", unit).group(1)
assert re.search(r"(?m)^Type=notify$", unit) and re.search(r"(?m)^Restart=always$", unit)
path = "/run/notify"
ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
ready.bind(path)
ready.settimeout(30)
loop = f"while true; do {command}; sleep 0.3; done"
log = open("/run/daemon.log", "ab")
subprocess.Popen(["bash", "-c", loop], env=dict(os.environ, NOTIFY_SOCKET=path), stdin=subprocess.DEVNULL, stdout=log,
                 stderr=log, start_new_session=True)
while b"READY=1" not in ready.recv(4096).split(b"\n"):
    pass
""",
    "apt-get": r"""#!/bin/bash
# Asks as the real one does where something would be installed, unless told not to.
[ "$1" = update ] && exit 0
case " $* " in *" -y "*) ;; *) read -r -p "Do you want to continue? [Y/n] " answer
    case "$answer" in ""|y|Y) ;; *) echo Abort.; exit 1 ;; esac ;; esac
exec /usr/bin/apt-get --simulate --quiet "$@"
""",
    "swift": r"""#!/bin/bash
grep -qx "	swift $*" ROOT/Makefile || { echo "the Makefile builds it otherwise"; exit 1; }
""",
}
# What a machine has to itself beside what the laboratory gives it.
OWN = r"""
set -e
mkdir -p /run/tools /run/home /run/own/systemd /run/own/common /run/own/bin
cp -a /etc/postgresql-common/. /run/own/common
rm -f /run/own/common/createcluster.conf
mount --bind /run/own/common /etc/postgresql-common
mkdir -p /etc/systemd/system
mount --bind /run/own/systemd /etc/systemd/system
mount --bind /run/own/bin /usr/local/bin
install -d -o postgres -g postgres -m 2775 /run/postgresql   # as its package does at each boot
"""


def blocks() -> list[tuple[str, str]]:
    """The section's indented blocks between blank lines, each with the prose before it."""
    with open(os.path.join(ROOT, "README.md")) as file:
        text = file.read()
    section = text.split(f"\n{SECTION}\n", 1)[1].split("\n## ", 1)[0]
    found, prose = [], ""
    for paragraph in re.split(r"\n\s*\n", section.strip("\n")):
        if paragraph.startswith("    "):
            found.append((prose, re.sub(r"(?m)^    ", "", paragraph)))
        else:
            prose = " ".join(paragraph.split())
    return found


class Terminal:
    """An interactive shell on a machine."""

    def __init__(self, name: str, words: list[str], environment: dict[str, str]) -> None:
        self.name, self.seen, self.at = name, "", 0
        master, slave = pty.openpty()
        settings = termios.tcgetattr(slave)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        termios.tcsetwinsize(slave, (50, 200))
        self.master = master
        environment = dict(environment, TERM="dumb", PROMPT_COMMAND='echo "<ended with $?>"; PS1=')
        self.process = subprocess.Popen(
            [*words, "setsid", "--ctty", "bash", "--norc", "--noediting", "-i"], stdin=slave, stdout=slave,
            stderr=slave, env=environment, start_new_session=True)
        os.close(slave)
        self.wait(r"<ended with 0>", 10)

    def send(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait(self, pattern: str, seconds: float) -> str:
        """What was printed until the pattern was seen; the next look begins behind it."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.seen[self.at:])
            if found:
                text = self.seen[self.at:self.at + found.end()]
                self.at += len(text)
                return text
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"{self.name}: no {pattern!r} within {seconds} s:\n{self.seen[self.at:]}")
            if select.select([self.master], [], [], left)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode(errors="replace").replace("\r", "")
                except OSError:
                    raise AssertionError(f"{self.name}: the shell ended:\n{self.seen[self.at:]}") from None

    def paste(self, text: str, seconds: float = 120) -> str:
        """Pastes lines at once, and says yes where the last one asks; each must end with 0. What they printed."""
        began, said = time.monotonic(), ""
        self.send(text + "\n")
        for line in text.splitlines():
            said += self.wait(r"<ended with \d+>\n|\[y/N\] $", seconds)
            if said.endswith("[y/N] "):  # of the last line, or what was pasted behind it was taken for the answer
                self.send("y\n")
                said += self.wait(r"<ended with \d+>\n", seconds)
            if not said.endswith("<ended with 0>\n"):
                raise AssertionError(f"{self.name}: pasted\n{text}\nand the line `{line}` failed:\n{said}")
        print(f"--- {self.name} ({time.monotonic() - began:.1f} s)\n{text}\n->\n{REDRAWN.sub('', said)}", flush=True)
        return said

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


class FirstCluster(unittest.TestCase):
    def setUp(self) -> None:
        self.lab = Lab("readme", NODES, subnet="10.0.0").up()
        self.addCleanup(self.lab.down)
        self.terminals: dict[str, Terminal] = {}
        for name in self.lab.nodes:
            self.prepare(self.lab.node(name))
            self.terminals[name] = self.terminal(name)
        self.left = blocks()

    def prepare(self, node: Node) -> None:
        node.run(OWN)
        for tool, text in TOOLS.items():
            path = node.path(f"/run/tools/{tool}")
            with open(path, "w") as file:
                file.write(text.replace("ROOT", ROOT))
            os.chmod(path, 0o755)
        # "Copy … to all three machines"
        run(["cp", binary(), os.path.join(ROOT, "scripts", "holdfast.service"), node.path("/run/home")])

    def terminal(self, name: str) -> Terminal:
        if name == "client":
            words, more = ["nsenter", f"--net=/run/netns/{self.lab.client_namespace}"], {}
        else:
            node = self.lab.node(name)
            words, more = [*node.enter(), "env", "--chdir=/run/home"], node.variables()
        path = "/run/tools:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        terminal = Terminal(name, words, dict(more, PATH=path, HOME="/root", LANG="C.UTF-8"))
        self.addCleanup(terminal.close)
        return terminal

    def block(self, before: str, start: str) -> str:
        """The next block; the words before it and its own first ones tell that it is the one that is meant."""
        self.assertTrue(self.left, f"the README has no block any more that begins with {start!r}")
        prose, text = self.left.pop(0)
        self.assertIn(before, prose)
        self.assertTrue(text.startswith(start), f"{text!r} was to begin with {start!r}")
        return text

    def paste(self, names: list[str], before: str, start: str, seconds: float = 120, **values: str) -> list[str]:
        text = self.block(before, start)
        for word, value in values.items():
            self.assertIn(word, text)
            text = text.replace(word, value)
        return [self.terminals[name].paste(text, seconds) for name in names]

    def configuration(self, text: str, how: str) -> None:
        with open(self.lab.node("tok-1").path("/var/lib/holdfast/cluster.yaml"), how) as file:
            file.write(text + "\n")

    def ask_database(self, line: str, *queries: str) -> list[str]:
        """What a client that was told the password sees."""
        terminal = self.terminal("client")
        terminal.send(line + "\n")
        terminal.wait("Password for user postgres: ", 20)
        terminal.send("secret\n")
        terminal.wait("postgres=# ", 20)
        said = []
        for query in queries:
            terminal.send(query + "\n")
            said.append(terminal.wait("postgres=# ", 20))
        return said

    def test_every_block_works_as_printed(self) -> None:
        self.paste(["tok-1"], "Build once", "apt-get install")
        every, members = list(self.lab.nodes), ["tok-1", "osk-1"]
        self.paste(every, "to all three machines, and there", "apt-get install")
        said = self.paste(["tok-1"], "On 10.0.0.1:", "holdfast init")[0]
        again = self.terminals["tok-1"].paste("holdfast token")
        token = re.compile(r"(?m)^\s*([A-Za-z0-9._:+/=-]{40,})\s*$")
        tokens = [found[1] for text in (said, again) if (found := token.search(text))]
        self.paste(["osk-1"], "On 10.0.0.2 and 10.0.0.3", "holdfast join TOKEN --name osk-1", TOKEN=tokens[0])
        self.paste(["wit-1"], "On 10.0.0.2 and 10.0.0.3", "holdfast join TOKEN --name wit-1", TOKEN=tokens[1])
        status = self.block("Anywhere:", "holdfast status")
        for name in every:
            healthy = "3 of 3 nodes up, any one may fail"
            wait_until(lambda: healthy in self.terminals[name].paste(status), 20, f"{name} says {healthy!r}", 1)
        self.paste(members, "On 10.0.0.1 and 10.0.0.2", "mkdir -p /etc/postgresql-common")
        document = self.block("On 10.0.0.1 write", "cluster: prod")
        self.assertIn(SIZE[0], document)
        self.configuration(document.replace(*SIZE), "w")
        self.paste(["tok-1"], "On 10.0.0.1 write", "cd /var/lib/holdfast")
        self.paste(["tok-1"], "Make the database there", "cd /")
        self.configuration(self.block("Add the rest", "      - name: db"), "a")
        self.paste(["tok-1"], "Add the rest", "holdfast apply")
        psql = self.block("From any machine", "psql")
        self.ask_database(psql, "create table kept (word text);", "insert into kept values ('precious');")
        said = self.paste(["tok-1"], "Then move it", "holdfast volume wait", 300)[0]
        self.assertEqual(self.left, [])
        self.assertIn("precious", self.ask_database(psql, "select * from kept;")[0])
        self.assertIn("10.0.0.100", self.lab.node("osk-1").run(["ip", "-brief", "address"]).stdout)


if __name__ == "__main__":
    unittest.main()
