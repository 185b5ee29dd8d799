"""Certificates near their end are renewed while a service runs that notices nothing, also where clocks are wrong, and one
that could not be renewed stops nothing; docs/operating/identities.md.

Run by scripts/test:  python3 -m unittest Tests/EndToEnd/test_certificates.py
"""
import os
import sys
import time
import unittest
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
from chaos.lab.case import WrongClockCase  # noqa: E402
from chaos.lab.cluster import Cluster, binary  # noqa: E402
from chaos.lab.lab import NODES, Lab  # noqa: E402

YEAR = 365 * 86400
LIFE = 30  # seconds, in place of a year


@unittest.skipUnless(os.geteuid() == 0 and os.path.exists(binary()), "run as root, with the release binary built")
class Certificates(WrongClockCase):
    def setUp(self) -> None:
        self.lab = Lab("certificates", NODES).up()
        self.cluster = Cluster(self.lab, name="prod")
        self.cluster.environments = {name: {"HOLDFAST_CERTIFICATE_LIFE": str(LIFE)} for name in self.lab.nodes}

    def certificates(self, seen_by: str = "tok-1") -> dict[str, dict[str, Any]]:
        report = self.cluster.ask(seen_by, "certificates", "list")
        assert report is not None
        return {node["name"]: node for node in report["nodes"]}

    def shorten(self) -> None:
        """The founder's was made for a year by `init`, which knows nothing of the tests."""
        before = self.certificates()
        self.cluster.run("tok-1", "certificates", "renew")
        self.wait_renewed(before, ["tok-1"], 20)

    def wait_renewed(self, before: dict[str, dict[str, Any]], names: list[str], seconds: float, seen_by: str = "tok-1") -> None:
        end = time.monotonic() + seconds
        while True:
            now = self.certificates(seen_by)
            left = [name for name in names if now[name].get("fingerprint") in (None, before[name].get("fingerprint"))]
            if not left:
                return
            self.assertLess(time.monotonic(), end, f"{left} did not renew: {now}")
            time.sleep(0.5)

    def shown_by(self, name: str) -> str:
        """SHA-256 of the certificate that a new connection to a node's daemon shows, as hexadecimal digits."""
        shown = self.lab.node(name).run(
            f"openssl s_client -connect {self.lab.node(name).address}:7400 </dev/null 2>/dev/null "
            "| openssl x509 -noout -fingerprint -sha256").stdout
        return shown.split("=")[1].strip().replace(":", "").lower()

    def leases_lost(self) -> list[str]:
        return [event["sentence"] for event in self.cluster.events() if event["kind"] in ("node.silent", "node.lost")]

    def test_they_renew_themselves_and_nothing_notices(self) -> None:
        self.cluster.form()
        self.cluster.apply(self.cluster.service_policy())
        owner = self.cluster.wait_running(30)
        service = self.lab.node(owner).find("service")
        daemons = {name: self.lab.node(name).find("daemon") for name in self.lab.nodes}
        self.shorten()
        members = list(self.lab.nodes)
        for _ in range(2):
            before = self.certificates()
            self.wait_renewed(before, members, 60)
        # New connections use what the log says, with a key that is new too; the witness, which has no authority's key, as well.
        for name in members:
            for _ in range(20):
                if self.shown_by(name) == self.certificates(name)[name]["fingerprint"]:
                    break
                time.sleep(0.3)
            else:
                self.fail(f"{name} shows another certificate than it says")
            self.assertEqual(
                self.lab.node(name).run("stat -c %a /var/lib/holdfast/tls/node.pem").stdout.strip(), "600")
        self.assertEqual({name: self.lab.node(name).find("daemon") for name in members}, daemons, "nothing was restarted")
        self.assertEqual(self.lab.node(owner).find("service"), service, "the service noticed nothing")
        self.assertEqual(self.leases_lost(), [])
        told = {event["node"] for event in self.cluster.events() if event["kind"] == "node.certificate-renewed"}
        self.assertEqual(told, set(members))
        # Who was off for longer than its certificate lives comes back, and renews.
        self.lab.node("wit-1").power_off()
        before = self.certificates()
        time.sleep(LIFE + 5)
        self.cluster.return_node("wit-1")
        self.cluster.wait_status(None, self.cluster.all_up, 20, "wit-1 is back with a certificate that has ended")
        self.wait_renewed(before, ["wit-1"], 30)

    def test_where_nobody_signs_nothing_stops_and_it_is_named(self) -> None:
        self.cluster.form()
        self.cluster.apply(self.cluster.service_policy())
        owner = self.cluster.wait_running(30)
        service = self.lab.node(owner).find("service")
        self.shorten()
        for name in ("tok-1", "osk-1"):
            self.lab.node(name).run("mv /var/lib/holdfast/tls/ca.key /var/lib/holdfast/ca.key.away")
        self.cluster.wait_status(
            "tok-1", lambda status: sum("does not keep the authority's key" in text for text in status["warnings"]) == 3,
            2 * LIFE + 20, "the certificates that end are named")
        time.sleep(LIFE / 2)
        # Long after the end links are made anew, and what runs runs.
        for name in ("wit-1", "osk-1"):
            self.lab.node(name).signal("daemon", 9)
        time.sleep(2)
        self.cluster.wait_status(None, self.cluster.all_up, 20, "all are up, with certificates that have ended")
        self.assertEqual(self.lab.node(owner).find("service"), service)
        self.assertIn("node.certificate-stuck", [event["kind"] for event in self.cluster.events()])
        before = self.certificates()
        for name in ("tok-1", "osk-1"):
            self.lab.node(name).run("mv /var/lib/holdfast/ca.key.away /var/lib/holdfast/tls/ca.key")
        self.wait_renewed(before, list(self.lab.nodes), 30)
        self.cluster.wait_status(
            None, lambda status: not any("renewal" in text for text in status["warnings"]), 20, "nothing is named any more")

    def test_a_clock_that_is_wrong_stops_nothing(self) -> None:
        for name, seconds in (("osk-1", -50 * YEAR), ("wit-1", 10 * YEAR)):
            self.shift(name, seconds)
        self.cluster.form()
        self.cluster.apply(self.cluster.service_policy())
        owner = self.cluster.wait_running(30)
        service = self.lab.node(owner).find("service")
        self.shorten()
        before = self.certificates()
        self.wait_renewed(before, list(self.lab.nodes), 60)
        # Whoever signed it and whoever has it: the dates are by the clock in the middle.
        now = time.time()
        for name, certificate in self.certificates().items():
            self.assertLess(abs(certificate["endsSeconds"] - now), 3 * LIFE, f"{name}: {certificate}")
        self.assertEqual(self.lab.node(owner).find("service"), service)
        self.assertEqual(self.leases_lost(), [])


if __name__ == "__main__":
    unittest.main()
