"""Copies of the vault in a real S3 server: sent, proven, attacked, lost with the disk and brought back, followed by another machine."""

import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
import xml.etree.ElementTree as xml
from datetime import datetime

from openstack_server import OpenStack
from pictures import SEEK, unlock
from recorder import PASSPHRASE, Recorder, request
from s3_server import Server
from small_disk import fill, recorder_on_small_disk, small_disk
from webdriver import chromium, free_port

TEST = "test:?size=320x240&rate=25&gop=25&bitrate=300000"


def microseconds(text):
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1e6)


class Operator:
    """Whoever runs the server: no credentials are asked of him, and he may change what he likes."""

    def __init__(self, base):
        self.base = base

    def names(self, folder=""):
        """Every key below, with its size."""
        call = urllib.request.Request(f"{self.base}/{folder}?limit=100000", headers={"accept": "application/json"})
        try:
            with urllib.request.urlopen(call, timeout=20) as answer:
                entries = json.load(answer)["Entries"] or []
        except urllib.error.HTTPError as error:
            assert error.code == 404, error
            return {}
        found = {}
        for entry in entries:
            name = folder + entry["FullPath"].rsplit("/", 1)[1]
            found.update(self.names(name + "/") if entry["Mode"] & 0x80000000 else {name: entry["FileSize"]})
        return found

    def get(self, key):
        status, _, body = request(f"{self.base}/{key}")
        assert status == 200, (key, status)
        return body

    def put(self, key, body):
        call = urllib.request.Request(f"{self.base}/{key}", data=body, method="PUT", headers={"content-type": "application/octet-stream"})
        with urllib.request.urlopen(call, timeout=20) as answer:
            assert answer.status in (200, 201), answer.status

    def delete(self, key):
        assert request(f"{self.base}/{key}", "DELETE")[0] in (202, 204)


class Proxy:
    """Passes bytes between a recorder and the server, and writes down which PUT got which answer; can cut everything off."""

    def __init__(self, port):
        self.target, self.answers, self.cut_off = port, [], False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = set()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            client.close()
            return
        self.open |= {client, server}
        asked = []

        def pump(source, sink, seen):
            try:
                while data := source.recv(65536):
                    seen(data)
                    sink.sendall(data)
            except OSError:
                pass
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

        def request_seen(data):
            for line in re.findall(rb"(PUT) (/\S+) HTTP/1\.1\r\n", data):
                asked.append(line[1].decode())

        def answer_seen(data):
            for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data):
                if asked and status != b"100":
                    self.answers.append((asked.pop(0), int(status)))

        # Only PUTs are counted; each ends before the next request of its connection begins, and other requests ask for nothing.
        back = threading.Thread(target=pump, args=(server, client, answer_seen), daemon=True)
        back.start()
        pump(client, server, request_seen)
        back.join()
        self.open -= {client, server}
        client.close()
        server.close()

    def cut(self):
        for end in list(self.open):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()
        self.cut()


