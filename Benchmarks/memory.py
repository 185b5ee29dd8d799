"""Resident memory and idle CPU of the daemon and its helpers."""
import os
import time

from common import Bench, keep, table

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def main(quick: bool) -> None:
    length = 10 if quick else 60
    rows = []
    with Bench(lambda cluster: cluster.database_policy()) as bench:
        time.sleep(3)
        before = {}
        for node in bench.lab.nodes.values():
            for role in ("daemon", "guard", "volume-server", "volume-device"):
                for pid in node.find(role)[:1]:
                    before[node.name, role] = (pid, cpu_seconds(pid))
        time.sleep(length)
        for (name, role), (pid, used) in before.items():
            memory = bench.lab.node(name).memory(role)
            rows.append([name, role, f"{memory:.1f}", f"{100 * (cpu_seconds(pid) - used) / length:.2f}"])
    keep("memory", rows)
    table(f"Resident memory (MiB) and CPU (% of a core, idle database, {length} s)",
          ["node", "process", "RSS", "CPU"], rows + [["Pacemaker", "8 daemons", "202–220", "0.8–1.3"]])
    print("wanted: daemon under 60 MB")
