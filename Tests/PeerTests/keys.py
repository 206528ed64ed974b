"""Who can open the footage, as its owner, a guest and a thief would see it: the `key` commands with and without a running recorder, checked
with stock age and ffprobe."""

import json
import os
import pathlib
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time

from breaking import broken_off, heavy
from recorder import PASSPHRASE, Recorder, request

TEST = "test:?size=320x240&rate=25&gop=25&bitrate=300000"
SECOND = "another battery, stapled"


def run(*arguments, input=None):
    return subprocess.run([str(argument) for argument in arguments], input=input, capture_output=True, timeout=60)


class Person:
    """Somebody with an age identity of their own, made by stock age-keygen."""

    def __init__(self, folder, name):
        self.file = pathlib.Path(folder) / f"{name}.txt"
        assert run("age-keygen", "-o", self.file).returncode == 0
        self.recipient = run("age-keygen", "-y", self.file).stdout.decode().strip()
        self.secret = next(line for line in self.file.read_text().splitlines() if line.startswith("AGE-SECRET-KEY-1"))

    def opens(self, path):
        """What stock age makes of a file with this identity; None: nothing."""
        result = run("age", "-d", "-i", self.file, path)
        return result.stdout if result.returncode == 0 else None


class Keys:
    def __init__(self, tests):
        self.tests, self.check = tests, tests.check

    def run(self):
        self.check("V34: recipients come and go beside a recorder that stays locked; stock age opens what each may see", self.recipients)
        self.check("a shared clip and an exported day open with stock age and ffprobe, by who they are for", self.sharing)
        self.check("a day's key or a clip that is broken off while it is handed out leaves nothing, with and without a recorder", self.broken)
        self.check("a lost passphrase: the recovery identity makes a new one, running or not, and the old one is dead", self.recovery)
        self.check("V34: a re-wrapping killed at any moment loses no day, tells, and goes on at the next unlock", self.killed)
        self.check("automatic unlocking: from a file or a credential that nobody else reads, else locked with an alarm", self.automatic)
        self.check("no key command leaves a secret in arguments, environment, output, log, ledger or a core file", self.secrets)

    # Tools

    def opened(self, name, cameras=None, seconds=5, **options):
        recorder = self.tests.recorder(name, cameras or {"hall": TEST}, clip_seconds=2, **options)
        recorder.start()
        time.sleep(seconds)
        return recorder

    @staticmethod
    def key(recorder, *arguments, secrets=(PASSPHRASE,), code=0):
        fd = ("--passphrase-fd", "0") if secrets else ()
        result = recorder.command("key", *arguments, "--config", str(recorder.config), *fd, input="".join(f"{secret}\n" for secret in secrets), check=False)
        assert result.returncode == code, f"{arguments}: {result.returncode} {result.stdout} {result.stderr}"
        return result

    def listed(self, recorder):
        return json.loads(self.key(recorder, "list", "--json", secrets=()).stdout)

    @staticmethod
    def clips(recorder):
        return json.loads(recorder.command("clips", "--config", str(recorder.config), "--json").stdout)

    @staticmethod
    def epochs(recorder):
        return sorted((recorder.folder / "vault" / "epochs").iterdir())

    @staticmethod
    def object(recorder, clip):
        return recorder.folder / "vault" / "objects" / clip["object"][:2] / clip["object"]

    @staticmethod
    def verify(recorder, passphrase=PASSPHRASE):
        verified = recorder.command("verify", "--config", str(recorder.config), "--passphrase-fd", "0", input=passphrase + "\n", check=False)
        assert verified.returncode == 0, verified
        return verified

    @staticmethod
    def seconds(path):
        probed = run("ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", path)
        assert probed.returncode == 0, probed.stderr
        return float(probed.stdout)

    @staticmethod
    def status(recorder):
        return json.loads(recorder.command("status", "--config", str(recorder.config), "--json", check=False).stdout)

    def decrypted(self, recorder, person, clip, name):
        """A clip the long way: the epoch's file by the person's identity, the object by the epoch's."""
        for epoch in self.epochs(recorder):
            text = person.opens(epoch)
            if text is None:
                continue
            identity = recorder.folder / "epoch.txt"
            identity.write_bytes(text)
            movie = run("age", "-d", "-i", identity, self.object(recorder, clip))
            if movie.returncode == 0:
                path = recorder.folder / name
                path.write_bytes(movie.stdout)
                return path
        return None

    # Checks

    def recipients(self):
        recorder = self.opened("recipients", {"hall": TEST, "yard": TEST})
        try:
            anna = Person(recorder.folder, "anna")
            clip = self.clips(recorder)[0]
            assert self.decrypted(recorder, anna, clip, "none.mp4") is None
            added = self.key(recorder, "add-recipient", anna.recipient)
            assert "2 day(s) of cameras sealed" in added.stdout, added
            assert recorder.state()["locked"], "a key command unlocked the vault for viewers"
            movie = self.decrypted(recorder, anna, clip, "old.mp4")
            assert movie and 1 < self.seconds(movie) < 5, movie
            recorder.command("verify", "--config", str(recorder.config))
            # What would help a thief or lock the owner out is refused, with words.
            for arguments, secrets, code, words in (
                (("add-recipient", anna.recipient), (PASSPHRASE,), 1, "already"),
                (("add-recipient", anna.recipient[:-1] + "q"), (PASSPHRASE,), 1, "no recipient"),
                (("remove-recipient", self.listed(recorder)["recipients"][0]["recipient"]), (PASSPHRASE,), 1, "the owner's"),
                (("remove-recipient", self.listed(recorder)["recipients"][1]["recipient"]), (PASSPHRASE,), 1, "recovery"),
                (("remove-recipient", anna.recipient), ("guessed",), 3, "passphrase"),
                (("remove-recipient", anna.recipient, "--identity"), (Person(recorder.folder, "thief").secret,), 1, "not one of the vault's"),
            ):
                refused = self.key(recorder, *arguments, secrets=secrets, code=code)
                assert words in refused.stderr, (arguments, refused)
            before = {path.name for path in self.epochs(recorder)}
            removed = self.key(recorder, "remove-recipient", anna.recipient)
            assert "kept a copy" in removed.stdout, removed
            assert anna.opens(self.epochs(recorder)[0]) is None
            time.sleep(6)
            new = [path for path in self.epochs(recorder) if path.name not in before]
            assert len(new) == 2, "the removed recipient knows the key of what is recorded now"
            assert all(anna.opens(path) is None for path in new)
            last = self.clips(recorder)[-1]
            assert self.decrypted(recorder, anna, last, "none.mp4") is None
            assert recorder.state()["locked"] and all(camera["state"] == "recording" for camera in recorder.state()["cameras"])
            log = self.key(recorder, "log", secrets=()).stdout
            assert f"+{anna.recipient}" in log and f"-{anna.recipient}" in log and "2 day(s) sealed" in log, log
            recorder.stop()
            # The same without a recorder.
            again = self.key(recorder, "add-recipient", anna.recipient)
            assert "4 day(s) of cameras sealed" in again.stdout, again
            assert self.decrypted(recorder, anna, last, "new.mp4")
            self.key(recorder, "add-recipient", Person(recorder.folder, "bert").recipient, "--identity", secrets=(anna.secret,))
            self.verify(recorder)
            return f"{len(self.listed(recorder)['recipients'])} recipients in the end"
        finally:
            recorder.stop()

    def sharing(self):
        recorder = self.opened("sharing", {"hall": TEST, "yard": TEST}, seconds=6)
        try:
            guest, other = Person(recorder.folder, "guest"), Person(recorder.folder, "other")
            clip, folder = self.clips(recorder)[0], recorder.folder
            for name, what in (("prefix", (clip["object"][:8],)), ("time", ("--camera", "hall", "--", clip["start"]))):
                # What stands behind `--` is the time; options come before it.
                arguments = ("share", "--to", guest.recipient, "-o", str(folder / f"{name}.age"))
                result = recorder.command(
                    "key", *arguments, "--config", str(recorder.config), "--passphrase-fd", "0", *what, input=PASSPHRASE + "\n", check=False)
                assert result.returncode == 0, result
                shared = folder / f"{name}.age"
                assert stat.S_IMODE(shared.stat().st_mode) == 0o600
                plain = guest.opens(shared)
                assert plain and other.opens(shared) is None
                (folder / f"{name}.mp4").write_bytes(plain)
                assert 1 < self.seconds(folder / f"{name}.mp4") < 5
                # Only the header differs.
                sealed = self.object(recorder, clip).read_bytes()
                assert shared.read_bytes().endswith(sealed[sealed.index(b"\n---") + 60:])
            # What is refused is refused before the ledger says that it was given out, and overwrites nothing.
            precious, damaged = folder / "precious.txt", self.object(recorder, self.clips(recorder)[-1])
            precious.write_text("mine")
            sealed = damaged.read_bytes()
            damaged.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
            for what, output, words in (
                    (clip["object"], precious, "there already"), (clip["object"], folder / "none" / "x", "cannot be written"),
                    (damaged.name, folder / "damaged.age", "is damaged")):
                refused = self.key(recorder, "share", what, "--to", guest.recipient, "-o", output, code=1)
                assert words in refused.stderr and "Domain" not in refused.stderr, refused
            damaged.write_bytes(sealed)
            assert precious.read_text() == "mine" and not list(folder.glob("*.part")) and not (folder / "damaged.age").exists()
            for arguments in (("add-recipient", guest.secret), ("share", clip["object"], "--to", guest.secret, "-o", folder / "x")):
                refused = self.key(recorder, *arguments, code=1)
                assert "identity" in refused.stderr and guest.secret not in refused.stderr, refused
            day = clip["start"][:10]
            for arguments, words in (((), "--to age1"), (("--plain", "--to", guest.recipient), "--plain")):
                refused = recorder.command("key", "export-epoch", "hall", day, "-o", str(folder / "no"), *arguments, "--config", str(recorder.config), check=False)
                assert refused.returncode == 64 and words in refused.stderr, refused
            (folder / "day.part").mkdir()
            self.key(recorder, "export-epoch", "hall", day, "-o", folder / "none" / "day", "--to", guest.recipient, code=1)
            told = self.key(recorder, "export-epoch", "hall", day, "-o", str(folder / "day") + "/", "--to", guest.recipient)
            assert (folder / "day.part").is_dir()
            assert "not over" in told.stdout, told
            recorder.stop()
            plain = self.key(recorder, "export-epoch", "hall", day, "-o", folder / "plain", "--plain", "--no-objects")
            assert "UNSEALED" in plain.stdout, plain
            assert stat.S_IMODE((folder / "plain" / "identity.txt").stat().st_mode) == 0o600
            assert not (folder / "plain" / "objects").exists() and "AGE-SECRET-KEY-1" in (folder / "plain" / "identity.txt").read_text()
            # As the README in the folder says, word for word.
            shutil.copy(guest.file, folder / "day" / "my-key.txt")
            readme = (folder / "day" / "README.txt").read_text()
            steps = [line.strip() for line in readme.splitlines() if line.startswith("    ") and line.strip()]
            assert len(steps) == 5, steps
            for step in steps:
                done = subprocess.run(["bash", "-ec", step], cwd=folder / "day", capture_output=True, timeout=60)
                assert done.returncode == 0, (step, done)
            films = sorted((folder / "day" / "objects").glob("*.mp4"))
            exported = json.loads(recorder.command("clips", "--config", str(recorder.config), "--camera", "hall", "--json").stdout)
            assert len(films) >= 2 and len(films) <= len(exported)
            assert self.seconds(folder / "day" / "day.mp4") > 1.5 * len(films)
            # That camera alone.
            yard = next(clip for clip in self.clips(recorder) if clip["camera"] != exported[0]["camera"])
            assert run("age", "-d", "-i", folder / "day" / "identity.txt", self.object(recorder, yard)).returncode != 0
            log = self.key(recorder, "log", secrets=()).stdout
            assert log.count("shared with " + guest.recipient) == 2 and "unsealed" in log and f"sealed to {guest.recipient}" in log, log
            self.verify(recorder)
            return f"{len(films)} films from the exported day"
        finally:
            recorder.stop()

    def broken(self):
        # One clip that takes its time, too.
        recorder = self.tests.recorder("broken", heavy(self.tests.folder), clip_seconds=8)
        recorder.start()
        time.sleep(20)
        try:
            clip = max(self.clips(recorder), key=lambda clip: clip["bytes"])
            day, guest = clip["start"][:10], Person(recorder.folder, "guest")
            tries = 0
            for running in (True, False):
                if not running:
                    recorder.stop()
                tries += broken_off(
                    recorder, "key", "share", clip["object"], "--to", guest.recipient, seen=lambda part: part.stat().st_size, told="key log")
                tries += broken_off(recorder, "key", "export-epoch", "hall", day, "--plain", seen=lambda part: (part / "identity.txt").exists(), told="key log")
            assert "unsealed" in self.key(recorder, "log", secrets=()).stdout
            self.verify(recorder)
            return f"{tries} tries for 12 signals"
        finally:
            recorder.stop()

    def recovery(self):
        recorder = self.tests.recorder("recovery", {"hall": TEST}, clip_seconds=2)
        shutil.rmtree(recorder.folder / "vault")
        made = recorder.command("init", str(recorder.folder / "vault"), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
        identity = next(word for word in made.stdout.split() if word.startswith("AGE-SECRET-KEY-1"))
        recorder.start()
        try:
            time.sleep(5)
            token = request(recorder.url + "api/v1/unlock", "POST", PASSPHRASE.encode())[1]["set-cookie"].split(";")[0]
            old = (recorder.folder / "vault" / "keys" / "owner.age").read_bytes()
            # Running: a new passphrase for the same identity, then for a new one. Whoever was logged in is not any more.
            self.key(recorder, "change-passphrase", secrets=("guessed", SECOND), code=3)
            self.key(recorder, "change-passphrase", secrets=(PASSPHRASE, SECOND))
            assert recorder.state()["locked"] and not json.loads(request(recorder.url + "api/v1/state", Cookie=token)[2])["loggedIn"]
            assert request(recorder.url + "api/v1/unlock", "POST", PASSPHRASE.encode())[0] == 401
            assert request(recorder.url + "api/v1/unlock", "POST", SECOND.encode())[0] == 204
            owner = self.listed(recorder)["recipients"][0]["recipient"]
            self.key(recorder, "change-passphrase", "--new-key", secrets=(SECOND, PASSPHRASE))
            assert self.listed(recorder)["recipients"][0]["recipient"] != owner
            # The passphrase is lost.
            recovered = self.key(recorder, "recover", secrets=(identity, SECOND))
            assert "new identity and passphrase" in recovered.stdout, recovered
            self.key(recorder, "rewrap", secrets=(PASSPHRASE,), code=3)
            assert self.key(recorder, "rewrap", secrets=(SECOND,)).stdout.startswith("0 day(s)")
            recorder.stop()
            self.verify(recorder, SECOND)
            # Not running, and the sheet of paper is replaced as well.
            replaced = self.key(recorder, "recover", "--new-recovery", secrets=(identity, PASSPHRASE))
            fresh = next(word for word in replaced.stdout.split() if word.startswith("AGE-SECRET-KEY-1"))
            refused = self.key(recorder, "recover", secrets=(identity, SECOND), code=1)
            assert "not one of the vault's" in refused.stderr, refused
            self.key(recorder, "recover", secrets=(fresh, SECOND))
            self.verify(recorder, SECOND)
            # A copy of the first owner's file opens with the first passphrase, and what it holds opens no day's file of now.
            (recorder.folder / "vault" / "keys" / "owner.age").write_bytes(old)
            stolen = recorder.command("verify", "--config", str(recorder.config), "--passphrase-fd", "0", input=PASSPHRASE + "\n", check=False)
            assert stolen.returncode == 1 and "not one of the vault's" in stolen.stderr, stolen
            return f"{len(self.clips(recorder))} clips through five owners"
        finally:
            recorder.stop()

    def killed(self):
        cameras = {f"cam{index}": "test:?size=320x240&rate=1&gop=1&bitrate=100000" for index in range(40)}
        recorder = self.opened("killed", cameras, seconds=8)
        recorder.stop()
        count = self.listed(recorder)["epochs"]
        assert count == 40, count
        anna = Person(recorder.folder, "anna")

        def copy(name):
            copied = Recorder.__new__(Recorder)
            copied.__dict__ = {**recorder.__dict__, "folder": self.tests.folder / name, "config": self.tests.folder / name / "sudocam.yaml", "process": None}
            shutil.copytree(recorder.folder, copied.folder)
            return copied

        def process(one):
            process = subprocess.Popen(
                [one.sudocam, "key", "add-recipient", anna.recipient, "--config", str(one.config), "--passphrase-fd", "0"],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=one.folder)
            process.stdin.write(f"{PASSPHRASE}\n".encode())
            process.stdin.close()
            return process

        # Killed when so many of the new files stand there: from none, vault.json's alone, up to a whole batch of 32.
        partial, alarmed = [], False
        for attempt, wanted in enumerate([0, random.randint(1, 31), 32, 32, 32, 32]):
            one = copy(f"killed-{attempt}")
            vault = one.folder / "vault"
            running = process(one)
            while running.poll() is None:
                if (vault / "vault.json.new").exists() if not wanted else sum(name.endswith(".new") for name in os.listdir(vault / "epochs")) >= wanted:
                    break
            time.sleep(random.uniform(0, 0.02))
            running.send_signal(signal.SIGKILL)
            running.wait()
            stale = self.listed(one)["stale"]
            isAdded = any(each["recipient"] == anna.recipient for each in self.listed(one)["recipients"])
            partial.append(stale if isAdded else None)
            if isAdded and stale and not alarmed:
                # The recorder tells, records all the same, and goes on when it is unlocked.
                alarmed = True
                one.start()
                try:
                    assert any("re-wrapping was interrupted" in alarm for alarm in self.status(one)["alarms"]), self.status(one)
                    one.command("unlock", "--config", str(one.config), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
                    end = time.monotonic() + 20
                    while self.status(one)["alarms"]:
                        assert time.monotonic() < end, self.status(one)
                        time.sleep(0.2)
                finally:
                    one.stop()
            elif isAdded:
                self.key(one, "rewrap")
            assert self.listed(one)["stale"] == 0
            self.verify(one)
            if isAdded:
                assert all(anna.opens(epoch) for epoch in self.epochs(one)[::7])
            shutil.rmtree(one.folder)
        assert alarmed, f"no kill came in between: {partial}"
        return "left undone: " + ", ".join("not begun" if left is None else str(left) for left in partial)

    def automatic(self):
        recorder = self.tests.recorder("automatic", {"hall": TEST}, clip_seconds=2)
        folder = recorder.folder
        shutil.rmtree(folder / "vault")
        made = recorder.command("init", str(folder / "vault"), "--passphrase-fd", "0", input=PASSPHRASE + "\n")
        identity = next(word for word in made.stdout.split() if word.startswith("AGE-SECRET-KEY-1"))
        plain = recorder.config.read_text()
        (folder / "credentials").mkdir()
        secret = folder / "secret"
        environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(folder / "credentials")}

        def started(unlock, env=None):
            """Whether it is locked, and its alarms, a moment after the start."""
            recorder.config.write_text(f"unlock: {unlock}\n" + plain)
            recorder.environment = lambda: env
            recorder.start()
            try:
                end = time.monotonic() + 8
                while True:
                    status = self.status(recorder)
                    if not status["locked"] or status["alarms"] or time.monotonic() > end:
                        break
                    time.sleep(0.1)
                time.sleep(1)
                assert recorder.state()["cameras"][0]["state"] in ("recording", "connecting"), recorder.state()
                return self.status(recorder)["locked"], " ".join(self.status(recorder)["alarms"])
            finally:
                recorder.stop()

        def write(path, text, mode=0o600):
            path.write_text(text)
            path.chmod(mode)

        told = []
        write(secret, PASSPHRASE + "\n")
        assert started("{ file: secret }") == (False, "")
        write(secret, f"# recovery\n{identity}\n")
        assert started("{ file: secret }") == (False, "")
        for mode in (0o640, 0o604, 0o660):
            secret.chmod(mode)
            locked, alarm = started("{ file: secret }")
            assert locked and "chmod 600" in alarm, (mode, alarm)
        secret.chmod(0o600)
        os.chown(secret, 12345, 12345) if os.geteuid() == 0 else None
        if os.geteuid() == 0:
            locked, alarm = started("{ file: secret }")
            assert locked and "another user" in alarm, alarm
        secret.unlink()
        for make, words in ((lambda: None, "No such file"), (lambda: os.mkfifo(secret, 0o600), "no regular file"), (lambda: write(secret, "wrong\n"), "does not open"), (lambda: write(secret, "\n"), "empty")):
            if secret.exists():
                secret.unlink()
            make()
            locked, alarm = started("{ file: secret }")
            assert locked and words in alarm, (words, alarm)
            told.append(words)
        assert "wrong" not in (folder / "serve.log").read_text().replace("wrong passphrase", "")
        write(folder / "credentials" / "vault", PASSPHRASE, 0o440)
        assert started("{ credential: vault }", environment) == (False, "")
        locked, alarm = started("{ credential: vault }")
        assert locked and "LoadCredential" in alarm, alarm
        for bad, words in (("{ credential: ../vault }", "without a slash"), ("{ fiel: x }", "`file`?"), ("secret", "wants `credential` or `file`")):
            recorder.config.write_text(f"unlock: {bad}\n" + plain)
            refused = recorder.command("serve", "--config", str(recorder.config), check=False)
            assert refused.returncode == 1 and words in refused.stderr, refused
        assert PASSPHRASE not in (folder / "serve.log").read_text()
        return f"locked and told: readable by others, another's, {', '.join(told)}"

    def secrets(self):
        recorder = self.opened("secret", seconds=4)
        folder = recorder.folder
        try:
            person = Person(folder, "person")
            wrong = "wr0ng-guess"
            needles = {"the passphrase": PASSPHRASE, "the new passphrase": SECOND, "a wrong passphrase": wrong, "an identity": person.secret}
            day = self.clips(recorder)[0]["start"][:10]
            seen = {}
            orders = [
                (("add-recipient", person.recipient), (PASSPHRASE,)), (("add-recipient", person.recipient), (wrong,)), (("rewrap", "--identity"), (person.secret,)),
                (("rewrap", "--identity"), (person.secret[:-1] + "Q",)), (("rewrap", "--identity"), (PASSPHRASE,)),
                (("export-epoch", "hall", day, "-o", str(folder / "day"), "--to", person.recipient), (PASSPHRASE,)),
                (("share", self.clips(recorder)[0]["object"][:12], "-o", str(folder / "clip"), "--to", person.recipient), (PASSPHRASE,)),
                (("recover",), (person.secret, PASSPHRASE)), (("recover",), (PASSPHRASE, SECOND)), (("change-passphrase",), (PASSPHRASE, SECOND)),
                (("change-passphrase", "--new-key"), (SECOND, PASSPHRASE)), (("remove-recipient", person.recipient), (PASSPHRASE,)),
            ]
            for running in (True, False):
                if not running:
                    recorder.stop()
                    for path in (folder / "day", folder / "clip"):
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
                for arguments, secrets in orders:
                    process = subprocess.Popen(
                        [recorder.sudocam, "key", *arguments, "--config", str(recorder.config), "--passphrase-fd", "0"],
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder)
                    process.stdin.write("".join(f"{secret}\n" for secret in secrets).encode())
                    process.stdin.close()
                    process.stdin = None
                    proc = pathlib.Path(f"/proc/{process.pid}")
                    place = f"{' '.join(arguments[:2])}, {'running' if running else 'alone'}"
                    seen[f"arguments of {place}"] = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
                    out, err = process.communicate(timeout=60)
                    seen[f"output of {place}"] = out + err
                if running:
                    held = self.tests.holds(recorder.process.pid, {name: needle.encode() for name, needle in needles.items()})
                    assert not held, f"in the recorder's memory after the orders: {held}"
                    proc = pathlib.Path(f"/proc/{recorder.process.pid}")
                    seen["arguments of serve"] = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
                    seen["state"] = request(recorder.url + "api/v1/state")[2] + request(recorder.url + "metrics")[2]
            seen["the log"] = (folder / "serve.log").read_bytes()
            for path in (folder / "vault").rglob("*"):
                if path.is_file():
                    seen[str(path.relative_to(folder))] = path.read_bytes()
            for place, data in seen.items():
                for name, needle in needles.items():
                    assert needle.encode() not in data, f"{name} stands in {place}"
            assert any(b"sealed to the recipients" in data for data in seen.values())
            return f"{len(seen)} places searched; {self.core(recorder)}"
        finally:
            recorder.stop()

    def core(self, recorder):
        """A command that holds a secret and one that waits for the next are made to abort: no core file, where others leave one."""
        folder = recorder.folder / "cores"
        folder.mkdir()

        def unlimited():
            resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

        def abort(*arguments, text=b""):
            process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, preexec_fn=unlimited)
            process.stdin.write(text)
            process.stdin.flush()
            time.sleep(0.7)
            assert process.poll() is None, "it ended by itself"
            process.send_signal(signal.SIGABRT)
            process.wait(10)
            process.stdin.close()
            found = [path for path in folder.iterdir() if path.name.startswith("core")]
            for path in found:
                path.unlink()
            return found

        try:
            leaves = abort(sys.executable, "-c", "import time; time.sleep(9)")
        except ValueError:
            return "core files cannot be asked for here"
        assert not abort(recorder.sudocam, "key", "change-passphrase", "--config", str(recorder.config), "--passphrase-fd", "0", text=f"{PASSPHRASE}\n".encode())
        assert not abort(recorder.sudocam, "serve", "--config", str(recorder.config))
        return "no core file where others leave one" if leaves else "no core file (nobody leaves one here)"
