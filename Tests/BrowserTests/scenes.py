"""What happens to footage over time, in one recorder of its own: midnight (UTC), B-frames, other sizes, a camera that is not there.

Its clock is set so that midnight comes a few seconds after its start.
"""

import json
import random
import socket
import subprocess
import time
from datetime import datetime

from pictures import FRAME, READ, SEEK, WATCH, rises, unlock
from recorder import PASSPHRASE, Recorder, request
from webdriver import chromium

DAY = 86_400
B_FRAMES = 2
# A busy machine reads the test camera's two clocks some ms apart; less than a frame still tells one frame from the next.
JITTER = 25_000


def microseconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1e6


class Scenes:
    def __init__(self, tests, folder):
        self.tests, self.check = tests, tests.check
        folder.mkdir()
        self.film(folder)
        # Bound and not listened on: nobody else takes the port, and every connection is refused.
        self.closed = socket.socket()
        self.closed.bind(("127.0.0.1", 0))
        cameras = {
            "night": "test:?size=320x240&rate=25&gop=25&bitrate=300000",
            "reordered": f"test:?size=320x240&rate=25&gop=50&bitrate=300000&bframes={B_FRAMES}",
            "grown": "test:?size=320x240&rate=25&gop=25&bitrate=300000",
            "film": f"file:{folder}/sizes.ts",
            "dead": f"rtsp://admin:s3cret@127.0.0.1:{self.closed.getsockname()[1]}/stream",
        }
        self.midnight = (int(time.time()) // DAY + 1) * DAY
        self.recorder = Recorder(tests.sudocam, folder / "recorder", cameras, clip_seconds=5, ahead=self.midnight - 15 - time.time())

    @staticmethod
    def film(folder):
        """A recording whose picture changes its size in the middle, as a camera does when somebody turns its setting."""
        for index, size in enumerate(("320x240", "640x480")):
            subprocess.run(
                ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc=size={size}:rate=25:duration=4", "-c:v", "libx264", "-preset", "ultrafast",
                 "-bf", "0", "-g", "25", "-pix_fmt", "yuv420p", "-output_ts_offset", str(4 * index), "-f", "mpegts", str(folder / f"{index}.ts")], check=True)
        (folder / "sizes.ts").write_bytes(b"".join((folder / f"{index}.ts").read_bytes() for index in (0, 1)))

    def start(self):
        self.recorder.start()
        self.ids = dict(zip(("night", "reordered", "grown", "film", "dead"), self.recorder.cameras()))

    def change(self):
        """Somebody sets one camera to a larger picture and starts the recorder again."""
        self.recorder.stop()
        text = self.recorder.config.read_text()
        grown = [line for line in text.splitlines() if line.startswith("  grown:")][0]
        self.recorder.config.write_text(text.replace(grown, grown.replace("320x240", "640x360")))
        self.changed = self.recorder.now()
        self.recorder.start()

    def stretches(self, name):
        at = self.recorder.now()
        answer = request(self.recorder.url + f"api/v1/cameras/{self.ids[name]}/timeline?from={int(at - 600e6)}&to={int(at)}&pixels=10000")
        return [stretch for stretch in json.loads(answer[2])["recorded"] if stretch[1] - stretch[0] > 4e6]

    def run(self):
        browser = self.browser = chromium()
        try:
            unlock(browser, self.recorder.url, PASSPHRASE)
            self.check("playing goes on over midnight (UTC), where the epoch and its key change", self.over_midnight)
            self.check("W38: B-frames, live: the picture never goes back", self.reordered_live)
            self.check("W38: B-frames, exact seeks show the last frame that others refer to", self.reordered_seeks)
            self.check("W38: B-frames, playing: the picture never goes back", self.reordered_plays)
            self.check("W37: a camera set to another size: playing goes on in the new one", self.grown)
            self.check("W37: the size changes within one recording", self.film_plays)
            self.check("a camera that is not there: the page says so in words, the others are recorded", self.dead_camera)
        finally:
            browser.close()

    def seek(self, name, time_us, then="pause", mode="exact"):
        return self.browser.run(SEEK, self.ids[name], int(time_us), mode, then)

    def over_midnight(self):
        border = self.midnight * 1e6
        epochs = list((self.recorder.folder / "vault" / "epochs").glob("*.age"))
        assert len(epochs) == 8, f"four cameras and two days, but {len(epochs)} epochs"
        clips = json.loads(self.recorder.command(
            "clips", "--config", str(self.recorder.config), "--camera", "night", "--from", str(int(border - 60e6)), "--to", str(int(border + 60e6)), "--json").stdout)
        days = {(clip["start"][:10]) for clip in clips}
        assert len(days) == 2, days
        for wanted in (border - 60_000, border + 1, border + 500_000):
            code = self.seek("night", wanted)["code"]
            assert -JITTER <= wanted - code < 1.9 * FRAME, (wanted, code)
        self.seek("night", border - 2e6, "play")
        codes = rises(self.browser.run(WATCH, 4500))
        steps = [b - a for a, b in zip(codes, codes[1:])]
        assert codes[0] < border - 1e6 and codes[-1] > border + 1e6, (codes[0] - border, codes[-1] - border)
        assert max(steps) < 500_000, f"a hole of {max(steps)} µs"
        return f"{len(codes)} pictures, longest step {max(steps) / 1000:.0f} ms"

    def reordered_live(self):
        self.browser.run("await sudocam.live(args[0])", self.ids["reordered"])
        codes = rises(self.browser.run(WATCH, 2500))
        assert self.browser.run("return sudocam.mode") == "live"
        assert self.recorder.now() - codes[-1] < 5e6
        return f"{len(codes)} pictures in 2.5 s"

    def reordered_seeks(self):
        start, end = self.stretches("reordered")[0]
        latest = 0
        for _ in range(30):
            wanted = random.randint(int(start + 300_000), int(end - 2_500_000))
            code = self.seek("reordered", wanted)["code"]
            # Frames that others refer to are three apart: one frame of jitter still tells them apart.
            assert code and -FRAME <= wanted - code, (wanted, code)
            latest = max(latest, wanted - code)
            own = self.browser.run("return sudocam.shown().time")
            # Nothing that can be shown lies between it and what was asked for, and it is found by its own time.
            self.browser.run("await sudocam.step(1)")
            following = self.browser.run(READ)
            assert following > wanted - FRAME, f"asked {wanted}, shown {code}, but {following} was there too"
            again = self.seek("reordered", own)["code"]
            assert again == code, (code, again)
        assert latest < 10 * FRAME, latest
        return f"at most {latest / 1000:.0f} ms before the time asked for"

    def reordered_plays(self):
        start, _ = self.stretches("reordered")[0]
        self.seek("reordered", start + 1e6, "play")
        began = time.monotonic()
        codes = rises(self.browser.run(WATCH, 4000))
        rate = (codes[-1] - codes[0]) / 1e6 / (time.monotonic() - began)
        assert 0.75 < rate < 1.15, f"{rate:.2f}×"
        assert not [message for message in self.browser.run("return sudocam.messages") if message["type"] == "error"]
        return f"{len(codes)} pictures, {rate:.2f}×"

    def grown(self):
        clips = sorted((microseconds(clip["start"]), microseconds(clip["end"])) for clip in json.loads(self.recorder.command(
            "clips", "--config", str(self.recorder.config), "--camera", "grown", "--from", str(int(self.changed - 60e6)), "--to", str(int(self.changed + 60e6)), "--json").stdout))
        before = [clip for clip in clips if clip[0] < self.changed][-1]
        after = [clip for clip in clips if clip[0] >= self.changed][0]
        self.browser.run("sudocam.play(1)")
        self.seek("grown", before[1] - 1.5e6, "play")
        pictures = self.browser.run(WATCH, 5000)
        codes = rises(pictures)
        widths = [width for _, _, width in pictures]
        assert widths == sorted(widths) and set(widths) == {320, 640}, widths
        large = next(code for code, _, width in pictures if width == 640 and code)
        assert large - after[0] < 1e6, f"the new size only {large - after[0]} µs after its first key frame"
        assert codes[-1] > after[0] + 500_000
        assert any(message["type"] == "resized" and message["width"] == 640 for message in self.browser.run("return sudocam.messages"))
        assert self.browser.run("return document.querySelector('.facts').textContent").endswith("360p")
        # Back over the change, by seeking: the small picture again, the very frame.
        result = self.seek("grown", before[1] - 1e6)
        assert -JITTER <= before[1] - 1e6 - result["code"] < 1.9 * FRAME and self.browser.run("return sudocam.shown().width") == 320, result

    def film_plays(self):
        start, end = max(self.stretches("film"), key=lambda stretch: stretch[1] - stretch[0])
        assert end - start > 12e6, "the film was not recorded through its change of size"
        self.seek("film", start + 500_000, "play")
        pictures = self.browser.run(WATCH, 10_000)
        times = [time for _, time, _ in pictures]
        assert all(a <= b for a, b in zip(times, times[1:])), times
        widths = [pictures[0][2]]
        for _, _, width in pictures:
            if width != widths[-1]:
                widths.append(width)
        assert len(widths) >= 3 and set(widths) == {320, 640}, widths
        assert max(b - a for a, b in zip(times, times[1:])) < 1e6, "a hole at the change of size"
        return " → ".join(map(str, widths))

    def dead_camera(self):
        text = self.browser.wait("const place = document.querySelector('#trouble'); return !place.hidden && place.textContent", 15)
        assert "dead has been offline since" in text and "Check the address" in text, text
        assert "s3cret" not in text and "s3cret" not in json.dumps(self.browser.run("return sudocam.state()")), text
        states = {camera["name"]: camera["state"] for camera in self.browser.run("return sudocam.state()")["cameras"]}
        assert states == {"night": "recording", "reordered": "recording", "grown": "recording", "film": "recording", "dead": "offline"}, states
        status = self.recorder.command("status", "--config", str(self.recorder.config), check=False)
        assert status.returncode == 5 and "dead: offline (" in status.stdout and "s3cret" not in status.stdout, status
        # The picture of the camera before must not stand under this one's name, and nothing plays.
        assert self.seek("night", self.recorder.now() - 20e6, "play")["code"]
        result = self.seek("dead", self.recorder.now() - 5e6)
        assert result.get("gap"), result
        notice = self.browser.wait("const place = document.querySelector('#notice'); return !place.hidden && place.textContent", 3)
        assert notice == "Nothing is recorded of this camera yet", notice
        assert self.browser.run("return getComputedStyle(sudocam.picture).visibility") == "hidden", "another camera's picture stands there"
        assert self.browser.run("return sudocam.mode") == "pause" and self.browser.run("return document.querySelector('#play').ariaLabel") == "Play"
        self.browser.screenshot(self.tests.artifacts / "trouble.png")
        assert self.seek("night", self.recorder.now() - 20e6)["code"], "the other camera's picture does not come back"
        return text.split(": ", 1)[-1][:90]
