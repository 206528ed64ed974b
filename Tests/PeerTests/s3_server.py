"""Runs a command beside a real S3 server (SeaweedFS) on the loopback, plain and with TLS, and ends with the command's status.

    s3_server.py swift test --skip-build --filter S3ServerTests

The command finds the servers in SUDOCAM_S3_URL, SUDOCAM_S3_TLS_URL and SUDOCAM_S3_CA; SUDOCAM_S3_VERSIONS_URL is a bucket that keeps
versions, SUDOCAM_S3_LOCKED_URL one that locks what it gets for a day, SUDOCAM_S3_KIND the server's name. Keys: owner/owner-secret may
do everything, writer/writer-secret all but make buckets, recorder/recorder-secret only what a recorder needs, in the first bucket.
Every PUT is synced to disk.
"""

import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import s3_requests

RECORDER = {
    "Version": "2012-10-17",
    "Statement": [{
        "Effect": "Allow", "Action": ["s3:PutObject", "s3:ListBucket", "s3:AbortMultipartUpload"],
        "Resource": ["arn:aws:s3:::vault", "arn:aws:s3:::vault/*"],
    }],
}
IDENTITIES = {
    "identities": [
        {"name": "owner", "credentials": [{"accessKey": "owner", "secretKey": "owner-secret"}],
         "actions": ["Admin", "Read", "Write", "List", "Tagging"]},
        {"name": "writer", "credentials": [{"accessKey": "writer", "secretKey": "writer-secret"}], "actions": ["Read", "Write", "List"]},
        {"name": "recorder", "credentials": [{"accessKey": "recorder", "secretKey": "recorder-secret"}],
         "policyNames": ["recorder"]},
    ],
    "policies": [{"name": "recorder", "content": json.dumps(RECORDER)}],
}


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count):
    """SeaweedFS puts its gRPC 10000 above each port."""
    ports = []
    while len(ports) < count:
        port = random.randrange(20000, 30000)
        if port not in ports and not listens(port) and not listens(port + 10000):
            ports.append(port)
    return ports


def certificate(folder):
    """An authority of its own and a server's certificate for 127.0.0.1."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority")
    openssl("req", "-x509", *key, "-keyout", "tls.key", "-out", "tls.pem", "-subj", "/CN=127.0.0.1", "-CA", "ca.pem",
            "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE")


def stop(process):
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Server:
    """SeaweedFS, plain and with TLS, with empty buckets. `filer` is the operator's own way in, which asks nobody."""

    def __init__(self, data=None):
        self.data = data

    def __enter__(self):
        self.folder = folder = pathlib.Path(tempfile.mkdtemp(prefix="sudocam-s3-"))
        self.data = self.data or folder / "data"
        self.data.mkdir(exist_ok=True)
        (folder / "s3.json").write_text(json.dumps(IDENTITIES))
        certificate(folder)
        self.master, self.volume, self.filer_port, self.plain, self.tls = free_ports(5)
        self.url = f"http://127.0.0.1:{self.plain}/vault"
        self.tls_url = f"https://127.0.0.1:{self.tls}/vault"
        self.ca = folder / "ca.pem"
        self.filer = f"http://127.0.0.1:{self.filer_port}/buckets/vault"
        self.processes = []
        self.log = open(folder / "log", "ab")
        try:
            self.start()
            s3_requests.create_buckets(self.plain, "owner", "owner-secret")
            sync(self.processes[0].args[0], folder, self.master, self.filer_port)
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        """Also again, after `stop` or `kill`."""
        local = ["-ip.bind=127.0.0.1"]
        # The S3 server's own socket files would be in the way of a second start.
        for path in self.folder.glob("*.sock"):
            path.unlink()
        self.weed("server", "-ip=127.0.0.1", *local, f"-dir={self.data}", "-master.telemetry=false", f"-master.port={self.master}",
                  f"-volume.port={self.volume}", "-volume.max=0", "-master.volumeSizeLimitMB=64", "-filer", f"-filer.port={self.filer_port}",
                  f"-filer.localSocket={self.folder}/filer.sock", "-s3", f"-s3.port={self.plain}", "-s3.port.iceberg=0", "-s3.port.lance=0",
                  f"-s3.localSocket={self.folder}/s3.sock", "-s3.config=s3.json")
        wait([self.plain], self.processes, self.folder)
        self.weed("s3", *local, f"-filer=127.0.0.1:{self.filer_port}", f"-port={self.tls}", "-port.iceberg=0", "-port.lance=0", "-config=s3.json",
                  f"-localSocket={self.folder}/tls.sock", "-cert.file=tls.pem", "-key.file=tls.key")
        wait([self.tls], self.processes, self.folder)

    def weed(self, *arguments):
        weed = pathlib.Path(sys.executable).parent / "weed"
        self.processes.append(subprocess.Popen([weed, *arguments], cwd=self.folder, stdout=self.log, stderr=self.log))

    def stop(self):
        for process in reversed(self.processes):
            stop(process)
        self.processes = []

    def kill(self):
        """SIGKILL; what was written lies in the system's cache, and stays."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []

    def __exit__(self, *_):
        self.stop()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def main(command):
    # Else the servers would outlive it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Server() as server:
        environment = dict(
            os.environ, SUDOCAM_S3_KIND="seaweedfs", SUDOCAM_S3_URL=server.url,
            SUDOCAM_S3_VERSIONS_URL=f"http://127.0.0.1:{server.plain}/versions",
            SUDOCAM_S3_LOCKED_URL=f"http://127.0.0.1:{server.plain}/locked", SUDOCAM_S3_TLS_URL=server.tls_url,
            SUDOCAM_S3_CA=str(server.ca))
        return subprocess.run(command, env=environment).returncode


def sync(weed, folder, master, filer):
    """Without this a PUT is answered before anything is on disk (seaweedfs#11424)."""
    done = subprocess.run([weed, "shell", f"-master=127.0.0.1:{master}", f"-filer=127.0.0.1:{filer}"], cwd=folder, text=True, timeout=60,
                          input="fs.configure -locationPrefix=/buckets/ -fsync=true -apply\nexit\n", capture_output=True)
    if done.returncode != 0 or not re.search(r'"fsync":\s*true', done.stdout):
        sys.exit(f"SeaweedFS does not sync:\n{done.stdout}\n{done.stderr}")


def wait(ports, servers, folder):
    deadline = time.monotonic() + 60
    while not all(listens(port) for port in ports):
        if time.monotonic() > deadline or any(server.poll() is not None for server in servers):
            raise SystemExit("SeaweedFS does not start:\n" + (folder / "log").read_text(errors="replace")[-3000:])
        time.sleep(0.2)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
