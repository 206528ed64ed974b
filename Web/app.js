// <sudo-app>: puts picture, controls and band together over one session; everything else is told by server-sent events.
import './band.js';
import './controls.js';
import './days.js';
import './picture.js';
import {BandModel, clockText, fullText, gapWords, shortText, spanText, startOfDay, SECOND} from './band-model.js';
import {commandFor} from './keys.js';
import {remoteText, remotesNote} from './remotes.js';
import {Session, canPlayH264} from './session.js';
import {TimelineLoader} from './timeline.js';
import {Witness} from './witness.js';

const UNSUPPORTED = 'This browser has no H.264 for WebRTC, so it cannot show the picture. Chromium, Chrome, Edge and Safari can; '
    + 'in Firefox the OpenH264 plug-in must be installed and switched on. The time line and export work here.';
/** What a look at the ledger can find, in plain words. */
const DOUBTS = {
    rollback: 'The recorder shows an older ledger than this browser has seen: a copy of the vault was put back, or what was recorded since is gone.',
    fork: 'The recorder shows another past than this browser has seen: its ledger was rewritten.',
    key: 'The recorder signs with another key than this browser has seen: it is another one, or its ledger was begun anew.',
    otherVault: 'This address shows another vault than this browser has seen here: it is another recorder or disk, or its ledger was begun anew.',
    forged: 'The recorder\u2019s ledger is not signed rightly.',
};
const WATCH_EVERY = 10 * 60_000, WATCH_AGAIN = 5 * 60_000, WATCH_PATIENCE = 20_000;
/** Nearer than this to now, letting go of the band means live. */
const LIVE_EDGE = 2 * SECOND;
const template = document.createElement('template');
template.innerHTML = `
<header>
  <h1>SudoCam</h1>
  <select id="camera" aria-label="Camera"></select>
  <span id="status" role="status"></span>
  <button id="lock" title="Lock: nobody sees footage until the passphrase is given" hidden>
    <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M7 10V7a5 5 0 0 1 10 0v3h2v11H5V10zm2 0h6V7a3 3 0 0 0-6 0z"/></svg>Lock</button>
  <button id="live" title="Live (End)"><i></i>Live</button>
</header>
<p id="trouble" role="status" hidden></p>
<p id="remotes" role="status" hidden></p>
<p id="doubt" role="alert" hidden><span></span> <button>Accept what it shows now</button></p>
<main>
  <sudo-picture></sudo-picture>
  <div id="notice" role="status" hidden></div>
  <div id="unsupported" role="alert" hidden></div>
  <form id="login" hidden>
    <label for="passphrase"><b>The recordings are sealed.</b> Cameras go on recording. The passphrase opens what they saw.</label>
    <input id="passphrase" type="password" autocomplete="current-password" placeholder="Passphrase" required>
    <button id="unlock">Unlock</button>
    <p id="login-error" role="alert"></p>
  </form>
</main>
<sudo-controls></sudo-controls>
<sudo-band></sudo-band>
<sudo-days></sudo-days>
<sudo-help></sudo-help>`;

/** The camera last looked at; private windows may refuse to remember. */
const memory = {
    get storage() { try { return localStorage; } catch { return null; } },
    get camera() { try { return localStorage.getItem('camera'); } catch { return null; } },
    set camera(id) { try { localStorage.setItem('camera', id ?? ''); } catch { /* then the first camera it is */ } },
};

class SudoApp extends HTMLElement {
    /** @type {any} */ state = null;
    /** @type {Session | null} */ session = null;
    camera = memory.camera;
    mode = 'idle';
    rate = 1;
    #opening = /** @type {Session | null} */ (null); #retry = 0; #failures = 0; #events = null;
    #ready; #readyDone; #timeline; #before = /** @type {string | null} */ (null);
    /** whose picture is on the screen */ #shownCamera = /** @type {string | null} */ (null);
    #witness = new Witness(memory.storage); #watching = 0; #isDoubtful = false;
    /** whether what was asked for last is to stand still once it is there */ #asksStill = false;

