"""An RTSP camera by GStreamer's own server: a moving test picture in H.264, which stands still from SIGUSR1 to SIGUSR2, with sound in
A-law where asked for. Ends on SIGTERM."""

import argparse
import signal

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--size", default="640x360")
parser.add_argument("--rate", type=int, default=15)
parser.add_argument("--sound", action="store_true", help="a tone, as PCMA")
arguments = parser.parse_args()
width, height = arguments.size.split("x")

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(str(arguments.port))
factory = GstRtspServer.RTSPMediaFactory()
factory.set_shared(True)
factory.set_launch(
    f"( videotestsrc name=sensor is-live=true pattern=ball ! video/x-raw,width={width},height={height},framerate={arguments.rate}/1 "
    "! x264enc tune=zerolatency speed-preset=ultrafast bitrate=500 "
    f"key-int-max={arguments.rate * 2} ! video/x-h264,profile=main ! rtph264pay name=pay0 pt=96 config-interval=1 "
    + ("audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1 pt=8 " if arguments.sound else "")
    + ")"
)
sensors = []
factory.connect("media-configure", lambda _, media: sensors.append(media.get_element().get_by_name("sensor")))


def show(pattern):
    for sensor in sensors:
        sensor.set_property("pattern", pattern)
    return True


GLib.unix_signal_add(GLib.PRIORITY_HIGH, signal.SIGUSR1, show, "smpte75")
GLib.unix_signal_add(GLib.PRIORITY_HIGH, signal.SIGUSR2, show, "ball")
server.get_mount_points().add_factory("/camera", factory)
if server.attach(None) == 0:
    raise SystemExit(f"port {arguments.port} is in use")
loop = GLib.MainLoop()
for number in (signal.SIGTERM, signal.SIGINT):
    GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, loop.quit)
print(f"rtsp://127.0.0.1:{arguments.port}/camera", flush=True)
loop.run()
