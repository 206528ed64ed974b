// <sudo-app>: puts picture, controls and band together over one session; everything else is told by server-sent events.
import './band.js';
import './picture.js';
import {DAY, HOUR, MINUTE, SECOND, fullText, gapWords} from './band-model.js';
import {Session, canPlayH264} from './session.js';

const RATES = [-8, -1, 1, 2, 4, 16];
const template = document.createElement('template');
template.innerHTML = `
<header>
  <strong>SudoCam</strong>
  <select id="camera" aria-label="Camera"></select>
  <span id="trouble" role="status"></span>
  <span class="space"></span>
  <button id="lock" title="Lock: nobody sees footage until the passphrase is given">Lock</button>
  <button id="live" title="Live (End)"><i></i>live</button>
</header>
<main>
  <sudo-picture></sudo-picture>
  <div id="notice" role="status" hidden></div>
  <div id="unsupported" role="alert" hidden></div>
  <form id="login" hidden>
    <label for="passphrase">The vault is locked. Recording goes on.</label>
    <input id="passphrase" type="password" autocomplete="current-password" placeholder="Passphrase" required>
    <button id="unlock">Unlock</button>
    <p id="login-error" role="alert"></p>
  </form>
</main>
<nav aria-label="Playback">
  <button id="first" title="First recording (Home)">|◀</button>
  <button id="back" title="One frame back (←)">◀︎▎</button>
  <button id="play" title="Play or pause (space)">▶</button>
  <button id="forward" title="One frame on (→)">▎▶</button>
  <span id="rates" role="group" aria-label="Speed"></span>
  <span class="space"></span>
  <button id="mark" title="Mark a range ([ and ])">[ ]</button>
  <button id="export" title="Save the marked range as MP4" disabled>⤓ export</button>
  <button id="help" title="Keys (?)">?</button>
</nav>
<sudo-band></sudo-band>
<sudo-days></sudo-days>
<dialog id="keys">
  <h2>Keys</h2>
  <dl><dt>space</dt><dd>play, pause</dd><dt>← →</dt><dd>one frame when paused, 10 s when playing</dd><dt>Shift + ← →</dt><dd>one minute</dd>
  <dt>J K L</dt><dd>backward, pause, forward (again: faster)</dd><dt>[ ]</dt><dd>mark a range</dd><dt>Home End</dt><dd>first recording, live</dd><dt>1 … 9</dt><dd>camera</dd></dl>
  <form method="dialog"><button>Close</button></form>
</dialog>`;

class SudoApp extends HTMLElement {
    /** @type {any} */ state = null;
    /** @type {Session | null} */ session = null;
    camera = localStorage.getItem('camera');
    mode = 'idle';
    rate = 1;
    #opening = false; #events = null; #timelineKey = ''; #timelineTimer = 0; #ready; #readyDone;

