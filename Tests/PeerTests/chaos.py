#!/usr/bin/env python3
"""Recorder, proxy and S3 server are killed at random times, each and together, while copies are sent and given up here.

A recorder with four cameras sends two-second clips through `fault_proxy.py` (which loses, damages and delays one request in ten) to
SeaweedFS, and evicts whatever a listing proved. Each kill is a SIGKILL, of one of the three or of several, and what was killed comes
back after up to three seconds; a recorder that is killed has its remote's state looked at before it starts again. When the time is
over all three run, without faults, and then has to hold:

- the remote is level with the ledger: nothing waits, nothing is unsendable, its checkpoint covers every entry;
- `remote verify --all` and the local `verify` find nothing;
- what the recorder had noted as sent when it was killed was not sent again in a later life: of no such object a PUT reached the proxy
  afterwards. An answer that was lost, or that the recorder did not live to note, leaves it free to ask and to send again;
- the server answered 200 to no object's PUT twice, for whichever reason it was sent (the proxy's log; see there);
- what was evicted lies in the remote: each object is read from the server and compared with the digest that is its name, and what was
  not evicted lies here.

    chaos.py --sudocam .build/release/sudocam [--seconds 600] [--seed 1]
"""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "BrowserTests"))
import s3_requests  # noqa: E402
from recorder import Recorder  # noqa: E402
from s3_server import Server  # noqa: E402
from webdriver import free_port  # noqa: E402

HERE = pathlib.Path(__file__).parent
CAMERAS = {f"cam{index}": f"test:?size=320x240&rate=25&gop=25&bitrate={300000 + 100000 * index}" for index in range(4)}
PREFIX = "chaos"


class Proxy:
    """`fault_proxy.py` as a process that can be killed, always on the same port."""

    def __init__(self, server, folder, seed):
        self.server, self.folder, self.seed, self.share = server, folder, seed, 0.0
        self.port, self.log, self.lives, self.process = free_port(), folder / "puts", 0, None
        self.log.touch()

    def start(self):
        self.lives += 1
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "fault_proxy.py"), "--to", str(self.server.plain), "--listen", str(self.port), "--share", str(self.share),
             "--seed", str(self.seed + self.lives), "--log", str(self.log)],
            stdout=open(self.folder / "proxy.log", "a"), stderr=subprocess.STDOUT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def lines(self):
        """(what, object) for every PUT of an object, and for every answer to one."""
        found = []
        for line in self.log.read_text().splitlines():
            what, path = line.split(" ", 1)
            if match := re.fullmatch(rf"/vault/{PREFIX}/objects/../([0-9a-f]{{64}})", path):
                found.append((what, match.group(1)))
        return found


