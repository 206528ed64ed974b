"""Seeks in one Chromium: the page against a real `sudocam serve`, and in turn <video> playing the same footage as a plain
MP4 that nginx serves by Range. Every time is taken inside the page. Called by sudocam-bench; writes one JSON document.

A film is encoded once and recorded as a camera at its own pace (and the page is opened again and again beside it); then the
camera is unplugged, so that nothing but seeks happens while they are measured.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "Tests" / "BrowserTests"))

from run import PASSPHRASE, READ, Recorder  # noqa: E402
from webdriver import chromium, free_port  # noqa: E402

WIDTH, HEIGHT, RATE = 1280, 720, 25
UNPLUGGED = "rtsp://127.0.0.1:9/unplugged"
FRAME = 40_000  # µs
CELL = 32  # pixels; docs/reference/block-code.md for this width
PATIENCE = 5000  # ms; a seek that takes longer counts as this long

# The offer leaves with the request for a session; the first picture is the first frame callback.
WATCH_OPENING = """
const fetched = window.fetch;
window.fetch = (...all) => {
    if (all[0] === '/api/v1/sessions') window.benchOffer ??= performance.now();
    return fetched(...all);
};
const asked = HTMLVideoElement.prototype.requestVideoFrameCallback;
HTMLVideoElement.prototype.requestVideoFrameCallback = function (callback) {
    return asked.call(this, (...all) => { window.benchFrame ??= performance.now(); callback(...all); });
};
"""

SEEK = """
const [camera, target, mode, then, patience] = args;
const began = performance.now();
const result = await Promise.race([
    sudocam.seek(camera, target, {mode, then}), new Promise(done => setTimeout(done, patience, {late: true}))]);
