"""A volume as a block device without the kernel's nbd: `holdfast volume-device` beside nbdfuse, under a loop device each."""
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any, Self

from common import keep, median, progress, table, wait_until

from chaos.lab.cluster import binary

SIZE = 256  # MiB
JOBS = (  # name, fio's options, unit, what of fio's answer
    ("sequential write, 1 MiB, then fsync", ["--rw=write", "--bs=1M", "--iodepth=4", "--end_fsync=1"], "MiB/s"),
    ("write 64 KiB direct, depth 8", ["--rw=write", "--bs=64k", "--iodepth=8"], "MiB/s"),
    ("read 64 KiB direct, depth 8", ["--rw=read", "--bs=64k", "--iodepth=8"], "MiB/s"),
    ("write 4 KiB O_DSYNC, depth 1", ["--rw=randwrite", "--bs=4k", "--iodepth=1", "--sync=dsync"], "IOPS"),
    ("write 4 KiB O_DSYNC, depth 16", ["--rw=randwrite", "--bs=4k", "--iodepth=16", "--sync=dsync"], "IOPS"),
)
# The front ends: what is run over a socket so that a file appears, and whether the loop device goes past the page cache.
OURS, BUFFERED, DIRECT = "holdfast", "nbdfuse, buffered loop", "nbdfuse, direct loop"


class Device:
    """One server of memory, one front end over it, one loop device over that."""

    def __init__(self, kind: str, directory: str) -> None:
        self.kind, self.directory = kind, directory
        self.loop: str | None = None
        self.connection: int | None = None
        self.processes: list[subprocess.Popen[bytes]] = []
        self.mount = os.path.join(directory, "mount")
        self.file = os.path.join(self.mount, "nbd")

    def start(self, words: Sequence[str]) -> None:
        self.processes.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True))

    def __enter__(self) -> Self:
        os.makedirs(self.mount)
        socket, ready = (os.path.join(self.directory, name) for name in ("socket", "ready"))
        try:
            self.start(["nbdkit", "-f", "-U", socket, "memory", f"{SIZE}M"])
            wait_until(lambda: os.path.exists(socket), 10, "the server listens")
            if self.kind == OURS:
                self.start([binary(), "volume-device", "--socket", socket, "--mount", self.mount, "--ready", ready,
                            "--dead-time", "30s"])
            else:
                self.start(["nbdfuse", "-P", ready, self.file, "--unix", socket])
            wait_until(lambda: os.path.exists(ready), 10, "the file is there")
            self.connection = os.minor(os.stat(self.mount).st_dev)
            direct = "off" if self.kind == BUFFERED else "on"
            self.loop = subprocess.run(["losetup", f"--direct-io={direct}", "--find", "--show", self.file], check=True,
                                       capture_output=True, text=True, timeout=20).stdout.strip()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.loop:
            subprocess.run(["losetup", "-d", self.loop], check=False, timeout=20)
        subprocess.run(["umount", "-l", self.mount], check=False, timeout=20)
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                abort = f"/sys/fs/fuse/connections/{self.connection}/abort"
                if os.path.exists(abort):
                    with open(abort, "w") as file:
                        file.write("1")
                process.kill()
                process.wait(10)

    def run(self, options: Sequence[str], seconds: float) -> dict[str, Any]:
        words = ["fio", "--name=job", f"--filename={self.loop}", "--direct=1", "--ioengine=libaio", "--time_based",
                 f"--runtime={seconds}", f"--size={SIZE}M", "--output-format=json", *options]
        answer = subprocess.run(words, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
        job = json.loads(answer[answer.index("{"):])["jobs"][0]
        found: dict[str, Any] = job["read" if "--rw=read" in options else "write"]
        return found


def main(quick: bool) -> None:
    for program in ("nbdkit", "nbdfuse", "fio"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is missing: apt-get install nbdkit libnbd-bin fuse3 fio")
    seconds, rounds = (2, 3) if quick else (5, 5)
    values: dict[str, dict[str, list[float]]] = {kind: {name: [] for name, _, _ in JOBS} for kind in (OURS, BUFFERED, DIRECT)}
    for number in range(rounds):
        for kind, found in values.items():
            with tempfile.TemporaryDirectory(prefix="hf-device-") as directory, Device(kind, directory) as device:
                for name, options, unit in JOBS:
                    result = device.run(options, seconds)
                    found[name].append(result["iops"] if unit == "IOPS" else result["bw"] / 1024)
        progress(f"round {number + 1} of {rounds}")
    keep("device", values)
    rows = []
    for name, _, unit in JOBS:
        ours, buffered, direct = (median(values[kind][name]) for kind in (OURS, BUFFERED, DIRECT))
        rows.append([name, unit, f"{ours:.0f}", f"{buffered:.0f}", f"{direct:.0f}", f"{ours / buffered:.2f}",
                     f"{ours / direct:.2f}"])
    table(f"A volume's device over a server of memory (medians of {rounds}, {seconds} s each, in turns)",
          ["job", "unit", OURS, BUFFERED, DIRECT, "ratio to buffered", "ratio to direct"], rows)
