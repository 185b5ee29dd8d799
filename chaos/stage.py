"""A cluster on which scenarios are played: faults are performed (faults.py), all is settled (settler.py) and judged."""
import os
import subprocess
import time

from .faults import Faults
from .judge import Judge, Played
from .lab.cluster import Cluster
from .lab.lab import NODES, Lab
from .lab.shell import clock, wait_until
from .scenario import Scenario
from .settler import settle
from .workload import checkers
from .workload.attribute_clients import Clients

HERE = os.path.dirname(os.path.abspath(__file__))
STALL = 0.5  # seconds for which the whole machine may stand still before times say nothing any more

# What must agree for two scenarios to share a cluster.
Make = tuple[str, list[tuple[str, str]], list[tuple[str, str]], tuple[int, str]]


class StoodStill(Exception):
    """The machine itself stood still for so long that this run says nothing about times."""

    def __init__(self, length: float, broken: checkers.Broken) -> None:
        super().__init__(f"the whole machine stood still for {length:.2f} s ({broken})")


class Stage:
    """One laboratory with one cluster, used by scenarios of the same make."""

    @staticmethod
    def make(scenario: Scenario) -> Make:
        """What must agree for two scenarios to share a cluster."""
        return (scenario.workload, sorted(scenario.policy.items()), sorted(scenario.wan.items()),
                scenario.disks or (0, ""))

    def __init__(self, scenario: Scenario, purpose: str = "chaos") -> None:
        self.made_for = Stage.make(scenario)
        wan = None
        if scenario.wan:
            wan = {site: scenario.wan.get(site, "delay=0") for _, site, _ in NODES}
        self.lab = Lab(purpose, NODES, wan=wan, disks=scenario.disks)
        self.lab.up()
        self.writer: subprocess.Popen[bytes] | None = None
        try:
            self.cluster = Cluster(self.lab, name="chaos")
            self.faults = Faults(self.cluster)
            self.cluster.form()
            self.configure(scenario)
            self.cluster.wait_running(180)
            self.history = os.path.join(self.lab.directory, "rows")
            self.reference = os.path.join(self.lab.directory, "reference")
            self.lab.client([self.cluster.heartbeat, self.reference])
            if scenario.workload == "database":
                self.cluster.wait_in_sync()
                self.start_writer()
        except BaseException:
            self.close(keep_files=True)
            raise

    def configure(self, scenario: Scenario) -> None:
        """Applies the configuration that the scenario wants."""
        takeover = scenario.policy.get("takeover", "after-lease")
        if scenario.workload == "database":
            self.cluster.apply(self.cluster.database_policy(takeover=takeover, size="384MiB"))
        else:
            self.cluster.apply(self.cluster.service_policy(
                takeover=takeover, failback=scenario.policy.get("failback", "false"),
                extra=f"timing: {{ lease: {scenario.policy['lease']} }}\n" if "lease" in scenario.policy else "",
                headless=scenario.policy.get("main-thread") == "ends"))

    def close(self, keep_files: bool = False) -> None:
        """Removes the laboratory."""
        self.lab.keep_files = keep_files
        self.lab.down()

    def start_writer(self) -> None:
        """Rows from the client, as fast as they are acknowledged."""
        self.writer = self.lab.client_python(
            os.path.join(HERE, "workload", "writer.py"), self.cluster.floating, self.history,
            log=os.path.join(self.lab.directory, "writer.log"))
        wait_until(
            lambda: len(checkers.acknowledged(checkers.read_rows(self.history))) > 20, 60,
            "the first rows are accepted")

    def play(self, scenario: Scenario, seed: int) -> str:
        """Runs the faults, settles, judges, and returns a summary; raises `Broken`, `TimeoutError` or `StoodStill`."""
        self.faults.last_target = None
        self.cluster.wait_healthy()
        if scenario.disks:
            # An operator forgives what a node failed at in the scenario before; else the group may go to none.
            self.cluster.run(self.cluster.any_node(), "group", "start", self.cluster.group, "--yes")
        for path in (self.cluster.pulses, self.reference):
            if os.path.exists(path):
                os.truncate(path, 0)
        time.sleep(0.3)
        owner_before, began = self.cluster.owner(), clock()
        clients = Clients(self.cluster, seed, scenario.clients) if scenario.clients else None
        self.faults.clients = clients
        try:
            instants: list[float] = []
            for at, fault in scenario.schedule(seed):
                time.sleep(max(0.0, began + at - clock()))
                instants.append(self.faults.perform(fault))
            time.sleep(max(0.0, began + scenario.length - clock()))
            played = Played(owner_before, began, clock(), instants, scenario.policy, self.history, self.reference,
                            self.writer, clients)
            settle(self.cluster)
            return self.judge(scenario, played)
        finally:
            if clients is not None:
                clients.ending.set()

    def judge(self, scenario: Scenario, played: Played) -> str:
        """The summary of what was expected and held; raises `Broken` or `StoodStill`."""
        try:
            return Judge(self.cluster, played).judge(scenario.expectations)
        except checkers.Broken as broken:
            # A lease that runs out because nobody could run is rightly given up; what must hold even then is safety.
            stalls = [stall for stall in checkers.read_stalls(self.reference) if stall[1] - stall[0] > STALL]
            if stalls and broken.guarantee in ("Adoption (rule L10)", "BoundedRecovery"):
                raise StoodStill(max(to - start for start, to in stalls), broken) from broken
            raise
