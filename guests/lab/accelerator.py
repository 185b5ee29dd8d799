"""KVM where this machine can really run a guest with it, else emulation (TCG), which is ten to forty times slower."""
import functools
import os
import subprocess


@functools.cache
def name() -> str:
    """`kvm` or `tcg`; HOLDFAST_GUESTS_ACCELERATOR decides, else a try."""
    wanted = os.environ.get("HOLDFAST_GUESTS_ACCELERATOR")
    if wanted:
        return wanted
    return "kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) and starts_with_kvm() else "tcg"


def starts_with_kvm() -> bool:
    """Whether a guest gets beyond its first instructions: there is a /dev/kvm on machines that cannot run QEMU's.

    The firmware alone runs for a moment; a KVM that cannot run it stops with an internal error within it.
    """
    words = ["qemu-system-x86_64", "-machine", "pc,accel=kvm", "-cpu", "host", "-m", "64", "-display", "none",
             "-nodefaults", "-no-user-config", "-qmp", "stdio"]
    try:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError:
        raise SystemExit("qemu-system-x86_64 is missing: apt-get install qemu-system-x86") from None
    try:
        said, _ = process.communicate('{"execute":"qmp_capabilities"}\n', timeout=1.0)
    except subprocess.TimeoutExpired:
        pass
    process.kill()
    said, _ = process.communicate()
    return '"return"' in said and "INTERNAL" not in said.upper() and "error" not in said.lower()


def words() -> list[str]:
    """QEMU's options for it."""
    if name() == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,tb-size=192", "-cpu", "max"]
