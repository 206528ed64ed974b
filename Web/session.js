// One WebRTC session with the recorder: WHEP-shaped offer and answer, the `control` channel, what the screen shows.
import {PlaybackClock} from './clock.js';
import {Control} from './control.js';

/** ms until a connection that does not come is given up */
const PATIENCE = 15_000;

/** Firefox without the OpenH264 plug-in (Debian's) has none, and neither has a browser with WebRTC switched off. */
export const canPlayH264 = () => typeof RTCPeerConnection === 'function'
    && (globalThis.RTCRtpReceiver?.getCapabilities?.('video')?.codecs ?? []).some(codec => /h264/i.test(codec.mimeType));

export class Session {
    clock = new PlaybackClock();
    /** @type {Control | null} */
    control = null;
    /** @type {{time: number, rtp: number, seekId: number, camera: string, width: number, height: number} | null} what the frame on the screen is */
    shown = null;
    /** whether the recorder's answer has a picture at all */
    hasVideo = true;
    onframe = () => {};
    onmessage = (/** @type {any} */ _message) => {};
    /** before the picture goes */ onclosing = () => {};
    onclosed = () => {};
    #peer; #receiver; #location = null; #video; #closed = false;
    #awaited = 0;
    #early = []; #giveUp = (/** @type {any} */ _error) => {};

    /** @param {HTMLVideoElement} video */
    constructor(video) { this.#video = video; }

    /** Throws the recorder's problem {code, detail}, or an `Error` when there is no connection. */
    async open() {
        const peer = this.#peer = new RTCPeerConnection();
        peer.addTransceiver('video', {direction: 'recvonly'});
        const channel = peer.createDataChannel('control');
        peer.ontrack = event => this.#attach(event);
        peer.onicecandidate = event => { if (event.candidate) this.#trickle(event.candidate); };
        peer.onconnectionstatechange = () => { if (peer.connectionState === 'failed') this.close(); };
        const opened = new Promise((resolve, reject) => {
            this.#giveUp = reject;
            channel.onopen = resolve;
            channel.onclose = () => this.close();
        });
        opened.catch(() => {});
        const timer = setTimeout(() => this.#giveUp(new Error('No connection to the recorder within 15 s; is its UDP port open?')), PATIENCE);
        try {
            await peer.setLocalDescription();
            const response = await fetch('/api/v1/sessions', {
                method: 'POST', headers: {'content-type': 'application/sdp'}, body: peer.localDescription.sdp,
                signal: AbortSignal.timeout(PATIENCE),
            });
            if (!response.ok) throw await response.json().catch(() => new Error(response.statusText));
            this.#location = response.headers.get('location');
            this.hasVideo = response.headers.get('sudocam-video') !== 'none';
            await peer.setRemoteDescription({type: 'answer', sdp: await response.text()});
            for (const candidate of this.#early.splice(0)) this.#trickle(candidate);
            await opened;
        } finally {
            clearTimeout(timer);
        }
        if (this.#closed) throw new Error('The connection to the recorder was lost.');
        this.control = new Control(text => { if (channel.readyState === 'open') channel.send(text); });
        this.control.onmessage = message => {
            if (message.type === 'clock') this.clock.add(message);
            this.onmessage(message);
        };
        channel.onmessage = event => this.control?.receive(event.data);
        return this;
    }

    /** @param {RTCIceCandidate} candidate one found after the offer went out */
    async #trickle(candidate) {
        if (!this.#location) { this.#early.push(candidate); return; }
        const sdp = this.#peer.localDescription?.sdp ?? '';
        const line = name => sdp.match(new RegExp(`^a=${name}:.*$`, 'm'))?.[0].trim() ?? '';
        await fetch(this.#location, {
            method: 'PATCH', headers: {'content-type': 'application/trickle-ice-sdpfrag'},
            body: `${line('ice-ufrag')}\r\n${line('ice-pwd')}\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:${candidate.sdpMid}\r\na=${candidate.candidate}\r\n`,
        }).catch(() => {});
    }

    #attach(event) {
        this.#receiver = event.receiver;
        if ('jitterBufferTarget' in event.receiver) event.receiver.jitterBufferTarget = 0;
        this.#video.srcObject = new MediaStream([event.track]);
        this.#video.play().catch(() => {});
        this.#watch();
    }

    /** From now on only pictures of the newest request (or later ones) count, not what still comes from before. */
    expectNewest() { this.#awaited = this.control?.latestID ?? 0; }
    /** No picture will come for what was asked: the present one goes on. */
    expectNothing() { this.#awaited = 0; }

    #watch() {
        const each = (_now, frame) => {
            if (this.#closed) return;
            this.#video.requestVideoFrameCallback(each);
            // Browsers that do not name the frame's timestamp name the one last handed to the screen.
            this.#see(frame.rtpTimestamp ?? this.#receiver.getSynchronizationSources?.()[0]?.rtpTimestamp, frame.width, frame.height);
        };
        this.#video.requestVideoFrameCallback(each);
    }

    /** @param {number | undefined} rtp */
    #see(rtp, width, height) {
        if (rtp === undefined) return;
        const time = this.clock.timeOf(rtp);
        // Pre-roll and leftovers of an older request are not what was asked for.
        if (time === null || !this.clock.hasReached(rtp)) return;
        const line = this.clock.lineOf(rtp);
        if (line.id < this.#awaited) return;
        this.shown = {time, rtp, seekId: line.id, camera: line.camera, width, height};
        this.onframe();
        this.control?.shown(line.id, time);
    }

    close() {
        if (this.#closed) return;
        this.onclosing();
        this.#closed = true;
        this.#giveUp(new Error('The connection to the recorder was lost.'));
        this.control?.close();
        this.#peer?.close();
        this.#video.srcObject = null;
        if (this.#location) fetch(this.#location, {method: 'DELETE', keepalive: true}).catch(() => {});
        this.onclosed();
    }
}
