"""The page and the player in a real Chromium against a running `sudocam serve`: what a user would see.

Every picture shown is identified by the block code that the test camera drew into it.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

from events import Events
from pictures import FRAME, READ, SEEK, WATCH, codes_of, rises, unlock
from recorder import PASSPHRASE, Checks, Recorder, request
from scenes import Scenes
from webdriver import Firefox, chromium


class Tests(Checks):
    def __init__(self, sudocam, artifacts):
        super().__init__(sudocam)
        self.artifacts = artifacts

    def run(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="sudocam-test-"))
        cameras = {
            "hall": "test:?size=640x360&rate=25&gop=50&bitrate=1000000&profile=high",
            "door": "test:?size=320x240&rate=25&gop=25&bitrate=400000&profile=main",
        }
        recorder = Recorder(self.sudocam, folder / "main", cameras)
        scenes = Scenes(self, folder / "scenes")
        events = Events(self, folder / "events")
        browser = patient = None
        try:
            scenes.start()
            recorder.start()
            first = recorder.cameras()[0]
            time.sleep(14)
            # A gap with a reason: the recorder is off for a while.
            recorder.stop()
            gap_from = time.time() * 1e6
            time.sleep(5)
            recorder.start()
            time.sleep(8)
            scenes.change()
            events.start()
            self.http(recorder)
            patient = Patient(recorder, first, gap_from - 9e6)
            browser = chromium(downloads=folder)
            self.page(browser, recorder, first, gap_from)
            scenes.run()
            events.run()
            self.check("a pause of two minutes, then the picture goes on from the paused frame", patient.resumes)
            self.ends(browser, recorder, first)
            self.check("the page says so when the recorder shows an older ledger", lambda: self.witness(browser, folder / "witness"))
            self.check("Firefox without H.264 says so, and nothing hangs", lambda: self.firefox(recorder))
        finally:
            for one in (browser, patient and patient.browser):
                if one:
                    one.close()
            recorder.stop()
            scenes.recorder.stop()
            events.recorder.stop()
            if self.failed:
                for one in (recorder, scenes.recorder, events.recorder):
                    print((one.folder / "serve.log").read_text()[-3000:])
            shutil.rmtree(folder, ignore_errors=True)
        return self.finish()

    def witness(self, browser, folder):
        recorder = Recorder(self.sudocam, folder, {"hall": "test:?size=320x240&rate=25&gop=25"}, clip_seconds=2)
        vault, old = folder / "vault", folder / "old"
        pin = "return Object.entries(localStorage).filter(([name]) => name.startsWith('ledger ')).map(([, text]) => JSON.parse(text).size)[0]"
        doubt = "const place = document.querySelector('#doubt'); return !place.hidden && place.textContent"

        def look(least):
            browser.open(recorder.url)
            return browser.wait(f"const size = await (async () => {{ {pin} }})(); return size >= {least} && size", 10)

        try:
            recorder.start()
            time.sleep(3)
            first = look(1)
            recorder.stop()
            shutil.copytree(vault, old, ignore=lambda *_: ["control.sock"])
            recorder.start()
            time.sleep(5)
            then = look(first + 2)
            assert not browser.run(doubt)
            recorder.stop()
            shutil.rmtree(vault)
            old.rename(vault)
            # The recorder would refuse the older copy; whoever puts it back takes its memory as well.
            (folder / ".sudocam-vaults.json").unlink()
            recorder.start()
            browser.open(recorder.url)
            text = browser.wait(doubt, 10)
            assert "older ledger" in text, text
            browser.screenshot(self.artifacts / "older-ledger.png")
            browser.run("document.querySelector('#doubt button').click();")
            browser.wait("return document.querySelector('#doubt').hidden", 10)
            return f"{first}, then {then} entries were seen"
        finally:
            recorder.stop()

    # HTTP, as a hostile web page or network would use it

    def http(self, recorder):
        url = recorder.url

        def headers():
            status, headers, _ = request(url)
            assert status == 200 and "default-src 'none'" in headers["content-security-policy"], headers
            assert headers["x-content-type-options"] == "nosniff"

        def rebinding():
            assert request(url, Host="evil.example")[0] == 421
            assert request(url + "api/v1/state", Host="evil.example")[0] == 421

        def foreign():
            for origin in ("http://evil.example", "null"):
                status, _, body = request(url + "api/v1/unlock", "POST", PASSPHRASE.encode(), Origin=origin)
                assert status == 403, (origin, status, body)
            assert request(url + "api/v1/events", Sec_Fetch_Site="cross-site")[0] == 403

        def locked():
            camera = recorder.cameras()[0]
            assert request(url + f"api/v1/cameras/{camera}/export?from=0&to=9000000000000000")[0] == 401
            assert request(url + "api/v1/sessions", "POST", b"v=0", Content_Type="application/sdp")[0] == 401
            assert request(url + "api/v1/lock", "POST", b"")[0] == 401
            assert all(camera["name"] is None if "name" in camera else True for camera in recorder.state()["cameras"])

        def cookie():
            status, headers, _ = request(url + "api/v1/unlock", "POST", PASSPHRASE.encode())
            assert status == 204 and "HttpOnly" in headers["set-cookie"] and "SameSite=Strict" in headers["set-cookie"], headers
            token = headers["set-cookie"].split(";")[0]
            status, _, body = request(url + "api/v1/sessions", "POST", b"garbage", Content_Type="application/sdp", Cookie=token)
            assert status == 400 and b"sdp" in body.lower(), (status, body)
            assert request(url + "api/v1/lock", "POST", b"", Cookie=token)[0] == 204
            assert request(url + "api/v1/lock", "POST", b"", Cookie=token)[0] == 401

        def garbage():
            camera = recorder.cameras()[0]
            for query in ("", "?from=1", "?from=2&to=1", "?from=x&to=y", "?from=0&to=1&pixels=0", "?from=0&to=1&pixels=99999999999999999999"):
                assert request(url + f"api/v1/cameras/{camera}/timeline{query}")[0] == 400, query
            assert request(url + "api/v1/cameras/none/timeline?from=0&to=1")[0] == 404
            assert request(url + "api/v1/sessions/none", "DELETE")[0] == 401

        def observed():
            assert request(url + "healthz")[0] == 200
            text = request(url + "metrics")[2].decode()
            assert "sudocam_committed_clips_total" in text and "sudocam_locked 1" in text, text

        self.check("every answer carries the security headers", headers)
        self.check("other host names are refused (DNS rebinding)", rebinding)
        self.check("other origins are refused (CSRF, EventSource)", foreign)
        self.check("without log-in no footage and no camera names", locked)
        self.check("the session cookie is HttpOnly and SameSite=Strict, and ends with lock", cookie)
        self.check("senseless parameters get a clear 4xx", garbage)
        self.check("healthz and metrics", observed)

    def firefox(self, recorder):
        browser = Firefox()
        try:
            browser.open(recorder.url)
            browser.wait("return document.querySelector('#passphrase')", 10)
            browser.wait("return getComputedStyle(document.querySelector('#login')).display !== 'none'", 10)
            browser.run(f"document.querySelector('#passphrase').value = '{PASSPHRASE}'; document.querySelector('#unlock').click();")
            text = browser.wait("const place = document.querySelector('#unsupported'); return !place.hidden && place.textContent", 15)
            assert "no H.264 for WebRTC" in text, text
            assert browser.run("return document.querySelector('sudo-band canvas').width") > 100
        finally:
            browser.close()

    # The page

    def page(self, browser, recorder, camera, gap_from):
        browser.open(recorder.url)
        browser.run("await sudocam.ready;")
        browser.wait("return document.querySelector('sudo-band').timeline && document.querySelector('sudo-days button').textContent", 10)
        browser.screenshot(self.artifacts / "locked.png")

        def wrong():
            browser.run("document.querySelector('#passphrase').value = 'wrong'; document.querySelector('#unlock').click();")
            text = browser.wait("return document.querySelector('#login-error').textContent", 15)
            assert "not the vault's passphrase" in text, text

        def first_frame():
            began = time.monotonic()
            browser.run(f"document.querySelector('#passphrase').value = '{PASSPHRASE}'; document.querySelector('#unlock').click();")
            code = browser.wait("return sudocam.shown() && (() => {" + READ + "})()", 20)
            age = time.time() - code / 1e6
            assert age < 5, f"the live picture is {age:.1f} s old"
            assert browser.run("return sudocam.mode") == "live"
            return f"{time.monotonic() - began:.2f} s from the passphrase, the picture {age * 1000:.0f} ms old"

        self.check("a wrong passphrase is told", wrong)
        self.check("unlocking shows the live picture", first_frame)
        if self.failed and "unlocking shows the live picture" in self.failed:
            return
        browser.screenshot(self.artifacts / "live.png")

        recorded = json.loads(request(recorder.url + f"api/v1/cameras/{camera}/timeline?from={int(gap_from - 60e6)}&to={int(time.time() * 1e6)}&pixels=2000")[2])
        stretches = [stretch for stretch in recorded["recorded"] if stretch[1] - stretch[0] > 4e6]

        def is_the_frame(wanted, time):
            """Whether the picture of `time` stood at `wanted`: it began by then, and the next one had not."""
            late = wanted - time
            assert -50 <= late, f"asked {wanted}, shown {time}: {late} µs away"
            if late >= FRAME * 1.9:
                # A busy machine's test camera skips frames: then this one stood until the next.
                browser.run(SEEK, camera, wanted, "exact", "pause")
                browser.run("await sudocam.step(1)")
                following = browser.run(READ)
                assert following > wanted, f"asked {wanted}, shown {time}, but {following} was there too"

        def very_frame(count):
            latencies = []
            for _ in range(count):
                start, end = random.choice(stretches)
                wanted = random.randint(int(start + 200_000), int(end - 2_500_000))
                began = time.monotonic()
                result = browser.run(SEEK, camera, wanted, "exact", "pause")
                latencies.append(time.monotonic() - began)
                assert result.get("code"), result
                is_the_frame(wanted, result["code"])
            latencies.sort()
            return f"{count} seeks, p50 {latencies[count // 2] * 1000:.0f} ms, p95 {latencies[int(count * 0.95)] * 1000:.0f} ms with the driver's round trip"

        def into_playing(count):
            at_once = 0
            for _ in range(count):
                start, end = random.choice(stretches)
                wanted = random.randint(int(start + 200_000), int(end - 2_500_000))
                result = browser.run(SEEK, camera, wanted, "exact", "play")
                assert result.get("code") and "time" in result, result
                # The line that the pictures are laid on begins at the very frame. The first picture that a busy browser
                # puts on the screen may be one of the next: it must be the one that the line says, and none before it.
                begins = browser.run("return sudocam.messages.find(each => each.type === 'clock' && each.id === args[0])", result["id"])
                is_the_frame(wanted, begins["time"])
                assert begins["mode"] == "play" and begins["rate"] == 1, begins
                assert begins["time"] - 50 <= result["code"] and -50 <= result["code"] - result["time"] <= 500_000, (result, begins)
                at_once += result["code"] - begins["time"] <= 50
            return f"{at_once} of {count} times the browser put the very frame on the screen, else one behind it"

        self.check("100 exact seeks while paused show the very frame", lambda: very_frame(100))
        self.check("30 exact seeks into playing begin at the very frame", lambda: into_playing(30))

        def scrub():
            start, end = stretches[0]
            times = [int(start + 300_000 + (end - start - 3e6) * index / 50) for index in range(50)]
            random.shuffle(times)
            result = browser.run(
                "for (const time of args[1]) { sudocam.drag(args[0], time); await new Promise(r => setTimeout(r, 20)); }"
                "const result = await sudocam.seek(args[0], args[1].at(-1)); const code = (() => {" + READ + "})(); return {...result, code};", camera, times)
            assert result.get("code") and -50 <= times[-1] - result["code"] < FRAME * 1.9, (times[-1], result)
            time.sleep(0.5)
            assert browser.run(READ) == result["code"], "an older seek came after the last one"

        def dragged():
            start, end = stretches[0]
            browser.run(SEEK, camera, int(end - 2.5e6), "exact", "pause")
            # A minute across the band: a pixel is about 50 ms of footage.
            browser.run("const band = document.querySelector('sudo-band'); band.zoom(60e6 / band.model.span);")
            asked = browser.run("return sudocam.messages.length")
            browser.drag("sudo-band canvas", [9, -4, 7, -3] * 12 + [4, 5])
            # A hand that was slow to rest lets the band run out first.
            wanted = browser.wait("const band = document.querySelector('sudo-band'); return !band.isDragging && band.model.centre", 5)
            assert start < wanted < end - 5e6, f"dragged to {wanted - start}"
            # Of the last request: a key frame on the way may lie as near.
            code = browser.wait("return sudocam.shown().seekId === sudocam.latestID && (() => {" + READ + "})()", 5)
            assert -50 <= wanted - code < FRAME * 1.9, (wanted, code)
            time.sleep(0.5)
            assert browser.run(READ) == code, "an older seek came after the last one"
            return f"{browser.run('return sudocam.messages.length') - asked} answers to 50 moves"

        self.check("W34: 50 seeks in a second, the last one wins", scrub)
        self.check("W34: 50 moves of the mouse on the band end at the very frame under the playhead", dragged)

        def forward_only():
            stamps = []
            start, end = stretches[0]
            for index in range(8):
                browser.run(SEEK, camera, int(end - 3e6 - index * 700_000), "exact", "pause")
                stamps.append(browser.run("return sudocam.shown().rtp"))
            assert all((b - a) % 2**32 < 2**31 for a, b in zip(stamps, stamps[1:])), stamps

        self.check("seeking backwards, RTP timestamps go forward only", forward_only)

        def plays(rate, seconds, low, high, start_at):
            def body():
                browser.run(SEEK, camera, int(start_at), "exact", "pause")
                before = browser.run("return sudocam.shown().time")
                browser.run("sudocam.play(args[0])", rate)
                time.sleep(seconds)
                after = browser.run("return sudocam.shown().time")
                code = browser.run(READ)
                speed = (after - before) / 1e6 / seconds
                assert low <= speed <= high, f"{speed:.2f}×"
                assert code and abs(code - after) < abs(rate) * 400_000 + 200_000, (code, after)
                browser.run("sudocam.pause()")
                return f"{speed:.2f}×"

            return body

        begin, end = stretches[0]
        self.check("play 1× across a clip border", plays(1, 6, 0.85, 1.15, begin + 1e6))
        self.check("play 4×", plays(4, 2, 2.8, 5.0, begin + 0.5e6))
        self.check("play −8×", plays(-8, 1, -11, -4, end - 1.5e6))
        self.check("play 16×", plays(16, 0.6, 5, 26, begin + 0.5e6))

        def step():
            browser.run(SEEK, camera, int(begin + 5e6), "exact", "pause")
            codes = [browser.run(READ)]
            for frames in (1, 1, -1, -1, 1):
                browser.run("await sudocam.step(args[0])", frames)
                codes.append(browser.run(READ))
            first, second, third = codes[:3]
            assert first < second < third and codes == [first, second, third, second, first, second], codes
            # Neighbours: up to the second frame's beginning the first one stands.
            assert browser.run(SEEK, camera, second - 1000, "exact", "pause")["code"] == first
            return f"{(second - first) / 1000:.0f} and {(third - second) / 1000:.0f} ms"

        self.check("step one frame on and back", step)

        def export():
            marks = []
            for after in (1_530_000, 7_170_000):
                browser.run(SEEK, camera, int(begin + after), "exact", "pause")
                browser.click("#mark")
                marks.append(browser.run("return sudocam.shown().time"))
            assert browser.run("return document.querySelector('#export').textContent").startswith("Export "), "no length on the button"
            browser.click("#export")
            end = time.monotonic() + 15
            folder = recorder.folder.parent
            while not (movies := list(folder.glob("*.mp4"))):
                assert time.monotonic() < end, "nothing was downloaded"
                time.sleep(0.1)
            assert movies[0].name.startswith("hall-20"), movies
            codes = codes_of(movies[0], 640, 360)
            assert all(codes), "a picture without a code"
            assert abs(codes[0] - marks[0]) <= 50, f"the first picture is {codes[0] - marks[0]} µs from the mark"
            assert 0 < marks[1] - codes[-1] < FRAME * 1.9, f"the last picture is {marks[1] - codes[-1]} µs before the mark"
            assert all(a < b for a, b in zip(codes, codes[1:])) and max(b - a for a, b in zip(codes, codes[1:])) < 5 * FRAME, codes
            probed = json.loads(subprocess.run(
                ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-show_entries", "stream=nb_frames,nb_read_frames,start_time,duration",
                 "-of", "json", str(movies[0])], capture_output=True, check=True).stdout)["streams"][0]
            data = movies[0].read_bytes()
            assert data.index(b"moov") < data.index(b"mdat"), "the index does not stand in front"
            # The range begins between two key frames: the movie begins at the earlier one, an edit list hides what is before the mark.
            place = data.index(b"elst") + 4
            entry = place + 8
            hidden = int.from_bytes(data[entry + 4:entry + 8], "big") if data[place] == 0 else int.from_bytes(data[entry + 8:entry + 16], "big")
            assert hidden > 0 and float(probed["start_time"]) == 0, (hidden, probed)
            assert int(probed["nb_read_frames"]) == len(codes) < int(probed["nb_frames"]), (probed, len(codes))
            assert abs(float(probed["duration"]) - (marks[1] - marks[0]) / 1e6) < FRAME / 1e6, (probed, marks)
            return f"{len(codes)} pictures, {int(probed['nb_frames']) - len(codes)} hidden before the mark"

        self.check("P7: a range marked and exported on the page is exact to the frame", export)

        def gap():
            result = browser.run(SEEK, camera, int(gap_from + 2e6), "exact", "pause")
            assert result.get("gap") and result["gap"]["reason"] == "stopped", result
            assert result["gap"]["from"] < gap_from + 2e6 < result["gap"]["to"], result
            browser.screenshot(self.artifacts / "gap.png")
            result = browser.run(SEEK, camera, int(begin - 3600e6), "exact", "pause")
            assert result["gap"]["reason"] == "before-first", result
            result = browser.run(SEEK, camera, int(time.time() * 1e6 + 3600e6), "exact", "pause")
            assert result["gap"]["reason"] == "after-last", result

        def through_gap():
            # A seek plays on at the rate there was.
            browser.run("sudocam.play(1)")
            browser.run(SEEK, camera, int(stretches[0][1] - 1.5e6), "exact", "play")
            codes = rises(browser.run(WATCH, 5000))
            before = [code for code in codes if code < stretches[0][1]]
            assert stretches[0][1] - before[-1] < 300_000, "what lay before the gap was not played to its end"
            behind = [code for code in codes if code >= stretches[1][0] - 50]
            assert len(before) + len(behind) == len(codes) and behind[0] - stretches[1][0] < 300_000, "it did not go on at the gap's end"
            assert any(message["type"] == "gap" for message in browser.run("return sudocam.messages"))
            assert len(before) > 15 and len(behind) > 30, (len(before), len(behind))
            return f"{len(before)} pictures before it, {len(behind)} behind it"

        self.check("W35: a seek into a gap and past both ends is answered", gap)
        self.check("playing goes on behind a gap", through_gap)

        def live():
            browser.run("await sudocam.live()")
            code = browser.wait("const code = (() => {" + READ + "})(); return sudocam.mode === 'live' && code", 5)
            assert time.time() - code / 1e6 < 3

        self.check("back to live", live)

        def flood():
            browser.run(
                "for (let i = 0; i < 10000; i++) sudocam.step(0);"
            )
            time.sleep(1.5)
            codes = {message.get("code") for message in browser.run("return sudocam.messages")}
            assert "too-many-messages" in codes, codes
            result = browser.run(SEEK, camera, int(begin + 4e6), "exact", "pause")
            assert result.get("code"), result

        self.check("W23: ten thousand control messages are refused, the session stays", flood)

        second = chromium(dark=True, size=(390, 844))
        try:
            def two():
                second.open(recorder.url)
                second.run("await sudocam.ready;")
                second.run(f"document.querySelector('#passphrase').value = '{PASSPHRASE}'; document.querySelector('#unlock').click();")
                second.wait("return sudocam.shown()", 20)
                one = browser.run(SEEK, camera, int(begin + 2e6), "exact", "pause")
                other = second.run(SEEK, camera, int(begin + 7e6), "exact", "pause")
                assert 4.5e6 < other["code"] - one["code"] < 5.5e6, (one, other)
                second.wait("return document.querySelector('sudo-band').timeline && document.querySelector('sudo-days button').textContent", 10)
                second.screenshot(self.artifacts / "phone-dark.png")
                second.run(SEEK, camera, int(gap_from + 2e6), "exact", "pause")
                second.screenshot(self.artifacts / "phone-gap.png")
                # Nothing sticks out of the page, which would make it scroll sideways.
                for width in (320, 390, 600, 761, 900, 1024):
                    second.resize(width, 844)
                    outside = second.run(
                        "const wide = document.documentElement.clientWidth; return [...document.querySelectorAll('sudo-app *')].filter(one => !one.closest('sudo-days') && !one.closest('svg')"
                        " && one.checkVisibility({visibilityProperty: true}) && one.getBoundingClientRect().right > wide + 1).map(one => one.tagName + '#' + one.id)")
                    assert not outside, (width, outside)
                    second.screenshot(self.artifacts / f"width-{width}.png")

            self.check("two viewers at different times", two)
        finally:
            second.close()
        browser.run(SEEK, camera, int(begin + 5e6), "exact", "play")
        time.sleep(1)
        browser.screenshot(self.artifacts / "playing.png")

    def ends(self, browser, recorder, camera):
        """What ends every session comes last."""

        def lock():
            browser.run(SEEK, camera, int(recorder.now() - 20e6), "exact", "play")
            # A viewer that does not end by itself when it hears of the lock, as the page does.
            browser.run(
                "const {Session} = await import('/session.js'); const raw = globalThis.raw = new Session(document.createElement('video'));"
                "await raw.open(); raw.control.live(args[0]); raw.pictures = 0; raw.onframe = () => raw.pictures++;", camera)
            browser.wait("return raw.pictures > 5", 10)
            locked = time.monotonic()
            recorder.command("lock", "--config", str(recorder.config))
            browser.wait("return sudocam.state().locked && !sudocam.shown() && sudocam.video.srcObject === null", 3)
            browser.run("raw.closed = 0; raw.onclosed = () => raw.closed = 1; raw.seen = raw.pictures;")
            text = request(recorder.url + "metrics")[2].decode()
            assert "sudocam_viewers 0" in text, [line for line in text.splitlines() if "viewers" in line]
            assert "sudocam_locked 1" in text
            took = time.monotonic() - locked
            time.sleep(1)
            assert browser.run("return raw.pictures - raw.seen") == 0, "pictures come after the lock"
            browser.screenshot(self.artifacts / "locked-again.png")
            clips = len(json.loads(recorder.command("clips", "--config", str(recorder.config), "--json").stdout))
            time.sleep(5)
            assert len(json.loads(recorder.command("clips", "--config", str(recorder.config), "--json").stdout)) > clips
            return f"the picture was gone after {took:.2f} s"

        self.check("W41: locking while playing stops every picture at once, recording goes on", lock)
        self.check("verify finds nothing", lambda: recorder.command("verify", "--config", str(recorder.config)) and None)


class Patient:
    """A viewer who pauses and goes away for two minutes."""

    seconds = 120

    def __init__(self, recorder, camera, at):
        self.browser = chromium()
        unlock(self.browser, recorder.url, PASSPHRASE)
        self.code = self.browser.run(SEEK, camera, int(at), "exact", "pause")["code"]
        self.paused = time.monotonic()

    def resumes(self):
        time.sleep(max(0, self.paused + self.seconds - time.monotonic()))
        away = time.monotonic() - self.paused
        assert self.browser.run(READ) == self.code, "the paused picture is not there any more"
        began = "const began = performance.now(); sudocam.play(1); while (sudocam.shown().time < args[0] + 20000) await new Promise(requestAnimationFrame);"
        milliseconds = self.browser.run(began + "return performance.now() - began;", self.code)
        codes = rises(self.browser.run(WATCH, 1500))
        assert 0 < codes[0] - self.code < 1e6, f"went on {codes[0] - self.code} µs after the paused frame"
        assert codes[-1] - codes[0] > 1e6, codes
        assert milliseconds < 1000, f"{milliseconds:.0f} ms"
        return f"after {away:.0f} s the next picture came in {milliseconds:.0f} ms"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sudocam", required=True)
    parser.add_argument("--artifacts", default="artifacts")
    options = parser.parse_args()
    random.seed(os.environ.get("SUDOCAM_SEED", "1"))
    artifacts = pathlib.Path(options.artifacts)
    artifacts.mkdir(exist_ok=True)
    sys.exit(Tests(str(pathlib.Path(options.sudocam).resolve()), artifacts.resolve()).run())
