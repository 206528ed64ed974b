"""A proxy before an HTTP server on the loopback that does to some requests what networks and servers do: loses, damages and delays
them. It changes no header, so that signatures hold.

    fault_proxy.py --to 8333 --listen 9333 --share 0.2 --seed 7        until it is stopped; then prints what it did
    s3_server.py fault_proxy.py --share 0.2 swift test …               before the servers of SUDOCAM_S3_…URL, for the command

With a command it ends with the command's status, or with 3 when one of the kinds never came up. In Python:

    with FaultProxy(port, seed=7, share=0.2) as proxy: … proxy.port, proxy.counts, proxy.share = 0, proxy.schedule(["stall", None])

reset         the connection is reset before the server hears anything      lost-answer   … after the server has done it all
stall         nothing is passed on, and the connection stays open           503           "SlowDown", and the server hears nothing
half-request  the server gets half of the body                              half-answer   the client does
wrong-request one bit of the body is turned on the way there                wrong-answer  … on the way back; never of a listing
slow          the bodies come in drops

With `--log FILE` it writes two lines for every PUT, each before it passes on what the line is about: `PUT path`, and `200 path` (or
whatever the server answered). Whatever anybody heard of a PUT stands there, also when the proxy is killed.
"""

import argparse
import asyncio
import collections
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import urllib.parse

