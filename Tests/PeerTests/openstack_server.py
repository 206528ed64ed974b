"""OpenStack Swift's object store behind its S3 interface, on the loopback: proxy, account, container and object server, the last in
memory. Another kind of S3 server than SeaweedFS: it checks the region that a request is signed for, and takes no conditions.

Needs Debian's python3-swift, for Debian's own Python (scripts/setup --tests installs it).
"""

import pathlib
import shutil
import subprocess
import tempfile
import textwrap
import time

import s3_requests
from s3_server import free_ports, listens, stop

PYTHON = "/usr/bin/python3"
KINDS = ["account", "container", "object", "proxy"]
# One server of each kind, one place on it (docs.openstack.org, Swift's "Deployment Guide").
RINGS = """
import sys
from swift.common.ring import RingBuilder
folder, *ports = sys.argv[1:]
for kind, port in zip(["account", "container", "object"], ports):
    ring = RingBuilder(4, 1, 0)
    ring.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "disk", "weight": 1.0, "meta": ""})
    ring.rebalance()
    ring.get_ring().save(f"{folder}/{kind}.ring.gz")
"""
# It reads `swift.conf` before a server's own configuration says where that lies: /etc/swift, which only Debian's `swift` makes.
RUN = """
import os, sys
from swift.common import utils
utils.set_swift_dir(os.path.dirname(sys.argv[1]))
from swift.common.wsgi import run_wsgi
sys.exit(run_wsgi(sys.argv[1], sys.argv[2], verbose=True))
"""
COMMON = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
devices = {folder}
mount_check = false
workers = 0
user = {user}
log_address = {folder}/none
"""
STORE = """
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{app}
"""
PROXY = """
[pipeline:main]
pipeline = catch_errors cache listing_formats s3api tempauth proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{nothing}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = {region}
[filter:tempauth]
use = egg:swift#tempauth
user_owner_owner = owner-secret .admin
"""


class OpenStack:
    """`url` is of an empty bucket; keys: owner:owner/owner-secret."""

    region = "eu-test-7"
    key = "owner:owner"
    secret = "owner-secret"

    @staticmethod
    def is_there():
        return subprocess.run([PYTHON, "-c", "import swift.common.ring"], capture_output=True).returncode == 0

    def __enter__(self):
        self.folder = folder = pathlib.Path(tempfile.mkdtemp(prefix="sudocam-openstack-"))
        self.processes = []
        *ports, nothing = free_ports(5)
        (folder / "disk").mkdir()
        (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = test\nswift_hash_path_prefix = test\n")
        subprocess.run([PYTHON, "-c", textwrap.dedent(RINGS), str(folder), *map(str, ports[:3])], check=True, capture_output=True)
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        self.log = open(folder / "log", "ab")
        try:
            for kind, port in zip(KINDS, ports):
                text = COMMON.format(port=port, folder=folder, user=user)
                text += (PROXY.format(region=self.region, nothing=nothing) if kind == "proxy"
                         else STORE.format(kind=kind, app="mem_object" if kind == "object" else kind))
                (folder / f"{kind}.conf").write_text(text)
                self.processes.append(subprocess.Popen(
                    [PYTHON, "-c", RUN, str(folder / f"{kind}.conf"), f"{kind}-server"], cwd=folder, stdout=self.log, stderr=self.log))
            end = time.monotonic() + 60
            while not all(listens(port) for port in ports):
                if time.monotonic() > end or any(process.poll() is not None for process in self.processes):
                    raise RuntimeError("OpenStack Swift does not start:\n" + (folder / "log").read_text(errors="replace")[-3000:])
                time.sleep(0.2)
            s3_requests.must("PUT", ports[3], "/vault", self.key, self.secret, region=self.region)
        except BaseException:
            self.__exit__()
            raise
        self.url = f"http://127.0.0.1:{ports[3]}/vault"
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            stop(process)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
