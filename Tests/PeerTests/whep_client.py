"""Plays a camera live as any WHEP player would: offer by POST, video by aiortc. Prints what was decoded."""

import asyncio
import sys
import urllib.request

from aiortc import RTCPeerConnection, RTCSessionDescription

URL, CAMERA, TOKEN = sys.argv[1:4]


async def main():
    peer = RTCPeerConnection()
    peer.addTransceiver("video", direction="recvonly")
    track = asyncio.get_running_loop().create_future()
    peer.on("track", lambda found: track.done() or track.set_result(found))
    await peer.setLocalDescription(await peer.createOffer())
    request = urllib.request.Request(
        f"{URL}api/v1/sessions?camera={CAMERA}", data=peer.localDescription.sdp.encode(), method="POST",
        headers={"content-type": "application/sdp", "authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 201 and answer.headers["location"]
        await peer.setRemoteDescription(RTCSessionDescription(answer.read().decode(), "answer"))
    video = await asyncio.wait_for(track, 10)
    frames = [await asyncio.wait_for(video.recv(), 10) for _ in range(40)]
    assert all(frame.width == 640 and frame.height == 360 for frame in frames)
    assert frames[-1].pts > frames[0].pts
    print(f"{len(frames)} frames of {frames[0].width}x{frames[0].height}")
    await peer.close()


asyncio.run(main())
