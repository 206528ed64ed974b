"""`sudocam.yaml` is changed under the running recorder: what a change concerns follows it, and nothing else notices."""

import fcntl
import json
import os
import pathlib
import pty
import signal
import socket
import sqlite3
import subprocess
import sys
import termios
import threading
import time
import urllib.request
import uuid
from datetime import datetime

import av
import blockcode
from recorder import PASSPHRASE, request
from pictures import unlock
from webdriver import chromium, free_port

HERE = pathlib.Path(__file__).parent
SOURCE = "test:?size=320x240&rate=25&gop=25&bitrate=300000"


class Viewer:
    """live_viewer.py as a process; what it saw so far."""

    def __init__(self, recorder, camera, token):
        self.pictures, self.messages = [], []
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "live_viewer.py"), recorder.url, camera, token], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, bufsize=1)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            told = json.loads(line)
            if "message" in told:
                self.messages.append(told["message"])
            else:
                self.pictures.append(told)

    def ask(self, **message):
        self.process.stdin.write(json.dumps(message) + "\n")

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.thread.join(10)


class Page:
    """The change stream as an open page has it: every state that was told."""

    def __init__(self, recorder, token):
        self.states = []
        self.answer = urllib.request.urlopen(
            urllib.request.Request(recorder.url + "api/v1/events", headers={"authorization": f"Bearer {token}"}), timeout=60)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for line in self.answer:
                if line.startswith(b"data: "):
                    self.states.append(json.loads(line[6:]))
        except OSError:
            return

    def cameras(self):
        return {camera.get("name"): camera["state"] for camera in self.states[-1]["cameras"]}


