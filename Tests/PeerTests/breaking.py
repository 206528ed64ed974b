"""Commands that write footage or keys in clear, broken off in the middle."""

import signal
import subprocess
import time

from recorder import PASSPHRASE

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heavy(folder):
    """A camera of 16 Mbit/s: what hands its footage out is busy for so long that a signal comes in between."""
    film = folder / "noise.mp4"
    subprocess.run(
        ["ffmpeg", "-y", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=640x360:rate=25:duration=4", "-vf", "noise=alls=100:allf=t",
         "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "25", "-pix_fmt", "yuv420p", "-b:v", "16M", "-maxrate", "16M", "-bufsize", "8M",
         str(film)], check=True)
    return {"hall": f"file:{film}"}


def heeds():
    """A shell that starts something in the background lets it ignore Ctrl-C, and with it all that it starts."""
    for number in STOPS:
        signal.signal(number, signal.SIG_DFL)


def broken_off(recorder, *arguments, seen, told):
    """Ctrl-C, SIGTERM and a closed terminal once `seen` is true of what the command fills: nothing of it stays, its place is free, and it
    says what is `told`. Gives how often that was tried until a signal came in time."""

    def begun():
        try:
            return any(seen(part) for part in recorder.folder.glob("broken-*.part"))
        except OSError:
            return False

    tries = 0
    for number in STOPS:
        for attempt in range(10):
            tries += 1
            target = recorder.folder / f"broken-{number}-{attempt}"
            process = subprocess.Popen(
                [recorder.sudocam, *arguments, "--config", str(recorder.config), "-o", str(target), "--passphrase-fd", "0"],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=heeds)
            process.stdin.write(PASSPHRASE + "\n")
            process.stdin.close()
            # In slices: while it is looked at, it stands still, or a little footage is written before anybody has looked.
            while process.poll() is None:
                process.send_signal(signal.SIGSTOP)
                if begun():
                    break
                process.send_signal(signal.SIGCONT)
                time.sleep(0.001)
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            words = process.stderr.read()
            process.wait(20)
            left = list(recorder.folder.glob("broken-*.part"))
            assert not left, f"after signal {number} there is still {[str(path) for part in left for path in (part, *part.rglob('*'))]}: {words}"
            assert target.exists() == (process.returncode == 0), (process.returncode, words)
            if process.returncode:
                assert process.returncode == 130 and "nothing of it was kept" in words and told in words, (process.returncode, words)
                break
        else:
            raise AssertionError("it was always over before the signal came")
    return tries
