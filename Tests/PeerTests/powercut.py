#!/usr/bin/env python3
"""The power is cut while a virtual machine records: QEMU (without acceleration) is killed, and its disk looked at from outside.

The guest is Debian's cloud kernel with an initial file system made of this machine's `sudocam` and its libraries; its one ext4
disk holds the vault. While it records it writes the ledger's signed checkpoint to the serial console: what that covers was
committed. After SIGKILL nothing more of the guest reaches the disk, neither its page cache nor its journal's tail. Then the disk is
mounted here: a start with no manual step, `verify` with the key, and every clip that a printed checkpoint covers must be there.

What a disk's own volatile cache may lose besides, a killed QEMU does not show; `CrashTests` does.

Needs root, qemu-system-x86, busybox-static, cpio, and the kernel's package (loaded with apt-get into `--cache`).
"""

import argparse
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "BrowserTests"))
from recorder import PASSPHRASE, Recorder  # noqa: E402

MODULES = ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk", "virtio-rng"]
CAMERAS = {"hall": "test:?size=320x240&rate=5&gop=5&bitrate=300000"}

INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs tmp /tmp
for module in {modules}; do [ -f /modules/$module.ko ] && /bin/busybox insmod /modules/$module.ko; done
/bin/busybox ifconfig lo 127.0.0.1 up
/bin/busybox mount -t ext4 /dev/vda /disk || echo NO-DISK
echo STARTED
export LD_LIBRARY_PATH={libraries}
/sudocam serve --config /sudocam.yaml &
last=
while :; do
    now=$(/bin/busybox cat /disk/vault/ledger/checkpoint 2>/dev/null | /bin/busybox sed -n 2p)
    [ "$now" != "$last" ] && echo "COMMITTED $now END" && last=$now
    /bin/busybox usleep 100000