KINDS = ["reset", "lost-answer", "stall", "503", "half-request", "half-answer", "wrong-request", "wrong-answer", "slow"]
PIECE = 1 << 16
SLOW_BODY = (b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>')


class Gone(Exception):
    """The connection has ended, or is to end."""


def applicable(method, target, count):
    """The kinds that mean something for a request with a body of `count` bytes."""
    kinds = {"reset", "lost-answer", "stall", "503"}
    if count > 1:
        kinds |= {"half-request", "wrong-request", "slow"}
    if method == "GET":
        kinds |= {"half-answer", "slow"}
        if "?" not in target:
            kinds.add("wrong-answer")
    return kinds


class FaultProxy:
    """Runs on a thread of its own between `__enter__` and `__exit__`."""

    def __init__(self, to, listen=0, seed=0, share=0.0, kinds=KINDS, stall_seconds=600.0, slow_bytes_per_second=3 << 20, log=None):
        self.to, self.port, self.share, self.kinds = to, listen, share, list(kinds)
        self.stall_seconds, self.slow_bytes_per_second = stall_seconds, slow_bytes_per_second
        # Unbuffered: one write a line.
        self.log = open(log, "ab", buffering=0) if log else None
        self.counts = collections.Counter()
        self.random = random.Random(seed)
        self.planned = collections.deque()
        self.lock = threading.Lock()
        self.loop = asyncio.new_event_loop()
        self.tasks = set()

    def schedule(self, kinds):
        """What happens to the next requests, one after the other; None: nothing. Then chance takes over again."""
        with self.lock:
            self.planned.extend(kinds)

    def __enter__(self):
        ready = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.ending.set)
        self.thread.join()

    def run(self, ready):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.serve(ready))
        self.loop.close()
        if self.log:
            self.log.close()

    async def serve(self, ready):
        self.ending = asyncio.Event()
        server = await asyncio.start_server(self.connection, "127.0.0.1", self.port, limit=1 << 17)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self.ending.wait()
        server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def pick(self, method, target, count):
        possible = applicable(method, target, count)
        with self.lock:
            self.counts["requests"] += 1
            if self.planned:
                kind = self.planned.popleft()
            elif self.random.random() < self.share:
                choice = [kind for kind in self.kinds if kind in possible]
                # What came up least, so that a short run sees all of them.
                least = min((self.counts[kind] for kind in choice), default=0)
                kind = self.random.choice([kind for kind in choice if self.counts[kind] <= least + 1] or [None])
            else:
                kind = None
            return kind

    def note(self, method, target, what):
        if self.log and method == "PUT":
            self.log.write(f"{what} {target.split('?')[0]}\n".encode())

    def happened(self, kind):
        with self.lock:
            self.counts[kind] += 1

    async def connection(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        upstream = None
        try:
            while True:
                upstream = await self.exchange(reader, writer, upstream)
        except (Gone, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self.tasks.discard(task)
            for end in [writer] + ([upstream[1]] if upstream else []):
                end.close()

    async def exchange(self, reader, writer, upstream):
        """One request and its answer; returns the connection to the server, to be used again."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        headers = fields(head)
        count = int(headers.get("content-length", 0))
        if "100-continue" in headers.get("expect", "").lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        kind = self.pick(method, target, count)
        self.note(method, target, method)
        if kind == "reset":
            self.happened(kind)
            reset(writer)
        if kind == "stall":
            self.happened(kind)
            await self.hold(reader)
        if kind == "503":
            await relay(reader, None, count)
            self.happened(kind)
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % len(SLOW_BODY))
            writer.write(b"" if method == "HEAD" else SLOW_BODY)
            await writer.drain()
            return upstream
        if upstream is None or upstream[0].at_eof() or upstream[1].is_closing():
            upstream = await asyncio.open_connection("127.0.0.1", self.to, limit=1 << 17)
        there, send = upstream
        try:
            send.write(head)
            pause = self.slow_bytes_per_second if kind == "slow" else None
            flip = self.random.randrange(count) if kind == "wrong-request" else None
            if kind == "half-request":
                await relay(reader, send, count // 2)
                self.happened(kind)
                send.close()
                reset(writer)
            await relay(reader, send, count, pause, flip)
            if kind == "wrong-request" or kind == "slow" and count > 0:
                self.happened(kind)
        except ConnectionError:
            # It may have answered before it had heard all; what it said counts.
            pass
        return upstream if await self.answer(there, writer, method, target, kind) else None

    async def answer(self, there, writer, method, target, kind):
        """Returns whether the connection to the server can be used again."""
        while True:
            head = await there.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            if status >= 200:
                break
        self.note(method, target, status)
        headers = fields(head)
        isChunked = "chunked" in headers.get("transfer-encoding", "").lower()
        count = 0 if method == "HEAD" or status in (204, 304) else int(headers.get("content-length", -1))
        if kind == "lost-answer":
            if count > 0:
                await relay(there, None, count)
            self.happened(kind)
            reset(writer)
        writer.write(head)
        isObject = method == "GET" and status in (200, 206)
        pause = self.slow_bytes_per_second if kind == "slow" and method == "GET" else None
        if method != "HEAD" and status not in (204, 304) and isChunked:
            await self.chunks(there, writer, kind)
        elif count >= 0:
            if kind == "half-answer" and count > 1:
                await relay(there, writer, count // 2)
                self.happened(kind)
                reset(writer)
            flip = self.random.randrange(count) if kind == "wrong-answer" and isObject and count > 0 else None
            await relay(there, writer, count, pause, flip)
            if flip is not None or pause and count > 0:
                self.happened(kind)
        else:
            # Ends with the connection.
            while piece := await there.read(PIECE):
                writer.write(piece)
                await writer.drain()
            raise Gone
        await writer.drain()
        if headers.get("connection", "").lower() == "close":
            return False
        return True

    async def chunks(self, there, writer, kind):
        while True:
            line = await there.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            writer.write(line)
            if kind == "half-answer" and size > 1:
                await relay(there, writer, size // 2)
                self.happened(kind)
                reset(writer)
            await relay(there, writer, size)
            writer.write(await there.readuntil(b"\r\n"))
            if size == 0:
                return

    async def hold(self, reader):
        """Until the client goes. It may go on sending meanwhile."""
        async def drain():
            while await reader.read(PIECE):
                pass
        try:
            await asyncio.wait_for(drain(), self.stall_seconds)
        except asyncio.TimeoutError:
            pass
        raise Gone


def fields(head):
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}


async def relay(reader, writer, count, bytes_per_second=None, flip=None):
    """Passes `count` bytes on, or drops them; turns the lowest bit of the one at `flip`."""
    done = 0
    while done < count:
        piece = bytearray(await reader.read(min(PIECE if bytes_per_second is None else 1 << 13, count - done)))
        if not piece:
            raise Gone
        if flip is not None and done <= flip < done + len(piece):
            piece[flip - done] ^= 1
        done += len(piece)
        if writer is not None:
            writer.write(piece)
            await writer.drain()
        if bytes_per_second:
            await asyncio.sleep(len(piece) / bytes_per_second)


def reset(writer):
    """RST in place of FIN, as when a machine goes away."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    raise Gone


def command(arguments, kinds):
    """Every server of the environment behind a proxy of its own, for as long as the command runs."""
    environment = dict(os.environ, SUDOCAM_S3_FAULTY="1")
    proxies = {}
    for name in ["SUDOCAM_S3_URL", "SUDOCAM_S3_VERSIONS_URL", "SUDOCAM_S3_LOCKED_URL"]:
        url = urllib.parse.urlsplit(os.environ[name])
        if url.port not in proxies:
            proxies[url.port] = FaultProxy(url.port, seed=arguments.seed, share=arguments.share, kinds=kinds).__enter__()
        environment[name] = url._replace(netloc=f"127.0.0.1:{proxies[url.port].port}").geturl()
    try:
        status = subprocess.run(arguments.command, env=environment).returncode
    finally:
        for proxy in proxies.values():
            proxy.__exit__()
    counts = sum((proxy.counts for proxy in proxies.values()), collections.Counter())
    print(f"fault proxy, seed {arguments.seed}: {summary(counts, kinds)}", flush=True)
    missing = [kind for kind in kinds if counts[kind] == 0]
    if missing:
        print(f"never came up: {', '.join(missing)}", flush=True)
    return status or (3 if missing else 0)


def summary(counts, kinds):
    return f"{counts['requests']} requests; " + ", ".join(f"{kind} {counts[kind]}" for kind in kinds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=int, help="the server's port")
    parser.add_argument("--listen", type=int, default=0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--share", type=float, default=0.2, help="of all requests")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--log", help="a line for every PUT, and for every answer to one")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    kinds = [kind for kind in re.split("[, ]+", arguments.kinds) if kind]
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"unknown: {', '.join(unknown)}")
    if arguments.command:
        sys.exit(command(arguments, kinds))
    if not arguments.to:
        parser.error("--to, or a command")
    # Before the thread starts, which takes the mask over.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with FaultProxy(arguments.to, arguments.listen, arguments.seed, arguments.share, kinds, log=arguments.log) as proxy:
        print(f"http://127.0.0.1:{proxy.port}, seed {arguments.seed}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    print(summary(proxy.counts, kinds), flush=True)


if __name__ == "__main__":
    main()
