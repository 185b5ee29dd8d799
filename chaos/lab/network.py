"""The wires: a namespace that holds one bridge per site, a port per node, and the cuts between ports."""
from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .shell import CommandFailed, compile_c, identity, run, wait_until

if TYPE_CHECKING:
    from .lab import Lab
    from .shell import Result

HERE = os.path.dirname(os.path.abspath(__file__))
TABLE = """table bridge lab {
  chain cuts { type filter hook forward priority 0; policy accept; }
}
"""


class Network:
    """All wires of one laboratory. Node ports are `p-NAME`; bridges are `b-SITE`; with a WAN, `b-wan` joins the sites.

    A WAN is a star: each site has a relay between its bridge and the core, so the delay between two sites is the
    sum of theirs, and a floating address can move between sites as on a stretched network.
    """

    def __init__(self, lab: Lab, sites: Sequence[str], wan: dict[str, str] | None = None) -> None:
        self.lab = lab
        self.namespace = f"{lab.name}-sw"
        self.sites = list(sites)
        self.wan = wan  # None, or {site: "delay=20 jitter=2 ..."}
        self.relays: dict[str, tuple[subprocess.Popen[str], str]] = {}
        self.addresses: dict[str, str] = {}  # name -> hardware address

    def up(self) -> None:
        """Creates the switch, and the relays when there is a WAN."""
        self.lab.remember("namespaces", self.namespace)
        run(["ip", "netns", "add", self.namespace])
        bridges = [f"b-{site}" for site in self.sites] + ["b-wan"] if self.wan is not None else ["b-lan"]
        for bridge in bridges:
            self.ip("link", "add", bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0",
                    "mcast_snooping", "0")
            self.ip("link", "set", bridge, "up")
        self.nft(TABLE)
        if self.wan is not None:
            for number, site in enumerate(self.sites):
                self.start_relay(number, site)

    def bridge(self, site: str) -> str:
        """The bridge that a node of `site` is plugged into."""
        return "b-lan" if self.wan is None else f"b-{site}" if site in self.sites else "b-wan"

    def ip(self, *arguments: str, check: bool = True) -> Result:
        """`ip` inside the switch."""
        return run(["ip", "-n", self.namespace, *arguments], check=check)

    def nft(self, text: str) -> None:
        """Feeds a rule file to the switch."""
        result = subprocess.run(
            ["ip", "netns", "exec", self.namespace, "nft", "-f", "-"], input=text, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if result.returncode != 0:
            result.stderr = ""
            raise CommandFailed(["nft", text.strip()], result)

    def plug_in_new(self, name: str, site: str, namespace: str, number: int) -> None:
        """Makes the wire between a fresh namespace (as eth0) and the site's bridge."""
        hardware = f"02:48:46:00:00:{number:02x}"
        self.addresses[name] = hardware
        run(["ip", "-n", self.namespace, "link", "del", f"p-{name}"], check=False)
        self.ip("link", "add", f"p-{name}", "type", "veth", "peer", "name", "eth0", "netns", namespace)
        run(["ip", "-n", namespace, "link", "set", "eth0", "address", hardware])
        self.plug_in(name, site)

    def plug_in(self, name: str, site: str) -> None:
        """The port joins its bridge."""
        self.ip("link", "set", f"p-{name}", "master", self.bridge(site), "up")

    def pull_out(self, name: str) -> None:
        """The port leaves its bridge silently: the node keeps its carrier and hears nothing any more."""
        self.ip("link", "set", f"p-{name}", "nomaster")

    def pull_out_begin(self, name: str) -> subprocess.Popen[bytes]:
        """Starts `pull_out` and returns the process, so that it can overlap with a kill."""
        return subprocess.Popen(["ip", "-n", self.namespace, "link", "set", f"p-{name}", "nomaster"])

    def cut(self, pairs: list[tuple[str, str]], port: str | None = None) -> None:
        """Drops what goes from the first to the second of each pair: all of it, or one TCP port (either end)."""
        rules = []
        for sender, receiver in pairs:
            match = f'add rule bridge lab cuts ether saddr {self.addresses[sender]} oifname "p-{receiver}"'
            if port is None:
                rules.append(f"{match} drop")
            else:
                rules += [f"{match} tcp {end} {port} drop" for end in ("dport", "sport")]
        self.nft("\n".join(rules) + "\n")

    def heal(self) -> None:
        """Removes every cut."""
        self.nft("flush chain bridge lab cuts\n")

    def start_relay(self, number: int, site: str) -> None:
        program = compile_c(os.path.join(HERE, "..", "wan", "wan_relay.c"), "wan_relay")
        control = os.path.join(self.lab.directory, f"wan-{site}.control")
        names = f"w{number}s", f"w{number}c"
        log = open(os.path.join(self.lab.directory, f"wan-{site}.log"), "ab")
        path = f"/run/netns/{self.namespace}"
        process = subprocess.Popen(
            [program, "--left", f"{path}:{names[0]}", "--right", f"{path}:{names[1]}", "--tap",
             "--control", control, "--set", (self.wan or {})[site]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True, text=True)
        log.close()
        self.lab.remember("processes", identity(process.pid))
        if process.stdout is None or process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"the WAN relay of {site} did not start; see {log.name}")
        self.ip("link", "set", names[0], "master", f"b-{site}", "up")
        self.ip("link", "set", names[1], "master", "b-wan", "up")
        self.relays[site] = (process, control)

    def set_wan(self, site: str, text: str) -> None:
        """Changes a relay while it runs: `delay=80 loss=1 cut=out`. Values are one way; `out` leaves the site."""
        import socket
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            wait_until(lambda: os.path.exists(self.relays[site][1]), 5, "the relay's control socket")
            end.sendto(text.encode(), self.relays[site][1])

    def down(self) -> None:
        """Ends the relays and removes the switch."""
        for process, _ in self.relays.values():
            process.terminate()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self.relays = {}
        run(["ip", "netns", "del", self.namespace], check=False)
