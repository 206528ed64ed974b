"""The recorder on real disks that fill up, are pulled away, or do their work in pieces. Needs root; says so where it skips."""

import fcntl
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import time

from recorder import PASSPHRASE, request
from small_disk import fill, recorder_on_small_disk

HERE = pathlib.Path(__file__).parent
CAMERAS = {f"cam{index}": f"test:?size=320x240&rate=25&gop=25&bitrate={500000 + 100000 * index}" for index in range(3)}
# linux/ext4.h: EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH: from now on nothing reaches the disk, not even the journal's tail.
EXT4_IOC_SHUTDOWN, NOLOGFLUSH = 0x8004587D, 2


class Disks:
    def __init__(self, tests):
        self.tests, self.check = tests, tests.check

    def run(self):
        self.check("S4 R2: a full disk with nothing but held footage stops recording, and page, metrics, log and status say so", self.held)
        self.check("S1: an ext4 disk pulled away under load: told, nothing else written, and all is there once it is back", self.pulled)
        self.check("S3: a disk unmounted under the recorder: nothing is written where it was mounted", self.unmounted)
        self.check("calls that end with EINTR and reads and writes that stop half-way lose nothing", self.pieces)

    @staticmethod
    def mount(path, *arguments):
        path.mkdir(parents=True)
        if os.geteuid() or subprocess.run(["mount", *arguments, str(path)], capture_output=True).returncode:
            return False
        return os.stat(path).st_dev != os.stat(path.parent).st_dev

    def ext4(self, name, megabytes=256):
        """A recorder whose vault is the root of a file system of its own; None where none may be mounted."""
        folder = self.tests.folder / name
        folder.mkdir()
        image, vault = folder / "image", folder / "vault"
        with open(image, "wb") as file:
            file.truncate(megabytes << 20)
        if subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], capture_output=True).returncode:
            return None, vault
        if not self.mount(vault, "-o", "loop", str(image)):
            return None, vault
        # A disk this small would count as full.
        recorder = self.tests.recorder(name, CAMERAS, clip_seconds=2, settings=["retention: { keep-free: 1MB }"])
        recorder.command("init", str(vault), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
        return recorder, vault

    @staticmethod
    def status(recorder):
        return recorder.command("status", "--config", str(recorder.config), "--json", check=False)

    def clips(self, recorder):
        return {clip["object"] for clip in self.tests.clips(recorder)}

    @staticmethod
    def until(what, seconds, condition):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, what
            time.sleep(0.3)

    def held(self):
        folder = self.tests.folder / "held"
        with recorder_on_small_disk(self.tests.sudocam, folder, 110) as recorder:
            if not recorder:
                return "skipped: nothing may be mounted here"
            config = ["--config", str(recorder.config)]
            recorder.start()
            recorder.command("retention", "hold", *config, "--from", "-1h", "--to", str(int((time.time() + 3600) * 1e6)), "--note", "all of it")
            time.sleep(4)

            def alarm():
                # Whatever becomes free, the reserve too, is taken.
                fill(folder)
                return any("Recording stops" in alarm for alarm in recorder.state()["alarms"])

            def gauge():
                return re.search(r"^sudocam_disk_full (\d)", request(recorder.url + "metrics")[2].decode(), re.M).group(1)

            self.until("the page shows no alarm", 120, alarm)
            assert gauge() == "2", gauge()
            assert "Recording stops" in (folder / "serve.log").read_text(), "the log says nothing"
            status = self.status(recorder)
            assert status.returncode == 5 and "Recording stops" in status.stdout, (status.returncode, status.stdout)
            before = self.clips(recorder)
            # A stop is honoured all the same.
            began = time.monotonic()
            recorder.process.send_signal(signal.SIGTERM)
            recorder.process.wait(10)
            ended = time.monotonic() - began
            assert ended < 5, f"it took {ended:.1f} s to end"
            recorder.start()
            (folder / "filler").unlink()
            self.until("no clip came after there was space again", 30, lambda: len(self.clips(recorder)) > len(before) + 2)
            self.until("the alarm stays", 90, lambda: gauge() == "0" and not any("disk is full" in alarm for alarm in recorder.state()["alarms"]))
            assert before <= self.clips(recorder), "held clips are gone"
            recorder.stop()
            recorder.command("verify", *config, "--passphrase-fd", "0", input=PASSPHRASE + "\n")
            return f"{len(before)} held clips, ended after {ended:.1f} s"

    def pulled(self):
        recorder, vault = self.ext4("pulled")
        if not recorder:
            return "skipped: no ext4 image may be mounted here"
        rounds, committed = 3, set()
        try:
            for _ in range(rounds):
                recorder.start()
                time.sleep(5.3)
                committed |= self.clips(recorder)
                # A reader sees an entry a moment before the sync that makes it a commit has returned.
                time.sleep(0.5)
                pulled = os.open(vault, os.O_RDONLY)
                fcntl.ioctl(pulled, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
                os.close(pulled)
                self.until("status does not say that anything is wrong", 20, lambda: self.state_is_bad(recorder))
                time.sleep(3)
                assert recorder.process.poll() is None, "the recorder ended"
                recorder.stop()
                self.until("the disk is held after the end", 10, lambda: subprocess.run(["umount", str(vault)], capture_output=True).returncode == 0)
                assert not list(vault.iterdir()), f"under the mount point: {list(vault.iterdir())}"
                # A copy of what the disk held: while anybody else sees the old mount, the kernel would give it back as dead.
                image = shutil.copy(recorder.folder / "image", recorder.folder / "copy")
                os.replace(image, recorder.folder / "image")
                subprocess.run(["mount", "-o", "loop", str(recorder.folder / "image"), str(vault)], check=True)
                recorder.start()
                now = self.clips(recorder)
                assert committed <= now, f"{len(committed - now)} committed clips are missing"
                recorder.stop()
                recorder.command("verify", "--config", str(recorder.config), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
            return f"{rounds} times, {len(committed)} clips committed before"
        finally:
            recorder.stop(signal.SIGKILL)
            subprocess.run(["umount", "-l", str(vault)], check=False)

    def state_is_bad(self, recorder):
        """By the page: the command line's socket lies on the disk that is gone."""
        state = recorder.state()
        return bool(state["alarms"]) or any(camera["state"] != "recording" for camera in state["cameras"])

    def unmounted(self):
        recorder, vault = self.ext4("unmounted")
        if not recorder:
            return "skipped: no ext4 image may be mounted here"
        try:
            recorder.start()
            self.until("nothing is recorded", 20, lambda: len(self.clips(recorder)) > 4)
            committed = self.clips(recorder)
            subprocess.run(["umount", "-l", str(vault)], check=True)
            self.until("nobody is told", 20, lambda: self.state_is_bad(recorder))
            time.sleep(5)
            assert recorder.process.poll() is None, "the recorder ended"
            recorder.stop()
            strays = [str(path.relative_to(vault)) for path in vault.rglob("*")]
            assert not strays, f"written where the disk was: {strays}"
            self.until("the image is held after the end", 10, lambda: subprocess.run(["mount", "-o", "loop", str(recorder.folder / "image"), str(vault)], capture_output=True).returncode == 0)
            recorder.start()
            now = self.clips(recorder)
            assert committed <= now, f"{len(committed - now)} committed clips are missing"
            recorder.stop()
            recorder.command("verify", "--config", str(recorder.config), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
            return f"{len(committed)} clips before, {len(now)} after"
        finally:
            recorder.stop(signal.SIGKILL)
            subprocess.run(["umount", "-l", str(vault)], check=False)

    def pieces(self):
        recorder = self.tests.recorder("pieces", CAMERAS, clip_seconds=2)
        library, counter = recorder.folder / "short.so", recorder.folder / "calls"
        subprocess.run(["clang", "-shared", "-fPIC", "-O2", "-o", str(library), str(HERE / "short.c")], check=True)
        plain = recorder.environment
        recorder.environment = lambda: {**(plain() or os.environ), "LD_PRELOAD": str(library), "SUDOCAM_TEST_SHORT": str(counter)}
        try:
            for number in (signal.SIGTERM, signal.SIGKILL):
                recorder.start()
                time.sleep(8)
                recorder.stop(number)
            calls = struct.unpack("L", counter.read_bytes())[0]
            assert calls > 300, f"only {calls} calls passed by"
            recorder.start()
            alarms = recorder.state()["alarms"]
            recorder.stop()
            assert not alarms, alarms
            log = (recorder.folder / "serve.log").read_text()
            assert "could not" not in log and "written" not in log, log[-2000:]
            recorder.command("verify", "--config", str(recorder.config), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
            return f"{calls} calls, {len(self.clips(recorder))} clips"
        finally:
            recorder.stop(signal.SIGKILL)
