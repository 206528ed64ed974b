"""Evidence bundles, checked by an implementation that shares nothing with ours; and witnesses of the ledger."""

import base64
import hashlib
import hmac
import json
import shutil
import struct
import subprocess
import time

from breaking import broken_off, heavy
from recorder import PASSPHRASE


class Proof:
    def __init__(self, tests):
        self.tests = tests

    def run(self):
        self.tests.check("prove writes a bundle that another implementation checks, and --check finds every change", self.bundle)

        self.tests.check("prove and export that are broken off leave nothing in clear", self.broken)

    def broken(self):
        recorder = self.tests.recorder("proof-broken", heavy(self.tests.folder), clip_seconds=2)
        recorder.start()
        try:
            time.sleep(15)
            tries = broken_off(recorder, "prove", "hall", "--from", "-1m", seen=lambda part: (part / "clips").exists(), told="Broken off")
            tries += broken_off(recorder, "export", "hall", "--from", "-1m", seen=lambda part: part.stat().st_size, told="Broken off")
            return f"{tries} tries for 6 signals"
        finally:
            recorder.stop()

    def bundle(self):
        recorder = self.tests.recorder("proof", {"hall": "test:?size=320x240&rate=25&gop=25"}, clip_seconds=2)
        recorder.start()
        try:
            return self.proves(recorder)
        finally:
            recorder.stop()

    def proves(self, recorder):
        time.sleep(9)
        folder = recorder.folder / "evidence"
        prove = lambda *more, **options: recorder.command("prove", "--config", str(recorder.config), *more, **options)  # noqa: E731
        made = json.loads(prove(
            "hall", "--from", "-1m", "-o", str(folder), "--passphrase-fd", "0", "--json", input=PASSPHRASE + "\n").stdout)
        key = json.loads(prove("--show-key", "--json").stdout)["key"]
        assert key == made["key"] and made["clips"] >= 3, made
        recorder.stop()
        shutil.rmtree(recorder.folder / "vault")
        alone = self.tests.folder / "alone"
        alone.mkdir()
        check = lambda *more: subprocess.run(  # noqa: E731
            [recorder.sudocam, "prove", "--check", str(folder), *more], capture_output=True, text=True, timeout=60, cwd=alone)
        result = check("--key", key)
        assert result.returncode == 0 and "Everything fits" in result.stdout and "README.html" not in result.stdout, result
        assert "only as far as the bundle tells of them" in result.stdout and "\u201chall\u201d" in result.stdout, result
        assert check("--key", key.replace("+", "+0", 1)).returncode == 2

        seen = self.independently(folder, key)
        probe = subprocess.run(
            ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0",
             str(folder / seen[0])], capture_output=True, text=True, timeout=60)
        assert probe.returncode == 0 and int(probe.stdout.strip()) >= 25, probe
        page = (folder / "README.html").read_text()
        assert "What it does not prove" in page and key in page and "http" not in page.replace("https", "http").split("<style>")[0]

        clip = folder / seen[1]
        bytes_ = bytearray(clip.read_bytes())
        bytes_[len(bytes_) // 2] ^= 1
        clip.write_bytes(bytes_)
        result = check("--json")
        assert result.returncode == 2 and not json.loads(result.stdout)["sound"], result
        assert seen[1] in json.loads(result.stdout)["findings"][0]
        return f"{len(seen)} clips"

    @staticmethod
    def independently(folder, key):
        """The names of the clips, once hashlib and `cryptography` agree with every claim."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        sha = lambda data: hashlib.sha256(data).digest()  # noqa: E731
        name, identity, encoded = key.split("+", 2)
        point = base64.b64decode(encoded)
        assert point[0] == 1 and sha(name.encode() + b"\n" + point)[:4].hex() == identity
        note = (folder / "checkpoint").read_bytes()
        text, signatures = note.split(b"\n\n")
        text += b"\n"
        origin, size, root = text.decode().splitlines()
        assert origin == name
        signature = base64.b64decode(signatures.decode().splitlines()[0].split(" ")[-1])
        Ed25519PublicKey.from_public_bytes(point[1:]).verify(signature[4:], text)

        def included(leaf, index, count, path):
            # RFC 9162, 2.1.3.2.
            place, last, node = index, count - 1, leaf
            for other in path:
                assert last > 0
                if place & 1 or place == last:
                    node = sha(b"\x01" + other + node)
                    while not place & 1 and place:
                        place, last = place >> 1, last >> 1
                else:
                    node = sha(b"\x01" + node + other)
                place, last = place >> 1, last >> 1
            return last == 0 and node == base64.b64decode(root)

        names = []
        contents = json.loads((folder / "bundle.json").read_text())
        for clip in contents["clips"]:
            line = (folder / f"entries/{clip['entry']}.json").read_bytes()
            proof = (folder / f"entries/{clip['entry']}.tlog-proof").read_text().split("\n")
            assert proof[0] == "c2sp.org/tlog-proof@v1" and proof[1] == f"index {clip['entry']}"
            path = [base64.b64decode(hash_) for hash_ in proof[2:proof.index("")]]
            assert included(sha(b"\x00" + line), clip["entry"], int(size), path)
            entry = json.loads(line)
            sealed = (folder / "sealed" / entry["object"]).read_bytes()
            assert sha(sealed).hex() == entry["object"] == clip["object"] and len(sealed) == entry["bytes"]
            # age v1: the header's MAC and every chunk of 64 KiB, with the one clip's file key.
            file_key = base64.b64decode(clip["fileKey"])
            derive = lambda salt, info: HKDF(hashes.SHA256(), 32, salt, info).derive(file_key)  # noqa: E731
            head = sealed.index(b"\n--- ") + 4
            end = sealed.index(b"\n", head) + 1
            mac = base64.b64decode(sealed[head + 1:end - 1] + b"=")
            assert hmac.digest(derive(None, b"header"), sealed[:head], "sha256") == mac
            payload, cipher = sealed[end + 16:], ChaCha20Poly1305(derive(sealed[end:end + 16], b"payload"))
            chunks = [payload[start:start + 65552] for start in range(0, len(payload), 65552)]
            plain = b"".join(
                cipher.decrypt(b"\0\0\0" + struct.pack(">QB", index, index == len(chunks) - 1), chunk, None)
                for index, chunk in enumerate(chunks))
            assert plain == (folder / clip["file"]).read_bytes()
            names.append(clip["file"])
        return names
