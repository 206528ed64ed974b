"""Opens a scrypt age file by its specification (c2sp.org/age) with Python's own scrypt and ChaCha20-Poly1305."""

import base64
import hashlib
import hmac
import sys

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305


def hkdf(key, salt, info):
    block = hmac.new(salt or bytes(32), key, hashlib.sha256).digest()
    return hmac.new(block, info + b"\x01", hashlib.sha256).digest()


data = open(sys.argv[1], "rb").read()
passphrase = sys.stdin.read().encode()
end = data.index(b"\n---")
lines = data[:end].split(b"\n")
_, kind, salt, work = lines[1].split(b" ")
assert kind == b"scrypt"
pad = lambda text: text + b"=" * (-len(text) % 4)  # noqa: E731
wrap = hashlib.scrypt(passphrase, salt=b"age-encryption.org/v1/scrypt" + base64.b64decode(pad(salt)), n=1 << int(work), r=8, p=1, maxmem=1 << 30, dklen=32)
file_key = ChaCha20Poly1305(wrap).decrypt(bytes(12), base64.b64decode(pad(b"".join(lines[2:]))), None)
body = data[data.index(b"\n", end + 1) + 1:]
payload = hkdf(file_key, body[:16], b"payload")
text = ChaCha20Poly1305(payload).decrypt(bytes(11) + b"\x01", body[16:], None).decode().split("\n")
identity = next(line for line in text if line.startswith("AGE-SECRET-KEY-1")).strip()
# Bech32 (BIP 173): five bits a character, six characters of checksum.
bits = "".join(f"{'qpzry9x8gf2tvdw0s3jn54khce6mua7l'.index(letter):05b}" for letter in identity.split("1", 1)[1][:-6].lower())
print(identity, bytes(int(bits[index:index + 8], 2) for index in range(0, 256, 8)).hex())
