"""Runs a command beside a real S3 server (SeaweedFS) on the loopback, plain and with TLS, and ends with the command's status.

    s3_server.py swift test --skip-build --filter S3ServerTests

The command finds the servers in SUDOCAM_S3_URL, SUDOCAM_S3_TLS_URL and SUDOCAM_S3_CA. Keys: owner/owner-secret may do everything,
recorder/recorder-secret only what a recorder needs.
"""

import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

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


def main(command):
    weed = pathlib.Path(sys.executable).parent / "weed"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sudocam-s3-"))
    (folder / "data").mkdir()
    (folder / "s3.json").write_text(json.dumps(IDENTITIES))
    certificate(folder)
    master, volume, filer, plain, tls = free_ports(5)
    servers = []
    local = ["-ip.bind=127.0.0.1"]
    with open(folder / "log", "wb") as log:
        def start(*arguments):
            servers.append(subprocess.Popen([weed, *arguments], cwd=folder, stdout=log, stderr=log))
        try:
            start("server", "-ip=127.0.0.1", *local, f"-dir={folder}/data", "-master.telemetry=false", f"-master.port={master}",
                  f"-volume.port={volume}", "-volume.max=0", "-master.volumeSizeLimitMB=64", "-filer", f"-filer.port={filer}",
                  f"-filer.localSocket={folder}/filer.sock", "-s3", f"-s3.port={plain}", "-s3.port.iceberg=0", "-s3.port.lance=0",
                  f"-s3.localSocket={folder}/s3.sock", "-s3.config=s3.json")
            wait([plain], servers, folder)
            start("s3", *local, f"-filer=127.0.0.1:{filer}", f"-port={tls}", "-port.iceberg=0", "-port.lance=0", "-config=s3.json",
                  f"-localSocket={folder}/tls.sock", "-cert.file=tls.pem", "-key.file=tls.key")
            wait([tls], servers, folder)
            environment = dict(
                os.environ, SUDOCAM_S3_URL=f"http://127.0.0.1:{plain}/vault", SUDOCAM_S3_TLS_URL=f"https://127.0.0.1:{tls}/vault",
                SUDOCAM_S3_CA=str(folder / "ca.pem"))
            return subprocess.run(command, env=environment).returncode
        finally:
            for server in reversed(servers):
                stop(server)
            shutil.rmtree(folder, ignore_errors=True)


def wait(ports, servers, folder):
    deadline = time.monotonic() + 60
    while not all(listens(port) for port in ports):
        if time.monotonic() > deadline or any(server.poll() is not None for server in servers):
            sys.exit("SeaweedFS does not start:\n" + (folder / "log").read_text(errors="replace")[-3000:])
        time.sleep(0.2)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
