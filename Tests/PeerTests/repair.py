"""A vault that was damaged, lost its index or its ledger, or is not the one it was; and a second machine that watches."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from datetime import datetime

from recorder import PASSPHRASE

TEST = "test:?size=320x240&rate=25&gop=25&bitrate=300000"


class Repair:
    def __init__(self, tests):
        self.tests, self.check = tests, tests.check

    def run(self):
        self.check("S3, S7: an empty mount point, another disk and an older copy are refused, and not a byte is written", self.recognition)
        self.check("a mount pulled while recording: nothing is made beneath it, and recording goes on when it is back", self.pulled)
        self.check("V29, V32: repair says first, then quarantines, enters what is lost, and verify knows it", self.repair)
        self.check("S7: index and ledger come back by rebuild, every clip with its camera and its times", self.rebuild)
        self.check("an index of another schema is made anew at the start, and the clips are all there", self.migration)
        self.check("witness: first seen, goes on, rollback and fork, over HTTP, TLS and from a folder", self.witness)

    def recorded(self, name, seconds=7, **options):
        """A recorder with two cameras that has recorded and stopped."""
        recorder = self.tests.recorder(name, {"hall": TEST, "yard": TEST}, clip_seconds=2, **options)
        self.again(recorder, seconds)
        return recorder

    @staticmethod
    def again(recorder, seconds=5):
        try:
            recorder.start()
            time.sleep(seconds)
        finally:
            recorder.stop()

    @staticmethod
    def run_(recorder, *arguments, input=None):
        return subprocess.run(
            [recorder.sudocam, *arguments, "--config", str(recorder.config)], input=input, text=True, capture_output=True, timeout=60, cwd=recorder.folder)

    def clips(self, recorder):
        return {clip["object"]: clip for clip in json.loads(recorder.command("clips", "--config", str(recorder.config), "--json").stdout)}

    @staticmethod
    def everything(folder):
        """What any write would change."""
        def one(path):
            status = path.lstat()
            # SQLite gives its log the database's owner again whenever it opens one, also only to read.
            changed = 0 if path.name.startswith("index.sqlite-") else status.st_ctime_ns
            return status.st_ino, status.st_size, status.st_mtime_ns, changed
        return {str(path.relative_to(folder)): one(path) for path in [folder, *folder.rglob("*")]}

    def refused(self, recorder, *words, arguments=("serve",), input=None):
        vault = recorder.folder / "vault"
        before = self.everything(vault)
        result = self.run_(recorder, *arguments, input=input)
        assert result.returncode == 1, result
        for word in words:
            assert word in result.stderr, result.stderr
        assert self.everything(vault) == before, "something was written"

    def recognition(self):
        recorder = self.recorded("known")
        vault, away = recorder.folder / "vault", recorder.folder / "away"
        older = recorder.folder / "older"
        shutil.copytree(vault, older, symlinks=True)
        self.again(recorder)

        vault.rename(away)
        vault.mkdir()
        self.refused(recorder, "holds none now", "mounted")
        self.refused(recorder, "mounted", arguments=("init", str(vault), "--passphrase-fd", "0"), input=PASSPHRASE + "\n")
        vault.rmdir()

        other = self.tests.recorder("another", {"hall": TEST}, clip_seconds=2)
        shutil.copytree(other.folder / "vault", vault)
        self.refused(recorder, "Is another disk mounted there?", ".sudocam-vaults.json")
        for arguments in (("retention", "apply", "--yes"), ("repair", "--apply"), ("rebuild",)):
            self.refused(recorder, "Is another disk mounted there?", arguments=arguments)
        shutil.rmtree(vault)

        shutil.copytree(older, vault)
        self.refused(recorder, "older copy", "--accept-older-copy")
        guest = subprocess.run(["age-keygen"], capture_output=True, text=True).stderr.split()[-1]
        self.refused(recorder, "older copy", arguments=("key", "add-recipient", guest, "--passphrase-fd", "0"), input=PASSPHRASE + "\n")
        process = subprocess.Popen([recorder.sudocam, "serve", "--accept-older-copy", "--config", str(recorder.config)], stdout=recorder.log, stderr=recorder.log)
        try:
            time.sleep(5)
            assert process.poll() is None, (recorder.folder / "serve.log").read_text()
        finally:
            process.terminate()
            process.wait(10)
        entries = b"".join(path.read_bytes() for path in (vault / "ledger" / "entries").iterdir())
        assert b'"why":"older-copy"' in entries, "the ledger does not say so"
        self.again(recorder)
        assert self.run_(recorder, "verify").returncode == 0

        shutil.rmtree(vault)
        away.rename(vault)
        # Shorter, it cannot be told from an older copy; longer, it is another past.
        self.refused(recorder, "--accept-older-copy", "Nothing was written")

    def pulled(self):
        if os.geteuid():
            return "skipped: nothing may be mounted here"
        recorder = self.tests.recorder("unplugged", {"hall": TEST}, clip_seconds=2)
        vault, disk = recorder.folder / "vault", recorder.folder / "disk"
        vault.rename(disk)
        vault.mkdir()
        script = 'mount --make-rprivate / && mount --bind disk vault && exec "$@"'
        process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script, "sh", recorder.sudocam, "serve", "--config", str(recorder.config)],
            stdout=recorder.log, stderr=recorder.log, cwd=recorder.folder)
        inside = lambda *command: subprocess.run(["nsenter", "-t", str(process.pid), "-m", *command], check=True, cwd=recorder.folder)  # noqa: E731
        try:
            time.sleep(6)
            assert process.poll() is None, (recorder.folder / "serve.log").read_text()
            inside("umount", "-l", str(vault))
            # Under the mount point lies what the rest of the machine sees there.
            pulled_at = time.time()
            time.sleep(9)
            assert process.poll() is None, "the recorder ended"
            assert not list(vault.iterdir()), list(vault.iterdir())
            assert any("mounted" in alarm for alarm in recorder.state()["alarms"]), recorder.state()["alarms"]
            inside("mount", "--bind", str(disk), str(vault))
            back_at = time.time()
            time.sleep(12)
        finally:
            process.terminate()
            process.wait(10)
        assert not list(vault.iterdir()), list(vault.iterdir())
        vault.rmdir()
        disk.rename(vault)
        assert self.run_(recorder, "verify").returncode == 0, self.run_(recorder, "verify")
        starts = sorted(clip["start"] for clip in self.clips(recorder).values())
        stamp = lambda seconds: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))  # noqa: E731
        assert any(start < stamp(pulled_at) for start in starts) and any(start > stamp(back_at) for start in starts), starts
        return f"{sum(start > stamp(back_at) for start in starts)} clips after it was back"

    def repair(self):
        recorder = self.recorded("repair", 9)
        vault = recorder.folder / "vault"
        copy = recorder.folder / "copy"
        shutil.copytree(vault, copy)
        clips = sorted(self.clips(recorder).values(), key=lambda clip: (clip["camera"], clip["start"]))
        path = lambda clip: vault / "objects" / clip["object"][:2] / clip["object"]  # noqa: E731
        path(clips[0]).unlink()
        path(clips[1]).write_bytes(b"noise" * 1000)
        bytes_ = bytearray(path(clips[2]).read_bytes())
        bytes_[-30] ^= 1
        path(clips[2]).write_bytes(bytes_)

        before = self.everything(vault)
        dry = self.run_(recorder, "repair", "--json")
        assert dry.returncode == 2, dry
        steps = {step["subject"]: step["action"] for step in json.loads(dry.stdout)["steps"]}
        assert steps == {"object " + clips[0]["object"]: "lost", "object " + clips[1]["object"]: "quarantine", "object " + clips[2]["object"]: "leave"}, steps
        after = self.everything(vault)
        assert after == before, {name: (before.get(name), value) for name, value in after.items() if before.get(name) != value}
        done = self.run_(recorder, "repair", "--apply")
        assert done.returncode == 2 and "still plays" in done.stdout, done
        found = self.run_(recorder, "verify", "--json")
        document = json.loads(found.stdout)
        assert found.returncode == 2 and len(document["findings"]) == 1 and document["knownLost"] == 1 and document["knownQuarantined"] == 1, document
        assert (vault / "quarantine" / clips[1]["object"]).read_bytes() == b"noise" * 1000
        fetched = self.run_(recorder, "repair", "--apply", "--from", str(copy))
        assert fetched.returncode == 0, fetched
        found = self.run_(recorder, "verify")
        assert found.returncode == 0 and "1 clip(s) lost" in found.stdout, found
        # The lost one is in the copy too: put back, it is adopted.
        shutil.copy2(copy / "objects" / clips[0]["object"][:2] / clips[0]["object"], path(clips[0]))
        assert self.run_(recorder, "repair", "--apply").returncode == 0
        now = self.clips(recorder)
        assert clips[0]["object"] in now and clips[1]["object"] not in now and clips[2]["object"] in now
        self.again(recorder)
        assert self.run_(recorder, "verify", "--passphrase-fd", "0", input=PASSPHRASE + "\n").returncode == 0

    def rebuild(self):
        recorder = self.recorded("rebuild", 9)
        vault = recorder.folder / "vault"
        before = self.clips(recorder)

        def rows():
            with sqlite3.connect(f"file:{vault}/index.sqlite?mode=ro", uri=True) as index:
                return {name: sorted(index.execute(f"SELECT * FROM {name}"), key=repr) for (name,) in index.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

        old = rows()
        made = self.run_(recorder, "rebuild")
        assert made.returncode == 0 and "The index is new" in made.stdout, made
        assert rows() == old, "the rows differ"
        for name in vault.glob("index.sqlite*"):
            name.unlink()
        assert self.run_(recorder, "rebuild").returncode == 0
        assert rows() == old, "the rows differ"

        shutil.rmtree(vault / "ledger" / "entries")
        for name in vault.glob("index.sqlite*"):
            name.unlink()
        for command in (("serve",), ("rebuild",), ("repair", "--apply")):
            result = self.run_(recorder, *command)
            assert result.returncode == 1, result
        assert "--from-objects" in self.run_(recorder, "rebuild").stderr or "older copy" in self.run_(recorder, "rebuild").stderr
        dry = self.run_(recorder, "rebuild", "--from-objects")
        assert dry.returncode == 0 and "Nothing was changed" in dry.stdout and not (vault / "index.sqlite").exists(), dry
        made = self.run_(recorder, "rebuild", "--from-objects", "--apply", "--json")
        assert made.returncode == 0, made
        document = json.loads(made.stdout)
        assert document["clips"] == len(before) and document["quarantined"] == [] and document["entriesBefore"] >= len(before), document
        now = self.clips(recorder)
        assert now.keys() == before.keys()
        microseconds = lambda text: datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1e6  # noqa: E731
        worst = 0
        for name, clip in before.items():
            for key in ("camera", "sequence", "start", "bytes", "salvaged"):
                assert now[name][key] == clip[key], (key, clip, now[name])
            worst = max(worst, abs(microseconds(now[name]["end"]) - microseconds(clip["end"])))
        assert worst < 1e6, worst
        assert self.run_(recorder, "verify", "--passphrase-fd", "0", input=PASSPHRASE + "\n").returncode == 0
        self.again(recorder)
        assert len(self.clips(recorder)) > len(before)
        assert self.run_(recorder, "verify").returncode == 0
        return f"{len(before)} clips, ends within {worst / 1e3:.0f} ms"

    def migration(self):
        recorder = self.recorded("migration", 6)
        before = self.clips(recorder)
        index = recorder.folder / "vault" / "index.sqlite"
        for version in (1, 2, 3, 99):
            with sqlite3.connect(index) as database:
                database.execute(f"PRAGMA user_version = {version}")
            self.again(recorder, 2)
            with sqlite3.connect(f"file:{index}?mode=ro", uri=True) as database:
                assert database.execute("PRAGMA user_version").fetchone()[0] == 4
            now = self.clips(recorder)
            assert before.keys() <= now.keys()
            before = now
        assert self.run_(recorder, "verify").returncode == 0

    def witness(self):
        recorder = self.recorded("watched", 4)
        vault, pins = recorder.folder / "vault", recorder.folder / "witness.json"
        remembered = recorder.folder / ".sudocam-vaults.json"
        older = recorder.folder / "older"
        shutil.copytree(vault, older)

        def look(target, *more, code=0):
            result = subprocess.run([recorder.sudocam, "witness", target, "--pins", str(pins), "--json", *more], text=True, capture_output=True, timeout=60)
            assert result.returncode == code, result
            return json.loads(result.stdout) if result.stdout else result

        key = json.loads(self.run_(recorder, "prove", "--show-key", "--json").stdout)["key"]
        recorder.start()
        try:
            first = look(recorder.url)
            assert first["verdict"] == "first" and first["key"] == key, first
            time.sleep(5)
            second = look(recorder.url, "--key", key)
            assert second["verdict"] == "continues" and second["size"] > second["sizeBefore"] == first["size"], second
            assert look(recorder.url, "--key", key.replace("+", "+0", 1), code=2)["verdict"] == "key"
        finally:
            recorder.stop()
        assert look(recorder.url, code=4).stderr.startswith("sudocam: "), "nobody listens"
        # The same vault under another spelling, and where its folder stands: what was seen counts for all.
        assert look(str(vault))["verdict"] == "continues"
        recorder.start()
        try:
            port = recorder.url.split(":")[-1].rstrip("/")
            for spelled in (f"HTTP://127.0.0.1:{port}", f"http://127.0.0.1:{port}/any/path?x=1", f"http://localhost:{port}/"):
                told = look(spelled)
                assert told["verdict"] == "continues", (spelled, told)
            # Not the certificate is to blame, and nobody needs to know how BoringSSL was built.
            told = look(f"https://127.0.0.1:{port}/", code=4).stderr
            assert "speaks no TLS" in told and "certificate" not in told and ".cc" not in told and ".c:" not in told, told
        finally:
            recorder.stop()
        assert set(json.loads(pins.read_text())) == {recorder.url, f"http://localhost:{port}/", str(vault)}
        told = look(f"127.0.0.1:{port}", code=1).stderr
        assert "Write http:// or https:// before an address" in told, told
        told = look(str(older), code=2)
        assert told["verdict"] == "rollback" and told["seenAt"], told
        fresh = subprocess.run(
            [recorder.sudocam, "witness", str(vault), "--pins", str(recorder.folder / "fresh.json"), "--key", "foo"], text=True, capture_output=True)
        assert fresh.returncode == 2 and "than the one given" in fresh.stdout, fresh
        fresh = subprocess.run(
            [recorder.sudocam, "witness", str(vault), "--pins", "/proc/witness.json"], text=True, capture_output=True)
        assert fresh.returncode == 1 and "--pins" in fresh.stderr and "StateDirectory" not in fresh.stderr, fresh

        # An older copy, put back by somebody who also forgets what `serve` remembered.
        newer = recorder.folder / "newer"
        vault.rename(newer)
        shutil.copytree(older, vault)
        remembered.unlink()
        assert look(str(vault), code=2)["verdict"] == "rollback"
        recorder.start()
        try:
            told = look(recorder.url, code=2)
            assert told["verdict"] in ("rollback", "fork") and told["sizeBefore"] >= second["size"], told
            end = time.monotonic() + 30
            while look(recorder.url, code=2)["verdict"] != "fork":
                assert time.monotonic() < end, "never longer than what was seen"
                time.sleep(1)
            assert look(recorder.url, "--accept")["verdict"] == "first"
            watch = subprocess.Popen(
                [recorder.sudocam, "witness", recorder.url, "--pins", str(pins), "--every", "1s"], text=True, stdout=subprocess.PIPE)
            time.sleep(3)
        finally:
            recorder.stop()
        # The true past comes back: to the witness, who accepted the other, that is the fork.
        shutil.rmtree(vault)
        newer.rename(vault)
        remembered.unlink(missing_ok=True)
        recorder.start()
        try:
            assert watch.wait(20) == 2
            lines = watch.stdout.read().splitlines()
            assert len(lines) >= 3 and "continues" in lines[0] and ("FORK" in lines[-1] or "ROLLBACK" in lines[-1]), lines
        finally:
            recorder.stop()

        # Under TLS: by the fingerprint that `serve` prints, by nothing else.
        keys = vault / "keys"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=test",
             "-keyout", str(keys / "t.key"), "-out", str(keys / "t.crt")], check=True, capture_output=True)
        (keys / "t.key").chmod(0o600)
        lines = recorder.config.read_text().replace("cameras:", f"tls: {{ certificate: {keys}/t.crt, key: {keys}/t.key }}\ncameras:")
        recorder.config.write_text(lines)
        process = subprocess.Popen([recorder.sudocam, "serve", "--config", str(recorder.config)], stdout=subprocess.PIPE, stderr=recorder.log, text=True)
        try:
            told = process.stdout.readline() + process.stdout.readline()
            fingerprint = told.split("SHA-256: ")[1].strip()
            url = recorder.url.replace("http:", "https:")
            assert look(url, "--fingerprint", fingerprint, "--accept")["verdict"] == "first"
            assert look(url, "--fingerprint", fingerprint)["verdict"] == "continues"
            for refused in (look(url, "--fingerprint", "00" * 32, code=4), look(url, code=4)):
                assert "certificate" in refused.stderr and "--fingerprint" in refused.stderr and ".cc" not in refused.stderr, refused
        finally:
            process.terminate()
            process.wait(10)

        # Whoever answers anything else, too much, or nothing, gets no further.
        def answer(bytes_, code):
            with socket.create_server(("127.0.0.1", 0)) as server:
                def serve():
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(4096)
                        try:
                            connection.sendall(bytes_)
                        except OSError:
                            pass
                thread = threading.Thread(target=serve)
                thread.start()
                look(f"http://127.0.0.1:{server.getsockname()[1]}/", code=code)
                thread.join(10)

        answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 1)
        answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 9_000_000, 1)
        answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 1)
        answer(b"", 4)
        forged = json.dumps({"checkpoint": "sudocam/x\n1\nAAAA\n", "key": key, "proof": []}).encode()
        answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(forged) + forged, 2)
