"""Runs a command beside a real Ceph object gateway on the loopback and ends with the command's status: one monitor, one store in
memory, one gateway, all in a folder of their own and none of them a service.

    ceph_server.py swift test --skip-build --filter S3ContractTests

Needs ceph-mon, ceph-osd, radosgw, ceph-common (scripts/test-ceph installs them). The environment is that of s3_server.py, without TLS.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import uuid

import s3_requests
from s3_server import free_ports, listens, stop

# docs.ceph.com, "Manual Deployment"; sizes for one small store, and no class of disk to look for.
CONFIGURATION = """[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon2},v1:127.0.0.1:{mon1}]
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {folder}/keyring
admin socket = {folder}/$name.sock
log file = {folder}/$name.log
pid file = {folder}/$name.pid
run dir = {folder}
ms bind ipv6 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data = {folder}/mon
mon data avail warn = 1
mon data avail crit = 1
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
compressor zlib isal = false
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{rgw}
rgw enable usage log = false
rgw thread pool size = 32
"""
# Objects belong to whoever wrote them: without a word here not even the bucket's owner may read them.
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/owner"]}, "Action": ["s3:*"],
        "Resource": ["arn:aws:s3:::vault", "arn:aws:s3:::vault/*"],
    }, {
        "Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/recorder"]}, "Action": ["s3:PutObject", "s3:ListBucket"],
        "Resource": ["arn:aws:s3:::vault", "arn:aws:s3:::vault/*"],
    }],
}


class Ceph:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.processes = []
        self.mon1, self.mon2, self.port = free_ports(3)
        self.fsid = str(uuid.uuid4())
        for name in ["mon", "osd", "rgw"]:
            (self.folder / name).mkdir()
        (self.folder / "ceph.conf").write_text(CONFIGURATION.format(
            fsid=self.fsid, folder=self.folder, mon1=self.mon1, mon2=self.mon2, rgw=self.port))

    def run(self, *arguments, text=None):
        done = subprocess.run(arguments, cwd=self.folder, capture_output=True, text=True, input=text, timeout=180,
                              env=dict(os.environ, CEPH_CONF=f"{self.folder}/ceph.conf"))
        if done.returncode != 0:
            raise RuntimeError(f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def ceph(self, *arguments, text=None):
        return self.run("ceph", "-c", "ceph.conf", *arguments, text=text)

    def start(self, program, name):
        log = open(self.folder / f"{program}.out", "wb")
        self.processes.append(subprocess.Popen(
            [program, "-c", f"{self.folder}/ceph.conf", "-f", "--name" if program == "radosgw" else "-i", name], cwd=self.folder, stdout=log,
            stderr=log))

    def up(self):
        keyring = ["ceph-authtool", "keyring"]
        self.run(*keyring, "--create-keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self.run(*keyring, "--gen-key", "-n", "client.admin", "--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *")
        self.run(*keyring, "--gen-key", "-n", "client.rgw.a", "--cap", "mon", "allow rwx", "--cap", "osd", "allow rwx")
        self.run(*keyring, "--gen-key", "-n", "osd.0", "--cap", "mon", "allow profile osd", "--cap", "mgr", "allow profile osd", "--cap",
                 "osd", "allow *")
        self.run("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", f"[v2:127.0.0.1:{self.mon2},v1:127.0.0.1:{self.mon1}]",
                 "monmap")
        self.run("ceph-mon", "-c", "ceph.conf", "-i", "a", "--mkfs", "--monmap", "monmap", "--keyring", "keyring")
        self.start("ceph-mon", "a")
        self.wait(lambda: listens(self.mon2), "the monitor")
        secret = next(line.split("=", 1)[1].strip() for block in (self.folder / "keyring").read_text().split("[")
                      if block.startswith("osd.0]") for line in block.splitlines() if line.strip().startswith("key"))
        osd = str(uuid.uuid4())
        self.ceph("osd", "new", osd, "0", "-i", "-", text=json.dumps({"cephx_secret": secret}))
        self.run("ceph-osd", "-c", "ceph.conf", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.start("ceph-osd", "0")
        self.wait(lambda: json.loads(self.ceph("osd", "stat", "-f", "json"))["num_up_osds"] == 1, "the store")
        self.start("radosgw", "client.rgw.a")
        self.wait(lambda: listens(self.port), "the gateway")
        for user in ["owner", "recorder"]:
            self.run("radosgw-admin", "-c", "ceph.conf", "user", "create", f"--uid={user}", f"--display-name={user}", f"--access-key={user}",
                     f"--secret={user}-secret")
        s3_requests.create_buckets(self.port, "owner", "owner-secret")
        s3_requests.must("PUT", self.port, "/vault", "owner", "owner-secret", query=[("policy", "")], body=json.dumps(POLICY).encode())

    def wait(self, ready, what):
        deadline = time.monotonic() + 120
        while not ready():
            dead = [process.args[0] for process in self.processes if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                logs = "\n".join(path.read_text(errors="replace")[-1500:] for path in self.folder.glob("*.out"))
                raise RuntimeError(f"{what} does not start ({dead}):\n{logs}")
            time.sleep(0.3)

    def down(self):
        for process in reversed(self.processes):
            stop(process)


def main(command):
    folder = tempfile.mkdtemp(prefix="sudocam-ceph-")
    server = Ceph(folder)
    try:
        server.up()
        print("== " + subprocess.run(["radosgw", "--version"], capture_output=True, text=True).stdout.strip(), flush=True)
        url = f"http://127.0.0.1:{server.port}"
        return subprocess.run(command, env=dict(
            os.environ, SUDOCAM_S3_KIND="ceph", SUDOCAM_S3_URL=f"{url}/vault", SUDOCAM_S3_VERSIONS_URL=f"{url}/versions",
            SUDOCAM_S3_LOCKED_URL=f"{url}/locked")).returncode
    finally:
        server.down()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