const took = performance.now() - began;
const code = (() => {""" + READ + """})();
return {took, code, shown: sudocam.shown()?.time, ...result};
"""

PLAIN = """<!doctype html><title>plain</title>
<style>body { margin: 0; background: #000 } video { width: 100vw; height: 100vh; object-fit: contain }</style>
<video src="film.mp4" muted preload="auto"></video>
"""

# Until both the `seeked` event and a frame at the target have come; `frame` is that frame's place in the film.
SEEK_PLAIN = """
const [target, isPlaying, patience] = args;
const video = document.querySelector('video');
const began = performance.now();
let frame = null, stop = false;
const shown = new Promise(done => {
    const each = (_now, data) => {
        if (stop) return;
        if (data.mediaTime > target - 0.1 && data.mediaTime < target + (isPlaying ? 1 : 0.001)) { frame = data.mediaTime; done(); }
        else video.requestVideoFrameCallback(each);
    };
    video.requestVideoFrameCallback(each);
});
const seeked = new Promise(done => video.addEventListener('seeked', done, {once: true}));
video.currentTime = target;
const late = new Promise(done => setTimeout(done, patience, true));
const isLate = await Promise.race([Promise.all([shown, seeked]).then(() => false), late]);
const took = performance.now() - began;
stop = true;
return {took, late: isLate, frame};
"""


def crc16(data):
    """CRC-16/CCITT-FALSE."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def block_code(value):
    """The luma of 14 × 10 cells that say `value` (docs/reference/block-code.md)."""
    data = value.to_bytes(8, "big")
    bits = "101010101100" + format(value, "064b") + format(crc16(data), "016b") + "0000"
    grey = bytes([128]) * CELL
    rows = [grey * 14 * CELL]
    for row in range(8):
        cells = b"".join(bytes([235 if bit == "1" else 16]) * CELL for bit in bits[row * 12:row * 12 + 12])
        rows.append((grey + cells + grey) * CELL)
    return b"".join(rows + [rows[0]])


def film(path, seconds):
    """A moving picture with noise, really 4 Mbit/s, a key frame every 2 s; each frame says when it is, in µs."""
    encoder = subprocess.Popen([
        "ffmpeg", "-nostdin", "-loglevel", "error", "-y",
        "-f", "lavfi", "-i", f"testsrc2=size={WIDTH}x{HEIGHT}:rate={RATE}:duration={seconds},noise=alls=14:allf=t",
        "-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{14 * CELL}x{10 * CELL}", "-r", str(RATE), "-i", "pipe:0",
        "-filter_complex", "[0][1]overlay=0:0,format=yuv420p", "-c:v", "libx264", "-preset", "superfast",
        "-profile:v", "high", "-bf", "0", "-g", "50", "-sc_threshold", "0", "-b:v", "4M", "-maxrate", "4M",
        "-bufsize", "4M", "-t", str(seconds), str(path)], stdin=subprocess.PIPE)
    for number in range(seconds * RATE):
        encoder.stdin.write(block_code(number * FRAME))
    encoder.stdin.close()
    assert encoder.wait() == 0, "ffmpeg failed"


class Nginx:
    """One worker on loopback with files and configuration of its own."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        for name in ("client", "proxy", "fastcgi", "uwsgi", "scgi"):
            (folder / name).mkdir(parents=True)
        temporary = "\n".join(
            f"{kind}_temp_path {folder}/{name};" for kind, name in (
                ("client_body", "client"), ("proxy", "proxy"), ("fastcgi", "fastcgi"), ("uwsgi", "uwsgi"), ("scgi", "scgi")))
        (folder / "nginx.conf").write_text(f"""
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ }}
http {{
    types {{ video/mp4 mp4; text/html html; }}
    access_log off; sendfile on; tcp_nopush on; {temporary}
    server {{ listen 127.0.0.1:{self.port}; root {folder}/www; }}
}}
""")
        (folder / "www").mkdir()
        (folder / "www" / "plain.html").write_text(PLAIN)

    def start(self):
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        self.process = subprocess.Popen(
            [program, "-p", str(self.folder), "-e", str(self.folder / "error.log"), "-c", str(self.folder / "nginx.conf")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return f"http://127.0.0.1:{self.port}/plain.html"

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


class Windows:
    """Two windows of one browser, each wholly visible to its page; `use` says which one is driven."""

    def __init__(self, browser):
        self.browser = browser
        call, session = browser._call, browser.session
        self.page = call("GET", session + "/window")
        self.plain = call("POST", session + "/window/new", {"type": "window"})["handle"]
        for handle in (self.plain, self.page):
            self.use(handle)
            browser.resize(1280, 800)

    def use(self, handle):
        self.browser._call("POST", self.browser.session + "/window", {"handle": handle})


def close(browser):
    """Ends the driver, patiently at first."""
    try:
        browser.close()
    except subprocess.TimeoutExpired:
        os.killpg(browser.process.pid, signal.SIGKILL)
        browser.process.wait(10)


def stop(recorder):
    """As `Recorder.stop`, with more patience."""
    if recorder.process and recorder.process.poll() is None:
        recorder.process.terminate()
        recorder.process.wait(120)


def say(text):
    print(text, flush=True)


def unlock(browser):
    browser.run("await sudocam.ready;")
    browser.run(f"document.querySelector('#passphrase').value = '{PASSPHRASE}'; document.querySelector('#unlock').click();")
    browser.wait("return sudocam.state()?.loggedIn", 20)


def opens(browser, recorder, count):
    """ms from the offer to the first picture, for page after page."""
    browser._call("POST", browser.session + "/goog/cdp/execute", {
        "cmd": "Page.addScriptToEvaluateOnNewDocument", "params": {"source": WATCH_OPENING}})
    times = []
    for _ in range(count + 1):
        browser.open(recorder.url)
        times.append(browser.wait("return window.benchFrame && window.benchFrame - window.benchOffer", 20))
        time.sleep(0.3)
    return times[1:]


class Seeks:
    """Measures in rounds: plain, exact, key frame, plain, exact … each at a place of its own."""

    def __init__(self, browser, windows, camera, begin, length):
        self.browser, self.windows, self.camera = browser, windows, camera
        self.begin, self.length = begin, length
        #: what the footage's first picture says
        self.first_code = 0
        self.times = {}
        self.exact = self.exact_of = 0
        self.odd = []

    def place(self):
        """µs from the film's begin: the middle of a frame, so that rounding hits nobody."""
        return random.randrange(25, self.length // FRAME - 75) * FRAME + FRAME // 2

    def add(self, name, took):
        self.times.setdefault(name, []).append(took)

    def plain(self, is_playing):
        self.windows.use(self.windows.plain)
        if is_playing:
            self.browser.run("document.querySelector('video').play()")
            time.sleep(0.4)
        place = self.place()
        result = self.browser.run(SEEK_PLAIN, place / 1e6, is_playing, PATIENCE)
        self.browser.run("document.querySelector('video').pause()")
        if result["late"]:
            self.odd.append(f"video at {place / 1e6:.2f} s: later than {PATIENCE} ms")
        self.add("video-playing" if is_playing else "video-paused", result["took"])

    def ours(self, mode, is_playing):
        self.windows.use(self.windows.page)
        if is_playing:
            self.browser.run("sudocam.play(1)")
            time.sleep(0.4)
        target = self.begin + self.place()
        result = self.browser.run(SEEK, self.camera, target, mode, "play" if is_playing else "pause", PATIENCE)
        self.browser.run("sudocam.pause()")
        self.add(f"{mode}-{'playing' if is_playing else 'paused'}", result["took"])
        if result.get("late") or result.get("error") or result.get("gap"):
            self.odd.append(f"{mode} at {target}: {result}")
        if mode == "exact" and not is_playing:
            self.exact_of += 1
            # The film says in each picture when it is; the middle of a frame was asked for.
            shown = None if result["code"] is None else result["code"] - self.first_code
            if shown is not None and abs(shown + FRAME // 2 - (target - self.begin)) < FRAME * 0.45:
                self.exact += 1
            else:
                self.odd.append(f"exact at {target - self.begin} µs of the film showed {shown}")
        time.sleep(0.1)

    def round(self, is_playing):
        self.plain(is_playing)
        self.ours("exact", is_playing)
        self.plain(is_playing)
        self.ours("keyframe", is_playing)


def seconds(iso):
    """µs of an ISO 8601 time; Python's own reader has no more than microseconds either."""
    from datetime import datetime
    return round(datetime.fromisoformat(iso.replace("Z", "+00:00")).timestamp() * 1e6)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sudocam", required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--record", type=int, required=True, help="seconds")
    parser.add_argument("--seeks", type=int, required=True, help="rounds while playing; twice as many paused")
    parser.add_argument("--opens", type=int, required=True)
    options = parser.parse_args()
    folder = pathlib.Path(options.folder)
    random.seed(os.environ.get("SUDOCAM_SEED", "1"))

    say("encoding the camera's film")
    film(folder / "camera.mp4", options.record)
    source = f"file:{folder}/camera.mp4?loop=0"
    recorder = Recorder(options.sudocam, folder, {"hall": source}, clip_seconds=60)
    nginx = Nginx(folder / "nginx")
    browser = None
    try:
        recorder.start()
        say(f"recording for {options.record} s")
        ends = time.monotonic() + options.record
        time.sleep(min(10, options.record / 2))
        browser = chromium()
        browser.open(recorder.url)
        unlock(browser)
        times = {"open": opens(browser, recorder, options.opens)}
        time.sleep(max(0, ends - time.monotonic()))
        camera = recorder.cameras()[0]
        close(browser)
        browser = None
        stop(recorder)

        (folder / "nginx" / "www").mkdir(exist_ok=True)
        movie = folder / "nginx" / "www" / "film.mp4"
        exported = json.loads(recorder.command(
            "export", "hall", "--config", str(recorder.config), "--from=-1d", "--to=now", "-o", str(movie),
            "--passphrase-fd", "0", "--json", input=PASSPHRASE + "\n").stdout)
        begin, end = seconds(exported["from"]), seconds(exported["to"])
        say(f"{(end - begin) / 1e6:.1f} s of footage, {exported['bytes'] / 1e6:.0f} MB")

        recorder.config.write_text(recorder.config.read_text().replace(source, UNPLUGGED))
        recorder.start()
        plain = nginx.start()
        browser = chromium()
        browser.open(recorder.url)
        unlock(browser)
        browser.wait("return sudocam.video.srcObject", 20)
        windows = Windows(browser)
        windows.use(windows.plain)
        browser.open(plain)
        browser.wait("return document.querySelector('video').readyState >= 3", 20)
        seeks = Seeks(browser, windows, camera, begin, end - begin)
        for handle in (windows.plain, windows.page):
            windows.use(handle)
            assert browser.run("return document.visibilityState") == "visible", "a window is hidden"
        windows.use(windows.page)
        seeks.first_code = browser.run(SEEK, camera, begin + FRAME // 2, "exact", "pause", PATIENCE)["code"]
        for number in range(2):
            seeks.round(False)
            seeks.round(True)
        seeks.times, seeks.exact, seeks.exact_of, seeks.odd = {}, 0, 0, []
        for number in range(options.seeks):
            seeks.round(False)
            seeks.round(False)
            seeks.round(True)
            if number % 25 == 24:
                say(f"{number + 1} of {options.seeks} rounds of seeks")
        for line in seeks.odd[:20]:
            say(line)
        pathlib.Path(options.output).write_text(json.dumps({
            "times": {**times, **seeks.times}, "exact": seeks.exact, "exactOf": seeks.exact_of, "fallbacks": seeks.odd}))
    finally:
        if browser:
            close(browser)
        stop(recorder)
        if getattr(nginx, "process", None):
            nginx.stop()


if __name__ == "__main__":
    main()
