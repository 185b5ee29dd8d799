"""The disk that all guests begin with: Debian 12 with systemd and PostgreSQL, and the product installed as README says.

Each step has a stamp with a digest of what went into it, and is done again only when that changed. A new binary costs
the last two steps: `install`, and making the file system.
"""
from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from chaos.lab.shell import REPOSITORY, run

from . import kernel, places

if TYPE_CHECKING:
    from chaos.lab.shell import Say

# The first list is what a system needs to boot, the second what README's first cluster stands on, the third for looking.
SYSTEM = ("systemd", "systemd-sysv", "udev", "dbus", "iproute2", "kmod", "e2fsprogs", "netbase", "busybox-static")
PRODUCT = ("libssl3", "liblz4-1", "libstdc++6")
TOOLS = ("iputils-ping", "iputils-arping", "procps", "psmisc", "bsdutils")
# Installed after README's line that keeps Debian from starting a database of its own.
LATER = ("postgresql",)
SPARE_MEBIBYTES = 1800  # free space of a guest's disk
# Consoles that nobody has, and work at boot that has nothing to do here.
MASKED = ("serial-getty@ttyS0", "getty@tty1", "e2scrub_reap", "systemd-update-utmp-runlevel")
TIMERS = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer")


def digest(*parts: str) -> str:
    """A name for what went into a step: texts, and files by their content."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str) and os.path.isabs(part) and os.path.isfile(part):
            with open(part, "rb") as file:
                while piece := file.read(1 << 20):
                    total.update(piece)
            total.update(oct(os.stat(part).st_mode).encode())
        total.update(repr(part if not os.path.isabs(str(part)) else os.path.basename(part)).encode())
    return total.hexdigest()[:16]


def files_below(folder: str) -> list[str]:
    """Every file of a folder, sorted."""
    return sorted(path for path in glob.glob(f"{folder}/**", recursive=True, include_hidden=True) if os.path.isfile(path))


class Image:
    """`build()` leaves `base.ext4`, `vmlinuz` and `initrd.gz` in the folder of `places`."""

    def __init__(self, say: Say = print) -> None:
        self.say = say
        self.root = places.built("root")
        self.base = places.built("base.ext4")

    def is_done(self, step: str, wanted: str) -> bool:
        """Whether a step was finished with just this."""
        try:
            with open(places.built(f"{step}.stamp")) as file:
                return file.read() == wanted
        except OSError:
            return False

    @contextlib.contextmanager
    def step(self, name: str, wanted: str, why: str) -> Iterator[None]:
        """Marks a step as done only when it ended well."""
        self.say(f"image: {why}")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(places.built(f"{name}.stamp"))
        yield
        with open(places.built(f"{name}.stamp"), "w") as file:
            file.write(wanted)

    def build(self) -> str:
        """Does what is not done, and returns the digest of the result: overlays of another one are worthless."""
        if os.geteuid() != 0:
            raise SystemExit("building the image needs root: debootstrap and chroot do")
        wanted = digest("system", *SYSTEM, *PRODUCT, *TOOLS, places.mirror())
        if not self.is_done("system", wanted):
            with self.step("system", wanted, "debootstrap (a minute or two)"):
                self.debootstrap()
        wanted = digest(wanted, "later", *LATER)
        if not self.is_done("later", wanted):
            with self.step("later", wanted, "PostgreSQL"):
                self.install_later()
        wanted = digest(wanted, *kernel.MODULES, kernel.INIT, "kernel")
        if not self.is_done("kernel", wanted):
            with self.step("kernel", wanted, "Debian's kernel and an initramfs"):
                kernel.build(self.root)
        agents = [os.path.join(places.HERE, "agent", name) for name in ("guest_shell.c", "pulse.c")]
        wanted = digest(wanted, *files_below(os.path.join(places.HERE, "root")), *agents, *TIMERS, *MASKED)
        if not self.is_done("own", wanted):
            with self.step("own", wanted, "the rig's own files"):
                self.add_own(*agents)
        wanted = digest(wanted, places.binary(), places.unit(), *readme_installs())
        if not self.is_done("base", wanted):
            with self.step("base", wanted, f"installs {places.binary()} as README says, and makes the file system"):
                self.install_product()
                self.make_file_system()
        return wanted

    def chroot(self, script: str, timeout: float = 900) -> None:
        """Runs a script in the root, without letting a package start a service on this machine."""
        policy = os.path.join(self.root, "usr/sbin/policy-rc.d")
        with open(policy, "w") as file:
            file.write("#!/bin/sh\nexit 101\n")
        os.chmod(policy, 0o755)
        try:
            run(["chroot", self.root, "/bin/bash", "-ec", script], timeout=timeout,
                env=dict(PATH="/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root", LC_ALL="C.UTF-8",
                         DEBIAN_FRONTEND="noninteractive",
                         **{key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}))
        finally:
            os.unlink(policy)

    def debootstrap(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        run(["debootstrap", "--variant=minbase", f"--include={','.join(SYSTEM + PRODUCT + TOOLS)}", "bookworm", self.root,
             places.mirror()], timeout=1800)
        run(["umount", f"{self.root}/proc"], check=False)  # debootstrap leaves them where it may
        run(["umount", f"{self.root}/sys"], check=False)

    def install_later(self) -> None:
        shutil.copy("/etc/resolv.conf", f"{self.root}/etc/resolv.conf")
        # README's lines; what they install is the same in every guest.
        self.chroot(f"""mkdir -p /etc/postgresql-common
            echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf
            apt-get update -qq
            apt-get install -y -qq --no-install-recommends {' '.join(LATER)}
            rm -rf /var/cache/apt/archives/*.deb""")

    def add_own(self, shell: str, pulse: str) -> None:
        own = os.path.join(places.HERE, "root")
        run(["cp", "-rT", "--preserve=mode", "--no-preserve=ownership", own, self.root])
        for source, place in ((shell, "usr/local/sbin/guest-shell"), (pulse, "usr/local/bin/pulse")):
            run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", os.path.join(self.root, place), source])
        # Empty: each guest draws its own at its first boot.
        open(f"{self.root}/etc/machine-id", "w").close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.root}/etc/hostname")
        self.chroot(f"""passwd -q -d root
            systemctl -q enable systemd-networkd systemd-networkd-wait-online guest-identity guest-shell
            systemctl -q enable serial-getty@hvc0
            systemctl -q mask {' '.join(MASKED)}
            for timer in {' '.join(TIMERS)}; do systemctl -q disable $timer || true; done""")

    def install_product(self) -> None:
        home = f"{self.root}/root"
        shutil.copy(places.binary(), f"{home}/holdfast")
        shutil.copy(places.unit(), f"{home}/holdfast.service")
        self.chroot("cd /root\n" + "\n".join(readme_installs()) + "\nrm holdfast holdfast.service\n"
                    "/usr/local/bin/holdfast --version\n")  # not so where it was built without --static-swift-stdlib

    def make_file_system(self) -> None:
        """`mke2fs -d` fills it, so nothing is mounted on this machine."""
        used = int(run(["du", "-sm", "--apparent-size", self.root]).stdout.split()[0])
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.base)
        run(["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", self.root, self.base, f"{used + SPARE_MEBIBYTES}M"],
            timeout=300)


def readme_installs() -> list[str]:
    """README's lines that put binary and unit in place."""
    with open(os.path.join(REPOSITORY, "README.md")) as file:
        lines = [line.strip() for line in file if line.startswith("    install ") and "holdfast" in line]
    if len(lines) != 2:
        raise RuntimeError(f"README.md was to have two lines that install the product, and has {lines}")
    return lines