class Chaos:
    def __init__(self, sudocam, seconds, seed, folder):
        self.sudocam, self.seconds, self.seed, self.folder = sudocam, seconds, seed, folder
        self.random = random.Random(seed)
        self.kills = collections.Counter()
        # (lines of the proxy's log until then, objects noted as sent), at every death of the recorder.
        self.noted = []

    def run(self):
        with Server() as self.server:
            credentials = self.folder / "owner.credentials"
            credentials.write_text("[default]\naws_access_key_id = owner\naws_secret_access_key = owner-secret\n")
            credentials.chmod(0o600)
            self.proxy = Proxy(self.server, self.folder, self.seed)
            self.recorder = Recorder(self.sudocam, self.folder / "recorder", CAMERAS, clip_seconds=2)
            try:
                self.proxy.start()
                self.recorder.start()
                self.command("remote", "add", "offsite", f"http://127.0.0.1:{self.proxy.port}/vault/{PREFIX}", "--credentials", str(credentials))
                self.command("remote", "set", "offsite", "--evict-after", "0s", "--evict-settle", "5s")
                self.proxy.kill()
                self.proxy.share = 0.1
                self.proxy.start()
                self.storm()
                return self.calm()
            finally:
                self.recorder.stop(signal.SIGKILL)
                self.recorder.log.close()
                if self.proxy.process:
                    self.proxy.kill()

    # MARK: the storm

    def storm(self):
        began = told = time.monotonic()
        while time.monotonic() - began < self.seconds:
            time.sleep(self.random.uniform(0.5, 12))
            victims = [name for name, chance in (("recorder", 0.6), ("proxy", 0.4), ("server", 0.25)) if self.random.random() < chance]
            self.random.shuffle(victims)
            for name in victims:
                getattr(self, "kill_" + name)()
                self.kills[name] += 1
                time.sleep(self.random.uniform(0, 0.5))
            time.sleep(self.random.uniform(0, 3))
            self.random.shuffle(victims)
            for name in victims:
                getattr(self, name).start()
            if time.monotonic() - told > 60:
                told = time.monotonic()
                print(f"     {told - began:.0f} s: killed {self.told()}; {self.progress()}", flush=True)

    def kill_recorder(self):
        self.recorder.process.kill()
        self.recorder.process.wait()
        self.noted.append((len(self.proxy.lines()), self.state("SELECT object FROM object WHERE state IN (2, 3)")))

    def kill_proxy(self):
        self.proxy.kill()

    def kill_server(self):
        self.server.kill()

    def state(self, query):
        """Digests that the remote's state gives, from a copy: nobody but the recorder touches the file itself."""
        with tempfile.TemporaryDirectory() as copy:
            for path in (self.recorder.folder / "vault/remotes").glob("offsite.sqlite*"):
                if not path.name.endswith("-shm"):
                    shutil.copy(path, copy)
            base = sqlite3.connect(f"{copy}/offsite.sqlite")
            try:
                return {bytes(row[0]).hex() for row in base.execute(query)}
            finally:
                base.close()

    def told(self):
        return ", ".join(f"{name} {self.kills[name]} ×" for name in ("recorder", "proxy", "server"))

    def progress(self):
        lines = self.proxy.lines()
        files = len(list((self.recorder.folder / "vault/objects").glob("*/*")))
        return f"{sum(what == 'PUT' for what, _ in lines)} PUTs of objects, {sum(what == '200' for what, _ in lines)} accepted, {files} lie here"

    # MARK: afterwards

    def calm(self):
        self.proxy.kill()
        self.proxy.share = 0.0
        self.proxy.start()
        self.recorder.stop()
        status = self.level()
        failures = []

        def holds(condition, what):
            if not condition:
                failures.append(what)

        holds(status["lagObjects"] == 0 and status["sentEntries"] == status["ledgerEntries"], f"the remote is not level: {status}")
        holds(status["unsendableObjects"] == 0, f"{status['unsendableObjects']} objects can be sent no more")
        report = self.json("remote", "verify", "offsite", "--all", check=False)
        holds(report["findings"] == [], f"remote verify: {report['findings'][:5]}")
        verified = self.command("verify", check=False)
        holds(verified.returncode == 0, f"verify: {verified.stdout[-2000:]} {verified.stderr}")
        clips = {clip["object"] for clip in self.json("clips")}
        holds(report["objects"] == len(clips), f"{report['objects']} objects lie there, the ledger has {len(clips)}")

        lines = self.proxy.lines()
        again = {name for count, noted in self.noted for what, name in lines[count:] if what == "PUT" and name in noted}
        holds(not again, f"{len(again)} objects were noted as sent and sent again: {sorted(again)[:5]}")
        accepted = collections.Counter(name for what, name in lines if what == "200")
        twice = [name for name, count in accepted.items() if count > 1]
        holds(not twice, f"{len(twice)} objects were accepted twice: {sorted(twice)[:5]}")

        here = {path.name for path in (self.recorder.folder / "vault/objects").glob("*/*")}
        evicted = self.state("SELECT object FROM object WHERE evicted > 0")
        holds(clips - here <= evicted, f"{len(clips - here - evicted)} objects lie neither here nor were they given up")
        lost = [name for name in sorted((clips - here) | evicted) if not self.is_whole(name)]
        holds(not lost, f"{len(lost)} evicted objects are not in the remote: {lost[:5]}")
        holds(len(evicted) > 0, "nothing was ever evicted")
        if failures:
            self.words()
            print("\n".join(f"FAIL {failure}" for failure in failures), flush=True)
            return 1
        asked = collections.Counter(what for what, _ in lines)
        print(f"ok   {self.seconds} s, seed {self.seed}: killed {self.told()}; {len(clips)} objects, {asked['PUT']} PUTs, {len(accepted)} accepted, "
              f"{asked['412']} met their object, {sum(count for what, count in asked.items() if what not in ('PUT', '200', '412'))} refused; "
              f"{len(evicted)} evicted, each read from the server", flush=True)
        return 0

    def level(self):
        """What the remote says when it is level. A server that has just started answers 500 until all its parts have found each other."""
        end = time.monotonic() + 180
        while True:
            synced = self.command("remote", "sync", "offsite", "--json", check=False)
            if synced.returncode == 0:
                return json.loads(synced.stdout)
            assert time.monotonic() < end, synced.stderr
            time.sleep(2)

    def is_whole(self, name):
        status, _, body = s3_requests.request("GET", self.server.plain, f"/vault/{PREFIX}/objects/{name[:2]}/{name}", "owner", "owner-secret")
        return status == 200 and hashlib.sha256(body).hexdigest() == name

    def words(self):
        """What the recorder said meanwhile, each thing once."""
        text = (self.recorder.folder / "serve.log").read_text(errors="replace")
        said = collections.Counter(re.sub(r"[0-9a-f]{64}|\d+", "…", line.split(" ", 1)[-1]) for line in text.splitlines() if "alarm" in line)
        for line, count in said.most_common(20):
            print(f"     {count} × {line[:300]}", flush=True)

    def command(self, *arguments, check=True):
        return self.recorder.command(*arguments, "--config", str(self.recorder.config), check=check)

    def json(self, *arguments, check=True):
        return json.loads(self.command(*arguments, "--json", check=check).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sudocam", required=True)
    parser.add_argument("--seconds", type=int, default=int(os.environ.get("SUDOCAM_CHAOS_SECONDS", 600)))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SUDOCAM_SEED", random.randrange(1 << 31))))
    parser.add_argument("--keep", action="store_true", help="leave the folder, and say where it is")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sudocam-chaos-"))
    try:
        return Chaos(str(pathlib.Path(options.sudocam).resolve()), options.seconds, options.seed, folder).run()
    finally:
        if options.keep:
            print(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