done
"""


def run(*arguments, **options):
    return subprocess.run([str(argument) for argument in arguments], check=True, capture_output=True, text=True, **options)


def kernel(cache):
    """The kernel and the folder of its modules; loaded once."""
    images = list(cache.glob("boot/vmlinuz-*"))
    if not images:
        cache.mkdir(parents=True, exist_ok=True)
        names = re.findall(r"Depends: (linux-image-\S+)", run("apt-cache", "depends", "linux-image-cloud-amd64").stdout)
        run("apt-get", "download", names[0], cwd=cache)
        run("dpkg", "-x", next(cache.glob("linux-image-*.deb")), cache)
        images = list(cache.glob("boot/vmlinuz-*"))
    return images[0], next((cache / "lib" / "modules").iterdir())


def initial(folder, sudocam, modules):
    """An initial file system that holds all the guest needs."""
    root = folder / "root"
    for name in ("bin", "proc", "sys", "dev", "tmp", "disk", "modules", "etc"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    run("strip", "-o", root / "sudocam", sudocam)
    libraries = set(re.findall(r"(/\S+) \(0x", run("ldd", sudocam).stdout))
    for library in libraries:
        target = root / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    for module in MODULES:
        for file in modules.rglob(module + ".ko"):
            shutil.copy(file, root / "modules")
    folders = ":".join(sorted({str(pathlib.Path(library).parent) for library in libraries}))
    (root / "sudocam.yaml").write_text("vault: /disk/vault\nlisten: 127.0.0.1:8080\nmedia-port: 8081\nclip-seconds: 2\nretention: { keep-free: 1MB }\ncameras:\n" + "".join(f'  {key}: {{ name: "{key}", source: "{source}" }}\n' for key, source in CAMERAS.items()))
    (root / "sudocam.yaml").chmod(0o600)
    (root / "init").write_text(INIT.format(modules=" ".join(MODULES), libraries=folders))
    (root / "init").chmod(0o755)
    image = folder / "initial.cpio"
    with open(image, "wb") as output:
        subprocess.run("find . | cpio -o -H newc --quiet", shell=True, cwd=root, stdout=output, check=True)
    shutil.rmtree(root)
    return image


def entries(vault, limit):
    """The first `limit` entries of a ledger, as its format says (tlog-tiles)."""
    found = []
    for bundle in sorted(path for path in (vault / "ledger" / "entries").rglob("*") if path.is_file()):
        data, place = bundle.read_bytes(), 0
        while place + 2 <= len(data):
            count = int.from_bytes(data[place:place + 2], "big")
            if not count:
                break
            found.append(json.loads(data[place + 2:place + 2 + count]))
            place += 2 + count
    assert len(found) >= limit, f"{len(found)} entries, and a checkpoint covered {limit}"
    return found[:limit]


class Guest:
    def __init__(self, image, vmlinuz, initrd, log):
        self.log = log
        # cache=none: what the guest has written is on the disk, what it has not is gone with it.
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-machine", "pc", "-accel", "tcg", "-cpu", "max", "-m", "1500", "-smp", "1", "-nographic", "-no-reboot", "-nic", "none",
             "-kernel", str(vmlinuz), "-initrd", str(initrd), "-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on",
             "-drive", f"file={image},if=virtio,format=raw,cache=none"],
            stdin=subprocess.DEVNULL, stdout=open(log, "wb"), stderr=subprocess.STDOUT)

    def committed(self):
        return [int(number) for number in re.findall(r"COMMITTED (\d+) END", self.log.read_text(errors="replace"))]

    def cut(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sudocam", required=True)
    parser.add_argument("--cuts", type=int, default=5)
    parser.add_argument("--cache", default=".build/powercut", help="where the kernel is kept")
    options = parser.parse_args()
    missing = [name for name in ("qemu-system-x86_64", "busybox", "cpio", "mkfs.ext4", "dpkg") if not shutil.which(name)]
    if missing or os.geteuid():
        print(f"skipped: {'needs root' if os.geteuid() else 'missing: ' + ', '.join(missing)}")
        return 0
    random.seed(os.environ.get("SUDOCAM_SEED", "1"))
    sudocam = str(pathlib.Path(options.sudocam).resolve())
    vmlinuz, modules = kernel(pathlib.Path(options.cache).resolve())
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sudocam-powercut-"))
    disk, host = folder / "disk.img", folder / "host"
    host.mkdir()
    try:
        initrd = initial(folder, sudocam, modules)
        with open(disk, "wb") as file:
            file.truncate(512 << 20)
        run("mkfs.ext4", "-q", "-F", disk)
        run("mount", "-o", "loop", disk, host)
        recorder = Recorder(sudocam, host, CAMERAS, clip_seconds=2, settings=["retention: { keep-free: 1MB }"])
        recorder.log.close()
        run("umount", host)
        covered, clips = 0, set()
        for number in range(options.cuts):
            log = folder / f"console-{number}.log"
            guest = Guest(disk, vmlinuz, initrd, log)
            try:
                # An emulated machine takes its time to start; what counts begins with the first commits of this life.
                end = time.monotonic() + 240
                while len(set(guest.committed())) < 4:
                    assert guest.process.poll() is None and time.monotonic() < end, log.read_text(errors="replace")[-3000:]
                    time.sleep(0.2)
                time.sleep(random.uniform(0, 8))
            finally:
                guest.cut()
            covered = max(covered, *guest.committed())
            run("mount", "-o", "loop", disk, host)
            try:
                recorder.log = open(folder / "serve.log", "a")
                before = entries(host / "vault", covered)
                clips |= {entry["object"] for entry in before if entry["type"] == "clip"}
                recorder.start()
                now = {clip["object"] for clip in json.loads(recorder.command("clips", "--config", str(recorder.config), "--json").stdout)}
                assert clips <= now, f"{len(clips - now)} committed clips are missing"
                recorder.stop()
                recorder.command("verify", "--config", str(recorder.config), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
                print(f"cut {number + 1}: {covered} entries and {len(clips)} clips were committed, all are there; {len(now)} clips with what was salvaged", flush=True)
            finally:
                recorder.stop(signal.SIGKILL)
                recorder.log.close()
                run("umount", host)
        return 0
    finally:
        subprocess.run(["umount", "-l", str(host)], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
