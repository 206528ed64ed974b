"""What the recorder does with a vault or a configuration it cannot use: says what is wrong and what to do, and harms nothing."""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import time

from recorder import PASSPHRASE, request
from webdriver import free_port

TEST = "test:?size=320x240&rate=25&gop=25&bitrate=300000"


class Refusals:
    def __init__(self, tests):
        self.tests, self.check, self.recorder = tests, tests.check, tests.recorder

    def run(self):
        self.check("V10: a read-only vault lists, exports and verifies; recording into it is refused in words", self.read_only)
        self.check("V8: init interrupted at any moment: told as half made, and init again makes it whole", self.half_made)
        self.check("S3: a folder that is no vault, or none at all, is refused and left alone", self.no_vault)
        self.check("every error of sudocam.yaml comes at once, with its line and what is wanted", self.configuration)
        self.check("I13: a silent and an unreachable camera are told in words, the others go on", self.lost_cameras)

    @staticmethod
    def files(folder):
        return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}

    def read_only(self):
        recorder = self.recorder("read-only", {"hall": TEST}, clip_seconds=2)
        try:
            recorder.start()
            time.sleep(6)
        finally:
            recorder.stop()
        before = self.files(recorder.folder / "vault")
        # Rights do not stop root: the vault's folder is mounted read-only, for this one command's eyes.
        mount = "mount --bind vault vault && mount -o remount,bind,ro vault && exec \"$@\""
        enter = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-m", "sh", "-c", mount, "sh", self.tests.sudocam]

        if subprocess.run([*enter[:-5], "true"], capture_output=True).returncode:
            return "skipped: no mount namespace may be made here"

        def run(*arguments, input=None):
            return subprocess.run([*enter, *arguments, "--config", str(recorder.config)], input=input, text=True, capture_output=True, cwd=recorder.folder, timeout=60)

        served = run("serve")
        assert served.returncode == 1 and "read-only" in served.stderr.lower() and "mount it writable" in served.stderr, served
        clips = json.loads(run("clips", "--json").stdout)
        assert len(clips) >= 2, clips
        verified = run("verify", "--passphrase-fd", "0", input=PASSPHRASE + "\n")
        assert verified.returncode == 0 and "Nothing found" in verified.stdout, verified
        movie = recorder.folder / "clip.mp4"
        exported = run("export", "hall", "--from", clips[0]["start"], "--to", clips[-1]["end"], "-o", str(movie), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
        assert exported.returncode == 0 and movie.stat().st_size > 10_000, exported
        assert movie.stat().st_mode & 0o077 == 0, "an export can be read by others"
        assert self.files(recorder.folder / "vault") == before, "reading wrote something"
        recorder.start()
        recorder.stop()

    def half_made(self):
        said, whole = set(), 0
        for attempt in range(8):
            folder = self.tests.folder / f"half-{attempt}"
            folder.mkdir()
            port = free_port()
            config = folder / "sudocam.yaml"
            config.write_text(f'vault: ./vault\nlisten: 127.0.0.1:{port}\nmedia-port: {free_port(socket.SOCK_DGRAM)}\ncameras:\n  a: {{ source: "{TEST}" }}\n')
            init = [self.tests.sudocam, "init", "vault", "--config", str(config), "--passphrase-fd", "0"]
            process = subprocess.Popen(init, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder)
            process.stdin.write(f"{PASSPHRASE}\n".encode())
            process.stdin.flush()
            # From nothing but the folder up to everything but vault.json.
            time.sleep(0.01 * 2 ** attempt * random.uniform(0.8, 1.2))
            process.kill()
            process.communicate()
            if (folder / "vault" / "vault.json").exists():
                whole += 1
                continue
            served = subprocess.run([self.tests.sudocam, "serve", "--config", str(config)], text=True, capture_output=True, cwd=folder, timeout=20)
            words = "half made" if (folder / "vault" / "ledger").exists() else "no vault" if (folder / "vault").exists() else "no folder"
            assert served.returncode == 1 and words in served.stderr and "init" in served.stderr, (words, served.stderr)
            said.add(words)
            again = subprocess.run(init, input=f"{PASSPHRASE}\n", text=True, capture_output=True, cwd=folder, timeout=60)
            assert again.returncode == 0 and "AGE-SECRET-KEY-1" in again.stdout, again
            verified = subprocess.run([self.tests.sudocam, "verify", "--config", str(config)], text=True, capture_output=True, cwd=folder, timeout=20)
            assert verified.returncode == 0, verified
            shutil.rmtree(folder)
        assert "half made" in said, (said, whole)
        # A vault that lost its vault.json after it was used is another thing: init must not make a new one over it.
        recorder = self.recorder("headless", {"hall": TEST}, clip_seconds=2)
        recorder.start()
        time.sleep(3)
        recorder.stop()
        (recorder.folder / "vault" / "vault.json").unlink()
        before = self.files(recorder.folder / "vault")
        again = recorder.command("init", str(recorder.folder / "vault"), "--passphrase-fd", "0", input=PASSPHRASE + "\n", check=False)
        assert again.returncode == 1 and "vault.json is missing" in again.stderr, again
        served = recorder.command("serve", "--config", str(recorder.config), check=False)
        assert served.returncode == 1 and "vault.json is missing" in served.stderr and "Restore" in served.stderr, served
        assert self.files(recorder.folder / "vault") == before
        return f"{', '.join(sorted(said))}; {whole} were whole already"

    def no_vault(self):
        folder = self.tests.folder / "no-vault"
        (folder / "documents").mkdir(parents=True)
        (folder / "documents" / "letter.txt").write_text("mine")
        (folder / "file").write_text("not a folder")
        before = self.files(folder)
        for name, words in (("documents", "no vault"), ("file", "no vault"), ("unmounted", "Is its disk mounted?")):
            config = folder.parent / f"{name}.yaml"
            config.write_text(f'vault: {folder}/{name}\nlisten: 127.0.0.1:{free_port()}\ncameras:\n  a: {{ source: "{TEST}" }}\n')
            for command in (["serve"], ["clips"], ["verify"], ["status"]):
                result = subprocess.run([self.tests.sudocam, *command, "--config", str(config)], text=True, capture_output=True, cwd=folder, timeout=20)
                if command == ["status"]:
                    assert result.returncode == 4 and "No recorder answers" in result.stderr, result
                else:
                    assert result.returncode == 1 and words in result.stderr, (name, command, result)
        for name, words in (("documents", "holds other files"), ("file", "")):
            made = subprocess.run(
                [self.tests.sudocam, "init", f"{folder}/{name}", "--config", str(folder.parent / "unwritten.yaml"), "--passphrase-fd", "0"],
                input=PASSPHRASE + "\n", text=True, capture_output=True, cwd=folder.parent, timeout=20)
            assert made.returncode == 1 and words in made.stderr and made.stderr.startswith("sudocam: "), made
        assert self.files(folder) == before and not (folder / "unmounted").exists(), "something was written"

    def configuration(self):
        wrong = [
            ("listen: nowhere", "an address and a port"),
            ("media-port: many", "whole number from 1 to 65535"),
            ("media-prot: 5", "unknown key `media-prot`; `media-port`?"),
            ("clip-seconds: 301", "from 2 to 300"),
            ("lock-after-minutes: -1", "from 0"),
            ("host-names: camera.example", "wants a list"),
            ("media-addresses: {a: b}", "wants a list"),
            ("tls: { certificate: a.pem, kye: b.pem }", "`key`?"),
            ("vault: ./vault", None),
            ("cameras:", None),
            ('  http: { source: "http://192.0.2.1/video" }', "known are rtsp://"),
            ('  shell: { source: "file:relative.mp4" }', "from the root"),
            ('  nobody: { source: "rtsp://" }', "names no host"),
            ('  secret: { source: "rtsp://admin:12#34@192.0.2.1/" }', "%23"),
            ('  small: { source: "test:?size=32x24" }', "from 320x240"),
            ('  often: { source: "test:?rate=500" }', "from 1 to 60"),
            ('  odd: { source: "test:?colour=red" }', "unknown setting `colour`"),
            ("  bare: {}", "wants `source`"),
            ("  text: hello", "wants at least `source`"),
            ('  more: { source: "test:", nam: x }', "`name`?"),
        ]
        folder = self.tests.folder / "configuration"
        folder.mkdir()
        config = folder / "sudocam.yaml"
        config.write_text("\n".join(line for line, _ in wrong) + "\n")
        config.chmod(0o600)
        result = subprocess.run([self.tests.sudocam, "serve", "--config", str(config)], text=True, capture_output=True, cwd=folder, timeout=20)
        assert result.returncode == 1, result
        told = result.stderr.splitlines()
        for number, (line, words) in enumerate(wrong, 1):
            mine = [text for text in told if text.strip().startswith(f"line {number}: ")]
            if words is None:
                assert not mine, (line, mine)
            else:
                assert any(words in text for text in mine), (line, words, mine, told)
        assert "12#34" not in result.stderr, "a password was printed"
        wanted = sum(words is not None for _, words in wrong)
        # What is no YAML at all is one error, with its line, and quotes nothing.
        for twice in ("vault: ./vault\nvault: ./other\n", 'vault: ./vault\ncameras:\n  a: { source: "rtsp://u:12#34@h/" }\n  a: { source: "test:" }\n'):
            config.write_text(twice)
            doubled = subprocess.run([self.tests.sudocam, "serve", "--config", str(config)], text=True, capture_output=True, cwd=folder, timeout=20)
            assert doubled.returncode == 1 and "stands here twice" in doubled.stderr and "line " in doubled.stderr, doubled
            assert "12#34" not in doubled.stderr, "a password was printed"
        config.write_text("vault: ./vault\ncameras:\n  a: { source: \"test:\"\nlisten: [\n")
        broken = subprocess.run([self.tests.sudocam, "serve", "--config", str(config)], text=True, capture_output=True, cwd=folder, timeout=20)
        assert broken.returncode == 1 and "not YAML" in broken.stderr and "line " in broken.stderr, broken
        absent = subprocess.run([self.tests.sudocam, "serve", "--config", str(folder / "none.yaml")], text=True, capture_output=True, cwd=folder, timeout=20)
        assert absent.returncode == 1 and "cannot be read" in absent.stderr, absent
        return f"{wanted} errors on {len(wrong)} lines"

    def lost_cameras(self):
        """One camera takes the connection and says nothing, the other refuses it."""
        with socket.create_server(("127.0.0.1", 0)) as mute, socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            cameras = {"hall": TEST, "mute": f"rtsp://127.0.0.1:{mute.getsockname()[1]}/stream", "closed": f"rtsp://127.0.0.1:{closed.getsockname()[1]}/stream"}
            recorder = self.recorder("lost", cameras, clip_seconds=2)
            try:
                recorder.start()
                began = time.monotonic()
                states = {}
                while states.get("mute") != "offline" or states.get("closed") != "offline":
                    assert time.monotonic() < began + 20, states
                    time.sleep(0.3)
                    status = recorder.command("status", "--config", str(recorder.config), "--json", check=False)
                    report = {camera["name"]: camera for camera in json.loads(status.stdout)["cameras"]}
                    states = {name: camera["state"] for name, camera in report.items()}
                told = time.monotonic() - began
                assert status.returncode == 5 and states["hall"] == "recording", states
                assert "Connection refused" in report["closed"]["reason"] and "Check the address" in report["closed"]["reason"], report
                assert "Is it switched on" in report["mute"]["reason"], report
                frames = lambda: float(next(  # noqa: E731
                    line.split()[-1] for line in request(recorder.url + "metrics")[2].decode().splitlines()
                    if line.startswith("sudocam_recorded_frames_total") and recorder.cameras()[0] in line))
                before = frames()
                time.sleep(2)
                assert frames() - before > 35, "the camera beside them is not recorded as before"
                text = request(recorder.url + "metrics")[2].decode()
                ups = [line for line in text.splitlines() if line.startswith("sudocam_camera_up{")]
                assert sorted(line[-1] for line in ups) == ["0", "0", "1"], ups
                stopping = time.monotonic()
                recorder.process.send_signal(signal.SIGTERM)
                assert recorder.process.wait(10) == 0
                stopped = time.monotonic() - stopping
                return f"told after {told:.1f} s, stopped in {stopped:.1f} s"
            finally:
                recorder.stop(signal.SIGKILL)
