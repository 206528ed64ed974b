"""A `sudocam serve` with a vault of its own, and what every run of tests needs around it."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import traceback
import urllib.error
import urllib.request

from webdriver import free_port

HERE = pathlib.Path(__file__).parent
PASSPHRASE = "correct horse"


class Checks:
    """Runs each check (those whose name contains `only`), prints one line for it, and goes on."""

    def __init__(self, sudocam, only=None):
        self.sudocam, self.only = sudocam, only
        self.passed, self.failed = 0, []

    def check(self, name, body):
        if self.only and self.only not in name:
            return
        began = time.monotonic()
        try:
            note = body()
            self.passed += 1
            print(f"ok   {name} ({time.monotonic() - began:.1f} s){': ' + note if note else ''}", flush=True)
        except Exception as error:  # noqa: BLE001 - each test reports, the run goes on
            self.failed.append(name)
            place = [frame for frame in traceback.extract_tb(error.__traceback__) if "Tests" in frame.filename][-1]
            where = f"{pathlib.Path(place.filename).name}:{place.lineno}"
            print(f"FAIL {name}: {type(error).__name__} {error} ({where})", flush=True)

    def finish(self):
        print(f"\n{self.passed} passed, {len(self.failed)} failed")
        return 1 if self.failed else 0


class Recorder:
    """A `sudocam serve` with its own vault and ports; `ahead`: seconds its wall clock is ahead of ours."""

    def __init__(self, sudocam, folder, cameras, clip_seconds=4, ahead=0, settings=()):
        self.sudocam, self.folder, self.ahead = sudocam, pathlib.Path(folder), ahead
        self.folder.mkdir(exist_ok=True)
        self.port, media = free_port(), free_port(socket.SOCK_DGRAM)
        self.url = f"http://127.0.0.1:{self.port}/"
        lines = ["vault: ./vault", f"listen: 127.0.0.1:{self.port}", f"media-port: {media}", f"clip-seconds: {clip_seconds}", *settings, "cameras:"]
        for key, source in cameras.items():
            lines.append(f'  {key}: {{ name: "{key}", source: "{source}" }}')
        self.config = self.folder / "sudocam.yaml"
        self.config.write_text("\n".join(lines) + "\n")
        self.config.chmod(0o600)
        self.log = open(self.folder / "serve.log", "a")
        self.process = None
        if not (self.folder / "vault").exists():
            self.command("init", str(self.folder / "vault"), "--passphrase-fd", "0", input=PASSPHRASE + "\n")

    def command(self, *arguments, input=None, check=True):
        result = subprocess.run([self.sudocam, *arguments], input=input, text=True, capture_output=True, timeout=120, cwd=self.folder)
        assert not check or result.returncode == 0, f"{arguments}: {result.returncode} {result.stdout} {result.stderr}"
        return result

    def start(self, files=None):
        """`files`: how many it may have open."""
        limit = ["prlimit", f"--nofile={files}"] if files else []
        self.process = subprocess.Popen(
            [*limit, self.sudocam, "serve", "--config", str(self.config)], stdout=self.log, stderr=self.log, cwd=self.folder, env=self.environment())
        end = time.monotonic() + 15
        while True:
            try:
                return self.state()
            except OSError:
                assert self.process.poll() is None and time.monotonic() < end, (self.folder / "serve.log").read_text()
                time.sleep(0.05)

    def environment(self):
        if not self.ahead:
            return None
        library = self.folder / "ahead.so"
        if not library.exists():
            subprocess.run(["clang", "-shared", "-fPIC", "-O2", "-o", str(library), str(HERE / "ahead.c")], check=True)
        return {**os.environ, "LD_PRELOAD": str(library), "SUDOCAM_TEST_AHEAD": str(int(self.ahead * 1e6))}

    def state(self):
        with urllib.request.urlopen(self.url + "api/v1/state", timeout=5) as answer:
            return json.load(answer)

    def cameras(self):
        return [camera["id"] for camera in self.state()["cameras"]]

    def now(self):
        """µs since the epoch by the recorder's own clock."""
        return (time.time() + self.ahead) * 1e6

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
