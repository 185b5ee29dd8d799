"""A cluster on which scenarios are played: performs their faults, then settles and checks."""
import os
import shutil
import signal
import subprocess
import time

from .lab.cluster import DATABASE, Cluster
from .lab.lab import Lab
from .lab.shell import clock, identity, wait_until
from .workload import checkers
from .workload.database import found_rows

NODES = [("tok-1", "tokyo", "member"), ("osk-1", "osaka", "member"), ("wit-1", "nagoya", "witness")]
HERE = os.path.dirname(os.path.abspath(__file__))
SLACK = 0.030  # a guard that was itself stopped may be scheduled this much later than the service


STALL = 0.5  # seconds for which the whole machine may stand still before times say nothing any more


class StoodStill(Exception):
    """The machine itself stood still for so long that this run says nothing about times."""

    def __init__(self, length, broken):
        super().__init__(f"the whole machine stood still for {length:.2f} s ({broken})")


class Stage:
    """One laboratory with one cluster, used by scenarios of the same make."""

    @staticmethod
    def make(scenario):
        """What must agree for two scenarios to share a cluster."""
        return (scenario.workload, sorted(scenario.policy.items()), sorted(scenario.wan.items()),
                scenario.disks or (0, ""))

    def __init__(self, scenario, purpose="chaos"):
        self.made_for = Stage.make(scenario)
        wan = None
        if scenario.wan:
            wan = {site: scenario.wan.get(site, "delay=0") for _, site, _ in NODES}
        self.lab = Lab(purpose, NODES, wan=wan, disks=scenario.disks)
        self.lab.up()
        self.writer, self.last_target = None, None
        try:
            self.cluster = Cluster(self.lab, name="chaos")
            self.cluster.form()
            takeover = scenario.policy.get("takeover", "after-lease")
            if scenario.workload == "database":
                self.cluster.apply(self.cluster.database_policy(takeover=takeover, size="384MiB"))
            else:
                self.cluster.apply(self.cluster.service_policy(
                    takeover=takeover, failback=scenario.policy.get("failback", "false"),
                    extra=f"timing: {{ lease: {scenario.policy['lease']} }}\n" if "lease" in scenario.policy else "",
                    headless=scenario.policy.get("main-thread") == "ends"))
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

    def close(self, keep_files=False):
        """Removes the laboratory."""
        self.lab.keep_files = keep_files
        self.lab.down()

    def start_writer(self):
        self.writer = self.lab.client_python(
            os.path.join(HERE, "workload", "writer.py"), self.cluster.floating, self.history,
            log=os.path.join(self.lab.directory, "writer.log"))
        wait_until(
            lambda: len(checkers.acknowledged(checkers.read_rows(self.history))) > 20, 60,
            "the first rows are accepted")

    # Faults

    def resolve(self, word):
        """The node that a word means at this moment."""
        if word in self.lab.nodes:
            return word
        if word == "it":
            if self.last_target is None:
                raise RuntimeError("`it` is used before any fault named a node")
            return self.last_target
        if word == "witness":
            return next(node.name for node in self.lab.nodes.values() if node.role == "witness")
        owner = self.cluster.owner()
        if word == "owner":
            return owner
        if word == "standby":
            return next(name for name in self.cluster.members if name != owner)
        if word == "leader":
            return self.cluster.leader()
        raise RuntimeError(f"`{word}` is no node; use a name, owner, standby, leader, witness or it")

    def perform(self, fault):
        """Does what a fault line says, and returns the instant at which it took effect."""
        words, name = fault.words, fault.name
        if name == "heal":
            self.lab.heal()
            return clock()
        if name == "wan":
            self.lab.network.set_wan(words[0], " ".join(f"{k}={v}" for k, v in fault.options.items()))
            return clock()
        if name == "transfer":
            to = ["--to", self.resolve(fault.options["to"]), "--wait", "--timeout", "5s"] if fault.options else []
            self.cluster.run(self.cluster.any_node(), "leader", "transfer", "--yes", *to, check=False)
            return clock()
        if name == "change":
            self.cluster.change(int(fault.options.get("count", "20")))
            return clock()
        if name == "cut":
            return self.cut(words, fault.options)
        target = self.resolve(words[0])
        self.last_target = target
        node = self.lab.node(target)
        if name == "kill":
            return node.power_off()
        if name == "boot":
            if not node.is_up:
                self.cluster.return_node(target)
            return clock()
        if name == "isolate":
            return self.lab.isolate(target)
        if name == "rejoin":
            self.lab.rejoin(target)
            return clock()
        if name in ("move", "drain", "undrain"):
            verb = ["group", "move", self.cluster.group, "--to", target] if name == "move" else ["node", name, target]
            instant = clock()
            self.cluster.run(self.cluster.any_node(), *verb, "--yes", timeout=90)
            return instant
        if name.startswith("disk-"):
            return self.act_on_disk(name, node)
        if name.endswith("-log"):
            return self.act_on_log(name, node)
        if name.startswith("copy-"):
            return self.act_on_copy(name, node, fault.options)
        return self.act_on_processes(name, node, words[1:])

    def act_on_disk(self, name, node):
        instant, disk = clock(), node.disk
        if name == "disk-full":
            disk.fill(node.path(disk.place))
        elif name == "disk-freed":
            disk.free(node.path(disk.place))
        else:
            {"disk-fails": disk.fail, "disk-repaired": disk.repair, "disk-hangs": disk.hang,
             "disk-answers": disk.answer}[name]()
        return instant

    def act_on_log(self, name, node):
        """Copies the log directory of a node, loses it, or brings the copy back; the daemon does not see it coming."""
        log, copy = os.path.join(node.state, "log"), os.path.join(node.state, "log.copy")
        instant = clock()
        node.signal("daemon", signal.SIGSTOP)
        if name == "copy-log":
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(log, copy)
            node.signal("daemon", signal.SIGCONT)
            return instant
        shutil.rmtree(log)
        if name == "restore-log":
            shutil.copytree(copy, log)
        node.signal("daemon", signal.SIGKILL)
        return instant

    def act_on_copy(self, name, node, options):
        """Loses the file with a node's copy, saves it with its metadata, or puts back what was saved."""
        instant = clock()
        # Without `disks` both are in the state directory, which a node that is off has too.
        copy = f"{node.directory}/state/{DATABASE}.img"
        metadata = f"{node.directory}/state/volumes/{DATABASE}.meta"
        if name == "copy-saved":
            for path in (copy, metadata):
                subprocess.run(["cp", "--sparse=always", path, path + ".saved"], check=True)
            return instant
        if node.is_up:
            raise RuntimeError(f"{name} wants {node.name} powered off first: kill {node.name}")
        if name == "copy-lost":
            os.unlink(copy)
            return instant
        for path in (copy, metadata) if options.get("metadata") else (copy,):
            os.rename(path + ".saved", path)
        return instant

    def act_on_processes(self, name, node, words):
        instant = clock()
        if name == "pause":
            node.pause()
        elif name == "resume":
            node.resume()
        elif name in ("freeze", "thaw"):
            node.freeze(name == "freeze")
        elif name == "restart-daemon":
            node.signal("daemon", signal.SIGTERM)
        else:
            number = {"kill-process": signal.SIGKILL, "stop-process": signal.SIGSTOP,
                      "continue-process": signal.SIGCONT}[name]
            if node.signal(words[0], number) == 0:
                raise RuntimeError(f"no {words[0]} runs on {node.name}")
        return instant

    def cut(self, words, options):
        def side(word):
            if word == "rest":
                return None
            return [self.resolve(part) for part in word.split(",")]
        left, right = side(words[0]), side(words[1])
        others = lambda chosen: [name for name in [*self.lab.nodes, "client"] if name not in chosen]  # noqa: E731
        left = others(right) if left is None else left
        right = others(left) if right is None else right
        self.last_target = left[0] if left[0] != "client" else right[0]
        instant = clock()
        self.lab.partition(left, right, one_way=options.get("one-way") == "yes", port=options.get("port"))
        return instant

    # A scenario

    def play(self, scenario, seed):
        """Runs the faults, settles, checks, and returns a summary; raises `Broken`, `TimeoutError` or `StoodStill`."""
        self.last_target = None
        self.cluster.wait_healthy()
        if scenario.disks:
            # An operator forgives what a node failed at in the scenario before; else the group may go to none.
            self.cluster.run(self.cluster.any_node(), "group", "start", self.cluster.group, "--yes")
        for path in (self.cluster.pulses, self.reference):
            if os.path.exists(path):
                os.truncate(path, 0)
        time.sleep(0.3)
        owner_before, began = self.cluster.owner(), clock()
        instants = []
        for at, fault in scenario.schedule(seed):
            time.sleep(max(0.0, began + at - clock()))
            instants.append(self.perform(fault))
        time.sleep(max(0.0, began + scenario.length - clock()))
        ended = clock()
        self.settle()
        try:
            return self.check(scenario, owner_before, began, ended, instants)
        except checkers.Broken as broken:
            # A lease that runs out because nobody could run is rightly given up; what must hold even then is safety.
            stalls = [stall for stall in checkers.read_stalls(self.reference) if stall[1] - stall[0] > STALL]
            if stalls and broken.guarantee in ("Adoption (rule L10)", "BoundedRecovery"):
                raise StoodStill(max(to - start for start, to in stalls), broken) from broken
            raise

    def settle(self):
        """Ends every fault, and waits until the cluster is healthy again."""
        for node in self.lab.nodes.values():
            if node.disk:
                self.mend(node)
            if node.is_up:
                node.freeze(False)
                node.resume()
        self.lab.heal()
        for site in self.lab.network.relays:
            self.lab.network.set_wan(site, "cut=none loss=0")
        for node in self.lab.nodes.values():
            if not node.is_up:
                self.cluster.return_node(node.name)
        try:
            self.cluster.wait_healthy(120)
        except TimeoutError as error:
            raise checkers.Broken("BoundedRecovery", f"not healthy after every fault ended: {error}") from None

    def mend(self, node):
        """Gives a node its disk back. One that answered with errors needs a file system check, as after a repair."""
        disk = node.disk
        disk.answer()
        was_broken, holds_log = disk.is_broken, disk.place == "/var/lib/holdfast"
        if disk.is_full and node.is_up:
            disk.free(node.path(disk.place))
        if was_broken and node.is_up and (disk.fails or not holds_log):
            node.power_off()  # a copy that lost writes stays failed until its server is started anew
        disk.repair()

    def check(self, scenario, owner_before, began, ended, instants):
        """Looks at the histories."""
        runs = checkers.read_runs(self.cluster.pulses)
        if not runs:
            raise RuntimeError(f"nothing was recorded in {self.cluster.pulses}: there is nothing to judge")
        said = []
        for name, options in scenario.expectations:
            which = instants[int(options.get("fault", "1")) - 1] if instants else began
            if name == "single-owner":
                allowed = SLACK if options.get("guard") == "stopped" else 0.0
                checkers.check_one_process(runs)
                if scenario.policy.get("takeover") == "immediate":
                    said.append("one process on each node (owners may overlap: takeover=immediate)")
                else:
                    checkers.check_single_owner(runs, allowed, origin=began)
                    said.append("one owner at a time")
            elif name == "nothing-lost":
                said.append(self.check_rows())
            elif name == "recovered":
                said.append(self.check_recovered(scenario, runs, which, options))
            elif name == "undisturbed":
                stalls = checkers.read_stalls(self.reference)
                node = checkers.check_never_stopped(runs, began, ended, stalls)
                said.append(f"never stopped on {node}")
                if scenario.workload == "database":
                    gap, _, _ = checkers.longest_gap(checkers.read_rows(self.history), since=began)
                    said.append(f"longest gap between rows {gap:.2f} s")
            elif name == "whole":
                within = float(options.get("within", "20s").removesuffix("s"))
                self.cluster.wait_status(
                    None, lambda status: status["survivesFailures"] >= 1 and self.cluster.all_up(status), within,
                    "every node is up and votes: any one may fail")
                said.append("whole again")
            elif name in ("moved", "stayed"):
                owner = self.cluster.owner()
                if (owner != owner_before) != (name == "moved"):
                    raise checkers.Broken("BoundedRecovery", f"the group is on {owner} and was on {owner_before}")
                said.append(f"{name} ({owner_before} → {owner})" if name == "moved" else name)
            else:
                raise RuntimeError(f"`expect {name}` is not checked by anything")
        return ", ".join(said)

    def check_recovered(self, scenario, runs, instant, options):
        within = float(options.get("within", "10s").removesuffix("s"))
        if scenario.workload == "database" and options.get("by") != "service":
            first = wait_until(
                lambda: checkers.first_acknowledged_after(checkers.read_rows(self.history), instant + 0.05), 30,
                "a row is accepted after the fault")
            gap, _, _ = checkers.longest_gap(checkers.read_rows(self.history), since=instant - 0.5)
            took = max(first - instant, gap)
            if took > within:
                raise checkers.Broken("BoundedRecovery", f"no row for {took:.2f} s, wanted at most {within:g} s")
            return f"longest gap between rows {took:.2f} s"
        return f"running again after {checkers.check_recovered(runs, instant, within):.2f} s"

    def check_rows(self):
        """Counts acknowledged and found rows while the writer stands still."""
        who = identity(self.writer.pid)
        try:
            os.kill(who[0], signal.SIGSTOP)
            time.sleep(0.05)
            entries = checkers.read_rows(self.history)
            found = found_rows(self.lab, self.cluster.floating)
            acked, there = checkers.check_rows(entries, found)
        finally:
            os.kill(who[0], signal.SIGCONT)
        return f"{acked} rows acknowledged, {there} found, none missing"
