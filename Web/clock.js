// Which wall time a frame on the screen shows: the piecewise linear map that the server's `clock` messages describe
// (schemas/control.schema.json). Pure; no DOM.

/** Signed difference of two 32-bit RTP timestamps; `b` may be an unwrapped one. @param {number} a @param {number} b */
export const rtpDifference = (a, b) => (a - b) | 0;

/** @typedef {{id: number, rtp: number, time: number, rate: number, target: number, mode: string, camera: string}} ClockMessage */

export class PlaybackClock {
    /** @type {{message: ClockMessage, start: number, target: number}[]} oldest first; frames in flight still belong to older lines */
    #lines = [];
    /** The newest timestamp seen, unwrapped: a live view left on for a day passes the 32-bit border after 13 hours. */
    #newest = 0;

    /** @param {number} rtp */
    #unwrap(rtp) {
        const whole = this.#newest + rtpDifference(rtp, this.#newest);
        this.#newest = Math.max(this.#newest, whole);
        return whole;
    }

    /** @param {ClockMessage} message */
    add(message) {
        // The very first timestamp is random; it is the origin, not a step from 0.
        if (!this.#lines.length) this.#newest = message.rtp;
        const start = this.#unwrap(message.rtp);
        this.#lines.push({message, start, target: start + rtpDifference(message.target, message.rtp)});
        if (this.#lines.length > 32) this.#lines.shift();
    }

    get latest() { return this.#lines.at(-1)?.message ?? null; }

    /** @param {number} whole unwrapped */
    #lineAt(whole) { return this.#lines.findLast(line => whole >= line.start) ?? null; }

    /** The message a frame belongs to: the newest whose first timestamp it has reached. @param {number} rtp */
    lineOf(rtp) { return this.#lineAt(this.#unwrap(rtp))?.message ?? null; }

    /** Wall time in µs of the frame with this timestamp; null for pre-roll and before the first message. @param {number} rtp */
    timeOf(rtp) {
        const whole = this.#unwrap(rtp);
        const line = this.#lineAt(whole);
        return line && Math.round(line.message.time + (whole - line.start) / 0.09 * line.message.rate);
    }

    /**
     * Whether this frame fulfils the newest request. At rate 0 that is one frame alone: what comes behind it is the pre-roll of a
     * picture sent again, and overtook the message that says so.
     * @param {number} rtp
     */
    hasReached(rtp) {
        const line = this.#lines.at(-1);
        if (!line) return false;
        const whole = this.#unwrap(rtp);
        return line.message.rate ? whole >= line.target : whole === line.target;
    }
}
