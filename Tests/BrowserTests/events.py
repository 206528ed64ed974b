"""What the recorder noticed, on the band: a camera hangs while the clocks are put on, and its mark is tapped afterwards.

The recorder's clock is set so that Berlin's 23-hour day begins its missing hour half a minute after the start.
"""

import os
import subprocess
import time
from datetime import UTC, datetime

from pictures import unlock
from recorder import PASSPHRASE, Recorder
from webdriver import chromium

# 02:00 +01:00 is followed by 03:00 +02:00.
CHANGE = datetime(2027, 3, 28, 1, tzinfo=UTC).timestamp()
BEFORE = 32


class Events:
    def __init__(self, tests, folder):
        self.tests = tests
        folder.mkdir()
        film = folder / "still.mp4"
        subprocess.run(
            ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=10:duration=0.1", "-vf", "tpad=stop_mode=clone:stop_duration=4",
             "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "20", "-pix_fmt", "yuv420p", str(film)], check=True)
        self.recorder = Recorder(tests.sudocam, folder / "recorder", {"hall": f"file:{film}"}, ahead=CHANGE - BEFORE - time.time())

    def start(self):
        # Making the vault took a while.
        self.recorder.ahead = CHANGE - BEFORE - time.time()
        self.recorder.start()

    def run(self):
        self.tests.check("I13, T4: an event of before the clocks were put on is a mark on the band, and opens its very instant", self.opens)

    def opens(self):
        before = os.environ.get("TZ")
        os.environ["TZ"] = "Europe/Berlin"
        browser = None
        try:
            while self.recorder.now() < (CHANGE + 6) * 1e6:
                time.sleep(0.5)
            browser = chromium()
            unlock(browser, self.recorder.url, PASSPHRASE)
            assert browser.run("return new Date(args[0]).getTimezoneOffset() - new Date(args[1]).getTimezoneOffset()", (CHANGE - 1) * 1e3, CHANGE * 1e3) == 60
            trouble = browser.wait("const place = document.querySelector('#trouble'); return !place.hidden && place.textContent", 10)
            assert "The picture of hall has not changed since" in trouble, trouble
            event = browser.wait("return document.querySelector('sudo-band').timeline?.events?.[0]", 10)
            assert event["label"] == "frozen" and event["from"] / 1e6 < CHANGE, event
            # Now is in the middle of the band; how long ago the event was depends on the checks before this one.
            browser.run(
                "const band = document.querySelector('sudo-band'); band.zoom(Math.max(180e6, 4 * args[0]) / band.model.span);",
                self.recorder.now() - event["from"])
            browser.run("await new Promise(done => setTimeout(done, 300))")
            browser.screenshot(self.tests.artifacts / "event.png")
            at = browser.run(
                "const band = document.querySelector('sudo-band'), box = band.getBoundingClientRect();"
                "return [box.left + band.model.xOf(band.timeline.events[0].from) + 4, box.bottom - 6];")
            browser.tap(*at)
            shown = browser.wait("return sudocam.mode !== 'live' && Math.abs(sudocam.shown()?.time - args[0]) < 2e6 && sudocam.shown().time", 10, event["from"])
            # Ten pictures a second: the one that stood at that instant.
            assert -100 <= event["from"] - shown < 100_000, (event, shown)
            clock = browser.wait("return /0[123]:[0-9:.]+/.exec(document.querySelector('sudo-picture').textContent)?.[0]", 5)
            assert clock.startswith("01:59:"), clock
            return f"opened at {clock}, {CHANGE - event['from'] / 1e6:.0f} s before the change"
        finally:
            if browser:
                browser.close()
            if before is None:
                os.environ.pop("TZ", None)
            else:
                os.environ["TZ"] = before
