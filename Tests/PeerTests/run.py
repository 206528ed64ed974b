"""The recorder as a process: killed at any moment, its memory searched, its vault contended, its camera cut off."""

import argparse
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from urllib.request import Request, urlopen

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "BrowserTests"))
from recorder import PASSPHRASE, Checks, Recorder, request  # noqa: E402
from beside import Beside  # noqa: E402
from disks import Disks  # noqa: E402
from hanging import Hanging  # noqa: E402
from keys import Keys  # noqa: E402
from proof import Proof  # noqa: E402
from refusals import Refusals  # noqa: E402
from reload import Reload  # noqa: E402
from remotes import Remotes  # noqa: E402
from repair import Repair  # noqa: E402
from small_disk import fill, recorder_on_small_disk  # noqa: E402
from threats import Threats  # noqa: E402
from webdriver import free_port  # noqa: E402

HERE = pathlib.Path(__file__).parent
CAMERAS = {f"cam{index}": f"test:?size=320x240&rate=25&gop=25&bitrate={400000 + 100000 * index}" for index in range(4)}

# As a browser offers; the fingerprint is nobody's, for nobody comes to connect.
OFFER = "\r\n".join([
    "v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1",
    "m=video 9 UDP/TLS/RTP/SAVPF 102", "c=IN IP4 0.0.0.0", "a=ice-ufrag:brow", "a=ice-pwd:0123456789012345678901",
    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32), "a=setup:actpass", "a=mid:0", "a=recvonly", "a=rtcp-mux", "a=rtpmap:102 H264/90000",
    "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0", "a=ice-ufrag:brow", "a=ice-pwd:0123456789012345678901",
    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32), "a=setup:actpass", "a=mid:1", "a=sctp-port:5000", "a=max-message-size:262144", "",
])


def microseconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1e6


def iso(time_us):
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat().replace("+00:00", "Z")


