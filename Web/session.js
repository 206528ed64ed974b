// One WebRTC session with the recorder: WHEP-shaped offer and answer, the `control` channel, reconnection.
import {PlaybackClock} from './clock.js';
import {Control} from './control.js';

export const canPlayH264 = () => (RTCRtpReceiver.getCapabilities?.('video')?.codecs ?? []).some(codec => /h264/i.test(codec.mimeType));

export class Session {
    clock = new PlaybackClock();
    /** @type {Control | null} */
    control = null;
    /** what the frame on the screen is */
    shown = null;
    onframe = () => {};
    onmessage = (/** @type {any} */ _message) => {};
    onclosed = () => {};
    #peer; #location = null; #video; #closed = false;

    /** @param {HTMLVideoElement} video */
    constructor(video) { this.#video = video; }

    async open() {
        const peer = this.#peer = new RTCPeerConnection();
        const transceiver = peer.addTransceiver('video', {direction: 'recvonly'});
        const channel = peer.createDataChannel('control');
        peer.ontrack = event => {
            if ('jitterBufferTarget' in event.receiver) event.receiver.jitterBufferTarget = 0;
            this.#video.srcObject = new MediaStream([event.track]);
            this.#video.play().catch(() => {});
            this.#watch();
        };
        peer.onconnectionstatechange = () => {
            if (['failed', 'closed'].includes(peer.connectionState)) this.close();
        };
        const opened = new Promise((resolve, reject) => {
            channel.onopen = resolve;
            channel.onclose = () => { reject(new Error('closed')); this.close(); };
        });
        opened.catch(() => {});
        await peer.setLocalDescription(await peer.createOffer());
        const response = await fetch('/api/v1/sessions', {
            method: 'POST', headers: {'content-type': 'application/sdp'}, body: peer.localDescription.sdp,
        });
        if (!response.ok) throw await response.json().catch(() => new Error(response.statusText));
        this.#location = response.headers.get('location');
        const trickle = [];
        peer.onicecandidate = event => { if (event.candidate) this.#trickle(event.candidate, trickle); };
        await peer.setRemoteDescription({type: 'answer', sdp: await response.text()});
        void transceiver;
        await opened;
        this.control = new Control(text => { if (channel.readyState === 'open') channel.send(text); });
        this.control.onmessage = message => {
            if (message.type === 'clock') this.clock.add(message);
            this.onmessage(message);
        };
        channel.onmessage = event => this.control?.receive(event.data);
        return this;
    }

    async #trickle(candidate, sent) {
        const sdp = this.#peer.localDescription.sdp;
        const line = name => sdp.match(new RegExp(`^a=${name}:.*$`, 'm'))?.[0] ?? '';
        sent.push(candidate.candidate);
        await fetch(this.#location, {
            method: 'PATCH', headers: {'content-type': 'application/trickle-ice-sdpfrag'},
            body: `${line('ice-ufrag')}\r\n${line('ice-pwd')}\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:${candidate.sdpMid}\r\na=${candidate.candidate}\r\n`,
        }).catch(() => {});
    }

    #watch() {
        const each = (_now, frame) => {
            if (this.#closed) return;
            this.#video.requestVideoFrameCallback(each);
            const rtp = frame.rtpTimestamp;
            if (rtp === undefined) return;
            const time = this.clock.timeOf(rtp);
            // Pre-roll and leftovers of an older request are not what was asked for.
            if (time === null || !this.clock.hasReached(rtp)) return;
            const line = this.clock.lineOf(rtp);
            this.shown = {time, rtp, seekId: line.id, width: frame.width, height: frame.height};
            this.onframe(this.shown);
            this.control?.shown(line.id, time);
        };
        this.#video.requestVideoFrameCallback(each);
    }

    close() {
        if (this.#closed) return;
        this.#closed = true;
        this.#peer?.close();
        this.#video.srcObject = null;
        if (this.#location) fetch(this.#location, {method: 'DELETE', keepalive: true}).catch(() => {});
        this.onclosed();
    }
}