    connectedCallback() {
        this.#ready = new Promise(resolve => { this.#readyDone = resolve; });
        this.append(template.content.cloneNode(true));
        this.picture = this.querySelector('sudo-picture');
        this.band = this.querySelector('sudo-band');
        this.days = this.querySelector('sudo-days');
        for (const rate of RATES) {
            const button = document.createElement('button');
            button.textContent = `${String(rate).replace('-', '−')}×`;
            button.dataset.rate = String(rate);
            button.onclick = () => this.play(rate);
            this.$('rates').append(button);
        }
        this.$('camera').onchange = event => this.choose(event.target.value);
        this.$('login').onsubmit = event => { event.preventDefault(); this.unlock(); };
        this.$('lock').onclick = () => this.lock();
        this.$('live').onclick = () => this.live();
        this.$('play').onclick = () => this.mode === 'pause' || this.mode === 'idle' ? this.play(1) : this.pause();
        this.$('back').onclick = () => this.step(-1);
        this.$('forward').onclick = () => this.step(1);
        this.$('first').onclick = () => this.first();
        this.$('mark').onclick = () => this.mark();
        this.$('export').onclick = () => this.export();
        this.$('help').onclick = () => this.$('keys').showModal();
        this.band.addEventListener('scrub', event => this.#scrub(event.detail));
        this.band.addEventListener('release', event => this.seek(this.camera, event.detail));
        this.band.addEventListener('pick', event => this.seek(this.camera, event.detail, {then: this.mode === 'pause' ? 'pause' : 'play'}));
        this.band.addEventListener('moved', () => this.#loadTimeline());
        this.days.addEventListener('day', event => this.seek(this.camera, event.detail));
        addEventListener('keydown', event => this.#key(event));
        this.#listen();
        setInterval(() => this.#loadTimeline(true), 10_000);
        this.#contract();
    }

    $(id) { return /** @type {any} */ (this.querySelector('#' + id)); }

    // MARK: state

    #listen() {
        this.#events?.close();
        this.#events = new EventSource('/api/v1/events');
        this.#events.addEventListener('state', event => this.#take(JSON.parse(event.data)));
        this.#events.onerror = () => { this.$('trouble').textContent = 'The recorder does not answer; trying again.'; };
    }

    #take(state) {
        const wasIn = this.state?.loggedIn;
        this.state = state;
        const select = this.$('camera');
        const names = state.cameras.map((camera, index) => camera.name ?? `Camera ${index + 1}`);
        if (select.dataset.names !== names.join('\n')) {
            select.dataset.names = names.join('\n');
            select.replaceChildren(...state.cameras.map((camera, index) => new Option(names[index], camera.id)));
        }
        if (!state.cameras.some(camera => camera.id === this.camera)) this.camera = state.cameras[0]?.id ?? null;
        if (this.camera) select.value = this.camera;
        const ill = state.cameras.filter(camera => camera.state === 'offline' || camera.state === 'failing')
            .map(camera => `${names[state.cameras.indexOf(camera)]} ${camera.state} since ${fullText(camera.since).slice(0, -11)}`);
        this.$('trouble').textContent = [...state.alarms, ...ill].join(' · ');
        this.$('login').hidden = state.loggedIn;
        this.$('lock').hidden = !state.loggedIn;
        this.toggleAttribute('locked', !state.loggedIn);
        if (!state.loggedIn) {
            this.session?.close();
            this.picture.clear();
            if (wasIn !== false) this.$('passphrase').focus();
        } else if (!this.session) this.#open();
        this.#loadTimeline();
        this.#readyDone();
    }

    async unlock() {
        const field = this.$('passphrase');
        this.$('unlock').disabled = true;
        this.$('login-error').textContent = '';
        try {
            const response = await fetch('/api/v1/unlock', {method: 'POST', headers: {'content-type': 'text/plain'}, body: field.value});
            if (response.ok) { field.value = ''; this.#listen(); return; }
            this.$('login-error').textContent = (await response.json()).detail;
            field.select();
        } catch {
            this.$('login-error').textContent = 'The recorder does not answer.';
        } finally {
            this.$('unlock').disabled = false;
        }
    }

    async lock() {
        this.session?.close();
        this.picture.clear();
        await fetch('/api/v1/lock', {method: 'POST'});
        this.#listen();
    }

    // MARK: session

    async #open() {
        if (this.#opening || this.session) return;
        if (!canPlayH264()) {
            this.$('unsupported').textContent = 'This browser has no H.264 for WebRTC, so it cannot show the picture. Chromium, Chrome, Edge and Safari can; in Firefox the OpenH264 plug-in must be installed and switched on. Export works here.';
            this.$('unsupported').hidden = false;
            return;
        }
        this.#opening = true;
        const session = new Session(this.picture.video);
        session.onframe = () => this.#frame(session.shown);
        session.onmessage = message => this.#message(message);
        session.onclosed = () => {
            if (this.session !== session) return;
            this.session = null;
            if (this.state?.loggedIn) setTimeout(() => this.#open(), 1000);
        };
        try {
            await session.open();
            this.session = session;
            this.$('notice').hidden = true;
            if (this.camera) this.live();
        } catch (error) {
            session.close();
            this.#notice(error?.detail ?? 'No connection to the recorder; trying again.');
            setTimeout(() => this.#open(), 2000);
        } finally {
            this.#opening = false;
        }
    }

    #frame(shown) {
        this.picture.release();
        this.band.busy = false;
        this.picture.stamp(shown.time, `${this.mode === 'live' ? 'live' : this.mode === 'pause' ? 'paused' : `${this.rate}×`} · ${shown.height}p`);
        this.band.follow(shown.time);
        if (Math.abs(this.band.model.centre - (this.band.timeline?.middle ?? 0)) > this.band.model.span / 3) this.#loadTimeline();
    }

    #message(message) {
        if (message.type === 'clock') {
            this.mode = message.mode;
            this.rate = message.rate || this.rate;
            this.$('play').textContent = this.mode === 'pause' ? '▶' : '❚❚';
            this.$('live').classList.toggle('on', this.mode === 'live');
            for (const button of this.$('rates').children) {
                button.classList.toggle('on', this.mode === 'play' && Number(button.dataset.rate) === message.rate);
            }
            this.$('notice').hidden = true;
        } else if (message.type === 'gap') {
            this.band.busy = false;
            this.#gap(message);
        } else if (message.type === 'end') {
            this.#notice(message.at === 'first' ? 'The first recording begins here.' : 'Nothing is recorded after this.');
        } else if (message.type === 'error') {
            this.band.busy = false;
            this.#notice(message.message);
        }
    }

    #notice(text) {
        this.$('notice').replaceChildren(text);
        this.$('notice').hidden = false;
    }

    #gap(gap) {
        const notice = this.$('notice');
        const edge = (time, text) => {
            const button = document.createElement('button');
            button.textContent = text;
            button.onclick = () => this.seek(this.camera, time);
            return button;
        };
        notice.replaceChildren(`Nothing here: ${gapWords[gap.reason] ?? gap.reason}. `);
        if (gap.from) notice.append(edge(gap.from - 1000, '← before'));
        if (gap.to) notice.append(edge(gap.to, 'after →'));
        notice.hidden = false;
    }

    // MARK: commands

    choose(camera) {
        this.camera = camera;
        localStorage.setItem('camera', camera);
        this.band.timeline = null;
        this.#loadTimeline();
        if (this.mode === 'live' || !this.session?.shown) this.live();
        else this.seek(camera, this.band.model.centre, {then: this.mode === 'pause' ? 'pause' : 'play'});
    }

    seek(camera, time, options = {}) {
        if (!this.session?.control) return Promise.resolve({error: {code: 'no-session'}});
        if (camera !== this.camera) { this.camera = camera; this.$('camera').value = camera; }
        this.picture.hold();
        this.band.busy = true;
        this.band.follow(time);
        return this.session.control.seek(camera, time, options).then(result => {
            if (result.gap || result.error) this.picture.release();
            return result;
        });
    }
    #scrub(time) {
        this.#loadTimeline();
        if (!this.session?.control || !this.camera) return;
        this.picture.hold();
        this.session.control.drag(this.camera, time);
    }
    play(rate) { this.session?.control?.play(rate); }
    pause() { this.session?.control?.pause(); }
    step(frames) { return this.session?.control?.step(frames); }
    live(camera = this.camera) {
        if (camera) this.camera = camera;
        return this.session?.control?.live(camera ?? undefined);
    }
    first() {
        const first = this.state?.cameras.find(camera => camera.id === this.camera)?.first;
        if (first) this.seek(this.camera, first);
    }
    mark(side) {
        const now = this.session?.shown?.time ?? this.band.model.centre;
        const marks = this.band.marks;
        if (side === 'from' || (!side && (marks.from === null || marks.to !== null))) this.band.marks = {from: now, to: null};
        else if (marks.from !== null) this.band.marks = {from: Math.min(marks.from, now), to: Math.max(marks.from, now)};
        this.$('export').disabled = this.band.marks.to === null;
        this.band.draw();
    }
    export() {
        const {from, to} = this.band.marks;
        const link = document.createElement('a');
        link.href = `/api/v1/cameras/${this.camera}/export?from=${Math.round(from)}&to=${Math.round(to)}`;
        link.download = '';
        link.click();
    }

