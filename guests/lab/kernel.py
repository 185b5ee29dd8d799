"""Debian's kernel for the guests: its image, the modules that they may need, and an initramfs that only mounts the disk."""
import os
import shutil
import tempfile

from chaos.lab.shell import run

from . import places

# Folders of modules, and single modules, that a guest can need. The rest is drivers for devices that it has not.
MODULES = (
    "kernel/arch", "kernel/crypto", "kernel/lib", "kernel/fs/ext4", "kernel/fs/fuse", "kernel/fs/xfs", "kernel/fs/jbd2",
    "kernel/fs/mbcache.ko", "kernel/fs/autofs", "kernel/fs/configfs", "kernel/fs/efivarfs", "kernel/drivers/virtio",
    "kernel/drivers/block/virtio_blk.ko", "kernel/drivers/block/nbd.ko", "kernel/drivers/block/loop.ko",
    "kernel/drivers/net/virtio_net.ko", "kernel/drivers/net/net_failover.ko", "kernel/net/core", "kernel/net/ipv4",
    "kernel/net/ipv6", "kernel/net/netfilter", "kernel/net/unix", "kernel/net/packet", "kernel/net/8021q",
    "kernel/net/llc", "kernel/net/802", "kernel/drivers/char/hw_random", "kernel/drivers/char/virtio_console.ko",
    "kernel/drivers/watchdog/softdog.ko", "kernel/drivers/watchdog/i6300esb.ko", "kernel/drivers/watchdog/watchdog.ko",
    "kernel/drivers/md", "kernel/drivers/input/evdev.ko", "kernel/drivers/acpi", "kernel/drivers/rtc",
    "kernel/drivers/net/dummy.ko", "kernel/drivers/net/veth.ko", "kernel/drivers/net/macvlan.ko",
)
FIRST = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")  # loaded by the initramfs
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev; mount -t tmpfs -o mode=755,nosuid,nodev t /run
for module in $(cat /modules/list); do insmod /modules/$module || echo "insmod $module failed"; done
tries=0; while [ ! -e /dev/vda ] && [ $tries -lt 300 ]; do usleep 100000; tries=$((tries + 1)); done
mount -t ext4 -o ro /dev/vda /root || { echo "the root cannot be mounted"; reboot -f; }
for place in proc sys dev run; do mount --move /$place /root/$place; done
exec switch_root /root /sbin/init
"""


def build(root: str) -> None:
    """Fetches the kernel with the guests' own apt, and leaves `vmlinuz` and `initrd.gz`; modules go into `root`."""
    scratch = tempfile.mkdtemp(dir=places.directory())
    try:
        package = fetch(root, scratch)
        run(["dpkg", "-x", package, scratch])
        version = os.listdir(f"{scratch}/lib/modules")[0]
        copy_modules(f"{scratch}/lib/modules/{version}", f"{root}/lib/modules", version)
        run(["depmod", "-b", root, version])
        shutil.copy(f"{scratch}/boot/vmlinuz-{version}", places.built("vmlinuz"))
        make_initramfs(root, version, scratch)
    finally:
        shutil.rmtree(scratch)


def fetch(root: str, scratch: str) -> str:
    """The path of the package with Debian's kernel of today."""
    target = f"{root}/var/cache/kernel"
    os.makedirs(target, exist_ok=True)
    environment = dict(PATH="/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL="C.UTF-8", **{
        key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")})
    shutil.copy("/etc/resolv.conf", f"{root}/etc/resolv.conf")
    run(["chroot", root, "/bin/bash", "-ec", """cd /var/cache/kernel; apt-get update -qq
        name=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \\(linux-image-[0-9].*\\)/\\1/p' | head -1)
        [ -n "$name" ] && apt-get -o APT::Sandbox::User=root download "$name" >/dev/null"""], timeout=900, env=environment)
    names = os.listdir(target)
    shutil.move(os.path.join(target, names[0]), scratch)
    shutil.rmtree(target)
    return os.path.join(scratch, names[0])


def copy_modules(source: str, target: str, version: str) -> None:
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(f"{target}/{version}")
    there = [name for name in MODULES if os.path.exists(os.path.join(source, name))]
    lists = [name for name in os.listdir(source) if name.startswith("modules.")]
    run(f'cd "{source}" && cp -a --parents {" ".join(there + lists)} "{target}/{version}"')


def make_initramfs(root: str, version: str, scratch: str) -> None:
    """busybox, the few modules before the disk, and a script that leaves everything else to systemd."""
    tree = f"{scratch}/initramfs"
    for folder in ("bin", "modules", "proc", "sys", "dev", "root", "run"):
        os.makedirs(f"{tree}/{folder}")
    shutil.copy(f"{root}/bin/busybox", f"{tree}/bin/busybox")
    listed = "".join(
        run(["modprobe", "-d", root, "-S", version, "--show-depends", name]).stdout for name in FIRST)
    names = []
    for line in listed.splitlines():
        path = line.split()[1] if line.startswith("insmod") else None
        if path and os.path.basename(path) not in names:
            shutil.copy(path, f"{tree}/modules")
            names.append(os.path.basename(path))
    with open(f"{tree}/modules/list", "w") as file:
        file.write("\n".join(names) + "\n")
    with open(f"{tree}/init", "w") as file:
        file.write(INIT)
    os.chmod(f"{tree}/init", 0o755)
    run(f'cd "{tree}" && find . | cpio --quiet -o -H newc | gzip -1 >"{places.built("initrd.gz")}"', timeout=120)
