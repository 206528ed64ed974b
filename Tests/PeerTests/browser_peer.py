"""Drives Chromium as the other WebRTC peer.

Prints the offer as one JSON line, reads the answer as one JSON line, prints the page's result as one JSON line, exits.
Usage: browser_peer.py FRAMES [mdns]   mdns: host addresses stay hidden behind .local names
"""
import http.server, json, shutil, subprocess, sys, tempfile, threading, time

PAGE = """<!doctype html><video id=v muted autoplay playsinline></video><script>
const result = {frames: 0, log: []};
const post = (path, body) => fetch(path, {method: 'POST', body: JSON.stringify(body)});
const wait = ms => new Promise(r => setTimeout(r, ms));
async function main() {
  const pc = new RTCPeerConnection();
  window.pc = pc;
  const video = pc.addTransceiver('video', {direction: 'recvonly'});
  pc.addTransceiver('audio', {direction: 'recvonly'});
  const dc = pc.createDataChannel('control');
  const t0 = performance.now();
  pc.onconnectionstatechange = () => {
    result.log.push(pc.connectionState);
    if (pc.connectionState == 'connected') result.connectMs = performance.now() - t1;
  };
  let t1;
  const v = document.getElementById('v');
  pc.ontrack = e => { if (e.track.kind == 'video') { v.srcObject = new MediaStream([e.track]); v.play(); } };
  const onframe = (now, m) => {
    result.frames++; result.width = m.width; result.height = m.height; result.rtp = m.rtpTimestamp;
    v.requestVideoFrameCallback(onframe);
  };
  v.requestVideoFrameCallback(onframe);
  const messages = []; result.messages = messages;
  dc.binaryType = 'arraybuffer';
  dc.onopen = () => { result.openMs = performance.now() - t1; dc.send('ping'); dc.send(new Uint8Array([1, 2, 3])); dc.send(''); };
  dc.onmessage = e => messages.push(typeof e.data == 'string' ? e.data : Array.from(new Uint8Array(e.data)));
  await pc.setLocalDescription(await pc.createOffer());
  await new Promise(r => { pc.onicegatheringstatechange = () => pc.iceGatheringState == 'complete' && r(); setTimeout(r, 1000); });
  const answer = await (await post('/offer', {sdp: pc.localDescription.sdp})).json();
  t1 = performance.now();
  await pc.setRemoteDescription({type: 'answer', sdp: answer.sdp});
  for (let i = 0; i < 150 && (result.frames < FRAMES || messages.length < 3); i++) await wait(100);
  for (const s of (await pc.getStats()).values()) {
    if (s.type == 'inbound-rtp' && s.kind == 'video') {
      result.decoded = s.framesDecoded; result.dropped = s.framesDropped; result.lost = s.packetsLost;
      result.nack = s.nackCount; result.pli = s.pliCount; result.rtx = s.retransmittedPacketsReceived;
      result.freezes = s.freezeCount; result.received = s.packetsReceived;
    }
    if (s.type == 'transport') { result.srtp = s.srtpCipher; result.tls = s.tlsVersion; }
  }
  const closing = performance.now();
  await new Promise(r => { dc.onclose = r; dc.close(); setTimeout(r, 3000); });
  result.channelCloseMs = performance.now() - closing;
  result.channelState = dc.readyState;
  const again = pc.createDataChannel('again');
  result.reopened = await new Promise(r => { again.onopen = () => r(true); setTimeout(() => r(false), 3000); });
  result.id = [dc.id, again.id];
  pc.close();
  await post('/result', result);
}
main().catch(e => post('/result', {error: String(e)}));
</script>"""

frames = sys.argv[1]
hide = [] if "mdns" in sys.argv[2:] else ["--disable-features=WebRtcHideLocalIpsWithMdns"]
done = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def reply(self, body, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply(PAGE.replace("FRAMES", frames).encode(), "text/html")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/offer":
            print(body, flush=True)
            self.reply(sys.stdin.readline().encode(), "application/json")
        else:
            print(body, flush=True)
            self.reply(b"{}", "application/json")
            done.set()


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
profile = tempfile.mkdtemp()
process = subprocess.Popen(
    ["chromium", "--headless=new", "--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--no-first-run",
     "--user-data-dir=" + profile, *hide,
     f"http://127.0.0.1:{server.server_port}/"],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
done.wait(25)
process.terminate()
process.wait()
shutil.rmtree(profile, ignore_errors=True)
