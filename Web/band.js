// <sudo-band>: one canvas that answers finger, mouse, wheel and keys. The playhead stands still, time moves under it.
// Events: scrub (time; the hand moves), release (time; it let go), pick (time; a tap), moved (another stretch is shown).
import {BandModel, clockText, eventWords, fullText, gapWords, tickText, MINUTE, SECOND} from './band-model.js';

const TOP = 26, FOOT = 16, CLICK = 4;

export class SudoBand extends HTMLElement {
    model = new BandModel(Date.now() * 1000);
    /** @type {{recorded: number[][], gaps: {from: number, to: number, reason: string}[], events?: {from: number, to: number, label: string}[], from: number, to: number} | null} */
    timeline = null;
    /** marked range for export */
    marks = {from: null, to: null};
    /** µs the recorder's clock is ahead of this browser's */
    offset = 0;
    isDragging = false;
    #canvas = document.createElement('canvas');
    #pointers = new Map();
    #moved = 0; #wasPinch = false; #velocity = 0; #lastMove = 0; #busySince = 0; #frame = 0; #wheelEnd = 0; #hover = null; #pointed = /** @type {any} */ (null); #spoken = 0;
    #colours = {}; #isStill = matchMedia('(prefers-reduced-motion: reduce)');

    connectedCallback() {
        this.append(this.#canvas);
        this.tabIndex = 0;
        this.setAttribute('role', 'slider');
        this.setAttribute('aria-label', 'Time');
        this.setAttribute('aria-orientation', 'horizontal');
        new ResizeObserver(() => { this.#readColours(); this.draw(); this.#emit('moved'); }).observe(this);
        this.addEventListener('pointerdown', event => this.#down(event));
        this.addEventListener('pointermove', event => this.#move(event));
        for (const type of ['pointerup', 'pointercancel']) this.addEventListener(type, event => this.#up(event));
        this.addEventListener('pointerleave', () => { this.#hover = null; this.draw(); });
        this.addEventListener('wheel', event => this.#wheel(event), {passive: false});
        matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { this.#readColours(); this.draw(); });
    }

    get #bar() { return Math.max(16, this.clientHeight - TOP - FOOT); }
    get now() { return Date.now() * 1000 + this.offset; }

    /** The time on the screen; ignored while somebody drags. @param {number} time */
    follow(time) {
        if (this.isDragging) return;
        this.model.centre = time;
        this.draw();
    }
    /** A picture was asked for and is not there yet. */
    set busy(on) { this.#busySince = on ? (this.#busySince || performance.now()) : 0; this.draw(); }

    /** Shows `factor` times as much time around the playhead. @param {number} factor */
    zoom(factor) {
        this.model.zoom(factor, this.model.width / 2);
        this.draw();
        this.#emit('moved');
    }

    draw() {
        cancelAnimationFrame(this.#frame);
        this.#frame = requestAnimationFrame(() => this.#paint());
    }

    #emit(name, detail) { this.dispatchEvent(new CustomEvent(name, {detail, bubbles: true})); }

    // MARK: input

    #down(event) {
        if (event.button > 0) return;
        this.setPointerCapture(event.pointerId);
        this.#pointers.set(event.pointerId, event.offsetX);
        this.#hover = null;
        this.#velocity = 0;
        if (this.#pointers.size === 1) { this.#moved = 0; this.#wasPinch = false; }
    }

    #move(event) {
        const before = this.#pointers.get(event.pointerId);
        if (before === undefined) {
            this.#hover = event.pointerType === 'mouse' ? event.offsetX : null;
            this.#pointed = this.#hover === null ? null : this.#eventUnder(event);
            this.title = this.#pointed ? eventWords[this.#pointed.label] ?? this.#pointed.label : '';
            this.draw();
            return;
        }
        if (this.#pointers.size > 1) {
            const other = [...this.#pointers].find(([id]) => id !== event.pointerId)[1];
            const [old, now] = [Math.abs(before - other), Math.abs(event.offsetX - other)];
            this.#wasPinch = true;
            if (old > 4 && now > 4) this.model.zoom(old / now, (event.offsetX + other) / 2);
            this.#emit('moved');
        } else {
            const by = event.offsetX - before;
            this.#moved += Math.abs(by);
            if (this.#moved > CLICK) {
                this.isDragging = true;
                const passed = Math.max(1, event.timeStamp - this.#lastMove);
                this.#velocity = 0.6 * (by / passed) + 0.4 * this.#velocity;
                this.#pan(by);
            }
        }
        this.#lastMove = event.timeStamp;
        this.#pointers.set(event.pointerId, event.offsetX);
        this.draw();
    }

    // There is nothing to see in the future: the hand stops at now.
    #pan(pixels) {
        this.model.pan(pixels);
        if (this.model.centre > this.now) { this.model.centre = this.now; this.#velocity = 0; }
        this.#emit('scrub', this.model.centre);
    }

    #up(event) {
        if (!this.#pointers.delete(event.pointerId) || this.#pointers.size) return;
        if (!this.isDragging) {
            if (this.#wasPinch) this.#emit('moved');
            else if (event.type === 'pointerup') this.#emit('pick', this.#eventUnder(event)?.from ?? this.model.timeAt(event.offsetX));
            return;
        }
        const rested = this.#isStill.matches || event.timeStamp - this.#lastMove > 80;
        if (rested || Math.abs(this.#velocity) < 0.3) this.#settle(); else this.#fling(performance.now());
    }

    #fling(last) {
        requestAnimationFrame(now => {
            if (this.#pointers.size) return;
            const passed = Math.max(0, now - last);
            this.#pan(this.#velocity * passed);
            this.#velocity *= Math.exp(-passed / 180);
            this.draw();
            if (Math.abs(this.#velocity) > 0.05) this.#fling(now); else this.#settle();
        });
    }

    #settle() {
        this.#velocity = 0;
        this.isDragging = false;
        this.#emit('release', this.model.centre);
    }

    #wheel(event) {
        event.preventDefault();
        // Lines or pages instead of pixels, depending on browser and mouse.
        const unit = event.deltaMode === 1 ? 20 : event.deltaMode === 2 ? this.model.width : 1;
        if (event.ctrlKey || event.metaKey) {
            this.model.zoom(Math.exp(event.deltaY * unit / 300), event.offsetX);
            this.#emit('moved');
        } else {
            this.isDragging = true;
            this.#pan(-(event.deltaX || event.deltaY) * unit);
            clearTimeout(this.#wheelEnd);
            this.#wheelEnd = setTimeout(() => { if (!this.#pointers.size) this.#settle(); }, 160);
        }
        this.draw();
    }

    // MARK: picture

    #readColours() {
        const style = getComputedStyle(this);
        const names = ['empty', 'future', 'recorded', 'gap', 'gap-line', 'tick', 'mark', 'mark-edge'];
        this.#colours = Object.fromEntries(names.map(name => [name, style.getPropertyValue(`--band-${name}`).trim()]));
        for (const name of ['accent', 'text', 'text-soft', 'surface']) this.#colours[name] = style.getPropertyValue(`--${name}`).trim();
        this.#colours.font = `12px ${style.fontFamily}`;
    }

    #paint() {
        const {clientWidth: width, clientHeight: height} = this;
        if (!width) return;
        if (!this.#colours.font) this.#readColours();
        const scale = devicePixelRatio || 1, paint = this.#canvas.getContext('2d'), model = this.model;
        if (this.#canvas.width !== Math.round(width * scale) || this.#canvas.height !== Math.round(height * scale)) {
            this.#canvas.width = Math.round(width * scale);
            this.#canvas.height = Math.round(height * scale);
        }
        model.width = width;
        paint.setTransform(scale, 0, 0, scale, 0, 0);
        paint.clearRect(0, 0, width, height);
        paint.font = this.#colours.font;
        paint.textAlign = 'center';
        const bar = this.#bar;
        this.#paintStretches(paint, width, bar);
        this.#paintEvents(paint, width, bar);
        this.#paintTicks(paint, bar);
        this.#paintHead(paint, width, bar);
        if (this.#busySince) this.draw();
        // Spoken at most once a second; a playing camera would talk without end.
        if (performance.now() - this.#spoken > 1000 || this.isDragging) {
            this.#spoken = performance.now();
            this.setAttribute('aria-valuemin', String(Math.round(model.from / SECOND)));
            this.setAttribute('aria-valuemax', String(Math.round(Math.max(this.now, model.centre) / SECOND)));
            this.setAttribute('aria-valuenow', String(Math.round(model.centre / SECOND)));
            this.setAttribute('aria-valuetext', fullText(model.centre));
        }
    }

    #paintStretches(paint, width, bar) {
        const {model} = this, colours = this.#colours;
        const fill = (from, to, colour) => {
            const left = Math.max(0, model.xOf(from)), right = Math.min(width, model.xOf(to));
            if (right <= left) return null;
            paint.fillStyle = colour;
            paint.fillRect(left, TOP, Math.max(1, right - left), bar);
            return {left, width: right - left};
        };
        fill(model.from, model.to, colours.empty);
        fill(this.now, model.to, colours.future);
        for (const [from, to] of this.timeline?.recorded ?? []) fill(from, to, colours.recorded);
        for (const gap of this.timeline?.gaps ?? []) {
            const at = fill(gap.from, gap.to, colours.gap);
            if (!at) continue;
            paint.save();
            paint.beginPath();
            paint.rect(at.left, TOP, at.width, bar);
            paint.clip();
            if (at.width > 6) {
                // Hatched, so that it differs from footage by more than colour.
                paint.strokeStyle = colours['gap-line'];
                paint.lineWidth = 1;
                paint.beginPath();
                for (let x = Math.floor((at.left - bar) / 9) * 9; x < at.left + at.width; x += 9) {
                    paint.moveTo(x, TOP + bar);
                    paint.lineTo(x + bar, TOP);
                }
                paint.stroke();
            }
            const words = gapWords[gap.reason] ?? gap.reason, size = paint.measureText(words).width;
            if (at.width > size + 20) {
                const middle = at.left + at.width / 2;
                paint.fillStyle = colours.gap;
                paint.fillRect(middle - size / 2 - 6, TOP + bar / 2 - 10, size + 12, 20);
                paint.fillStyle = colours.text;
                paint.fillText(words, middle, TOP + bar / 2 + 4);
            }
            paint.restore();
        }
        if (this.marks.from !== null) {
            const to = this.marks.to ?? model.centre;
            fill(Math.min(this.marks.from, to), Math.max(this.marks.from, to), colours.mark);
            paint.fillStyle = colours['mark-edge'];
            for (const edge of [this.marks.from, this.marks.to]) if (edge !== null) paint.fillRect(model.xOf(edge) - 1, TOP - 4, 2, bar + 8);
        }
    }

    /** Marks lie below the bar: there a tap opens the instant at which the event began. @param {PointerEvent} event */
    #eventUnder(event) {
        return event.offsetY > TOP + this.#bar - 8 ? this.model.eventAt(this.timeline, event.offsetX) : null;
    }

    #paintEvents(paint, width, bar) {
        const y = TOP + bar + FOOT / 2;
        for (const event of this.timeline?.events ?? []) {
            const left = this.model.xOf(event.from), right = this.model.xOf(event.to);
            if (right < -5 || left > width + 5) continue;
            paint.fillStyle = this.#colours['mark-edge'];
            paint.fillRect(Math.max(0, left), y - 1, Math.max(1, Math.min(width, right) - Math.max(0, left)), 2);
            paint.beginPath();
            paint.arc(left, y, event === this.#pointed ? 5 : 4, 0, 2 * Math.PI);
            paint.fill();
        }
    }

    #paintTicks(paint, bar) {
        const {model} = this, colours = this.#colours;
        for (const tick of model.ticks()) {
            const x = Math.round(model.xOf(tick.time)), isStrong = tick.unit !== 'clock';
            paint.fillStyle = colours.tick;
            paint.fillRect(x, TOP - 5, 1, isStrong ? bar + 5 : 5);
            paint.fillStyle = colours[isStrong ? 'text' : 'text-soft'];
            paint.fillText(tickText(tick, model.span), x, 15);
        }
    }

    #paintHead(paint, width, bar) {
        const middle = Math.round(width / 2), colours = this.#colours;
        if (this.#hover !== null && Math.abs(this.#hover - middle) > 6) {
            const time = this.#pointed?.from ?? this.model.timeAt(this.#hover);
            const text = clockText(time, this.model.span < 180 * MINUTE) + (this.#pointed ? ` ${eventWords[this.#pointed.label] ?? this.#pointed.label}` : '');
            const size = paint.measureText(text).width + 12;
            const at = Math.min(width - size / 2, Math.max(size / 2, this.#hover));
            paint.fillStyle = colours['text-soft'];
            paint.fillRect(this.#hover, TOP, 1, bar);
            paint.fillStyle = colours.text;
            paint.fillRect(at - size / 2, 1, size, 20);
            paint.fillStyle = colours.surface;
            paint.fillText(text, at, 15);
        }
        paint.fillStyle = colours.surface;
        paint.fillRect(middle - 2, TOP - 4, 4, bar + 8);
        paint.fillStyle = colours.accent;
        paint.fillRect(middle - 1, TOP - 6, 2, bar + 12);
        paint.beginPath();
        paint.moveTo(middle - 6, TOP - 8);
        paint.lineTo(middle + 6, TOP - 8);
        paint.lineTo(middle, TOP);
        paint.fill();
        const waited = this.#busySince ? performance.now() - this.#busySince : 0;
        if (waited > 300) {
            // A thin line along the playhead; it rests where motion is not wanted.
            const phase = this.#isStill.matches ? 0.5 : (waited / 700) % 1;
            paint.fillRect(middle - 1.5, TOP + phase * (bar - 18), 3, 18);
            paint.fillStyle = colours.surface;
            paint.fillRect(middle - 0.5, TOP + phase * (bar - 18) + 3, 1, 12);
        }
    }
}

customElements.define('sudo-band', SudoBand);
