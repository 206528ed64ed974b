"""The rules of docs/threat-model.md, each tried as its adversary would."""

import json
import os
import pathlib
import pty
import re
import socket
import stat
import subprocess
import threading
import time

from recorder import PASSPHRASE, request
from webdriver import free_port

TEST = "test:?size=320x240&rate=25&gop=25&bitrate=300000"
SECRETS = {"the camera's password": "p4ssw0rd", "a token in its address": "t0ken99", "the passphrase": PASSPHRASE, "a wrong passphrase": "wr0ng-one"}
ZERO = "00000000-0000-0000-0000-000000000000"


IDLE = "a minute without use locks the vault, not earlier"


class Threats:
    def __init__(self, tests):
        self.tests, self.check, self.recorder = tests, tests.check, tests.recorder

    def run(self):
        self.idle = None
        if not self.tests.only or self.tests.only in IDLE:
            self.idle = Idle(self.recorder("idle", {"hall": TEST}, settings=["lock-after-minutes: 1"]))
        self.check("no answer is without the security headers, none allows inline script", self.headers)
        self.check("every request that changes something is refused from other origins and under other host names", self.origins)
        self.check("while locked, and with an ended session, every road to footage is closed", self.locked)
        self.check("wrong passphrases: five are free, also at once; then wait, and the recorder stays responsive", self.rate)
        self.check("no secret in log, output, arguments, environment, state or metrics", self.secrets)
        self.check("the passphrase is not echoed, and no passphrase is none", self.echo)
        self.check("the control socket and everything in keys/ is for the owner only", self.rights)
        self.check("a configuration or key with a secret that every user can read is refused", self.readable)
        self.check("nothing is recorded in clear: not the camera's name, not a picture, not outside the vault", self.clear)
        self.check("a camera's address starts no shell and opens no network beyond its own", self.addresses)
        self.check("core dumps are off", self.dumps)
        self.check("more silent connections than there may be open files do not stop recording, and none stays", self.silent)

    def silent(self):
        """Anyone who reaches the page can open connections. 400 files, and twice as many of them."""
        recorder = self.recorder("silent", {"hall": TEST, "yard": TEST}, clip_seconds=2)
        recorder.start(files=400)
        connections = []
        try:
            first = socket.create_connection(("127.0.0.1", recorder.port), timeout=60)
            for _ in range(800):
                connections.append(socket.socket())
                connections[-1].setblocking(False)
                connections[-1].connect_ex(("127.0.0.1", recorder.port))
            time.sleep(3)
            files = len(os.listdir(f"/proc/{recorder.process.pid}/fd"))
            assert files < 250, f"{files} files open"
            before = self.clips(recorder)
            time.sleep(7)
            after = self.clips(recorder)
            assert after >= before + 4, f"{before} clips, then {after}"
            status = recorder.command("status", "--config", str(recorder.config), check=False)
            assert status.returncode == 0, status.stdout + status.stderr
            assert first.recv(1) == b"", "the connection is kept"
            for connection in connections:
                connection.close()
            assert request(recorder.url)[0] == 200
            return f"{files} files open under 800 connections, {after - before} clips meanwhile"
        finally:
            for connection in connections:
                connection.close()
            recorder.stop()

    @staticmethod
    def clips(recorder):
        return len(json.loads(recorder.command("clips", "--config", str(recorder.config), "--json").stdout))

    def finish(self):
        """The idle recorder needs a minute; meanwhile the others run."""
        self.check(IDLE, lambda: self.idle.judge())

    def opened(self, name, cameras=None, **options):
        recorder = self.recorder(name, cameras or {"hall": TEST}, clip_seconds=2, **options)
        recorder.start()
        return recorder

    @staticmethod
    def token(recorder):
        status, headers, _ = request(recorder.url + "api/v1/unlock", "POST", PASSPHRASE.encode())
        assert status == 204, status
        return headers["set-cookie"].split(";")[0]

    def headers(self):
        recorder = self.opened("headers")
        try:
            camera, url = recorder.cameras()[0], recorder.url
            for method, path, wanted in (
                ("GET", "", 200), ("GET", "app.js", 200), ("GET", "page.css", 200), ("GET", "none", 404), ("GET", "api/v1/state", 200), ("GET", "healthz", 200),
                ("GET", "metrics", 200), ("GET", f"api/v1/cameras/{camera}/timeline", 400), ("GET", f"api/v1/cameras/{camera}/export?from=0&to=1", 401),
                ("POST", "api/v1/lock", 401), ("POST", "api/v1/sessions", 401), ("DELETE", f"api/v1/sessions/{ZERO}", 401), ("PUT", "api/v1/state", 404),
            ):
                status, headers, _ = request(url + path, method, b"" if method != "GET" else None)
                assert status == wanted, (method, path, status)
                policy = headers["content-security-policy"]
                assert policy, (method, path)
                rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
                assert rules["default-src"] == ["'none'"] and rules["script-src"] == ["'self'"] and rules["style-src"] == ["'self'"], policy
                assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == ["'none'"] and rules["connect-src"] == ["'self'"], policy
                assert "unsafe" not in policy and "http" not in policy and "*" not in policy, policy
                assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer", (method, path)
                assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin", (method, path)
                assert headers["access-control-allow-origin"] is None, (method, path)
                if path.startswith("api/"):
                    assert headers["cache-control"] == "no-store", (method, path)
            page = request(url)[2].decode()
            assert not re.search(r"<script(?![^>]* src=)|\son\w+=|javascript:|style=|https?://", page), page
        finally:
            recorder.stop()

    def origins(self):
        recorder = self.opened("origins")
        try:
            token, url = self.token(recorder), recorder.url
            changing = [("POST", "unlock", PASSPHRASE.encode()), ("POST", "sessions", b"v=0"), ("PATCH", f"sessions/{ZERO}", b""), ("DELETE", f"sessions/{ZERO}", b""), ("POST", "lock", b"")]
            other = f"http://127.0.0.1:{free_port()}"
            for method, path, body in changing:
                for foreign in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": other}, {"Origin": url.replace("http", "https").rstrip("/")}, {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}):
                    status, _, answer = request(url + "api/v1/" + path, method, body, Cookie=token, **foreign)
                    assert status == 403 and b"foreign-origin" in answer, (method, path, foreign, status)
                assert request(url + "api/v1/" + path, method, body, Cookie=token, Host="evil.example")[0] == 421, (method, path)
            for path in ("", "app.js", "api/v1/state", "api/v1/events", "metrics", "healthz"):
                assert request(url + path, Host=f"evil.example:{recorder.port}")[0] == 421, path
            assert not recorder.state()["locked"], "a foreign page has locked the vault"
            # Its own page may.
            assert request(url + "api/v1/lock", "POST", b"", Cookie=token, Origin=url.rstrip("/"), Sec_Fetch_Site="same-origin")[0] == 204
        finally:
            recorder.stop()

    def locked(self):
        recorder = self.opened("locked")
        try:
            camera, url = recorder.cameras()[0], recorder.url
            time.sleep(4)
            footage = [
                ("GET", f"api/v1/cameras/{camera}/export?from=0&to=9000000000000000", None), ("POST", "api/v1/sessions", b"v=0"), ("POST", f"api/v1/sessions?camera={camera}", b"v=0"),
                ("PATCH", f"api/v1/sessions/{ZERO}", b""), ("DELETE", f"api/v1/sessions/{ZERO}", None), ("POST", "api/v1/lock", b""),
            ]

            def closed(when, **headers):
                for method, path, body in footage:
                    status, _, answer = request(url + path, method, body, Content_Type="application/sdp", **headers)
                    assert status == 401 and json.loads(answer)["code"] == "not-logged-in", (when, method, path, status)
                report = json.loads(request(url + "api/v1/state", **headers)[2])
                assert not report["loggedIn"] and all("name" not in one and "reason" not in one for one in report["cameras"]), (when, report)

            closed("without a session")
            closed("with a made-up cookie", Cookie="sudocam=" + "0" * 64)
            closed("with an empty cookie", Cookie="sudocam=")
            closed("with a made-up token", Authorization="Bearer " + "0" * 64)
            token = self.token(recorder)
            status, headers, body = request(url + footage[0][1], Cookie=token)
            assert status == 200 and headers["content-type"] == "video/mp4" and b"mdat" in body, status
            assert request(url + "api/v1/lock", "POST", b"", Cookie=token)[0] == 204
            closed("with an ended session", Cookie=token)
            # Unlocking by the command line lets nobody in without a session of his own.
            recorder.command("unlock", "--config", str(recorder.config), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
            assert not recorder.state()["locked"]
            closed("unlocked, with an ended session", Cookie=token)
            closed("unlocked, without a session")
            for path in ("index.sqlite", "vault/keys/owner.age", "../vault/vault.json", "..%2fvault%2fvault.json", "sudocam.yaml", "%2e%2e/sudocam.yaml"):
                assert request(url + path)[0] in (400, 404), path
        finally:
            recorder.stop()

    def rate(self):
        recorder = self.opened("rate")
        try:
            answers, slow = [], []

            def attempt():
                answers.append(request(recorder.url + "api/v1/unlock", "POST", b"wrong"))

            threads = [threading.Thread(target=attempt) for _ in range(20)]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                began = time.monotonic()
                recorder.state()
                slow.append(time.monotonic() - began)
                time.sleep(0.05)
            codes = sorted(status for status, _, _ in answers)
            assert codes == [401] * 5 + [429] * 15, codes
            status, headers, body = request(recorder.url + "api/v1/unlock", "POST", PASSPHRASE.encode())
            assert status == 429 and int(headers["retry-after"]) >= 1 and b"Try again in" in body, (status, body)
            assert recorder.state()["locked"]
            time.sleep(int(headers["retry-after"]))
            # The wait is longer after another failure, and the right passphrase ends it.
            assert request(recorder.url + "api/v1/unlock", "POST", b"wrong")[0] == 401
            status, headers, _ = request(recorder.url + "api/v1/unlock", "POST", PASSPHRASE.encode())
            assert status == 429 and int(headers["retry-after"]) == 2, (status, headers["retry-after"])
            time.sleep(2.1)
            self.token(recorder)
            assert request(recorder.url + "api/v1/unlock", "POST", b"wrong")[0] == 401
            # The command line is limited apart from the page, and says the same by its status.
            command = lambda *arguments, words: recorder.command(  # noqa: E731
                *arguments, "--config", str(recorder.config), "--passphrase-fd", "0", input=words + "\n", check=False)
            for _ in range(12):
                told = command("unlock", words="wrong")
                assert told.returncode == 3, told
                if "Too many wrong passphrases" in told.stderr:
                    break
            else:
                raise AssertionError("as many attempts as one likes")
            told = command("key", "rewrap", words=PASSPHRASE)
            assert told.returncode == 3 and "not tried" in told.stderr, told
            slowest = max(slow)
            assert slowest < 2, f"{slowest:.2f} s for an answer meanwhile"
            return f"slowest other answer meanwhile {slowest * 1000:.0f} ms"
        finally:
            recorder.stop()

    def secrets(self):
        closed = free_port()
        cameras = {"hall": TEST, "gate": f"rtsp://admin:p4ssw0rd@127.0.0.1:{closed}/live?token=t0ken99"}
        recorder = self.recorder("secrets", cameras, clip_seconds=2)
        recorder.config.chmod(0o600)
        process = subprocess.Popen([self.tests.sudocam, "serve", "--config", str(recorder.config), "--log-level", "trace"], stdout=recorder.log, stderr=recorder.log, cwd=recorder.folder)
        recorder.process = process
        try:
            end = time.monotonic() + 15
            while True:
                try:
                    recorder.state()
                    break
                except OSError:
                    assert time.monotonic() < end
                    time.sleep(0.1)
            seen = {}
            assert request(recorder.url + "api/v1/unlock", "POST", b"wr0ng-one")[0] == 401
            token = self.token(recorder)
            recorder.command("unlock", "--config", str(recorder.config), "--passphrase-fd", "0", input="wr0ng-one\n", check=False)
            recorder.command("unlock", "--config", str(recorder.config), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
            time.sleep(4)
            seen["state"] = request(recorder.url + "api/v1/state", Cookie=token)[2].decode()
            assert "offline" in seen["state"] and "gate" in seen["state"], seen["state"]
            seen["metrics"] = request(recorder.url + "metrics")[2].decode()
            status = recorder.command("status", "--config", str(recorder.config), check=False)
            seen["status"] = status.stdout + status.stderr
            proc = pathlib.Path(f"/proc/{process.pid}")
            seen["arguments"] = (proc / "cmdline").read_bytes().decode()
            seen["environment"] = (proc / "environ").read_bytes().decode()
            recorder.stop()
            seen["log"] = (recorder.folder / "serve.log").read_text()
            assert "gate" in seen["log"] or "admin" in seen["log"], "the log says nothing of the camera: the search would find nothing"
            exported = recorder.command("export", "hall", "--config", str(recorder.config), "--from", "-1m", "-o", "x.mp4", "--passphrase-fd", "0", input="wr0ng-one\n", check=False)
            assert exported.returncode == 3 and not (recorder.folder / "x.mp4").exists(), exported
            seen["a refused export"] = exported.stdout + exported.stderr
            session = token.split("=", 1)[1]
            for place, text in seen.items():
                for name, secret in {**SECRETS, "a session's token": session}.items():
                    assert secret not in text, f"{name} stands in {place}"
            return f"searched {', '.join(seen)}"
        finally:
            recorder.stop()

    def echo(self):
        """At a terminal of its own."""
        recorder = self.opened("echo")

        def typed(arguments, *lines):
            pid, terminal = pty.fork()
            if pid == 0:
                os.chdir(recorder.folder)
                os.execv(self.tests.sudocam, [self.tests.sudocam, *arguments])
            told = b""
            waiting = list(lines)
            while True:
                try:
                    part = os.read(terminal, 4096)
                except OSError:
                    break
                if not part:
                    break
                told += part
                if waiting and part.rstrip().endswith(b":"):
                    time.sleep(0.2)  # until its terminal is quiet
                    os.write(terminal, waiting.pop(0).encode() + b"\n")
            os.close(terminal)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), told.decode()

        try:
            code, told = typed(["unlock", "--config", str(recorder.config)], PASSPHRASE)
            assert code == 0 and "Passphrase: " in told and "Unlocked" in told and PASSPHRASE not in told, (code, told)
            code, told = typed(["init", "twice", "--config", "unwritten.yaml"], PASSPHRASE, "another")
            assert code == 1 and "differ" in told and PASSPHRASE not in told and "another" not in told, (code, told)
            assert not (recorder.folder / "twice").exists()
            code, told = typed(["init", "twice", "--config", "unwritten.yaml"], PASSPHRASE, PASSPHRASE)
            assert code == 0 and "AGE-SECRET-KEY-1" in told and PASSPHRASE not in told, (code, told)
            assert stat.S_IMODE((recorder.folder / "unwritten.yaml").stat().st_mode) == 0o600, "cameras' passwords will stand in it"
        finally:
            recorder.stop()
        for text in ("", "\n"):
            none = recorder.command("init", "none", "--config", "none.yaml", "--passphrase-fd", "0", input=text, check=False)
            assert none.returncode == 1 and "empty" in none.stderr, none
        blind = recorder.command("init", "none", "--config", "none.yaml", input="", check=False)
        assert blind.returncode == 1 and "no terminal" in blind.stderr, blind
        assert not (recorder.folder / "none").exists() or not (recorder.folder / "none" / "vault.json").exists()

    def rights(self):
        recorder = self.opened("rights")
        try:
            socket_path = recorder.folder / "vault" / "control.sock"
            mode = socket_path.stat().st_mode
            assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) & 0o077 == 0, oct(mode)
            loose = {
                str(path.relative_to(recorder.folder)): oct(stat.S_IMODE(path.lstat().st_mode))
                for path in (recorder.folder / "vault").rglob("*") if path.lstat().st_mode & 0o077}
            assert not loose, loose
            # Whoever speaks to the socket is still asked for the passphrase, and garbage ends nothing.
            for line in (b"unlock\nwrong\n", b"footage\n", b"\xff" * 9000 + b"\n", b"unlock\n"):
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(10)
                    client.connect(str(socket_path))
                    client.sendall(line)
                    client.shutdown(socket.SHUT_WR)
                    try:
                        answer = client.recv(65536)
                    except ConnectionResetError:
                        answer = b""
                    assert not answer or json.loads(answer)["ok"] is False, (line[:20], answer)
            assert recorder.state()["locked"]
        finally:
            recorder.stop()
        assert not socket_path.exists(), "the socket stays behind"
        key = recorder.folder / "vault" / "keys" / "ledger.key"
        key.chmod(0o644)
        refused = recorder.command("serve", "--config", str(recorder.config), check=False)
        assert refused.returncode == 1 and "can be read by others" in refused.stderr and "chmod 600" in refused.stderr, refused

    def readable(self):
        folder = self.tests.folder / "readable"
        folder.mkdir()
        config = folder / "sudocam.yaml"
        text = f"vault: ./vault\nlisten: 127.0.0.1:{free_port()}\ncameras:\n  a: {{ source: \"rtsp://u:p4ssw0rd@127.0.0.1:{free_port()}/s\" }}\n"
        made = subprocess.run([self.tests.sudocam, "init", str(folder / "vault"), "--config", str(folder / "other.yaml"), "--passphrase-fd", "0"], input=PASSPHRASE + "\n", text=True, capture_output=True)
        assert made.returncode == 0, made
        for mode, is_refused in ((0o644, True), (0o604, True), (0o640, False), (0o600, False)):
            config.write_text(text)
            config.chmod(mode)
            result = subprocess.run([self.tests.sudocam, "clips", "--config", str(config)], text=True, capture_output=True)
            assert (result.returncode == 1 and "chmod 600" in result.stderr) if is_refused else result.returncode == 0, (oct(mode), result)
            assert "p4ssw0rd" not in result.stderr
        # Without a password everybody may read it.
        config.write_text(text.replace("u:p4ssw0rd@", ""))
        config.chmod(0o644)
        assert subprocess.run([self.tests.sudocam, "clips", "--config", str(config)], capture_output=True).returncode == 0
        key = folder / "page.key"
        key.write_text("key")
        key.chmod(0o644)
        config.write_text(text.replace("u:p4ssw0rd@", "") + f"tls: {{ certificate: page.crt, key: {key} }}\n")
        result = subprocess.run([self.tests.sudocam, "serve", "--config", str(config)], text=True, capture_output=True, timeout=20)
        assert result.returncode == 1 and "page.key" in result.stderr and "chmod 600" in result.stderr, result

    def clear(self):
        recorder = self.recorder("clear", {"hall": TEST}, clip_seconds=2)
        name = "Conservatory-by-the-lake"
        recorder.config.write_text(recorder.config.read_text().replace('name: "hall"', f'name: "{name}"'))
        try:
            recorder.start()
            time.sleep(7)
            # While it runs: what it holds open lies in the vault, and nothing else of its writing anywhere.
            held = [os.readlink(link) for link in pathlib.Path(f"/proc/{recorder.process.pid}/fd").iterdir()]
            files = [path for path in held if path.startswith("/") and not path.startswith(("/dev", "/proc", "/sys")) and "(deleted)" not in path]
            outside = [path for path in files if not path.startswith(str(recorder.folder))]
            assert not outside and not [path for path in held if "(deleted)" in path and "/" in path], held
        finally:
            recorder.stop()
        movie = recorder.folder / "clip.mp4"
        recorder.command("export", "hall", "--config", str(recorder.config), "--from", "-1m", "-o", str(movie), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
        data = movie.read_bytes()
        place = data.index(b"mdat") + 12
        while data[place + 4] & 31 != 5:
            place += 4 + int.from_bytes(data[place:place + 4], "big")
        middle = place + int.from_bytes(data[place:place + 4], "big") // 2
        needles = {"the name": name.encode(), "a picture": data[middle:middle + 24], "its parameters": data[data.index(b"avcC") + 12:][:12], "an MP4": b"moof", "the key": b"AGE-SECRET-KEY-1"}
        assert all(needle in data for key, needle in needles.items() if key in ("a picture", "its parameters"))
        vault = {path: path.read_bytes() for path in (recorder.folder / "vault").rglob("*") if path.is_file()}
        for path, content in vault.items():
            for what, needle in needles.items():
                assert needle not in content, f"{what} stands in {path.relative_to(recorder.folder)}"
        return f"{len(vault)} files"

    def addresses(self):
        """A file that names other places, and addresses with a shell's letters in them."""
        asked = []
        with socket.create_server(("127.0.0.1", 0)) as trap:
            port = trap.getsockname()[1]

            def listen():
                while True:
                    try:
                        connection, _ = trap.accept()
                    except OSError:
                        return
                    asked.append(connection)
                    connection.close()

            threading.Thread(target=listen, daemon=True).start()
            folder = self.tests.folder / "addresses-files"
            folder.mkdir()
            (folder / "list.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:{port}/a.ts\n#EXT-X-ENDLIST\n")
            (folder / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile http://127.0.0.1:{port}/a.mp4\n")
            (folder / "list.sdp").write_text(f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} TCP/RTP/AVP 96\na=rtpmap:96 H264/90000\n")
            cameras = {name: f"file:{folder}/list.{name}" for name in ("m3u8", "ffconcat", "sdp")}
            cameras["shell"] = f"file:/tmp/$(touch {folder}/ran)`touch {folder}/ran`;touch {folder}/ran|"
            cameras["hall"] = TEST
            recorder = self.opened("addresses", cameras)
            try:
                time.sleep(5)
                token = self.token(recorder)
                states = {camera["name"]: camera["state"] for camera in json.loads(request(recorder.url + "api/v1/state", Cookie=token)[2])["cameras"]}
                assert states.pop("hall") == "recording" and set(states.values()) <= {"offline", "connecting"}, states
                assert not asked, "a file made the recorder open a connection"
                assert not (folder / "ran").exists(), "a shell ran"
                children = pathlib.Path(f"/proc/{recorder.process.pid}/task/{recorder.process.pid}/children").read_text()
                assert not children.strip(), children
            finally:
                recorder.stop()

    def dumps(self):
        recorder = self.opened("dumps")
        try:
            limits = pathlib.Path(f"/proc/{recorder.process.pid}/limits").read_text()
            core = next(line for line in limits.splitlines() if line.startswith("Max core file size")).split()
            assert core[4:6] == ["0", "0"], core
        finally:
            recorder.stop()


class Idle:
    """Unlocks, then only watches; watching without a session is no use of the vault."""

    def __init__(self, recorder):
        self.recorder = recorder
        recorder.start()
        self.token = Threats.token(recorder)
        self.began = time.monotonic()
        self.locked_after = None
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while time.monotonic() - self.began < 120:
            if self.recorder.state()["locked"]:
                self.locked_after = time.monotonic() - self.began
                return
            time.sleep(0.5)

    def judge(self):
        try:
            self.thread.join(125)
            assert self.locked_after, "it stayed unlocked for two minutes"
            assert 59 < self.locked_after < 80, f"locked after {self.locked_after:.0f} s"
            assert request(self.recorder.url + "api/v1/lock", "POST", b"", Cookie=self.token)[0] == 401
            return f"after {self.locked_after:.0f} s"
        finally:
            self.recorder.stop()
