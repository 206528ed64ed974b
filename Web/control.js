// The control protocol over anything that can send text. Newest wins: while one key-frame seek is on its way, the next
// one waits and replaces what waited before. Pure; no DOM.

export class Control {
    #send;
    #id = 0;
    /** @type {{id: number, resolve: (value: object) => void} | null} */
    #asked = null;
    /** @type {object | null} */
    #waiting = null;
    #inFlight = false;
    /** the last 200 replies, for tests and for curious people */
    messages = [];
    onmessage = (/** @type {any} */ _message) => {};

    /** @param {(text: string) => void} send */
    constructor(send) { this.#send = send; }

    #write(message) {
        const id = ++this.#id;
        this.#send(JSON.stringify({...message, id}));
        return id;
    }

    /** @returns {Promise<object>} {id, time} once shown, {gap} or {error} */
    #ask(message) {
        this.#asked?.resolve({superseded: true});
        const id = this.#write(message);
        return new Promise(resolve => { this.#asked = {id, resolve}; });
    }

    get latestID() { return this.#id; }

    seek(camera, time, {mode = 'exact', then = 'pause'} = {}) {
        this.#waiting = null;
        this.#inFlight = false;
        return this.#ask({type: 'seek', camera, time: Math.round(time), mode, then});
    }

    /** While dragging: at most one key-frame seek in flight. */
    drag(camera, time) {
        const message = {type: 'seek', camera, time: Math.round(time), mode: 'keyframe', then: 'pause'};
        if (this.#inFlight) { this.#waiting = message; return; }
        this.#inFlight = true;
        this.#ask(message);
    }

    play(rate) { return this.#write({type: 'play', rate}); }
    pause() { return this.#write({type: 'pause'}); }
    step(frames) { return this.#ask({type: 'step', frames}); }
    live(camera) { return this.#ask({type: 'live', ...(camera ? {camera} : {})}); }

    /** @param {string} text */
    receive(text) {
        const message = JSON.parse(text);
        this.messages.push(message);
        if (this.messages.length > 200) this.messages.shift();
        this.onmessage(message);
        if (message.type === 'gap' && message.id === this.#asked?.id) this.#answer({gap: message});
        if (message.type === 'error') this.#answer({error: message});
    }

    /** The picture of the newest request is on the screen. */
    shown(id, time) { if (id === this.#asked?.id) this.#answer({id, time}); }

    #answer(value) {
        const asked = this.#asked;
        this.#asked = null;
        this.#inFlight = false;
        asked?.resolve(value);
        const next = this.#waiting;
        this.#waiting = null;
        if (next) {
            this.#inFlight = true;
            this.#ask(next);
        }
    }
}