def until(what, condition, seconds=30):
    """Waits for what has to come some time; how soon is not judged."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return found


class Reload:
    def __init__(self, tests):
        self.tests, self.check = tests, tests.check

    def run(self):
        self.check("I15: a key of the configuration is changed: only the camera concerned restarts, viewers of others miss no picture", self.reload)
        self.check("I15: an open page follows cameras that come, go and are renamed, and is not loaded anew", self.page)
        self.check("I15: SIGHUP of a closed terminal ends the recorder, any other reloads", self.terminal)

    # One scene: each part finds the recorder as the part before left it.

    def reload(self):
        self.recorder = self.tests.recorder("reload", {f"cam{index}": SOURCE for index in range(3)}, clip_seconds=2)
        self.config, self.viewers = ["--config", str(self.recorder.config)], []
        try:
            self.recorder.start()
            self.ids = dict(zip(("cam0", "cam1", "cam2"), self.recorder.cameras(), strict=True))
            self.token = self.unlock()
            self.open = Page(self.recorder, self.token)
            self.viewers = [Viewer(self.recorder, camera, self.token) for camera in self.ids.values()]
            until("pictures of every camera", lambda: all(len(viewer.pictures) > 25 for viewer in self.viewers))
            assert self.ask() == {} and self.recorder.command("reload", *self.config).stdout == "Nothing changed.\n"
            self.other_sources(self.viewers[1])
            self.other_name()
            self.coming()
            self.going(self.viewers[2])
            self.broken()
            self.for_a_restart()
            last = self.settings()
            self.untouched(self.viewers[0], last)
            self.touched(self.viewers[2])
            self.policy()
            self.recorder.stop()
            self.recorder.command("verify", *self.config, "--passphrase-fd", "0", input=PASSPHRASE + "\n")
            self.name_in_clips()
            return f"{len(self.viewers[0].pictures)} pictures seen without a hole"
        finally:
            for viewer in self.viewers:
                viewer.close()
            self.recorder.stop(signal.SIGKILL)

    def unlock(self):
        _, headers, _ = request(self.recorder.url + "api/v1/unlock", "POST", PASSPHRASE.encode())
        return headers["set-cookie"].split(";")[0].split("=")[1]

    def edit(self, old, new):
        text = self.recorder.config.read_text()
        assert text.count(old) == 1, (old, text)
        self.recorder.config.write_text(text.replace(old, new))

    def ask(self, *arguments):
        """The command's answer; only what names something."""
        answer = json.loads(self.recorder.command("reload", *self.config, "--json", *arguments).stdout)
        return {what: names for what, names in answer.items() if names}

    def hang_up(self, words, count=1):
        """SIGHUP; its answer comes in the log, where these words then stand `count` times."""
        self.recorder.process.send_signal(signal.SIGHUP)
        until(f"{words} in the log", lambda: (self.recorder.folder / "serve.log").read_text().count(words) >= count)

    def clips(self, camera):
        return json.loads(self.recorder.command("clips", *self.config, "--camera", camera, "--json").stdout)

    def other_sources(self, viewer):
        """By command and by signal; who watches that camera stays and sees the new pictures."""
        self.edit(f'cam1: {{ name: "cam1", source: "{SOURCE}', f'cam1: {{ name: "cam1", source: "{SOURCE.replace("320x240", "640x480")}')
        assert self.ask() == {"restarted": ["cam1"]}
        until("the new size", lambda: viewer.pictures[-1]["size"] == "640x480")
        self.edit("640x480", "480x360")
        self.hang_up("result=restarted: cam1", 2)
        until("the newer size", lambda: viewer.pictures[-1]["size"] == "480x360")

    def other_name(self):
        self.edit('name: "cam0"', "name: Hall")
        assert self.ask() == {"renamed": ["cam0"]}
        until("the new name on the page", lambda: self.open.cameras().get("Hall") == "recording")

    def coming(self):
        """One camera, and one that has never shown anything and goes again."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = f'  nobody: {{ source: "rtsp://127.0.0.1:{closed.getsockname()[1]}/" }}\n'
            text = self.recorder.config.read_text()
            self.recorder.config.write_text(text + f'  cam3: {{ name: Garden, source: "{SOURCE}" }}\n' + nobody)
            assert self.ask() == {"started": ["cam3", "nobody"]}
            until("the new cameras on the page", lambda: (self.open.cameras().get("Garden"), self.open.cameras().get("nobody")) == ("recording", "offline"))
        self.ids["cam3"], self.ids["nobody"] = self.recorder.cameras()[3:]
        until("a clip of the new camera", lambda: self.clips("cam3"))
        self.edit(nobody, "")
        assert self.ask() == {"stopped": ["nobody"]}
        until("the page without it", lambda: "nobody" not in self.open.cameras())
        status, _, body = request(
            self.recorder.url + f"api/v1/sessions?camera={self.ids['nobody']}", "POST", b"v=0", content_type="application/sdp",
            authorization=f"Bearer {self.token}")
        assert status == 404 and json.loads(body)["code"] == "unknown-camera", (status, body)

    def going(self, viewer):
        """The last clip is committed when the answer comes, and who watches the camera is told."""
        camera, vault = self.ids["cam2"], self.recorder.folder / "vault"
        self.edit(f'  cam2: {{ name: "cam2", source: "{SOURCE}" }}\n', "")
        base = sqlite3.connect(vault / "index.sqlite")
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(vault / "control.sock"))
            control.sendall(b"reload\n")
            answer = control.makefile().readline()
        # At once, before anything can come late.
        sequence = base.execute("SELECT sequence FROM camera WHERE uuid = ?", (uuid.UUID(camera).bytes,)).fetchone()[0]
        base.close()
        assert json.loads(answer)["reload"]["stopped"] == ["cam2"], answer
        self.kept = self.clips(camera)
        assert sequence and self.kept[-1]["sequence"] == sequence, (sequence, self.kept[-1])
        until("the camera as archived", lambda: self.open.cameras().get("cam2") == "archived")

        def told(**wanted):
            return any(wanted.items() <= message.items() for message in viewer.messages)

        until("word to its viewer", lambda: told(type="gap", reason="offline"))
        viewer.ask(type="live", id=7, camera=camera)
        until("an answer to its viewer", lambda: told(type="gap", id=7, reason="offline"))
        viewer.ask(type="live", id=8, camera=self.ids["nobody"])
        until("a refusal", lambda: told(type="error", id=8, code="unknown-camera"))
        assert self.clips(camera) == self.kept, "something came after the answer"

    def broken(self):
        """Nothing changes, by whichever way it is asked for."""
        good = self.recorder.config.read_text()
        self.recorder.config.write_text(good.replace("320x240", "32x24") + "  oops: {}\n")
        words = f"line {good.count(chr(10)) + 1}: camera `oops` wants `source`"
        refused = self.recorder.command("reload", *self.config, check=False)
        assert refused.returncode == 1 and words in refused.stderr, refused
        self.hang_up(words)
        # The recorder itself refuses too when somebody asks with another file.
        other = self.recorder.folder / "other.yaml"
        other.write_text(good)
        told = self.recorder.command("reload", "--config", str(other), check=False)
        assert told.returncode == 1 and "sudocam.yaml has 3 error(s)" in told.stderr and words in told.stderr, told
        assert set(self.open.cameras()) == {"Hall", "cam1", "Garden", "cam2"}
        metrics = request(self.recorder.url + "metrics")[2].decode()
        assert 'sudocam_config_reloads_total{result="refused"} 2' in metrics and "sudocam_config_last_reload_successful 0" in metrics, metrics
        self.recorder.config.write_text(good)

    def for_a_restart(self):
        """What wants a restart is told each time, and nothing of it happens."""
        good, there = self.recorder.config.read_text(), ("--vault", str(self.recorder.folder / "vault"))
        for old, new, key in ((f":{self.recorder.port}", f":{free_port()}", "listen"), ("vault: ./vault", "vault: ./elsewhere", "vault")):
            self.recorder.config.write_text(good.replace(old, new))
            assert self.ask(*there) == {"needsRestart": [key]}
            self.hang_up(f"result=needs a restart: {key}", 2)
            text = self.recorder.command("reload", *self.config, *there).stdout
            assert text == f"Needs a restart: {key}\n", text
            self.recorder.state()
        missed = self.recorder.command("reload", *self.config, check=False)
        assert missed.returncode == 4 and "No recorder answers" in missed.stderr and "--vault" in missed.stderr, missed
        self.recorder.config.write_text(good)
        assert self.ask() == {}
        assert "sudocam_config_last_reload_successful 1" in request(self.recorder.url + "metrics")[2].decode()

    def settings(self):
        """Applied at once, also when several ask at once. Returns the first clip of the new length."""
        lines = self.recorder.config.read_text().splitlines(True)
        lines[-1], lines[-2] = lines[-2], lines[-1].replace("name: Garden", "name: Garden, bytes: 1GB")
        self.recorder.config.write_text("".join(lines))
        assert self.ask() == {"changed": ["cameras.cam3.bytes", "order of cameras"]}
        assert self.recorder.cameras()[:3] == [self.ids[key] for key in ("cam0", "cam3", "cam1")]

        def named():
            return request(self.recorder.url + "api/v1/state", host="cam.example")[0]

        assert named() == 421
        self.edit("clip-seconds: 2", "clip-seconds: 4\nhost-names: [Cam.example]\nlock-after-minutes: 5\nscrub: { every: never }")
        command = [self.recorder.sudocam, "reload", *self.config, "--json"]
        asking = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=self.recorder.folder) for _ in range(4)]
        changed = [json.loads(one.communicate(timeout=30)[0])["changed"] for one in asking]
        assert sorted(changed) == [[], [], [], ["host-names", "clip-seconds", "lock-after-minutes", "scrub"]], changed
        assert named() == 200
        since = max(clip["end"] for clip in self.clips("cam0"))
        first = until("a longer clip", lambda: [clip for clip in self.clips("cam0") if clip["start"] > since])[0]
        assert self.microseconds(first["end"]) - self.microseconds(first["start"]) >= 4e6, first
        return first

    def untouched(self, viewer, last):
        """Every picture of a camera that nothing concerned was seen, in one run, and no gap was entered; so it is with the others' clips."""
        for key in ("cam0", "cam2", "cam3"):
            found = self.clips(self.ids[key])
            assert len({clip["run"] for clip in found}) == 1, (key, found)
            assert [clip["sequence"] for clip in found] == list(range(1, len(found) + 1)), (key, found)
            _, _, body = request(self.recorder.url + f"api/v1/cameras/{self.ids[key]}/timeline?from=0&to={int(time.time() * 1e6)}&pixels=10000")
            assert json.loads(body)["gaps"] == [], (key, body)
        until("a picture after all that", lambda: viewer.pictures[-1]["time"] > self.microseconds(last["end"]))
        shown, stamps = ([picture[what] for picture in viewer.pictures] for what in ("time", "rtp"))
        until("the last picture's clip", lambda: self.microseconds(self.clips("cam0")[-1]["end"]) > shown[-1])
        recorded = self.pictures("cam0", self.clips("cam0"))
        missed = [at for at in recorded if shown[0] <= at <= shown[-1] and at not in set(shown)]
        assert not missed and shown == sorted(set(shown)), (len(missed), len(shown))
        assert stamps == sorted(set(stamps)), stamps

    def touched(self, viewer):
        """The removed camera's last clip goes as far as its last live picture; the changed one has a run and a size for each source."""
        assert self.pictures(self.ids["cam2"], self.kept)[-1] >= viewer.pictures[-1]["time"], "live pictures were not recorded"
        runs = {}
        for clip in self.clips("cam1"):
            runs.setdefault(clip["run"], []).append(clip)
        sizes = [{f"{frame.width}x{frame.height}" for clip in run for frame in self.frames("cam1", [clip])} for run in runs.values()]
        assert sizes == [{"320x240"}, {"640x480"}, {"480x360"}], sizes

    def policy(self):
        """The policy in force is the new one: the recorder itself is asked to apply it."""
        self.edit("cameras:", "retention: { total: 1MB }\ncameras:")
        assert self.ask() == {"changed": ["retention"]}
        applied = json.loads(self.recorder.command("retention", "apply", *self.config, "--yes", "--json").stdout)
        assert applied["deletions"], applied

    def name_in_clips(self):
        """The new name stands in the clips: without the configuration it is learned from the newest."""
        lines = self.recorder.config.read_text().splitlines(True)
        self.recorder.config.write_text("".join(line for line in lines if not line.startswith("  cam0:")))
        self.recorder.start()
        page = Page(self.recorder, self.unlock())
        until("the new name from inside a clip", lambda: page.states and page.cameras().get("Hall") == "archived")

    def frames(self, camera, clips):
        """Every recorded picture of these clips, decoded."""
        movie = self.recorder.folder / "clips.mp4"
        self.recorder.command(
            "export", camera, *self.config, "--from", clips[0]["start"], "--to", clips[-1]["end"], "-o", str(movie), "--passphrase-fd", "0",
            input=PASSPHRASE + "\n")
        with av.open(str(movie)) as container:
            yield from container.decode(video=0)

    def pictures(self, camera, clips):
        return [blockcode.read(frame) for frame in self.frames(camera, clips)]

    @staticmethod
    def microseconds(text):
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1e6

    def page(self):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = f'  nobody: {{ source: "rtsp://127.0.0.1:{closed.getsockname()[1]}/" }}\n'
            recorder = self.tests.recorder("reload-page", {"hall": SOURCE, "door": SOURCE}, clip_seconds=2)
            recorder.config.write_text(recorder.config.read_text() + nobody)
            browser = None

            def change(old, new):
                text = recorder.config.read_text()
                assert text.count(old) == 1, (old, text)
                recorder.config.write_text(text.replace(old, new))
                recorder.command("reload", "--config", str(recorder.config))

            def lists(*names):
                browser.wait(f"return [...document.querySelectorAll('#camera option')].map(option => option.text).join() === '{','.join(names)}'", 10)

            def status(word):
                browser.wait(f"return document.querySelector('#status').textContent === '{word}'", 10)

            def choose(place):
                browser.run(f"const select = document.querySelector('#camera'); select.selectedIndex = {place}; select.dispatchEvent(new Event('change'));")

            shown = "return sudocam.mode === 'live' && sudocam.shown()?.camera === sudocam.state().cameras[0].id && sudocam.shown().time > {after}"
            try:
                recorder.start()
                browser = chromium()
                unlock(browser, recorder.url, PASSPHRASE)
                browser.run("globalThis.marker = 'the same page';")
                lists("hall", "door", "nobody")
                browser.wait(shown.format(after=0), 20)
                change('name: "hall"', "name: Great hall")
                lists("Great hall", "door", "nobody")
                change(nobody, f'{nobody}  yard: {{ source: "{SOURCE}" }}\n')
                lists("Great hall", "door", "nobody", "yard")
                # Whoever looks at the one that goes is told; its footage stays in reach.
                choose(1)
                browser.wait("return sudocam.mode === 'live' && sudocam.shown()?.camera === sudocam.state().cameras[1].id", 20)
                until("footage of it", lambda: recorder.state()["cameras"][1].get("first"))
                change(f'  door: {{ name: "door", source: "{SOURCE}" }}\n', "")
                lists("Great hall", "nobody", "yard", "door")
                status("archived")
                browser.wait("const notice = document.querySelector('#notice'); return !notice.hidden && notice.textContent.startsWith('Camera offline')", 10)
                # Of one without footage nothing is left: another one is shown.
                choose(1)
                status("offline")
                change(nobody, "")
                lists("Great hall", "yard", "door")
                status("recording")
                browser.wait(shown.format(after=time.time() * 1e6), 20)
                assert browser.run("return globalThis.marker") == "the same page"
            finally:
                if browser:
                    browser.close()
                recorder.stop(signal.SIGKILL)

    def terminal(self):
        recorder = self.tests.recorder("terminal", {"hall": SOURCE})
        master, slave = pty.openpty()

        def adopt():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(
            [self.tests.sudocam, "serve", "--config", str(recorder.config)], stdin=slave, stdout=recorder.log, stderr=recorder.log,
            cwd=recorder.folder, preexec_fn=adopt)
        try:
            os.close(slave)
            log = recorder.folder / "serve.log"
            until("the recorder", lambda: "listens on" in log.read_text())
            process.send_signal(signal.SIGHUP)
            until("a reload", lambda: "result=nothing changed" in log.read_text())
            assert process.poll() is None
            os.close(master)
            assert process.wait(10) == 0, log.read_text()
            assert "the terminal is gone" in log.read_text()
        finally:
            process.kill()
            process.wait(10)
