"""Watches a camera live as a page does, by aiortc, until its standard input ends. Usage: live_viewer.py URL CAMERA TOKEN

Prints a line of JSON for each picture (the capture time drawn in it, its size, its RTP timestamp) and for each message on the
control channel; lines of its standard input go into that channel.
"""

import asyncio
import json
import sys
import urllib.request

import blockcode
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

URL, CAMERA, TOKEN = sys.argv[1:4]


def tell(**line):
    print(json.dumps(line), flush=True)


async def watch(track):
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        tell(time=blockcode.read(frame), size=f"{frame.width}x{frame.height}", rtp=frame.pts)


async def main():
    peer = RTCPeerConnection()
    peer.addTransceiver("video", direction="recvonly")
    channel = peer.createDataChannel("control")
    channel.on("message", lambda message: tell(message=json.loads(message)))
    peer.on("track", lambda track: asyncio.ensure_future(watch(track)))
    await peer.setLocalDescription(await peer.createOffer())
    request = urllib.request.Request(
        f"{URL}api/v1/sessions?camera={CAMERA}", data=peer.localDescription.sdp.encode(), method="POST",
        headers={"content-type": "application/sdp", "authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        await peer.setRemoteDescription(RTCSessionDescription(answer.read().decode(), "answer"))
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        channel.send(line.strip())
    await peer.close()


asyncio.run(main())
