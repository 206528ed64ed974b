// The control protocol over anything that can send text. Newest wins: while one key-frame seek is on its way, the next
// one waits and replaces what waited before. Pure; no DOM.

/** A drag whose picture does not come does not hold up the hand: after this many ms the next seek goes out anyway. */
const DRAG_PATIENCE = 1000;
const KEPT_REPLIES = 200;

export class Control {
    #send; #now;
    #id = 0;
    /** @type {{id: number, resolve: (value: object) => void} | null} */
    #asked = null;
    /** @type {object | null} the newest place the hand has been since the last seek left */
    #waiting = null;
    /** when the drag's seek in flight left; 0: none in flight */
    #leftAt = 0;
    /** the last 200 replies, for tests and for curious people */
    messages = [];
    onmessage = (/** @type {any} */ _message) => {};

    /** @param {(text: string) => void} send @param {() => number} now ms, never backwards */
    constructor(send, now = () => performance.now()) { this.#send = send; this.#now = now; }

    #write(message) {
        const id = ++this.#id;
        this.#send(JSON.stringify({...message, id}));
        return id;
    }

    /** @returns {Promise<object>} {id, time} once shown, {gap}, {error} or {superseded} */
    #ask(message) {
        this.#asked?.resolve({superseded: true});
        const id = this.#write(message);
        return new Promise(resolve => { this.#asked = {id, resolve}; });
    }

    /** Anything but dragging ends the drag. */
    #endDrag() {
        this.#waiting = null;
        this.#leftAt = 0;
    }

    get latestID() { return this.#id; }

    seek(camera, time, {mode = 'exact', then = 'pause'} = {}) {
        this.#endDrag();
        return this.#ask({type: 'seek', camera, time: Math.round(time), mode, then});
    }

    /** While dragging: at most one key-frame seek in flight. */
    drag(camera, time) {
        const message = {type: 'seek', camera, time: Math.round(time), mode: 'keyframe', then: 'pause'};
        if (this.#leftAt && this.#now() - this.#leftAt < DRAG_PATIENCE) { this.#waiting = message; return; }
        this.#drag(message);
    }

    #drag(message) {
        this.#waiting = null;
        this.#leftAt = Math.max(this.#now(), Number.MIN_VALUE);
        this.#ask(message);
    }

    play(rate) { this.#endDrag(); return this.#write({type: 'play', rate}); }
    pause() { this.#endDrag(); return this.#write({type: 'pause'}); }
    step(frames) { this.#endDrag(); return this.#ask({type: 'step', frames}); }
    live(camera) { this.#endDrag(); return this.#ask({type: 'live', ...(camera ? {camera} : {})}); }

    /** @param {string} text */
    receive(text) {
        let message;
        try { message = JSON.parse(text); } catch { return; }
        if (typeof message?.type !== 'string') return;
        this.messages.push(message);
        if (this.messages.length > KEPT_REPLIES) this.messages.shift();
        this.onmessage(message);
        const isOld = message.id !== undefined && this.#asked && message.id < this.#asked.id;
        if (isOld) return;
        if (message.type === 'gap') this.#answer({gap: message});
        if (message.type === 'error') this.#answer({error: message});
    }

    /** A picture of request `id` is on the screen; one of a later request means that this one was overtaken. */
    shown(id, time) {
        if (!this.#asked || id < this.#asked.id) return;
        this.#answer(id === this.#asked.id ? {id, time} : {superseded: true});
    }

    /** The connection is gone: nobody waits for ever. */
    close() {
        this.#waiting = null;
        this.#answer({error: {code: 'closed', message: 'The connection to the recorder was lost.'}});
    }

    #answer(value) {
        const asked = this.#asked;
        this.#asked = null;
        this.#leftAt = 0;
        asked?.resolve(value);
        if (this.#waiting) this.#drag(this.#waiting);
    }
}