    #key(event) {
        if (event.target.matches('input, select') || event.ctrlKey || event.metaKey || event.altKey) return;
        const move = by => this.seek(this.camera, this.band.model.centre + by, {then: this.mode === 'pause' ? 'pause' : 'play'});
        const isPaused = this.mode === 'pause';
        const actions = {
            ' ': () => isPaused ? this.play(1) : this.pause(),
            ArrowLeft: () => event.shiftKey ? move(-MINUTE) : isPaused ? this.step(-1) : move(-10 * SECOND),
            ArrowRight: () => event.shiftKey ? move(MINUTE) : isPaused ? this.step(1) : move(10 * SECOND),
            j: () => this.play(this.rate < 0 && !isPaused ? Math.max(-16, this.rate * 2) : -1),
            k: () => this.pause(),
            l: () => this.play(this.rate > 0 && this.mode === 'play' ? Math.min(16, this.rate * 2) : 1),
            '[': () => this.mark('from'), ']': () => this.mark('to'),
            Home: () => this.first(), End: () => this.live(), '?': () => this.$('keys').showModal(),
        };
        const digit = Number(event.key);
        const action = actions[event.key] ?? (digit >= 1 && this.state?.cameras[digit - 1] && (() => this.choose(this.state.cameras[digit - 1].id)));
        if (!action || (event.key === ' ' && event.target.matches('button'))) return;
        event.preventDefault();
        action();
    }

    // MARK: time line

    #loadTimeline(again = false) {
        if (!this.camera) return;
        const {centre, span, width} = this.band.model;
        const key = `${this.camera} ${Math.round(centre / span * 4)} ${Math.round(Math.log2(span) * 4)}`;
        if (key === this.#timelineKey && !again) return;
        clearTimeout(this.#timelineTimer);
        this.#timelineTimer = setTimeout(() => this.#fetchTimeline(key, centre, span, width), 40);
    }

    async #fetchTimeline(key, centre, span, width) {
        this.#timelineKey = key;
        const camera = this.camera;
        const get = async (from, to, pixels) => {
            const response = await fetch(`/api/v1/cameras/${camera}/timeline?from=${Math.round(from)}&to=${Math.round(to)}&pixels=${Math.max(1, Math.round(pixels))}`);
            return response.ok ? response.json() : null;
        };
        try {
            // Three screens, so that a drag does not run into the unknown.
            const timeline = await get(centre - 1.5 * span, centre + 1.5 * span, Math.min(10_000, width * 3));
            if (timeline && camera === this.camera) {
                this.band.timeline = {...timeline, middle: centre};
                this.band.draw();
            }
            const now = Date.now() * 1000;
            if (this.daysOf !== camera || now - (this.daysAt ?? 0) > 10 * MINUTE) {
                this.daysOf = camera;
                this.daysAt = now;
                const month = await get(now - 31 * DAY, now + HOUR, 744);
                if (month) this.days.show(month);
            }
        } catch {
            this.#timelineKey = '';
        }
    }

    /** What automation may hold on to (docs/reference/page-automation.md). */
    #contract() {
        const app = this;
        globalThis.sudocam = {
            ready: this.#ready,
            state: () => app.state,
            shown: () => app.session?.shown ?? null,
            seek: (camera, time, options) => app.seek(camera, time, options),
            drag: (camera, time) => { app.picture.hold(); app.session?.control?.drag(camera, time); },
            play: rate => app.play(rate), pause: () => app.pause(), step: frames => app.step(frames),
            live: camera => app.live(camera), lock: () => app.lock(),
            get messages() { return app.session?.control?.messages ?? []; },
            get mode() { return app.mode; },
            get video() { return app.picture.video; },
            get picture() { return app.picture.onScreen; },
        };
    }
}

customElements.define('sudo-app', SudoApp);
