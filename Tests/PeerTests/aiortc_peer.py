"""Drives aiortc as the other WebRTC peer; the same lines as browser_peer.py. Usage: aiortc_peer.py FRAMES"""
import asyncio, json, sys
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError


async def main(frames):
    pc = RTCPeerConnection()
    result = {"frames": 0, "messages": []}
    pc.addTransceiver("video", direction="recvonly")
    channel = pc.createDataChannel("control")
    channel.on("open", lambda: (channel.send("ping"), channel.send(b"\x01\x02\x03"), channel.send("")))
    channel.on("message", lambda m: result["messages"].append(m if isinstance(m, str) else list(m)))

    async def consume(track):
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            result["frames"] += 1
            result["width"], result["height"] = frame.width, frame.height

    pc.on("track", lambda track: asyncio.ensure_future(consume(track)))
    await pc.setLocalDescription(await pc.createOffer())
    print(json.dumps({"sdp": pc.localDescription.sdp}), flush=True)
    answer = json.loads(await asyncio.get_event_loop().run_in_executor(None, sys.stdin.readline))
    await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
    for _ in range(150):
        if result["frames"] >= frames and len(result["messages"]) >= 3:
            break
        await asyncio.sleep(0.1)
    await pc.close()
    print(json.dumps(result), flush=True)


asyncio.run(main(int(sys.argv[1])))
