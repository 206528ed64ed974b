"""RTSP cameras that play a film from a file, without encoding: /camera0, /camera1 … on loopback. Ends on SIGTERM."""

import argparse
import signal

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--mounts", type=int, required=True)
parser.add_argument("--file", required=True)
arguments = parser.parse_args()

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(str(arguments.port))
for mount in range(arguments.mounts):
    factory = GstRtspServer.RTSPMediaFactory()
    # Everyone who watches a camera gets the same stream, as from a real one.
    factory.set_shared(True)
    factory.set_launch(
        f'( filesrc location="{arguments.file}" ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 )')
    server.get_mount_points().add_factory(f"/camera{mount}", factory)
if server.attach(None) == 0:
    raise SystemExit(f"port {arguments.port} is in use")
loop = GLib.MainLoop()
for number in (signal.SIGTERM, signal.SIGINT):
    GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, loop.quit)
print("ready", flush=True)
loop.run()
