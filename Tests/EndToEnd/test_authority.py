"""Another authority takes the place of the cluster's while a service runs that notices nothing. It waits for a node that is away,
and what was made with the one before opens nothing any more; docs/operating/identities.md.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_authority.py
"""
import os
import sys
import time
import unittest
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import ClusterCase  # noqa: E402
from chaos.lab.cluster import binary  # noqa: E402
from chaos.lab.lab import NODES  # noqa: E402

TLS = "/var/lib/holdfast/tls"


@unittest.skipUnless(os.geteuid() == 0 and os.path.exists(binary()), "run as root, with the release binary built")
class Authority(ClusterCase):
    purpose, nodes = "end-to-end-authority", NODES

    def report(self, seen_by: str = "tok-1") -> dict[str, Any]:
        report = self.cluster.ask(seen_by, "certificates", "list")
        assert report is not None
        return report

    def authorities(self) -> set[str]:
        return {node.get("authority", "") for node in self.report()["nodes"]}

    def wait_exchanged(self, before: set[str], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while True:
            report = self.report()
            now = {node.get("authority", "") for node in report["nodes"]}
            if len(now) == 1 and not now & before and not report["notes"]:
                return
            self.assertLess(time.monotonic(), end, f"{report}")
            time.sleep(0.5)

    def wait_note(self, text: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while text not in " ".join(self.report()["notes"]):
            self.assertLess(time.monotonic(), end, f"{text}: {self.report()}")
            time.sleep(0.3)

    def rotate(self, *words: str, code: int = 0, on: str = "tok-1") -> str:
        result = self.cluster.run(on, "certificates", "rotate", *words, check=False)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result.stdout + result.stderr

    def opens(self, pair: str, node: str = "osk-1") -> bool:
        """Whether a copied pair of certificate and key still opens a node's door."""
        address = self.lab.node(node).address
        result = self.lab.node("tok-1").run(
            f"(sleep 1) | timeout 5 openssl s_client -connect {address}:7400 -cert {pair}.crt -key {pair}.key -tls1_3 2>&1",
            check=False)
        return "alert" not in result.stdout

    def lines(self, name: str, text: str) -> int:
        with open(self.lab.node(name).daemon_log, encoding="utf-8", errors="replace") as file:
            return sum(text in line for line in file)

    def test_another_authority(self) -> None:
        self.cluster.apply(self.cluster.service_policy(nodes=["tok-1", "osk-1"]))
        self.assertEqual(self.cluster.wait_running(30), "tok-1")
        service = self.lab.node("tok-1").find("service")
        daemons = {name: self.lab.node(name).find("daemon") for name in self.lab.nodes}
        links = {name: self.lines(name, "linked to") for name in self.lab.nodes}
        # What a thief has.
        self.lab.node("tok-1").run(f"cd /var/lib/holdfast; cp {TLS}/node.crt stolen.crt; cp {TLS}/node.key stolen.key")
        self.assertTrue(self.opens("/var/lib/holdfast/stolen"))
        before = self.authorities()
        self.assertIn("once every node trusts it", self.rotate("--dry-run"))
        self.assertEqual(self.authorities(), before)
        self.rotate()
        self.wait_exchanged(before)
        # Each node drops the one before within a second of the entry that says so.
        for _ in range(5):
            if not self.opens("/var/lib/holdfast/stolen"):
                break
        else:
            self.fail("what was copied still opens a door")
        self.assertEqual({name: self.lab.node(name).find("daemon") for name in self.lab.nodes}, daemons, "nothing was restarted")
        self.assertEqual({name: self.lines(name, "linked to") for name in self.lab.nodes}, links, "no link was made anew")
        self.assertEqual(self.lab.node("tok-1").find("service"), service, "the service noticed nothing")
        for name in ("tok-1", "osk-1"):
            names = self.lab.node(name).run(f"ls {TLS}").stdout.split()
            self.assertEqual(names, ["ca.crt", "ca.key", "node.crt", "node.key", "node.pem"])
        self.assertNotIn("ca.key", self.lab.node("wit-1").run(f"ls {TLS}").stdout)
        self.away()
        self.taken_back()
        # Links are made anew, and somebody joins, with the new one alone.
        for name in ("osk-1", "wit-1"):
            self.lab.node(name).signal("daemon", 9)
        time.sleep(2)
        self.cluster.wait_status(None, self.cluster.all_up, 30, "all are up again")
        token = self.cluster.ask("osk-1", "token")
        assert token is not None and "token" in token
        self.given_up()
        kinds = [event["kind"] for event in self.cluster.events()]
        self.assertEqual(kinds.count("cluster.authority-exchanged"), 3)
        self.assertNotIn("node.silent", [
            event["kind"] for event in self.cluster.events() if event.get("node") in ("tok-1", "osk-1")])

    def away(self) -> None:
        """A node that is off keeps the exchange where it is, and is named; when it is back it goes on."""
        before = self.authorities()
        self.lab.node("wit-1").power_off()
        self.cluster.wait_status("tok-1", lambda status: any(
            node["name"] == "wit-1" and node["state"] != "up" for node in status["nodes"]), 30, "wit-1 is down")
        self.assertIn("It waits for wit-1, which is not up", self.rotate())
        self.wait_note("it waits for wit-1 to trust it")
        time.sleep(3)
        self.assertEqual(self.authorities(), before, "no certificate is of it before every node trusts it")
        self.assertIn("another authority is coming already", self.rotate(code=6))
        self.cluster.return_node("wit-1")
        self.wait_exchanged(before)
        self.cluster.wait_status(None, self.cluster.all_up, 30, "all are up")

    def taken_back(self) -> None:
        before = self.authorities()
        self.lab.node("wit-1").power_off()
        self.rotate()
        self.wait_note("it waits for wit-1 to trust it")
        self.rotate("--cancel", on="osk-1")
        self.cluster.return_node("wit-1")
        self.cluster.wait_status(None, self.cluster.all_up, 30, "all are up")
        time.sleep(3)
        self.assertEqual(self.authorities(), before)
        self.assertEqual(self.lab.node("tok-1").run(f"grep -c BEGIN {TLS}/ca.crt").stdout.strip(), "1")
        self.assertIn("no other authority is coming", self.rotate("--cancel", code=6))

    def given_up(self) -> None:
        """Without a node that does not come back the exchange goes on; then it is locked out, and replaced."""
        before = self.authorities()
        self.lab.node("wit-1").power_off()
        self.cluster.wait_status("tok-1", lambda status: any(
            node["name"] == "wit-1" and node["state"] != "up" for node in status["nodes"]), 30, "wit-1 is down")
        self.rotate()
        self.wait_note("it waits for wit-1 to trust it")
        self.assertIn("has to join anew", self.rotate("--without", "wit-1"))
        end = time.monotonic() + 60
        while self.report()["notes"]:
            self.assertLess(time.monotonic(), end, f"{self.report()}")
            time.sleep(0.5)
        members = {node["authority"] for node in self.report()["nodes"] if node["name"] != "wit-1"}
        self.assertEqual(len(members), 1)
        self.assertFalse(members & before)
        # The machine comes as another one in its place, by a token of the new authority.
        node = self.lab.node("wit-1")
        node.boot()
        node.run("rm -rf /var/lib/holdfast/* /var/lib/holdfast/.[a-z]*", check=False)
        token = self.cluster.ask("osk-1", "token")
        assert token is not None
        result = self.cluster.run(
            "wit-1", "join", token["token"], "--name", "wit-1", "--site", node.site, "--role", "witness",
            "--address", f"{node.address}:7400", "--replace", check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.cluster.start_daemon("wit-1")
        self.cluster.wait_status("tok-1", lambda status: any(
            n["name"] == "wit-1" and n["state"] == "up" for n in status["nodes"]), 40, "the new wit-1 is up")


if __name__ == "__main__":
    unittest.main()
