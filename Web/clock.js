// Which wall time a frame on the screen shows: the piecewise linear map that the server's `clock` messages describe
// (schemas/control.schema.json). Pure; no DOM.

/** Signed difference of two 32-bit RTP timestamps. @param {number} a @param {number} b */
export const rtpDifference = (a, b) => (a - b) | 0;

/** @typedef {{id: number, rtp: number, time: number, rate: number, target: number, mode: string, camera: string}} ClockMessage */

export class PlaybackClock {
    /** @type {ClockMessage[]} oldest first; the last few, because frames in flight still belong to older lines */
    #lines = [];

    /** @param {ClockMessage} message */
    add(message) {
        this.#lines.push(message);
        if (this.#lines.length > 32) this.#lines.shift();
    }

    get latest() { return this.#lines.at(-1) ?? null; }

    /** The line a frame belongs to: the newest whose first timestamp it has reached. @param {number} rtp */
    lineOf(rtp) {
        for (let index = this.#lines.length - 1; index >= 0; index--) {
            if (rtpDifference(rtp, this.#lines[index].rtp) >= 0) return this.#lines[index];
        }
        return null;
    }

    /** Wall time in µs of the frame with this timestamp; null for pre-roll and before the first message. @param {number} rtp */
    timeOf(rtp) {
        const line = this.lineOf(rtp);
        if (!line) return null;
        return Math.round(line.time + rtpDifference(rtp, line.rtp) / 0.09 * line.rate);
    }

    /** Whether this frame fulfils the newest request. @param {number} rtp */
    hasReached(rtp) {
        const line = this.latest;
        return line !== null && rtpDifference(rtp, line.target) >= 0;
    }
}
