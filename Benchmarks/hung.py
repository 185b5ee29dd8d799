"""The disk of the leader's log hangs for a while: how long is nothing acknowledged elsewhere, and does the service notice?"""
import threading
import time

from common import NODES, Cluster, Lab, clock, keep, progress, summary, table, wait_until

HANG = 3.0


class Puts(threading.Thread):
    """One client on a node: puts an attribute, and the next one when that is acknowledged."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        super().__init__(daemon=True)
        self.cluster, self.node = cluster, node
        self.acknowledged: list[float] = []
        self.failed = 0
        self.ends = False

    def run(self) -> None:
        while not self.ends:
            done = self.cluster.run(self.node, "attribute", "put", "hung", str(len(self.acknowledged)), check=False, timeout=30)
            if done.returncode == 0:
                self.acknowledged.append(clock())
            else:
                self.failed += 1
            time.sleep(0.01)

    def gap(self, since: float) -> float:
        """The longest time without an acknowledgement that ended after an instant."""
        return max(later - earlier for earlier, later in zip(self.acknowledged, self.acknowledged[1:]) if later > since)


def replaced(cluster: Cluster, leader: str, node: str) -> float:
    """When a node sees another leader."""
    def look() -> float | None:
        return clock() if cluster.told(node).get("leader") not in (leader, None) else None
    return wait_until(look, 30, "another node leads", step=0.01)


def main(quick: bool) -> None:
    lab = Lab("bench", NODES, disks=(64 << 20, "/var/lib/holdfast")).up()
    try:
        gaps, changes, failed = [], [], 0
        cluster = Cluster(lab, name="bench")
        cluster.form()
        cluster.apply(cluster.service_policy())
        for number in range(3 if quick else 10):
            cluster.wait_healthy()
            leader = cluster.told()["leader"]
            other = next(node for node in cluster.members if node != leader)
            disk = lab.node(leader).disk
            if disk is None:
                raise RuntimeError(f"{leader} has no disk that could hang")
            puts = Puts(cluster, other)
            puts.start()
            time.sleep(2 + number * 0.07)
            disk.hang()
            hung = clock()
            changes.append(replaced(cluster, leader, other) - hung)
            time.sleep(max(0.0, HANG - (clock() - hung)))
            disk.answer()
            time.sleep(1)
            puts.ends = True
            puts.join()
            gaps.append(puts.gap(hung))
            failed += puts.failed
            progress(f"hang {number + 1}: another led after {changes[-1]:.2f} s, {gaps[-1]:.2f} s without a put, "
                     f"{puts.failed} failed")
        keep("hung", {"gaps": gaps, "changes": changes, "failed": failed})
        table(f"The disk of the leader's log hangs for {HANG:.0f} s, seconds", ["", "median (min–max)", "wanted"], [
            ["until another node leads", summary(changes), "at most 1"],
            ["longest time without an acknowledged put", summary(gaps), "at most 1"],
            ["puts that failed", str(failed), "0"]])
    finally:
        lab.down()