class Tests(Checks):
    def __init__(self, sudocam, kills, aiortc, only):
        super().__init__(sudocam, only)
        self.kills, self.aiortc = kills, aiortc
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sudocam-peer-"))

    def recorder(self, name, cameras, **options):
        return Recorder(self.sudocam, self.folder / name, cameras, **options)

    def run(self):
        threats = Threats(self)
        try:
            threats.run()
            Refusals(self).run()
            Hanging(self).run()
            Reload(self).run()
            Disks(self).run()
            Keys(self).run()
            Beside(self).run()
            Proof(self).run()
            Repair(self).run()
            Remotes(self).run()
            self.check(f"S1: killed {self.kills} times with four cameras, nothing committed is missing", self.kill)
            self.check("T5: the machine's time zone changes: nothing moves, the last day is complete in each", self.zones)
            self.check("V28: verify and second writers beside a recorder that commits all the time find and harm nothing", self.beside)
            self.check("locked memory holds neither the owner's identity nor a closed clip", self.memory)
            self.check("a second recorder, a used port, a newer vault and a bad configuration are refused in words", self.refusals)
            self.check("other addresses than loopback speak TLS only, and the told certificate is used", self.tls)
            self.check("V29: one flipped byte anywhere is found and named", self.flips)
            self.check("I12: an RTSP camera is recorded, cut off, and returns", self.rtsp)
            self.check("S4: on a full disk the oldest goes and recording goes on; what is held stays", self.full)
            self.check("R5: what another program exports is kept meanwhile, and no longer", self.leased)
            self.check("SIGTERM with pages and leases open, and with pages that are long gone, ends the recorder within 5 s", self.goodbye)
            self.check("W40: five hundred tabs closed while connecting leave nothing behind", self.tabs)
            if self.aiortc:
                self.check("an independent WebRTC client (aiortc) plays live through WHEP", self.whep)
            else:
                print("skip aiortc: SUDOCAM_AIORTC_PYTHON is not set")
            threats.finish()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        return self.finish()

    def clips(self, recorder):
        return json.loads(recorder.command("clips", "--limit", "1000000", "--config", str(recorder.config), "--json").stdout)

    def kill(self):
        recorder = self.recorder("kill", CAMERAS, clip_seconds=2)
        committed, slowest, lost = set(), 0.0, 0.0
        try:
            alive = time.time() * 1e6
            recorder.start()
            time.sleep(3)
            for number in range(self.kills):
                # Mostly before the first clip is whole, now and then after some.
                time.sleep(random.uniform(0.05, 1.2) if number % 6 else random.uniform(1.2, 4))
                if number % 200 == 199:
                    print(f"     {number + 1} kills, {len(committed)} clips, slowest restart {slowest:.2f} s, most lost {lost:.1f} s", flush=True)
                killed = time.time() * 1e6
                recorder.process.kill()
                recorder.process.wait(10)
                began = time.monotonic()
                lived, alive = alive, time.time() * 1e6
                recorder.start()
                slowest = max(slowest, time.monotonic() - began)
                now = self.clips(recorder)
                objects = {clip["object"] for clip in now}
                missing = committed - objects
                assert not missing, f"{len(missing)} committed clips are missing"
                committed = objects
                # What was lost is told by the last frame that still plays, not by an entry's guessed end; where that is of an
                # earlier life of the recorder, all of this one was lost, but not the time between the two.
                camera = random.choice(recorder.state()["cameras"])["id"]
                mine = [clip for clip in now if clip["camera"] == camera and clip["start"] < iso(killed)]
                export = json.loads(recorder.command(
                    "export", camera, "--config", str(recorder.config), "--from", str(int(killed - 20e6)), "--to", str(int(killed)), "-o",
                    str(self.folder / "kept.mp4"), "--passphrase-fd", "0", "--json", input=PASSPHRASE + "\n").stdout)
                gone = (killed - max(lived, microseconds(export["to"]))) / 1e6
                # The promise is a second and one chunk: as long as 64 KiB last at this camera's rate, at most the four seconds
                # after which a chunk is padded. Rates vary within a clip, and half a second is for a busy machine.
                seconds = sum(microseconds(clip["end"]) - microseconds(clip["start"]) for clip in mine) / 1e6
                chunk = min(4.0, 1.5 * 65536 / max(1.0, sum(clip["bytes"] for clip in mine) / max(0.1, seconds)))
                assert gone < 1 + chunk + 0.5, f"{gone:.1f} s lost, a chunk lasts {chunk:.1f} s"
                lost = max(lost, gone)
            # How many clips the kills leave depends on the machine; the check that follows needs more than it has descriptors.
            def most():
                return Counter(clip["camera"] for clip in self.clips(recorder)).most_common(1)[0]
            for _ in range(60):
                if most()[1] > 45:
                    break
                time.sleep(2)
            recorder.stop()
            recorder.command("verify", "--config", str(recorder.config), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
            self.descriptors(recorder, most()[0], descriptors=40)
            return f"{len(committed)} clips, slowest restart {slowest:.2f} s, most lost {lost:.1f} s"
        finally:
            recorder.stop(signal.SIGKILL)

    def zones(self):
        recorder = self.recorder("zones", {"cam0": CAMERAS["cam0"]}, clip_seconds=2)
        before, seen = os.environ.get("TZ"), []
        try:
            for zone in ("Pacific/Auckland", "America/Los_Angeles", "UTC"):
                os.environ["TZ"] = zone
                began = time.time() * 1e6
                recorder.start()
                time.sleep(5)
                recorder.stop()
                clips = json.loads(recorder.command("clips", "--config", str(recorder.config), "--from", "-1d", "--json").stdout)
                assert clips[: len(seen)] == seen, "an older clip moved"
                new = clips[len(seen):]
                assert len(new) >= 2 and all(began - 2e6 < microseconds(clip["start"]) < time.time() * 1e6 for clip in new), new
                seen = clips
            # The day is asked for in every zone.
            for zone in ("Pacific/Kiritimati", "Pacific/Honolulu"):
                os.environ["TZ"] = zone
                listed = json.loads(recorder.command("clips", "--limit", "1000000", "--config", str(recorder.config), "--json").stdout)
                assert listed == seen, (zone, len(listed), len(seen))
            return f"{len(seen)} clips"
        finally:
            recorder.stop(signal.SIGKILL)
            if before is None:
                os.environ.pop("TZ", None)
            else:
                os.environ["TZ"] = before

    def descriptors(self, recorder, camera, descriptors):
        """S13: an export over more clips than it may have files open."""
        clips = [clip for clip in self.clips(recorder) if clip["camera"] == camera]
        assert len(clips) > descriptors, len(clips)
        for arguments in (("export", camera, "--from", clips[0]["start"], "--to", clips[-1]["end"], "-o", "many.mp4"), ("verify",)):
            result = subprocess.run(
                ["prlimit", f"--nofile={descriptors}:{descriptors}", self.sudocam, *arguments, "--config", str(recorder.config), "--passphrase-fd", "0"],
                input=PASSPHRASE + "\n", text=True, capture_output=True, cwd=recorder.folder, timeout=300)
            assert result.returncode == 0, (arguments, result.stderr)

    def beside(self):
        recorder = self.recorder("beside", {**CAMERAS, **{f"more{index}": CAMERAS["cam0"] for index in range(4)}}, clip_seconds=2)
        path = recorder.folder / "vault" / "index.sqlite"
        over, told = threading.Event(), Counter()

        def read():
            """As our commands read the index; and asks for what only the recorder may do."""
            while not over.is_set():
                base = sqlite3.connect(f"file:{path}?mode=ro&readonly_shm=1", uri=True, timeout=1, isolation_level=None)
                base.execute("SELECT count(*), max(entry) FROM clip").fetchone()
                told["read"] += 1
                for kind in ("PASSIVE", "RESTART", "TRUNCATE"):
                    try:
                        base.execute(f"PRAGMA wal_checkpoint({kind})").fetchone()
                        told["let through"] += 1
                    except sqlite3.OperationalError:
                        told["refused"] += 1
                base.close()
                time.sleep(0.002)

        reader = threading.Thread(target=read)
        try:
            recorder.start()
            reader.start()
            end, count = time.monotonic() + 15, 0
            while time.monotonic() < end:
                recorder.command("verify", "--config", str(recorder.config))
                # V28: SQLite before 3.51.3 loses a log that two connections reset at once. A second writer never gets so far.
                twin = recorder.command("serve", "--config", str(recorder.config), check=False)
                assert twin.returncode == 1 and "another process" in twin.stderr.lower(), twin.stderr
                # Of all that the recorder has open, one connection could checkpoint.
                fds = pathlib.Path(f"/proc/{recorder.process.pid}/fd")
                modes = [int(re.search(r"flags:\s*(\d+)", (fds.parent / "fdinfo" / fd.name).read_text())[1], 8) & os.O_ACCMODE
                         for fd in fds.iterdir() if os.path.lexists(fd) and os.readlink(fd) == str(path.resolve())]
                assert sum(mode != os.O_RDONLY for mode in modes) == 1, modes
                count += 1
            commits = len(self.clips(recorder))
            over.set()
            reader.join(10)
            assert told["read"] > 100 and told["refused"] == 3 * told["read"] and set(told) == {"read", "refused"}, told
            recorder.stop()
            base = sqlite3.connect(path)
            assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert base.execute("SELECT count(*) FROM clip").fetchone()[0] >= commits
            base.close()
            return f"{count} times beside {commits} commits, {told['refused']} checkpoints refused, SQLite {sqlite3.sqlite_version}"
        finally:
            over.set()
            recorder.stop()

    @staticmethod
    def image(pid):
        """Everything the process has in memory, area by area."""
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for line in maps:
                area = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
                if not area or "[vvar]" in line or "[vsyscall]" in line:
                    continue
                start, end = (int(part, 16) for part in area.groups())
                try:
                    os.lseek(memory.fileno(), start, os.SEEK_SET)
                    data = memory.read(end - start)
                except (OSError, OverflowError, ValueError):
                    continue
                yield data

    def holds(self, pid, needles):
        """Which of the byte strings stand in the process' memory."""
        return {name for data in self.image(pid) for name, needle in needles.items() if needle in data}

    def memory(self):
        recorder = self.recorder("memory", {"hall": "test:?size=640x360&rate=25&gop=50&bitrate=1000000"}, clip_seconds=3)
        try:
            recorder.start()
            while not recorder.state()["cameras"][0].get("first"):
                time.sleep(0.05)
            time.sleep(0.3)
            # The clip is open now and its frames are in memory: what is searched for later must be findable here.
            opened = [data for data in self.image(recorder.process.pid) if data.strip(b"\0")]
            time.sleep(12)
            export = self.folder / "clip.mp4"
            clips = self.clips(recorder)
            first = clips[0]
            # The passphrase goes to another process: the recorder itself stays locked.
            recorder.command("export", "hall", "--config", str(recorder.config), "--from", first["start"], "--to", first["end"], "-o", str(export), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
            data = export.read_bytes()
            # The middle of the first IDR picture: x264's SEI before it is the same in every key frame.
            place = data.index(b"mdat") + 12
            while data[place + 4] & 31 != 5:
                place += 4 + int.from_bytes(data[place:place + 4], "big")
            start = place + int.from_bytes(data[place:place + 4], "big") // 2
            needles = {"frame": data[start:start + 48]}
            owner = subprocess.run([sys.executable, str(HERE / "owner_identity.py"), str(recorder.folder / "vault" / "keys" / "owner.age")], input=PASSPHRASE, text=True, capture_output=True)
            assert owner.returncode == 0, owner.stderr
            text, scalar = owner.stdout.split()
            needles["identity"] = text.encode()[20:60]
            needles["scalar"] = bytes.fromhex(scalar)
            locked = self.holds(recorder.process.pid, needles)
            assert not locked, f"while locked: {locked}"
            status, headers, _ = request(recorder.url + "api/v1/unlock", "POST", PASSPHRASE.encode())
            assert status == 204
            token = headers["set-cookie"].split(";")[0]
            unlocked = self.holds(recorder.process.pid, {"scalar": needles["scalar"]})
            assert request(recorder.url + "api/v1/lock", "POST", b"", Cookie=token)[0] == 204
            time.sleep(1)
            again = self.holds(recorder.process.pid, needles)
            assert not again, f"after locking again: {again}"
            assert unlocked, "while unlocked the identity was not found: the search would find nothing"
            assert any(needles["frame"] in data for data in opened), "while its clip was open the frame was not found"
            return f"searched for {', '.join(needles)}"
        finally:
            recorder.stop()

    def refusals(self):
        recorder = self.recorder("refusals", {"hall": "test:?size=320x240"})
        try:
            recorder.start()
            twin = recorder.command("serve", "--config", str(recorder.config), check=False)
            assert twin.returncode == 1 and "another process" in twin.stderr.lower(), (twin.stdout, twin.stderr)
            other = self.recorder("port", {"hall": "test:?size=320x240"})
            other.config.write_text(other.config.read_text().replace(str(other.port), str(recorder.port)))
            used = other.command("serve", "--config", str(other.config), check=False)
            assert used.returncode == 1 and "in use" in used.stderr, used.stderr
            vault = other.folder / "vault" / "vault.json"
            written = json.loads(vault.read_text())
            key = next(key for key in written if "version" in key.lower() or key == "format")
            written[key] = 99 if isinstance(written[key], int) else "99"
            vault.chmod(0o600)
            vault.write_text(json.dumps(written))
            newer = other.command("verify", "--config", str(other.config), check=False)
            assert newer.returncode == 1 and "newer" in newer.stderr, newer.stderr
            other.config.write_text("vault: x\nlisten: nowhere\nclip-seconds: 1\nmedia-prot: 5\ncameras:\n  a:\n    source: http://x\n")
            bad = other.command("serve", "--config", str(other.config), check=False)
            for line in ("line 2", "line 3", "line 4", "line 7", "`media-port`?"):
                assert line in bad.stderr, bad.stderr
            wrong = recorder.command("unlock", "--config", str(recorder.config), "--passphrase-fd", "0", input="no\n", check=False)
            assert wrong.returncode != 0 and "passphrase" in wrong.stderr, wrong.stderr
        finally:
            recorder.stop()

    def tls(self):
        recorder = self.recorder("tls", {"hall": "test:?size=320x240"})
        recorder.config.write_text(recorder.config.read_text().replace("127.0.0.1", "0.0.0.0"))
        process = subprocess.Popen([self.sudocam, "serve", "--config", str(recorder.config)], stdout=subprocess.PIPE, stderr=recorder.log, text=True)
        try:
            told = process.stdout.readline() + process.stdout.readline()
            assert "https://" in told, told
            fingerprint = told.split("SHA-256: ")[1].strip().replace(":", "").lower()
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with socket.create_connection(("127.0.0.1", recorder.port), 5) as plain, context.wrap_socket(plain) as secure:
                assert hashlib.sha256(secure.getpeercert(True)).hexdigest() == fingerprint, told
            unlock = Request(f"https://127.0.0.1:{recorder.port}/api/v1/unlock", data=PASSPHRASE.encode(), method="POST")
            with urlopen(unlock, timeout=20, context=context) as answer:
                assert "; Secure" in answer.headers["set-cookie"], answer.headers["set-cookie"]
            with socket.create_connection(("127.0.0.1", recorder.port), 5) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                assert b"HTTP/1.1 200" not in plain.recv(100), "plain HTTP was answered"
            for name in ("page.key", "ledger.key", "owner.age"):
                assert (recorder.folder / "vault" / "keys" / name).stat().st_mode & 0o077 == 0, name
            process.terminate()
            assert process.wait(5) == 0
        finally:
            process.kill()
            process.wait(5)

    def flips(self):
        recorder = self.recorder("flips", {"hall": "test:?size=320x240&rate=25&gop=25"}, clip_seconds=2)
        try:
            recorder.start()
            time.sleep(9)
        finally:
            recorder.stop()
        vault = recorder.folder / "vault"
        targets = [*vault.glob("objects/*/*"), *vault.glob("ledger/**/*"), *vault.glob("epochs/*"), vault / "vault.json"]
        targets = [target for target in targets if target.is_file() and target.stat().st_size]
        tried = 0
        for target in targets:
            before = target.read_bytes()
            mode = target.stat().st_mode
            target.chmod(0o600)
            for place in {0, len(before) // 2, len(before) - 1, random.randrange(len(before))}:
                changed = bytearray(before)
                changed[place] ^= 1 << random.randrange(8)
                target.write_bytes(changed)
                result = recorder.command("verify", "--config", str(recorder.config), check=False)
                told = result.stdout + result.stderr
                words = {"objects": target.name, "epochs": target.stem, "vault.json": "vault.json"}.get(target.relative_to(vault).parts[0])
                named = words in told if words else any(word in told.lower() for word in ("ledger", "entry", "entries", "checkpoint", "tile"))
                assert result.returncode in (1, 2) and named, f"{target.relative_to(vault)} byte {place}: {result.returncode} {told}"
                tried += 1
            target.write_bytes(before)
            target.chmod(mode)
        recorder.command("verify", "--config", str(recorder.config))
        return f"{tried} flips in {len(targets)} files"

    def rtsp(self):
        port = free_port()
        command = ["/usr/bin/python3", str(HERE / "rtsp_server.py"), "--port", str(port), "--sound"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE)
        server.stdout.readline()
        recorder = self.recorder("rtsp", {"garage": f"rtsp://127.0.0.1:{port}/camera"}, clip_seconds=3)

        def state(wanted, seconds):
            end = time.monotonic() + seconds
            while recorder.state()["cameras"][0]["state"] != wanted:
                assert time.monotonic() < end, recorder.state()
                time.sleep(0.2)

        try:
            recorder.start()
            state("recording", 10)
            time.sleep(6)
            server.terminate()
            server.wait(10)
            state("offline", 12)
            # Long enough to be told from a busy machine.
            time.sleep(4)
            server = subprocess.Popen(command, stdout=subprocess.PIPE)
            state("recording", 20)
            time.sleep(5)
            recorder.stop()
            export = self.folder / "rtsp.mp4"
            recorder.command("export", "garage", "--config", str(recorder.config), "--from", "-1h", "-o", str(export), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
            def probe(stream, entries, *more):
                command = ["ffprobe", "-v", "error", "-select_streams", stream, *more, "-show_entries", entries, "-of", "csv=p=0", str(export)]
                return [line.strip(",").split(",") for line in subprocess.run(command, capture_output=True, text=True).stdout.split()]

            frames = probe("v:0", "stream=nb_read_frames", "-count_frames")
            assert int(frames[0][0]) > 60, frames
            # I9: what came as A-law is AAC, beside the pictures from the first to the last, and in the outage there is neither.
            assert probe("a:0", "stream=codec_name,profile,sample_rate,channels") == [["aac", "LC", "8000", "1"]], probe("a:0", "stream")
            shown, heard = ([float(line[0]) for line in probe(stream, "packet=pts_time")] for stream in ("v:0", "a:0"))
            assert abs(shown[-1] - heard[-1]) < 0.6 and heard[0] < 1, (shown[0], shown[-1], heard[0], heard[-1])
            holes = lambda times: [(a, b) for a, b in zip(times, times[1:]) if b - a > 3]  # noqa: E731
            assert len(holes(shown)) == len(holes(heard)) == 1, (holes(shown), holes(heard))
            assert all(abs(a - b) < 0.8 for a, b in zip(holes(shown)[0], holes(heard)[0])), (holes(shown), holes(heard))
            # A tone from beginning to end: what is decoded is loud.
            volume = subprocess.run(["ffmpeg", "-i", str(export), "-map", "0:a", "-af", "volumedetect", "-f", "null", "-"], capture_output=True, text=True).stderr
            assert float(volume.split("mean_volume:")[1].split()[0]) > -30, volume
            # Evidence has the same clips and film.
            folder = str(self.folder / "rtsp-evidence")
            recorder.command("prove", "garage", "--config", str(recorder.config), "--from", "-1h", "-o", folder, "--passphrase-fd", "0", input=PASSPHRASE + "\n")
            assert "Everything fits" in recorder.command("prove", "--check", folder).stdout
            recorder.command("verify", "--config", str(recorder.config), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
        finally:
            server.terminate()
            server.wait(10)
            recorder.stop()

    def full(self):
        folder = self.folder / "full"
        with recorder_on_small_disk(self.sudocam, folder, 96) as recorder:
            if not recorder:
                return "skipped: nothing may be mounted here"
            recorder.start()
            time.sleep(30)
            first = self.clips(recorder)
            config = ["--config", str(recorder.config)]
            recorder.command("retention", "hold", *config, "--from", str(int(microseconds(first[0]["start"]))), "--to", str(int(microseconds(first[0]["end"]))), "--note", "evidence")

            fill(folder)
            end = time.monotonic() + 30
            while not json.loads(recorder.command("retention", "log", *config, "--json").stdout)[1:]:
                assert time.monotonic() < end, "nothing was deleted"
                time.sleep(1)
            time.sleep(8)
            state, last = recorder.state(), self.clips(recorder)
            log = json.loads(recorder.command("retention", "log", *config, "--json").stdout)
            gone = [entry for entry in log if entry["what"] == "deleted"]
            assert gone and all(entry["cause"] == "disk-full" for entry in gone), log
            assert [entry["start"] for entry in gone] == sorted(entry["start"] for entry in gone), gone
            assert first[0]["object"] in {clip["object"] for clip in last}, "the held clip is gone"
            assert last[-1]["start"] > gone[-1]["at"], f"nothing was recorded after {gone[-1]['at']}: {last[-1]}"
            assert any("disk is full" in alarm for alarm in state["alarms"]), state
            (folder / "filler").unlink()
            recorder.stop()
            recorder.command("verify", *config)
            return f"{len(gone)} clips went, {len(last)} are there"

    def leased(self):
        recorder = self.recorder("leased", {"hall": "test:?size=320x240&rate=10&gop=10"}, clip_seconds=2, settings=["retention: { rules: [{ keep: 1s }] }"])
        try:
            recorder.start()
            time.sleep(9)
            config = ["--config", str(recorder.config)]
            clips = self.clips(recorder)
            first = clips[0]
            # As `export` does while it reads: a lease for as long as its connection stands.
            reader = socket.socket(socket.AF_UNIX)
            reader.connect(str(recorder.folder / "vault" / "control.sock"))
            wanted = {"camera": first["camera"], "start": int(microseconds(first["start"])), "end": int(microseconds(first["end"]))}
            reader.sendall(b"lease\n" + json.dumps(wanted).encode() + b"\n")
            assert json.loads(reader.recv(1024))["ok"]
            # Another process knows it from the recorder.
            explain = lambda: recorder.command("retention", "explain", first["object"], "--json", *config, check=False).stdout  # noqa: E731
            explained = json.loads(explain())[0]
            assert "watches or exports" in explained["verdict"] and explained["leasedUntil"] in explained["verdict"], explained
            assert 3500e6 < microseconds(explained["leasedUntil"]) - time.time() * 1e6 <= 3600e6, explained
            told = recorder.command("retention", "explain", first["object"], *config).stdout
            assert explained["leasedUntil"] in told, told
            planned = json.loads(recorder.command("retention", "apply", "--dry-run", "--json", *config).stdout)["deletions"]
            assert clips[1]["object"] in {clip["object"] for clip in planned} and first["object"] not in {clip["object"] for clip in planned}, planned
            recorder.command("retention", "apply", "--yes", *config)
            left = {clip["object"] for clip in self.clips(recorder)}
            assert first["object"] in left and clips[1]["object"] not in left, (clips, left)
            reader.close()
            end = time.monotonic() + 10
            while "leasedUntil" in explain():
                assert time.monotonic() < end, "explain goes on telling of a lease that is over"
                time.sleep(0.1)
            while first["object"] in {clip["object"] for clip in self.clips(recorder)}:
                assert time.monotonic() < end, "the lease outlasts its reader"
                recorder.command("retention", "apply", "--yes", *config)
                time.sleep(0.2)
            metrics = request(recorder.url + "metrics")[2].decode()
            assert 'retention_deleted_clips_total{cause="age"}' in metrics, metrics
        finally:
            recorder.stop()

    def goodbye(self):
        recorder = self.recorder("goodbye", {"hall": "test:?size=320x240&rate=10&gop=10"})
        try:
            recorder.start()
            pages = []
            for _ in range(8):
                page = socket.create_connection(("127.0.0.1", recorder.port), 5)
                page.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{recorder.port}\r\n\r\n".encode())
                assert b"200" in page.recv(4096)
                pages.append(page)
            for page in pages[:4]:
                page.close()
            # Programs that read for long, and one that asks nothing.
            camera, now = recorder.state()["cameras"][0]["id"], int(time.time() * 1e6)
            for words in (b"lease\n" + json.dumps({"camera": camera, "start": now - 10**7, "end": now}).encode() + b"\n", b"", b"unlock\n"):
                reader = socket.socket(socket.AF_UNIX)
                reader.connect(str(recorder.folder / "vault" / "control.sock"))
                reader.sendall(words)
                pages.append(reader)
            time.sleep(0.2)
            began = time.monotonic()
            recorder.process.terminate()
            assert recorder.process.wait(5) == 0
            return f"after {time.monotonic() - began:.2f} s"
        finally:
            recorder.stop(signal.SIGKILL)

    def tabs(self):
        recorder = self.recorder("tabs", {"hall": "test:?size=320x240&rate=10&gop=10"})
        try:
            recorder.start()
            _, headers, _ = request(recorder.url + "api/v1/unlock", "POST", PASSPHRASE.encode())
            cookie = headers["set-cookie"].split(";")[0]
            process = pathlib.Path(f"/proc/{recorder.process.pid}")

            def footprint():
                resident = re.search(r"VmRSS:\s+(\d+)", (process / "status").read_text()).group(1)
                return len(list((process / "fd").iterdir())), int(resident) / 1024

            def viewers():
                return int(re.search(r"^sudocam_viewers (\d+)", request(recorder.url + "metrics")[2].decode(), re.M).group(1))

            def open_tab(close):
                status, headers, body = request(recorder.url + "api/v1/sessions", "POST", OFFER.encode(), content_type="application/sdp", cookie=cookie)
                assert status == 201, (status, body)
                if close:
                    status, _, _ = request(recorder.url.rstrip("/") + headers["location"], "DELETE", cookie=cookie)
                    assert status in (200, 204), status

            for _ in range(20):
                open_tab(close=True)
            time.sleep(2)
            files, memory = footprint()
            # Most tabs say good-bye, some are killed and never heard of again.
            for index in range(500):
                open_tab(close=index % 10 != 0)
            assert viewers() == 50, viewers()
            end = time.monotonic() + 33
            while viewers() or footprint()[0] > files + 2:
                assert time.monotonic() < end, f"{viewers()} sessions, {footprint()[0]} instead of {files} descriptors"
                time.sleep(0.5)
            after = footprint()
            assert after[1] < memory + 20, f"{after[1]:.0f} MiB instead of {memory:.0f}"
            return f"{files} to {after[0]} descriptors, {memory:.0f} to {after[1]:.0f} MiB"
        finally:
            recorder.stop()

    def whep(self):
        recorder = self.recorder("whep", {"hall": "test:?size=640x360&rate=25&gop=25&profile=high"})
        try:
            recorder.start()
            time.sleep(2)
            _, headers, _ = request(recorder.url + "api/v1/unlock", "POST", PASSPHRASE.encode())
            token = headers["set-cookie"].split(";")[0].split("=")[1]
            result = subprocess.run([self.aiortc, str(HERE / "whep_client.py"), recorder.url, recorder.cameras()[0], token], capture_output=True, text=True, timeout=60)
            assert result.returncode == 0, result.stdout + result.stderr
            return result.stdout.strip()
        finally:
            recorder.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sudocam", required=True)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--only", help="run the checks whose name contains this")
    options = parser.parse_args()
    random.seed(os.environ.get("SUDOCAM_SEED", "1"))
    sys.exit(Tests(str(pathlib.Path(options.sudocam).resolve()), options.kills, os.environ.get("SUDOCAM_AIORTC_PYTHON"), options.only).run())
