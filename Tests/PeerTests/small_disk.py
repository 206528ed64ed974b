"""Disks that are soon full: a tmpfs, and a recorder that writes a megabyte a second to it."""

import contextlib
import os
import signal
import subprocess

from recorder import Recorder


@contextlib.contextmanager
def small_disk(folder, megabytes):
    """Mounted at `folder`; gives False where none may be mounted."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


@contextlib.contextmanager
def recorder_on_small_disk(sudocam, folder, megabytes):
    """Not started; gives None where nothing may be mounted."""
    with small_disk(folder, megabytes) as is_there:
        if not is_there:
            yield None
            return
        recorder = Recorder(
            sudocam, folder, {"hall": "test:?size=1280x720&rate=25&gop=25&bitrate=8000000"}, clip_seconds=2,
            settings=["retention: { keep-free: 1MB }"])
        try:
            yield recorder
        finally:
            recorder.stop(signal.SIGKILL)
            recorder.log.close()


def fill(folder):
    """What is free now and no more: the reserve, once given up, is the recorder's."""
    space = os.statvfs(folder)
    with open(folder / "filler", "ab", buffering=0) as filler:
        filler.write(bytes(max(0, space.f_bavail * space.f_frsize - 8192)))