    connectedCallback() {
        this.#ready = new Promise(resolve => { this.#readyDone = resolve; });
        this.append(template.content.cloneNode(true));
        this.picture = this.querySelector('sudo-picture');
        this.band = this.querySelector('sudo-band');
        this.days = this.querySelector('sudo-days');
        this.controls = this.querySelector('sudo-controls');
        this.help = this.querySelector('sudo-help');
        this.$('camera').onchange = event => this.choose(event.target.value);
        this.$('login').onsubmit = event => { event.preventDefault(); this.unlock(); };
        this.$('lock').onclick = () => this.lock();
        this.$('live').onclick = () => this.live();
        this.controls.addEventListener('command', event => this.#do(event.detail));
        this.band.addEventListener('scrub', event => this.#scrub(event.detail));
        this.band.addEventListener('release', event => this.#release(event.detail));
        this.band.addEventListener('pick', event => this.#release(event.detail));
        this.band.addEventListener('moved', () => this.#timeline.load());
        this.days.addEventListener('day', event => this.#go(event.detail.first ?? event.detail.day));
        addEventListener('keydown', event => this.#key(event));
        this.#timeline = new TimelineLoader(() => ({...this.band.model, now: this.band.now}));
        this.#timeline.onband = timeline => { this.band.timeline = timeline; this.band.draw(); };
        this.#timeline.onmonth = month => { this.days.show(month, this.band.now); this.days.point(this.band.model.centre); };
        this.$('doubt').lastElementChild.onclick = () => { this.#witness.accept(this.state.vault); this.#watch(); };
        this.#listen();
        this.#showControls();
        this.#contract();
    }

    $(id) { return /** @type {any} */ (this.querySelector('#' + id)); }

    // MARK: state

    #listen() {
        this.#events?.close();
        const events = this.#events = new EventSource('/api/v1/events');
        events.addEventListener('state', event => this.#take(JSON.parse(event.data)));
        events.onerror = () => {
            this.#trouble(['The recorder does not answer; trying again.']);
            // An answer that is no stream ends an EventSource for good.
            if (events.readyState === EventSource.CLOSED) setTimeout(() => { if (this.#events === events) this.#listen(); }, 2000);
        };
    }

    #take(state) {
        const wasIn = this.state?.loggedIn;
        this.state = state;
        this.band.offset = state.now - Date.now() * 1000;
        const select = this.$('camera');
        const names = state.cameras.map((camera, index) => camera.name ?? `Camera ${index + 1}`);
        const listed = state.cameras.map((camera, index) => `${camera.id} ${names[index]}`).join('\n');
        if (select.dataset.listed !== listed) {
            select.dataset.listed = listed;
            select.replaceChildren(...state.cameras.map((camera, index) => new Option(names[index], camera.id)));
        }
        const isGone = !state.cameras.some(camera => camera.id === this.camera);
        if (isGone) { this.camera = state.cameras[0]?.id ?? null; this.band.timeline = null; }
        if (this.camera) select.value = this.camera;
        this.#trouble([...state.alarms, ...state.cameras.filter(camera => camera.state === 'offline' || camera.state === 'failing')
            .map(camera => `${names[state.cameras.indexOf(camera)]} has been ${camera.state} since ${shortText(camera.since)}${camera.reason ? `: ${gapWords[camera.reason] ?? camera.reason}` : ''}`),
            ...state.cameras.filter(camera => camera.frozenSince)
                .map(camera => `The picture of ${names[state.cameras.indexOf(camera)]} has not changed since ${shortText(camera.frozenSince)}`)]);
        this.#showRemotes(state.remotes ?? []);
        this.$('login').hidden = state.loggedIn;
        this.$('lock').hidden = !state.loggedIn;
        this.toggleAttribute('locked', !state.loggedIn);
        if (!state.loggedIn) {
            this.#shut();
            if (wasIn !== false) this.$('passphrase').focus();
        } else {
            // The camera looked at was taken out of the configuration: on with another one.
            if (isGone && this.session) this.#resume();
            else this.#open();
        }
        if (state.verifiedSince) this.help.note('verified', `Everything kept was read and compared with its name since ${fullText(state.verifiedSince)}.`);
        this.#showStatus();
        this.#showControls();
        this.#timeline.choose(this.camera);
        this.#readyDone();
        if (!this.#watching) this.#watch();
    }

    /** Looks whether the ledger continues what this browser saw of it before. */
    async #watch() {
        clearTimeout(this.#watching);
        this.#watching = setTimeout(() => this.#watch(), WATCH_EVERY);
        // Outside of a secure context, or without Ed25519, a browser cannot check.
        if (!globalThis.crypto?.subtle) return;
        try {
            const {verdict, size, since} = await this.#witness.look(this.state.vault, async from => {
                const response = await fetch(`/api/v1/ledger?from=${from}`, {signal: AbortSignal.timeout(WATCH_PATIENCE)});
                if (!response.ok) throw new Error(`The recorder answered ${response.status}.`);
                return response.json();
            });
            this.#isDoubtful = verdict in DOUBTS;
            this.#doubt(DOUBTS[verdict] ?? '');
            if (!this.#isDoubtful) this.help.note('ledger', `This browser watches that nothing is taken out of the ledger: ${size} entries, since ${fullText(since * 1000)}.`);
        } catch {
            // Once says little, so it is asked again sooner than usual; what was found before still holds.
            clearTimeout(this.#watching);
            this.#watching = setTimeout(() => this.#watch(), WATCH_AGAIN);
            const since = this.#witness.miss(this.state.vault);
            if (since !== null && !this.#isDoubtful) this.#doubt(`This browser could not check the ledger since ${fullText(since * 1000)}.`);
        }
    }

    #doubt(text) {
        const [words, accept] = this.$('doubt').children;
        words.textContent = text;
        accept.hidden = !this.#isDoubtful;
        this.$('doubt').hidden = !text;
    }

    #trouble(lines) {
        this.$('trouble').textContent = lines.join(' · ');
        this.$('trouble').hidden = !lines.length;
    }

    #showRemotes(remotes) {
        const lines = remotes.map(remote => remoteText(remote, this.state.now)).filter(line => line);
        this.$('remotes').textContent = lines.join(' · ');
        this.$('remotes').hidden = !lines.length;
        const note = remotesNote(remotes);
        if (note) this.help.note('remotes', note);
    }

    get #present() { return this.state?.cameras.find(camera => camera.id === this.camera) ?? null; }

    #showStatus() {
        const camera = this.#present;
        this.$('live').hidden = !this.state?.loggedIn || camera?.state === 'archived';
        this.$('status').dataset.state = camera?.state ?? '';
        this.$('status').textContent = camera ? camera.state : this.state ? 'no camera yet' : '';
    }

    #showControls() {
        const {from, to} = this.band.marks;
        this.controls.show({
            mode: this.mode, rate: this.rate, canSeek: this.session !== null, marks: this.band.marks,
            span: to === null ? '' : spanText(to - from),
        });
        this.$('live').setAttribute('aria-pressed', String(this.mode === 'live'));
    }

    async unlock() {
        const field = this.$('passphrase'), button = this.$('unlock');
        let wait = 0;
        button.disabled = true;
        this.$('login-error').textContent = '';
        try {
            const response = await fetch('/api/v1/unlock', {method: 'POST', headers: {'content-type': 'text/plain'}, body: field.value});
            if (response.ok) { field.value = ''; this.#listen(); return; }
            const problem = await response.json().catch(() => ({}));
            this.$('login-error').textContent = problem.detail ?? `The recorder answered ${response.status}.`;
            if (response.status === 429) wait = Math.min(600, Number(response.headers.get('retry-after')) || 0);
            field.select();
        } catch {
            this.$('login-error').textContent = 'The recorder does not answer.';
        } finally {
            if (wait) setTimeout(() => { button.disabled = false; }, wait * 1000); else button.disabled = false;
        }
    }

    async lock() {
        this.#shut();
        await fetch('/api/v1/lock', {method: 'POST'}).catch(() => {});
        this.#listen();
    }

    // MARK: session

    /** Closes the session and leaves nothing of the footage on the page. */
    #shut() {
        clearTimeout(this.#retry);
        const sessions = [this.session, this.#opening];
        this.session = this.#opening = null;
        for (const session of sessions) session?.close();
        this.picture.clear();
        this.#shownCamera = null;
        this.band.busy = false;
        this.mode = 'idle';
        this.$('notice').hidden = true;
    }

    async #open() {
        if (this.#opening || this.session) return;
        if (!canPlayH264()) return this.#unsupported(UNSUPPORTED);
        clearTimeout(this.#retry);
        const session = this.#opening = new Session(this.picture.video);
        session.onframe = () => this.#frame(session.shown);
        session.onmessage = message => this.#message(message);
        // A lost connection does not take the picture away.
        session.onclosing = () => { if (this.session === session) this.picture.hold(); };
        session.onclosed = () => {
            if (this.session !== session) return;
            this.session = null;
            this.#showControls();
            this.#again();
        };
        try {
            await session.open();
            if (this.#opening !== session) return;
            this.session = session;
            this.#failures = 0;
            this.$('notice').hidden = true;
            if (!session.hasVideo) this.#unsupported(UNSUPPORTED);
            else this.#resume();
        } catch (error) {
            session.close();
            if (this.#opening !== session) return;
            // 401: the log-in has run out, and the change stream does not know yet.
            if (error?.code === 'not-logged-in') this.#listen();
            this.#notice(error?.detail ?? error?.message ?? 'No connection to the recorder; trying again.');
            this.#again();
        } finally {
            if (this.#opening === session) this.#opening = null;
            this.#showControls();
        }
    }

    #again() {
        clearTimeout(this.#retry);
        this.#retry = setTimeout(() => { if (this.state?.loggedIn) this.#open(); }, Math.min(10_000, 500 * 2 ** this.#failures++));
    }

    /** A new session begins where the old one was. */
    #resume() {
        if (!this.camera) return;
        if (this.mode === 'pause') this.seek(this.camera, this.band.model.centre);
        else if (this.mode === 'play') this.seek(this.camera, this.band.model.centre, {then: 'play'});
        else this.live();
    }

    #unsupported(text) {
        this.$('unsupported').textContent = text;
        this.$('unsupported').hidden = false;
    }

    #frame(shown) {
        // One that was under way when another camera was asked for must not appear under that one's name.
        if (shown.camera !== this.camera) return;
        this.#shownCamera = shown.camera;
        this.picture.release();
        this.band.busy = false;
        const what = this.mode === 'live' ? 'live' : this.mode === 'pause' ? 'paused' : `${String(this.rate).replace('-', '−')}×`;
        this.picture.stamp(shown.time, `${what} · ${shown.height}p`);
        this.band.follow(shown.time);
        // What is being recorded right now need not wait for the next fetch.
        const last = this.band.timeline?.recorded.at(-1);
        if (this.mode === 'live' && last && shown.time > last[1] && shown.time - last[1] < 30 * SECOND) last[1] = shown.time;
        this.days.point(shown.time);
        this.#timeline.load();
    }

    #message(message) {
        if (message.type === 'clock') {
            // A picture that was lost is sent again, and all before it back to the key frame: nobody wants to see those.
            const shown = this.session?.shown;
            if (message.mode === 'pause' && message.id === shown?.seekId && message.target !== shown?.rtp) this.picture.hold();
            this.mode = message.mode;
            this.rate = message.rate || this.rate;
            this.$('notice').hidden = true;
            this.#showControls();
        } else if (message.type === 'gap') {
            if (message.id < this.session?.control?.latestID) return;
            // Playing goes on after the gap; then the next picture ends the waiting.
            if (this.#asksStill || message.to === undefined) this.#settled();
            if (this.#asksStill) this.mode = 'pause';
            // Another camera's picture must not stand under this one's name.
            if (this.#shownCamera !== this.camera) this.picture.blank();
            this.#gap(message);
            this.#showControls();
        } else if (message.type === 'end') {
            this.#settled();
            this.mode = 'pause';
            this.#notice(message.at === 'first' ? 'The first recording begins here.' : 'Nothing is recorded after this.');
            this.#showControls();
        } else if (message.type === 'error') {
            this.#settled();
            this.#notice(message.message);
        }
    }

    /** No new picture will come. */
    #settled() {
        this.session?.expectNothing();
        this.band.busy = false;
        this.picture.release();
    }

    #notice(...parts) {
        this.$('notice').replaceChildren(...parts.map(part => {
            if (typeof part !== 'string') return part;
            const words = document.createElement('span');
            words.textContent = part;
            return words;
        }));
        this.$('notice').hidden = false;
    }

    #gap({from, to, reason}) {
        const edge = (time, text) => {
            const button = document.createElement('button');
            button.textContent = text;
            button.title = fullText(time);
            button.onclick = () => this.#go(time);
            return button;
        };
        const today = startOfDay(this.band.model.centre);
        const when = time => startOfDay(time) === today ? clockText(time, true) : shortText(time);
        const words = from || to || reason !== 'before-first' ? gapWords[reason] ?? reason : 'nothing is recorded of this camera yet';
        const parts = [`${words.charAt(0).toUpperCase()}${words.slice(1)}${from && to ? ` for ${spanText(to - from)}` : ''}`];
        if (this.session && from) parts.push(edge(from - 1000, `← ${when(from)}`));
        if (this.session && to) parts.push(edge(to, `${when(to)} →`));
        this.#notice(...parts);
    }

    // MARK: commands

    choose(camera) {
        this.#use(camera);
        if (this.mode === 'live' || !this.session?.shown) this.live();
        else this.#go(this.band.model.centre);
    }

    #use(camera) {
        if (camera === this.camera) return;
        this.camera = memory.camera = camera;
        this.$('camera').value = camera;
        this.band.timeline = null;
        this.#showStatus();
        this.#timeline.choose(camera);
    }

    /** Sends a request for another picture; the present one stays until that is there. */
    #ask(send, isStill) {
        this.#asksStill = isStill;
        this.picture.hold();
        this.band.busy = true;
        const answer = send(this.session.control);
        this.session.expectNewest();
        return answer;
    }

    seek(camera, time, options = {}) {
        if (!this.session?.control) return Promise.resolve({error: {code: 'no-session', message: 'There is no session.'}});
        this.#use(camera);
        this.band.follow(time);
        this.#timeline.load();
        return this.#ask(control => control.seek(camera, time, options), options.then !== 'play');
    }

    /** To an instant, and on as before. @param {number} time */
    #go(time, mode = this.mode) {
        if (!this.camera) return;
        if (this.session?.control) { this.seek(this.camera, time, {then: mode === 'pause' ? 'pause' : 'play'}); return; }
        this.band.follow(Math.min(time, this.band.now));
        this.#timeline.load();
        const found = BandModel.lookUp(this.band.timeline, time);
        if (found?.gap) this.#gap(found.gap); else this.$('notice').hidden = true;
    }

    drag(camera, time) {
        if (this.session?.control) this.#ask(control => control.drag(camera, time), true);
    }
    #scrub(time) {
        this.#before ??= this.mode;
        this.#timeline.load();
        this.days.point(time);
        if (this.camera) this.drag(this.camera, time);
    }
    #release(time) {
        const mode = this.#before ?? this.mode;
        this.#before = null;
        if (time > this.band.now - LIVE_EDGE && this.#present?.state === 'recording') this.live(); else this.#go(time, mode);
    }

    play(rate) { this.#asksStill = false; this.session?.control?.play(rate); }
    pause() { this.#asksStill = true; this.session?.control?.pause(); }
    step(frames) {
        if (!this.session?.control) return Promise.resolve({error: {code: 'no-session', message: 'There is no session.'}});
        return frames ? this.#ask(control => control.step(frames), true) : this.session.control.step(frames);
    }
    live(camera = this.camera) {
        if (camera) this.#use(camera);
        if (!this.session?.control) return Promise.resolve({error: {code: 'no-session', message: 'There is no session.'}});
        // Of a camera that nobody records here, the end of its footage is the nearest there is.
        if (this.#present?.state === 'archived' && this.#present.last) return this.seek(this.#present.id, this.#present.last - SECOND);
        return this.#ask(control => control.live(camera ?? undefined), false);
    }

    #mark(side) {
        const now = this.session?.shown?.time ?? this.band.model.centre, {from, to} = this.band.marks;
        const isBegin = side === 'from' || (side !== 'to' && (from === null || to !== null));
        if (isBegin) this.band.marks = {from: now, to: null};
        else if (from !== null && from !== now) this.band.marks = {from: Math.min(from, now), to: Math.max(from, now)};
        this.band.draw();
        this.#showControls();
    }

    #export() {
        const {from, to} = this.band.marks;
        if (to === null) return;
        const link = document.createElement('a');
        link.href = `/api/v1/cameras/${this.camera}/export?from=${Math.round(from)}&to=${Math.round(to)}`;
        link.download = '';
        link.click();
    }

    /** @param {{name: string, by?: number, rate?: number, index?: number}} command */
    #do({name, by = 0, rate = 1, index = 0}) {
        const isMoving = this.mode === 'play' || this.mode === 'live';
        switch (name) {
        case 'play': return isMoving ? this.pause() : this.play(1);
        case 'pause': return this.pause();
        case 'rate': return this.play(rate);
        case 'back': return this.step(-1);
        case 'forward': return this.step(1);
        case 'step': return this.step(by);
        case 'move': return this.#go(Math.min(this.band.model.centre + by, this.band.now));
        case 'first': return this.#present?.first && this.#go(this.#present.first);
        case 'live': return this.live();
        case 'in': return this.band.zoom(0.5);
        case 'out': return this.band.zoom(2);
        case 'mark': case 'from': case 'to': return this.#mark(name);
        case 'export': return this.#export();
        case 'help': return this.help.open();
        case 'camera': return this.state?.cameras[index] && this.choose(this.state.cameras[index].id);
        }
    }

    #key(event) {
        const target = /** @type {Element} */ (event.target);
        if (this.help.isOpen || event.ctrlKey || event.metaKey || event.altKey || target.matches('input, select')) return;
        const command = commandFor(event, this);
        if (!command || (event.key === ' ' && target.matches('button'))) return;
        event.preventDefault();
        this.#do(command);
    }

    /** What automation may hold on to. */
    #contract() {
        const app = this;
        globalThis.sudocam = {
            ready: this.#ready,
            state: () => app.state,
            shown: () => app.session?.shown ?? null,
            seek: (camera, time, options) => app.seek(camera, time, options),
            drag: (camera, time) => app.drag(camera, time),
            play: rate => app.play(rate), pause: () => app.pause(), step: frames => app.step(frames),
            live: camera => app.live(camera), lock: () => app.lock(),
            /** The newest request's; `shown().seekId` says whose picture is there. */
            get latestID() { return app.session?.control?.latestID ?? 0; },
            get messages() { return app.session?.control?.messages ?? []; },
            get mode() { return app.mode; },
            get video() { return app.picture.video; },
            get picture() { return app.picture.onScreen; },
        };
    }
}

customElements.define('sudo-app', SudoApp);
