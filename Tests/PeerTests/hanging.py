"""A camera that hangs: its picture stands still while it delivers, and later nothing comes. What its owner is told, and how often."""

import json
import os
import pathlib
import signal
import subprocess
import time

from recorder import PASSPHRASE, request
from webdriver import free_port

HERE = pathlib.Path(__file__).parent


class Hanging:
    def __init__(self, tests):
        self.tests, self.check = tests, tests.check

    def run(self):
        self.check("I13: a frozen picture within 30 s, a camera unplugged within 10 s: an event, a gap, one notice each", self.hanging)

    def hanging(self):
        port = free_port()
        server = subprocess.Popen(["/usr/bin/python3", str(HERE / "rtsp_server.py"), "--port", str(port)], stdout=subprocess.PIPE)
        server.stdout.readline()
        recorder = self.tests.recorder("hanging", {"garage": f"rtsp://127.0.0.1:{port}/camera"}, clip_seconds=3)
        told, tell = recorder.folder / "told", recorder.folder / "tell"
        tell.write_text(f'#!/bin/sh\nprintf "%s|%s|%s\\n" "$SUDOCAM_TOPIC" "$SUDOCAM_CAMERA" "$1" >> {told}\n')
        tell.chmod(0o700)
        recorder.config.write_text(recorder.config.read_text() + f"notify: {{ command: [{tell}] }}\n")

        def camera():
            status = recorder.command("status", "--config", str(recorder.config), "--json", check=False)
            return json.loads(status.stdout)["cameras"][0], status.returncode

        def until(what, condition, seconds):
            began = time.monotonic()
            while not (found := condition()):
                assert time.monotonic() < began + seconds, (what, camera(), told.exists() and told.read_text())
                time.sleep(0.3)
            return found, time.monotonic() - began

        def events():
            now = int(time.time() * 1e6)
            _, _, body = request(recorder.url + f"api/v1/cameras/{recorder.cameras()[0]}/timeline?from={now - int(600e6)}&to={now}")
            return json.loads(body)

        def notices():
            return told.read_text().splitlines() if told.exists() else []

        try:
            recorder.start()
            until("the camera", lambda: camera()[0]["state"] == "recording", 15)
            time.sleep(12)
            assert "frozenSince" not in camera()[0], camera()
            froze = time.time()
            os.kill(server.pid, signal.SIGUSR1)
            _, frozen = until("a frozen picture", lambda: "frozenSince" in camera()[0], 31)
            report, code = camera()
            assert report["state"] == "recording" and code == 5, (report, code)
            assert "has not changed since" in recorder.command("status", "--config", str(recorder.config), check=False).stdout
            assert f'sudocam_camera_frozen{{camera="{recorder.cameras()[0]}"}} 1' in request(recorder.url + "metrics")[2].decode()
            until("its notice", lambda: len(notices()) == 1, 10)
            until("its event", lambda: events()["events"], 5)
            time.sleep(8)
            os.kill(server.pid, signal.SIGUSR2)
            moved = time.time()
            until("a picture that moves", lambda: "frozenSince" not in camera()[0], 12)
            until("the event's end", lambda: events()["events"][0]["to"] > (moved - 5) * 1e6, 5)
            found = events()["events"]
            assert len(found) == 1 and found[0]["label"] == "frozen", found
            assert froze - 1 <= found[0]["from"] / 1e6 <= froze + 8 and found[0]["to"] / 1e6 <= moved + 2, (froze, moved, found)
            server.kill()
            server.wait(10)
            _, offline = until("an offline camera", lambda: camera()[0]["state"] == "offline", 10)
            until("its notice", lambda: len(notices()) == 2, 40)
            server = subprocess.Popen(["/usr/bin/python3", str(HERE / "rtsp_server.py"), "--port", str(port)], stdout=subprocess.PIPE)
            until("the camera again", lambda: camera()[0]["state"] == "recording", 30)
            until("its gap", lambda: [gap for gap in events()["gaps"] if gap["reason"] == "disconnected"], 10)
            time.sleep(7)
            lines = [line.split("|") for line in notices()]
            assert [line[:2] for line in lines] == [["frozen", "garage"], ["offline", "garage"]], lines
            assert "The picture of camera garage has not changed" in lines[0][2] and "Camera garage has been offline" in lines[1][2], lines
            assert 'sudocam_notices_total{result="told"} 2' in request(recorder.url + "metrics")[2].decode()
        finally:
            recorder.stop()
            server.kill()
            server.wait(10)
        verified = recorder.command("verify", "--config", str(recorder.config), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
        assert "Nothing found" in verified.stdout, verified
        return f"frozen told after {frozen:.1f} s, offline after {offline:.1f} s"
