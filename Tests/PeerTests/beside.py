"""Commands that only look, beside a recorder at work: what it records, removes and changes of its keys meanwhile is no fault of theirs."""

import collections
import json
import threading
import time

from keys import TEST, Person
from recorder import PASSPHRASE

SECONDS = 20
# Readers take turns at these; each line has a thread of its own.
READERS = [
    [("verify",), ("status",), ("repair",)],
    [("key", "list"), ("key", "log"), ("clips",), ("retention", "plan")],
    [("retention", "holds"), ("retention", "log"), ("verify", "--json"), ("verify", "--open", "--passphrase-fd", "0")],
]


class Beside:
    def __init__(self, tests):
        self.tests = tests

    def run(self):
        self.tests.check("who only looks finds nothing wrong beside a recorder that records, deletes, holds and changes its keys all the time", self.looking)

    def looking(self):
        settings = ("retention:", "  total: 2MB")
        recorder = self.tests.recorder("beside", {name: TEST for name in ("hall", "yard", "attic")}, clip_seconds=2, settings=settings)
        recorder.start()
        counts, failures = collections.Counter(), []
        try:
            time.sleep(5)
            end = time.monotonic() + SECONDS

            def command(*arguments, secret=False):
                result = recorder.command(*arguments, "--config", str(recorder.config), input=PASSPHRASE + "\n" if secret else None, check=False)
                counts[" ".join(arguments[:2])] += 1
                if result.returncode != 0:
                    failures.append((arguments, result.returncode, result.stdout[-400:], result.stderr[-400:]))
                return result

            def look(commands):
                while time.monotonic() < end:
                    for arguments in commands:
                        command(*arguments, secret="--passphrase-fd" in arguments)

            def change_keys():
                number = 0
                while time.monotonic() < end:
                    guest = Person(recorder.folder, f"guest{number}").recipient
                    for order in ("add-recipient", "remove-recipient"):
                        command("key", order, guest, "--passphrase-fd", "0", secret=True)
                    number += 1

            def hold_and_delete():
                while time.monotonic() < end:
                    command("retention", "hold", "--camera", "hall", "--from", "-10s", "--to", "-5s", "--note", "for a moment")
                    for hold in json.loads(command("retention", "holds", "--json").stdout):
                        command("retention", "release", hold["hold"])
                    command("retention", "apply", "--yes")

            threads = [threading.Thread(target=look, args=(commands,)) for commands in READERS]
            threads += [threading.Thread(target=change_keys), threading.Thread(target=hold_and_delete)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            removed = len(json.loads(recorder.command("retention", "log", "--config", str(recorder.config), "--json").stdout))
        finally:
            recorder.stop()
        assert not failures, f"{len(failures)} of {sum(counts.values())} commands: {failures[:3]}"
        assert all(counts[name] for name in ("verify", "repair", "verify --json", "verify --open", "key add-recipient")), counts
        assert removed > 5, removed
        return f"{sum(counts.values())} commands, {counts['verify'] + counts['verify --json'] + counts['verify --open']} of them verify; {removed} clips removed meanwhile"
