"""The page and the player in a real Chromium against a running `sudocam serve`: what a user would see.

Every picture shown is identified by the block code that the test camera drew into it.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from webdriver import Firefox, chromium, free_port

HERE = pathlib.Path(__file__).parent
PASSPHRASE = "correct horse"
FRAME = 40_000  # µs; the test camera's 25 frames a second
CODE = (HERE / "blockcode.mjs").read_text().replace("export ", "")

# What is on the screen, as a person sees it: the time in the picture itself.
READ = CODE + """
const picture = sudocam.picture;
const width = picture.videoWidth || picture.width, height = picture.videoHeight || picture.height;
if (!width) return null;
const canvas = document.createElement('canvas');
canvas.width = width; canvas.height = height;
const paint = canvas.getContext('2d', {willReadFrequently: true});
paint.drawImage(picture, 0, 0);
return decodeBlockCode(paint.getImageData(0, 0, width, height));
"""
SEEK = "const result = await sudocam.seek(args[0], args[1], {mode: args[2], then: args[3]}); const code = (() => {" + READ + "})(); return {...result, code};"


class Recorder:
    """A `sudocam serve` with its own vault and ports."""

    def __init__(self, sudocam, folder, cameras, clip_seconds=4):
        self.sudocam, self.folder = sudocam, pathlib.Path(folder)
        self.port, media = free_port(), free_port(socket.SOCK_DGRAM)
        self.url = f"http://127.0.0.1:{self.port}/"
        lines = ["vault: ./vault", f"listen: 127.0.0.1:{self.port}", f"media-port: {media}", f"clip-seconds: {clip_seconds}", "cameras:"]
        for key, source in cameras.items():
            lines.append(f'  {key}: {{ name: "{key}", source: "{source}" }}')
        self.config = self.folder / "sudocam.yaml"
        self.config.write_text("\n".join(lines) + "\n")
        self.log = open(self.folder / "serve.log", "a")
        self.process = None
        if not (self.folder / "vault").exists():
            self.command("init", str(self.folder / "vault"), "--passphrase-fd", "0", input=PASSPHRASE + "\n")

    def command(self, *arguments, input=None, check=True):
        result = subprocess.run([self.sudocam, *arguments], input=input, text=True, capture_output=True, timeout=120, cwd=self.folder)
        assert not check or result.returncode == 0, f"{arguments}: {result.returncode} {result.stdout} {result.stderr}"
        return result

    def start(self):
        self.process = subprocess.Popen([self.sudocam, "serve", "--config", str(self.config)], stdout=self.log, stderr=self.log, cwd=self.folder)
        end = time.monotonic() + 15
        while True:
            try:
                return self.state()
            except OSError:
                assert self.process.poll() is None and time.monotonic() < end, (self.folder / "serve.log").read_text()
                time.sleep(0.05)

    def state(self):
        with urllib.request.urlopen(self.url + "api/v1/state", timeout=5) as answer:
            return json.load(answer)

    def cameras(self):
        return [camera["id"] for camera in self.state()["cameras"]]

    def stop(self, number=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(10)


def request(url, method="GET", body=None, **headers):
    """(status, headers, body), never an exception for an HTTP status."""
    call = urllib.request.Request(url, data=body, method=method, headers={key.replace("_", "-"): value for key, value in headers.items()})
    try:
        with urllib.request.urlopen(call, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


class Tests:
    def __init__(self, sudocam, artifacts):
        self.sudocam, self.artifacts = sudocam, artifacts
        self.passed, self.failed = 0, []

    def check(self, name, body):
        began = time.monotonic()
        try:
            note = body()
            self.passed += 1
            print(f"ok   {name} ({time.monotonic() - began:.1f} s){': ' + note if note else ''}", flush=True)
        except Exception as error:  # noqa: BLE001 - each test reports, the run goes on
            self.failed.append(name)
            print(f"FAIL {name}: {type(error).__name__} {error}", flush=True)

    def run(self):
        folder = tempfile.mkdtemp(prefix="sudocam-test-")
        cameras = {
            "hall": "test:?size=640x360&rate=25&gop=50&bitrate=1000000&profile=high",
            "door": "test:?size=320x240&rate=25&gop=25&bitrate=400000&profile=main",
        }
        recorder = Recorder(self.sudocam, folder, cameras)
        browser = None
        try:
            recorder.start()
            first = recorder.cameras()[0]
            time.sleep(14)
            # A gap with a reason: the recorder is off for a while.
            recorder.stop()
            gap_from = time.time() * 1e6
            time.sleep(5)
            recorder.start()
            time.sleep(8)
            self.http(recorder)
            browser = chromium()
            self.page(browser, recorder, first, gap_from)
            self.check("Firefox without H.264 says so, and nothing hangs", lambda: self.firefox(recorder))
        finally:
            if browser:
                browser.close()
            recorder.stop()
            if self.failed:
                print((pathlib.Path(folder) / "serve.log").read_text()[-3000:])
            shutil.rmtree(folder, ignore_errors=True)
        print(f"\n{self.passed} passed, {len(self.failed)} failed")
        return 1 if self.failed else 0

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

        def very_frame(mode, then, count):
            def body():
                latencies = []
                for _ in range(count):
                    start, end = random.choice(stretches)
                    wanted = random.randint(int(start + 200_000), int(end - 2_500_000))
                    began = time.monotonic()
                    result = browser.run(SEEK, camera, wanted, mode, then)
                    latencies.append(time.monotonic() - began)
                    code = result.get("code")
                    assert code, result
                    late = wanted - code
                    # The frame whose time it is: it began by then, and the next one had not. Playing goes on meanwhile.
                    low = -150_000 if then == "play" else -50
                    assert low <= late, f"asked {wanted}, shown {code}: {late} µs away ({result})"
                    if late >= FRAME * 1.9:
                        # A busy machine's test camera skips frames: then this one stood until the next.
                        browser.run(SEEK, camera, wanted, "exact", "pause")
                        browser.run("await sudocam.step(1)")
                        following = browser.run(READ)
                        assert following > wanted, f"asked {wanted}, shown {code}, but {following} was there too"
                latencies.sort()
                return f"{count} seeks, p50 {latencies[count // 2] * 1000:.0f} ms, p95 {latencies[int(count * 0.95)] * 1000:.0f} ms with the driver's round trip"

            return body

        self.check("100 exact seeks while paused show the very frame", very_frame("exact", "pause", 100))
        self.check("30 exact seeks into playing show the very frame", very_frame("exact", "play", 30))

        def scrub():
            start, end = stretches[0]
            times = [int(start + 300_000 + (end - start - 3e6) * index / 50) for index in range(50)]
            random.shuffle(times)
            result = browser.run(
                "for (const time of args[1]) { sudocam.drag(args[0], time); await new Promise(r => setTimeout(r, 20)); }"
                "const result = await sudocam.seek(args[0], args[1].at(-1)); const code = (() => {" + READ + "})(); return {...result, code};", camera, times)
            assert result.get("code") and -50 <= times[-1] - result["code"] < FRAME * 1.9, (times[-1], result)

        self.check("W34: 50 seeks in a second, the last one wins", scrub)

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
            before = browser.run(READ)
            for frames in (1, 1, -1, -1, 1):
                browser.run("await sudocam.step(args[0])", frames)
                after = browser.run(READ)
                assert abs(after - before - frames * FRAME) < FRAME * 0.9, (before, after, frames)
                before = after

        self.check("step one frame on and back", step)

        def resume():
            browser.run(SEEK, camera, int(begin + 3e6), "exact", "pause")
            time.sleep(8)
            shown = browser.run(READ)
            browser.run("sudocam.play(1)")
            browser.wait("return sudocam.shown().time > args[0] + 500000", 3, shown)

        self.check("a pause does not lose the picture, and resumes", resume)

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
            browser.run(SEEK, camera, int(stretches[0][1] - 1.5e6), "exact", "play")
            began = time.monotonic()
            browser.wait("return sudocam.shown().time > args[0]", 12, stretches[1][0])
            assert time.monotonic() - began > 1.2, "what lay before the gap was not played"
            assert any(message["type"] == "gap" for message in browser.run("return sudocam.messages"))

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
                one = browser.run(SEEK, camera, int(begin + 2e6), "exact", "pause")["code"]
                other = second.run(SEEK, camera, int(begin + 7e6), "exact", "pause")["code"]
                assert 4.5e6 < other - one < 5.5e6, (one, other)
                second.screenshot(self.artifacts / "phone-dark.png")

            self.check("two viewers at different times", two)
        finally:
            second.close()
        browser.run(SEEK, camera, int(begin + 5e6), "exact", "play")
        time.sleep(1)
        browser.screenshot(self.artifacts / "playing.png")

        def lock():
            browser.run("sudocam.play(1)")
            recorder.command("lock", "--config", str(recorder.config))
            browser.wait("return sudocam.state().locked && !sudocam.shown() && sudocam.video.srcObject === null", 3)
            clips = len(json.loads(recorder.command("clips", "--config", str(recorder.config), "--json").stdout))
            time.sleep(6)
            assert len(json.loads(recorder.command("clips", "--config", str(recorder.config), "--json").stdout)) > clips

        self.check("W41: locking stops the picture at once, recording goes on", lock)
        self.check("verify finds nothing", lambda: recorder.command("verify", "--config", str(recorder.config)) and None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sudocam", required=True)
    parser.add_argument("--artifacts", default="artifacts")
    options = parser.parse_args()
    random.seed(os.environ.get("SUDOCAM_SEED", "1"))
    artifacts = pathlib.Path(options.artifacts)
    artifacts.mkdir(exist_ok=True)
    sys.exit(Tests(str(pathlib.Path(options.sudocam).resolve()), artifacts.resolve()).run())