class Remotes:
    def __init__(self, tests):
        self.tests, self.check, self.sudocam = tests, tests.check, tests.sudocam

    def run(self):
        names = [name for name, _ in self.checks()]
        if self.tests.only and not any(self.tests.only in name for name in names):
            return
        self.folder = self.tests.folder / "remotes"
        self.folder.mkdir()
        with Server() as self.server:
            self.owner = self.credentials("owner", "owner-secret")
            self.putter = self.credentials("recorder", "recorder-secret")
            for name, body in self.checks():
                self.check(name, body)

    def checks(self):
        return [
            ("a remote is probed, becomes level, and is found clean; no secret is anywhere else than in its file", self.level),
            ("credentials that may only put and list suffice to record", self.put_only),
            ("the recorder's disk is deleted: restore --serve plays in Chromium within 30 s, and verify passes at the end", self.restore),
            ("restore is broken off and goes on; the recovery identity opens it too", self.broken_off),
            ("an operator flips a byte, swaps two objects, removes one, rolls the ledger back, adds a forged clip: each is named", self.attacks),
            ("wrong keys, bucket, certificate, address and clock: one sentence each, and recording goes on", self.wrong),
            ("another kind of server (OpenStack Swift): a wrong region is told, and without conditions it works as well", self.region),
            ("V37: the server is gone and comes back: status and exit status say so, and nothing is lost", self.outage),
            ("killed again and again while it sends, the remote converges and nothing comes twice", self.killed),
            ("evicted clips play from the remote, and come back", self.evicted),
            ("bytes of what is known of a remote are damaged: copying goes on by itself, and nothing is sent twice", self.forgotten),
            ("R7: shredding says that events go too, and what became of the remote's copy of the key", self.shredded),
            ("a drill restores an hour for real and finds every frame", self.drill),
            ("a reading node follows the remote, plays its newest clip, and changes nothing", self.reading),
            ("epoch keys in a bucket of their own: without them nothing opens, with them all does", self.keys_elsewhere),
            ("the remote's disk is full: it is said, and recording goes on", self.full),
            ("the recorder's disk is full: what the remote has goes first, recording and sending go on", self.full_here),
        ]

    # MARK: what they share

    def credentials(self, key, secret):
        file = self.folder / f"{key}.credentials"
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        file.chmod(0o600)
        return str(file)

    def recorder(self, name, cameras=("hall",), **options):
        return Recorder(self.sudocam, self.folder / name, dict.fromkeys(cameras, TEST), clip_seconds=2, **options)

    def place(self, name, server=None):
        return f"{(server or self.server).url}/{name}"

    def operator(self, name, server=None):
        return Operator(f"{(server or self.server).filer}/{name}")

    def command(self, recorder, *arguments, input=None, check=True):
        return recorder.command(*arguments, "--config", str(recorder.config), input=input, check=check)

    def json(self, recorder, *arguments, **options):
        return json.loads(self.command(recorder, *arguments, "--json", **options).stdout)

    def add(self, recorder, name, *more, url=None):
        return self.json(recorder, "remote", "add", "offsite", url or self.place(name), "--credentials", self.owner, *more)

    def status(self, recorder):
        return self.json(recorder, "remote", "status", check=False)[0]

    def until(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds} s: {what}"
            time.sleep(0.2)

    def clips(self, recorder):
        return self.json(recorder, "clips", "--from", "-3d")

    def sent(self, name, seconds=7, stays=False, **options):
        """A recorder whose footage of some seconds lies in the remote, which stops then."""
        recorder = self.recorder(name, **options)
        recorder.start()
        self.add(recorder, name)
        time.sleep(seconds)
        if stays:
            self.json(recorder, "remote", "sync", "offsite")
            return recorder
        recorder.stop()
        # What was committed at the very end goes too.
        status = self.json(recorder, "remote", "sync", "offsite")
        assert status["lagObjects"] == 0 and status["sentEntries"] == status["ledgerEntries"], status
        return recorder

    def bare(self, name, *arguments, lines, check=True, config=None, url=None, credentials=None, timeout=120):
        """`remote restore` in an empty folder."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        result = subprocess.run(
            [self.sudocam, "remote", "restore", url, "--to", str(folder / "vault"), "--config", str(config or folder / "sudocam.yaml"),
             "--credentials", credentials or self.owner, "--passphrase-fd", "0", *arguments],
            input="".join(line + "\n" for line in lines), text=True, capture_output=True, timeout=timeout, cwd=folder)
        assert not check or result.returncode == 0, result
        return result

    @staticmethod
    def metric(recorder, name):
        found = re.search(rf'^sudocam_{name}{{remote="[^"]+"}} (\S+)$', request(recorder.url + "metrics")[2].decode(), re.M)
        return float(found.group(1)) if found else None

    # MARK: the checks

    def level(self):
        recorder = self.recorder("level")
        try:
            recorder.start()
            added = self.add(recorder, "level", "--limit", "50MB", "--limit-at", "08:00-22:00=20MB")
            answers = added["capabilities"]["answers"]
            assert answers["range"] == answers["mayRead"] == answers["mayList"] == "yes", answers
            # A second one of the same name, and the same place under another name, are refused.
            twice = self.command(recorder, "remote", "add", "offsite", self.place("level2"), "--credentials", self.owner, check=False)
            assert twice.returncode == 1 and "already" in twice.stderr, twice
            same = self.command(recorder, "remote", "add", "other", self.place("level"), "--credentials", self.owner, check=False)
            assert same.returncode == 1 and "same place" in same.stderr, same
            self.until(lambda: len(self.clips(recorder)) >= 3, 15, "three clips")
            self.json(recorder, "remote", "sync", "offsite")
            status = self.status(recorder)
            assert status["lagObjects"] <= 1 and status["objects"] >= 3 and "failure" not in status, status
            report = self.json(recorder, "remote", "verify", "offsite", "--all")
            assert report["findings"] == [] and report["readObjects"] >= 3, report
            self.until(lambda: self.metric(recorder, "remote_objects") or 0 >= 3, 10, "metrics")
            assert self.metric(recorder, "remote_up") == 1 and self.metric(recorder, "remote_sent_bytes_total") > 0
            assert "remotes" not in recorder.state(), "told to somebody who is not logged in"
            _, headers, _ = request(recorder.url + "api/v1/unlock", "POST", PASSPHRASE.encode())
            told = json.loads(request(recorder.url + "api/v1/state", Cookie=headers["set-cookie"].split(";")[0])[2])
            assert [remote["name"] for remote in told["remotes"]] == ["offsite"], told
            # Objects lie under their names, and are what the names say.
            names = self.operator("level").names()
            objects = [name for name in names if name.startswith("objects/")]
            assert len(objects) >= 3 and "ledger/checkpoint" in names and "vault.json" in names and "keys/owner.age" not in names, names
            self.secrets(recorder)
            # Another one's description that is damaged is named, and costs this one nothing.
            broken = recorder.folder / "vault/remotes/broken.json"
            broken.write_text("{")
            told = self.command(recorder, "remote", "status", check=False)
            assert told.returncode == 5 and "sudocam: Remote broken cannot be used: " in told.stderr and "broken.json" in told.stderr, told
            assert told.stdout.startswith("offsite ") and "FAILS" not in told.stdout, told
            broken.unlink()
            self.until(lambda: self.command(recorder, "remote", "status", check=False).returncode == 0, 10, "it is gone")
            self.until(lambda: "ALARM" not in self.command(recorder, "status", check=False).stdout, 40, "the alarm goes by itself")
            return f"{len(objects)} objects"
        finally:
            recorder.stop()

    def secrets(self, recorder):
        process = pathlib.Path(f"/proc/{recorder.process.pid}")
        places = [process / "cmdline", process / "environ", recorder.folder / "serve.log", *(recorder.folder / "vault" / "remotes").glob("*.json")]
        for place in places:
            assert b"owner-secret" not in place.read_bytes(), place
        told = self.command(recorder, "remote", "list").stdout + self.command(recorder, "remote", "status").stdout
        assert "owner-secret" not in told

    def put_only(self):
        recorder = self.recorder("putonly")
        try:
            recorder.start()
            added = self.json(recorder, "remote", "add", "offsite", self.place("putonly"), "--credentials", self.putter)
            answers = added["capabilities"]["answers"]
            assert answers["mayRead"] == answers["mayDelete"] == "no", answers
            self.until(lambda: len(self.clips(recorder)) >= 3, 15, "three clips")
            recorder.stop()
            status = self.json(recorder, "remote", "sync", "offsite")
            assert status["lagObjects"] == 0 and status["sentEntries"] == status["ledgerEntries"], status
            # Its signing key comes back from there too, as docs/guide/repair.md says.
            key = recorder.folder / "vault/keys/ledger.key"
            good = key.read_bytes()
            key.write_bytes(good[:-1])
            refused = self.command(recorder, "serve", check=False)
            assert refused.returncode == 1 and "31 bytes instead of 32" in refused.stderr and "remote restore" in refused.stderr, refused
            self.bare(
                "putonly-key", "--owner-file", str(recorder.folder / "vault/keys/owner.age"), "--no-backfill", lines=[PASSPHRASE], url=self.place("putonly"))
            subprocess.run(["cp", "--preserve=mode", str(self.folder / "putonly-key/vault/keys/ledger.key"), str(key)], check=True)
            assert key.read_bytes() == good
            recorder.start()
            recorder.stop()
            self.json(recorder, "remote", "sync", "offsite")
            # With credentials that may read it is a whole vault.
            folder = self.folder / "putonly-restored"
            self.bare("putonly-restored", "--owner-file", str(recorder.folder / "vault/keys/owner.age"), lines=[PASSPHRASE], url=self.place("putonly"))
            ours = {clip["object"] for clip in self.clips(recorder)}
            config = str(folder / "sudocam.yaml")
            found = subprocess.run([self.sudocam, "verify", "--config", config], text=True, capture_output=True)
            assert found.returncode == 0, found
            objects = {path.name for path in (folder / "vault/objects").glob("*/*")}
            assert ours <= objects, ours - objects
            return f"{len(objects)} objects"
        finally:
            recorder.stop()

    def restore(self):
        recorder = self.sent("thief", seconds=12)
        vault = recorder.folder / "vault"
        owner = self.folder / "thief-owner.age"
        shutil.copy(vault / "keys/owner.age", owner)
        last = max(clip["end"] for clip in self.clips(recorder))
        count = len(self.clips(recorder))
        shutil.rmtree(recorder.folder)
        folder = self.folder / "new-machine"
        folder.mkdir()
        port, media = free_port(), free_port(socket.SOCK_DGRAM)
        config = folder / "sudocam.yaml"
        config.write_text(f"vault: ./vault\nlisten: 127.0.0.1:{port}\nmedia-port: {media}\n")
        began = time.monotonic()
        process = subprocess.Popen(
            [self.sudocam, "remote", "restore", self.place("thief"), "--to", str(folder / "vault"), "--config", str(config), "--credentials",
             self.owner, "--owner-file", str(owner), "--serve", "--passphrase-fd", "0"],
            stdin=subprocess.PIPE, stdout=open(folder / "out", "w"), stderr=subprocess.STDOUT, text=True, cwd=folder)
        browser = None
        try:
            process.stdin.write(PASSPHRASE + "\n")
            process.stdin.close()
            url = f"http://127.0.0.1:{port}/"
            self.until(lambda: "listens on" in (folder / "out").read_text() or process.poll() is not None, 30, (folder / "out").read_text())
            assert process.poll() is None, (folder / "out").read_text()
            browser = chromium()
            unlock(browser, url, PASSPHRASE)
            camera = browser.run("return sudocam.state().cameras[0].id")
            at = microseconds(last) - 1_500_000
            found = browser.run(SEEK, camera, at, "exact", "pause")
            assert abs(found["code"] - at) < 100_000, (found, at)
            plays = time.monotonic() - began
            assert plays < 30, f"{plays:.1f} s"
            state = browser.run("return sudocam.state()")
            assert state["cameras"][0]["state"] == "archived" and state["cameras"][0]["name"] == "hall", state["cameras"]

            def done():
                remote = browser.run("return sudocam.state().remotes[0] ?? null")
                return remote and remote["objects"] == count and remote["evictedObjects"] == 0 and remote["backfillObjects"] == 0
            self.until(done, 60, lambda: browser.run("return sudocam.state()"))
        finally:
            if browser:
                browser.close()
            process.terminate()
            process.wait(10)
        found = subprocess.run(
            [self.sudocam, "verify", "--config", str(config), "--open", "--passphrase-fd", "0", "--json"], input=PASSPHRASE + "\n", text=True, capture_output=True)
        assert found.returncode == 0 and json.loads(found.stdout)["objects"] == count, found
        return f"the last second stood in Chromium after {plays:.1f} s; {count} objects"

    def broken_off(self):
        recorder, identity = self.recovery_of("broken-recovery")
        url = self.place("broken-recovery")
        count = len(self.clips(recorder))
        # Wrong things to open it with.
        stranger = "AGE-SECRET-KEY-1" + "Q" * 58
        wrong = self.bare("broken-off", "--identity", lines=[stranger, "new words"], url=url, check=False)
        assert wrong.returncode == 1 and "sudocam:" in wrong.stderr, wrong
        other = self.bare("broken-off", "--ledger-key", "sudocam/x+00000000+AAAA", "--identity", lines=[identity, "new words"], url=url, check=False)
        assert other.returncode == 1 and "another key" in other.stderr, other
        # Everything but the footage; then all of it, by the same command.
        key = self.json(recorder, "key", "list")["ledgerKey"]
        first = self.bare("broken-off", "--identity", "--no-backfill", "--ledger-key", key, lines=[identity, "new words"], url=url)
        assert "Everything plays now" in first.stdout and key in first.stdout, first
        folder = self.folder / "broken-off"
        assert not list((folder / "vault/objects").glob("*/*"))
        again = self.bare("broken-off", lines=[], url=url)
        assert f"{count} object(s)" in again.stdout, again
        config = str(folder / "sudocam.yaml")
        found = subprocess.run([self.sudocam, "verify", "--config", config, "--open", "--passphrase-fd", "0"], input="new words\n", text=True, capture_output=True)
        assert found.returncode == 0, found
        return f"{count} objects"

    def recovery_of(self, name):
        """As `sent`, with the recovery identity that `init` shows once."""
        folder = self.folder / name
        folder.mkdir()
        made = subprocess.run(
            [self.sudocam, "init", str(folder / "vault"), "--config", str(folder / "first.yaml"), "--passphrase-fd", "0", "--json"],
            input=PASSPHRASE + "\n", text=True, capture_output=True, check=True)
        return self.sent(name), json.loads(made.stdout)["recoveryIdentity"].strip()

    def attacks(self):
        recorder = self.sent("attacked", seconds=6, stays=True)
        operator = self.operator("attacked")
        try:
            early = {key: operator.get(key) for key in operator.names() if key.startswith(("ledger/", "witness/"))}
            time.sleep(5)
            recorder.stop()
            self.json(recorder, "remote", "sync", "offsite")
            clean = self.json(recorder, "remote", "verify", "offsite", "--all")
            assert clean["findings"] == [], clean
            objects = sorted(key for key in operator.names() if key.startswith("objects/"))
            assert len(objects) >= 4, objects
            named = []

            def found(kind, *keys):
                result = self.command(recorder, "remote", "verify", "offsite", "--all", "--json", check=False)
                assert result.returncode == 2, result
                findings = json.loads(result.stdout)["findings"]
                for key in keys:
                    assert any(finding["key"] == key and finding["kind"] == kind for finding in findings), (kind, key, findings)
                named.append(kind)
                # What lies here still is sent again, and then all is well.
                self.json(recorder, "remote", "sync", "offsite")

            body = bytearray(operator.get(objects[0]))
            body[len(body) // 2] ^= 1
            operator.put(objects[0], bytes(body))
            found("damaged", objects[0])
            assert self.json(recorder, "remote", "verify", "offsite", "--all")["findings"] == [], "the damaged one was not sent again"

            first, second = operator.get(objects[0]), operator.get(objects[1])
            operator.put(objects[0], second)
            operator.put(objects[1], first)
            found("missing" if len(first) != len(second) else "damaged", objects[0], objects[1])

            operator.delete(objects[2])
            found("missing", objects[2])

            forged = self.forged(recorder)
            operator.put(forged[0], forged[1])
            result = self.command(recorder, "remote", "verify", "offsite", check=False)
            assert result.returncode == 2 and "forged: " + forged[0] in result.stdout, result
            operator.delete(forged[0])

            for key in [key for key in operator.names() if key.startswith(("ledger/", "witness/"))]:
                operator.delete(key)
            for key, bytes_ in early.items():
                operator.put(key, bytes_)
            result = self.command(recorder, "remote", "verify", "offsite", "--all", check=False)
            assert result.returncode == 2 and "rolledBack: ledger/checkpoint" in result.stdout, result
            # Who restores with the ledger's key alone is told by the witness where the operator left one.
            operator.put("witness/000000009999", early["ledger/checkpoint"])
            older = self.bare("rolled-back", "--identity", lines=["x", "y"], url=self.place("attacked"), check=False)
            assert older.returncode == 1 and "rolled back" in older.stderr, older
            return ", ".join(named + ["forged", "rolledBack"])
        finally:
            recorder.stop()

    def forged(self, recorder):
        """A clip that anybody can make who has the public key: another vault's object, under its own right name."""
        other = self.recorder("forger")
        try:
            other.start()
            self.until(lambda: self.clips(other), 15, "a clip")
        finally:
            other.stop()
        path = next((other.folder / "vault/objects").glob("*/*"))
        return f"objects/{path.parent.name}/{path.name}", path.read_bytes()

    def wrong(self):
        recorder = self.recorder("wrong")
        server = self.server
        told = {}
        try:
            recorder.start()

            def refused(what, words, *arguments):
                result = self.command(recorder, "remote", "add", "bad", *arguments, check=False)
                assert result.returncode == 1, (what, result)
                lines = result.stderr.strip().splitlines()
                assert len(lines) == 1 and lines[0].startswith("sudocam: "), (what, result.stderr)
                for word in words:
                    assert word.lower() in lines[0].lower(), (what, word, lines[0])
                assert self.json(recorder, "remote", "list") == [], what
                told[what] = lines[0]

            url = self.place("wrong")
            refused("keys", ["key"], url, "--credentials", self.credentials("owner-typo", "x"))
            secret = self.credentials("owner2", "x")
            pathlib.Path(secret).write_text("[default]\naws_access_key_id = owner\naws_secret_access_key = wrong\n")
            refused("secret", ["secret"], url, "--credentials", secret)
            pathlib.Path(secret).chmod(0o644)
            refused("file others can read", ["chmod 600"], url, "--credentials", secret)
            refused("no file", ["/nowhere"], url, "--credentials", "/nowhere")
            refused("environment", ["environment"], url)
            refused("bucket", [], server.url.replace("/vault", "/other-bucket") + "/wrong", "--credentials", self.putter)
            refused("certificate", ["certificate"], server.tls_url + "/wrong", "--credentials", self.owner)
            refused("plain", ["http"], "http://192.0.2.1/vault", "--credentials", self.owner)
            refused("nobody there", [], f"http://127.0.0.1:{free_port()}/vault", "--credentials", self.owner)
            refused("password in the address", ["credentials"], "https://me:secret@127.0.0.1/vault", "--credentials", self.owner)
            refused("style", ["IP address"], url, "--credentials", self.owner, "--style", "virtual-host")
            # With its own authority the server is believed.
            added = self.json(recorder, "remote", "add", "tls", server.tls_url + "/wrong", "--credentials", self.owner, "--ca", str(server.ca))
            assert added["capabilities"]["answers"]["range"] == "yes", added
            before = len(self.clips(recorder))
            self.until(lambda: len(self.clips(recorder)) > before + 1, 10, "recording")
            status = self.command(recorder, "status")
            assert "recording" in status.stdout and "ALARM" not in status.stdout, status
        finally:
            recorder.stop()
        # An hour ahead: requests carry the server's time, and the owner hears of it.
        ahead = self.recorder("wrong-clock", ahead=3600)
        try:
            ahead.start()
            added = self.command(ahead, "remote", "add", "offsite", self.place("wrong-clock"), "--credentials", self.owner)
            assert "clock" in added.stdout and "ahead" in added.stdout, added
            self.until(lambda: self.status(ahead)["objects"] >= 2, 30, "two objects")
        finally:
            ahead.stop()
        return " | ".join(f"{what}: {text.removeprefix('sudocam: ')}" for what, text in told.items())

    def outage(self):
        # A server of its own, so that others' checks do not see it go.
        with Server() as server:
            recorder = self.recorder("outage")
            try:
                recorder.start()
                self.add(recorder, "outage", url=self.place("outage", server))
                self.until(lambda: self.status(recorder)["objects"] >= 2, 20, "two objects")
                server.stop()
                before = len(self.clips(recorder))
                failed = self.command(recorder, "remote", "sync", "offsite", check=False)
                assert failed.returncode == 1 and failed.stderr.startswith("sudocam: "), failed
                status = self.command(recorder, "remote", "status", check=False)
                assert status.returncode == 5 and "FAILS" in status.stdout, status
                whole = self.command(recorder, "status", check=False)
                assert whole.returncode == 5 and "remote offsite: fails" in whole.stdout and "ALARM" in whole.stdout, whole
                assert self.metric(recorder, "remote_up") == 0
                assert len(self.clips(recorder)) > before, "recording stopped"
                assert self.status(recorder)["lagObjects"] > 0
                server.start()
                self.json(recorder, "remote", "sync", "offsite")
                self.until(lambda: "ALARM" not in self.command(recorder, "status", check=False).stdout, 90, "the alarm goes by itself")
                report = self.json(recorder, "remote", "verify", "offsite", "--all")
                assert report["findings"] == [], report
                return f"{report['objects']} objects; {failed.stderr.strip().removeprefix('sudocam: ')}"
            finally:
                recorder.stop()

    def killed(self):
        proxy = Proxy(self.server.plain)
        recorder = self.recorder("killed", ("hall", "yard", "garage"))
        try:
            recorder.start()
            self.add(recorder, "killed", "--limit", "100kB", url=f"http://127.0.0.1:{proxy.port}/vault/killed")
            for number in range(10):
                time.sleep(3)
                if number % 3 == 1:
                    proxy.cut()
                else:
                    recorder.process.kill()
                    recorder.process.wait(10)
                    recorder.start()
            self.json(recorder, "remote", "set", "offsite", "--limit", "none")
            recorder.stop()
            status = self.json(recorder, "remote", "sync", "offsite")
            assert status["lagObjects"] == 0, status
            report = self.json(recorder, "remote", "verify", "offsite", "--all")
            assert report["findings"] == [], report
            objects = {clip["object"] for clip in self.clips(recorder)}
            there = {key.rsplit("/", 1)[1] for key in self.operator("killed").names() if key.startswith("objects/")}
            assert objects == there, (len(objects), len(there), objects ^ there)
            stored = [path for path, status in proxy.answers if status == 200 and "/objects/" in path]
            twice = {path for path in stored if stored.count(path) > 1}
            assert not twice, f"sent twice: {twice}"
            assert len(stored) >= len(objects) - 2, "the proxy saw little of it"
            return f"{len(objects)} objects, {len(stored)} answered PUTs"
        finally:
            recorder.stop()
            proxy.close()

    def evicted(self):
        recorder = self.sent("evicted", seconds=8)
        config = recorder.config
        ours = self.clips(recorder)
        refused = self.command(recorder, "remote", "evict", "offsite", check=False)
        assert refused.returncode == 1 and "--evict-after" in refused.stderr, refused
        refused = self.command(recorder, "remote", "set", "offsite", "--evict-settle", "0s", check=False)
        assert refused.returncode == 1 and "--evict-after" in refused.stderr, refused
        self.json(recorder, "remote", "set", "offsite", "--evict-after", "0s", "--evict-settle", "0s")
        time.sleep(1)
        self.json(recorder, "remote", "evict", "offsite")
        gone = self.status(recorder)
        files = list((recorder.folder / "vault/objects").glob("*/*"))
        assert gone["evictedObjects"] == len(ours) and not files, (gone, files)
        assert self.command(recorder, "verify").returncode == 0
        held = self.command(recorder, "remote", "remove", "offsite", check=False)
        assert held.returncode == 1 and "--here" in held.stderr, held
        # No recorder's file is left: what plays comes from there, and what is proved.
        self.json(recorder, "remote", "set", "offsite", "--evict-after", "never")
        self.proved(recorder, ours, "alone")
        try:
            recorder.start()
            self.proved(recorder, ours, "beside")
            _, headers, _ = request(recorder.url + "api/v1/unlock", "POST", PASSPHRASE.encode())
            cookie = headers["set-cookie"].split(";")[0]
            camera = recorder.cameras()[0]
            first, last = microseconds(ours[0]["start"]), microseconds(ours[-1]["end"])
            status, _, movie = request(recorder.url + f"api/v1/cameras/{camera}/export?from={first}&to={last}", Cookie=cookie)
            assert status == 200 and len(movie) > 100_000, (status, len(movie))
            (self.folder / "evicted.mp4").write_bytes(movie)
            probe = subprocess.run(
                ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0",
                 str(self.folder / "evicted.mp4")], text=True, capture_output=True, check=True)
            frames, wanted = int(probe.stdout.strip().strip(",")), 25 * (last - first) / 1e6
            assert abs(frames - wanted) < 30, (frames, wanted)
            back = self.json(recorder, "remote", "restore", "offsite", "--here")
            assert back["objects"] == len(ours) and back["damaged"] == [], back
        finally:
            recorder.stop()
        assert self.command(recorder, "verify").returncode == 0
        assert self.status(recorder)["evictedObjects"] == 0
        self.command(recorder, "remote", "remove", "offsite")
        assert self.json(recorder, "remote", "list") == []
        return f"{len(ours)} objects, {frames} frames from there"

    def forgotten(self):
        proxy = Proxy(self.server.plain)
        recorder = self.recorder("forgotten")
        try:
            recorder.start()
            self.add(recorder, "forgotten", url=f"http://127.0.0.1:{proxy.port}/vault/forgotten")
            time.sleep(7)
            recorder.stop()
            assert self.json(recorder, "remote", "sync", "offsite")["lagObjects"] == 0
            before = {key for key in self.operator("forgotten").names() if key.startswith("objects/")}
            state = recorder.folder / "vault/remotes/offsite.sqlite"
            pages = bytearray(state.read_bytes())
            assert len(before) >= 3 and len(pages) > 8 * 4096, (before, len(pages))
            # The first page stays, so that it is use which meets the damage, not the opening.
            pages[4096:] = bytes(number * 31 % 251 for number in range(len(pages) - 4096))
            state.write_bytes(pages)
            proxy.answers.clear()
            recorder.start()
            self.until(lambda: "damaged, and is made anew" in (recorder.folder / "serve.log").read_text(), 60, "told in the log")
            self.until(lambda: self.status(recorder).get("objects", 0) > len(before), 60, "level again, with new clips")
            self.until(lambda: "ALARM" not in self.command(recorder, "status", check=False).stdout, 60, "the alarm goes by itself")
            recorder.stop()
            assert self.json(recorder, "remote", "sync", "offsite")["lagObjects"] == 0
            twice = [path for path, _ in proxy.answers if any(path.endswith(key) for key in before)]
            assert not twice, f"sent twice: {twice}"
            report = self.json(recorder, "remote", "verify", "offsite", "--all")
            assert report["findings"] == [] and report["objects"] == len(self.clips(recorder)), report
            return f"{len(before)} objects before, {report['objects']} after"
        finally:
            recorder.stop()
            proxy.close()

    def proved(self, recorder, clips, name):
        folder = recorder.folder / name
        made = self.json(
            recorder, "prove", "hall", "--from", clips[0]["start"], "--to", clips[-1]["end"], "-o", str(folder), "--passphrase-fd", "0",
            input=PASSPHRASE + "\n")
        assert made["clips"] == len(clips), made
        checked = self.json(recorder, "prove", "--check", str(folder))
        assert checked["sound"] and len(checked["clips"]) == len(clips), checked

    def shredded(self):
        # Yesterday, so that the day is over.
        recorder = self.sent("shredded", seconds=5, ahead=-86400)
        day = self.clips(recorder)[0]["start"][:10]
        operator = self.operator("shredded")
        epochs = [key for key in operator.names() if key.startswith("epochs/")]
        assert epochs, "the key was never there"
        unproved = self.command(recorder, "retention", "shred", "hall", day, "--yes", input="", check=False)
        assert unproved.returncode == 1 and "--unproved" in unproved.stderr, unproved
        result = self.json(recorder, "retention", "shred", "hall", day, "--yes", "--passphrase-fd", "0", input=PASSPHRASE + "\n")
        assert result["proved"] and result["triedInVain"] == result["objects"] > 0, result
        assert [(copy["remote"], copy["outcome"]) for copy in result["copies"]] == [("offsite", "destroyed")], result
        left = [key for key in operator.names() if key.startswith("epochs/")]
        assert len(left) == len(epochs) - len(result["epochs"]), left
        self.json(recorder, "remote", "sync", "offsite")
        report = self.json(recorder, "remote", "verify", "offsite", "--all")
        assert report["findings"] == [], report
        # Where nothing may be deleted, that is said.
        recorder = self.recorder("kept", ahead=-86400)
        try:
            recorder.start()
            self.json(recorder, "remote", "add", "offsite", self.place("kept"), "--credentials", self.putter)
            self.until(lambda: self.clips(recorder), 15, "a clip")
        finally:
            recorder.stop()
        self.json(recorder, "remote", "sync", "offsite")
        result = self.command(recorder, "retention", "shred", "hall", day, "--yes", "--unproved")
        assert "Remote offsite STILL HAS the key" in result.stdout, result
        assert "0 of them had an event in them: events and footage went together." in result.stdout, result
        return result.stdout.strip().splitlines()[-2]

    def drill(self):
        recorder = self.sent("drill", seconds=8, stays=True)
        try:
            before = set(self.folder.iterdir())
            result = self.json(recorder, "remote", "drill", "offsite", "--folder", str(self.folder), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
            assert result["findings"] == [] and result["comparedClips"] == result["clips"] >= 2 and result["frames"] >= 75, result
            assert set(self.folder.iterdir()) == before, "the drill left something behind"
            wrong = self.command(recorder, "remote", "drill", "offsite", "--folder", str(self.folder), "--passphrase-fd", "0", input="no\n", check=False)
            assert wrong.returncode == 3, wrong
            return f"{result['frames']} frames, mirror {result['mirrorSeconds']:.2f} s, hour {result['hourSeconds']:.2f} s"
        finally:
            recorder.stop()

    def reading(self):
        recorder = self.sent("followed", seconds=6, stays=True)
        folder = self.folder / "reader"
        folder.mkdir()
        owner = folder / "owner.age"
        shutil.copy(recorder.folder / "vault/keys/owner.age", owner)
        port, media = free_port(), free_port(socket.SOCK_DGRAM)
        config = folder / "sudocam.yaml"
        config.write_text(f"vault: ./mirror\nlisten: 127.0.0.1:{port}\nmedia-port: {media}\n")
        command = [self.sudocam, "serve", "--from", self.place("followed"), "--to", str(folder / "mirror"), "--config", str(config),
                   "--credentials", self.owner]
        nothing = subprocess.run(command, text=True, capture_output=True, cwd=folder, timeout=60)
        assert nothing.returncode == 1 and "--owner-file" in nothing.stderr, nothing
        process = subprocess.Popen([*command, "--owner-file", str(owner)], stdout=open(folder / "out", "w"), stderr=subprocess.STDOUT, cwd=folder)
        browser = None
        try:
            url = f"http://127.0.0.1:{port}/"
            self.until(lambda: "listens on" in (folder / "out").read_text() or process.poll() is not None, 30, (folder / "out").read_text())
            assert process.poll() is None, (folder / "out").read_text()
            browser = chromium()
            unlock(browser, url, PASSPHRASE)
            # What is recorded from now on comes too.
            asked = time.time() * 1e6
            self.until(lambda: (browser.run("return sudocam.state().cameras[0].last") or 0) > asked, 40, "a clip that is recorded now")
            state = browser.run("return sudocam.state()")
            camera, at = state["cameras"][0], int(state["cameras"][0]["last"]) - 1_500_000
            assert camera["state"] == "archived" and camera["name"] == "hall", camera
            assert state["remotes"][0]["followed"] and state["remotes"][0]["lagSeconds"] < 60, state["remotes"]
            found = browser.run(SEEK, camera["id"], at, "exact", "pause")
            assert abs(found["code"] - at) < 100_000, (found, at)
            vault = recorder.config.read_text()
            for arguments in (("reload",), ("retention", "apply", "--yes"), ("retention", "hold", "--from", "-1h", "--to", "now")):
                refused = subprocess.run([self.sudocam, *arguments, "--config", str(config)], text=True, capture_output=True, cwd=folder)
                assert refused.returncode == 1 and "recorder" in refused.stderr, (arguments, refused)
            assert vault == recorder.config.read_text()
            return f"{state['remotes'][0]['lagSeconds']} s behind"
        finally:
            if browser:
                browser.close()
            process.terminate()
            process.wait(10)
            recorder.stop()

    def keys_elsewhere(self):
        recorder = self.recorder("apart")
        try:
            recorder.start()
            self.add(recorder, "apart", "--only", "footage")
            self.json(recorder, "remote", "add", "keys", self.place("apart-keys"), "--credentials", self.owner, "--only", "epoch-keys")
            self.until(lambda: len(self.clips(recorder)) >= 2, 15, "two clips")
        finally:
            recorder.stop()
        for name in ("offsite", "keys"):
            self.json(recorder, "remote", "sync", name)
            assert self.json(recorder, "remote", "verify", name)["findings"] == []
        footage, keys = self.operator("apart").names(), self.operator("apart-keys").names()
        assert not any(key.startswith("epochs/") for key in footage) and all(key.startswith("epochs/") for key in keys) and keys, (footage, keys)
        owner = str(recorder.folder / "vault/keys/owner.age")
        without = self.bare("apart-without", "--owner-file", owner, lines=[PASSPHRASE], url=self.place("apart"))
        assert "stay closed" in without.stdout, without
        both = self.bare(
            "apart-both", "--owner-file", owner, "--epoch-keys-from", self.place("apart-keys"), lines=[PASSPHRASE], url=self.place("apart"))
        assert "stay closed" not in both.stdout, both
        config = str(self.folder / "apart-both/sudocam.yaml")
        found = subprocess.run([self.sudocam, "verify", "--config", config, "--open", "--passphrase-fd", "0"], input=PASSPHRASE + "\n", text=True, capture_output=True)
        assert found.returncode == 0, found

    def region(self):
        if not OpenStack.is_there():
            return "skipped: python3-swift is not installed"
        with OpenStack() as server:
            credentials = self.credentials(server.key, server.secret)
            recorder = self.recorder("region")
            try:
                recorder.start()
                add = ["remote", "add", "offsite", f"{server.url}/here", "--credentials", credentials]
                for region in ([], ["--region", "eu-elsewhere-1"]):
                    refused = self.command(recorder, *add, *region, check=False)
                    assert refused.returncode == 1 and refused.stderr.endswith(f"Set the region to {server.region}.\n"), refused
                    assert refused.stderr.startswith("sudocam: The remote is in another region (AuthorizationHeaderMalformed: "), refused
                before = len(self.clips(recorder))
                added = self.json(recorder, *add, "--region", server.region)
                assert added["capabilities"]["answers"]["conditionalPut"] == "no", added
                self.until(lambda: self.status(recorder)["objects"] >= 2, 40, "two objects")
                assert len(self.clips(recorder)) > before, "recording stopped"
                recorder.stop()
                status = self.json(recorder, "remote", "sync", "offsite")
                assert status["lagObjects"] == 0 and status["sentEntries"] == status["ledgerEntries"], status
                found = self.json(recorder, "remote", "verify", "offsite", "--all")
                assert not found["findings"] and found["readObjects"] == status["objects"], found
                self.bare("region-back", "--region", server.region, "--owner-file", str(recorder.folder / "vault" / "keys" / "owner.age"),
                                   lines=[PASSPHRASE], url=f"{server.url}/here", credentials=credentials)
                return f"{status['objects']} objects; {refused.stderr.strip()}"
            finally:
                recorder.stop()

    def full(self):
        disk = self.folder / "small-disk"
        with small_disk(disk, 24) as is_there:
            if not is_there:
                return "skipped: nothing may be mounted here"
            with Server(disk) as server:
                recorder = self.recorder("full")
                try:
                    recorder.start()
                    self.add(recorder, "full", url=self.place("full", server))
                    self.until(lambda: self.status(recorder)["objects"] >= 1, 20, "an object")
                    with open(disk / "filler", "wb") as filler:
                        try:
                            while True:
                                filler.write(bytes(1 << 16))
                                filler.flush()
                        except OSError:
                            pass
                    before = len(self.clips(recorder))
                    self.until(lambda: self.command(recorder, "remote", "status", check=False).returncode == 5, 90, "the failure is told")
                    failure = self.status(recorder)["failure"]
                    assert len(self.clips(recorder)) > before, "recording stopped"
                    (disk / "filler").unlink()
                    self.until(lambda: self.command(recorder, "remote", "sync", "offsite", check=False).returncode == 0, 120, "it goes on when there is space")
                    return failure
                finally:
                    recorder.stop()

    def full_here(self):
        folder = self.folder / "full-here"
        with recorder_on_small_disk(self.sudocam, folder, 96) as recorder:
            if not recorder:
                return "skipped: nothing may be mounted here"
            recorder.start()
            self.add(recorder, "full-here", "--evict-after", "30d", "--evict-settle", "0s")
            self.until(lambda: self.status(recorder)["objects"] >= 5, 60, "five objects")
            there = {clip["object"] for clip in self.clips(recorder)}
            self.json(recorder, "remote", "sync", "offsite")
            assert self.json(recorder, "remote", "verify", "offsite")["findings"] == []
            self.until(lambda: self.status(recorder)["provenObjects"] >= len(there), 90, "all of them proven")
            fill(folder)
            self.until(lambda: self.status(recorder)["evictedObjects"] >= 2, 120, "copies here give way")
            assert any("disk is full" in alarm for alarm in recorder.state()["alarms"]), recorder.state()["alarms"]
            before = len(self.clips(recorder))
            self.until(lambda: len(self.clips(recorder)) >= before + 3, 60, "recording goes on")
            sent = self.status(recorder)["sentEntries"]
            self.until(lambda: self.status(recorder)["sentEntries"] > sent, 60, "sending goes on")
            deleted = {receipt.get("object") for receipt in self.json(recorder, "retention", "log")}
            assert not deleted & there, "footage was deleted that lies there"
            (folder / "filler").unlink()
            recorder.stop()
            self.json(recorder, "remote", "sync", "offsite")
            status, clips = self.status(recorder), self.clips(recorder)
            assert self.json(recorder, "remote", "verify", "offsite", "--all")["findings"] == []
            assert self.command(recorder, "verify").returncode == 0
            return f"{status['evictedObjects']} of {len(clips)} clips lie there only"
