// <sudo-band>: one canvas that answers finger, mouse, wheel and keys. The playhead stands still, time moves under it.
import {BandModel, clockText, fullText, gapWords, nextDay, startOfDay, MINUTE} from './band-model.js';

export class SudoBand extends HTMLElement {
    model = new BandModel(Date.now() * 1000);
    /** @type {{recorded: number[][], gaps: {from: number, to: number, reason: string}[], from: number, to: number} | null} */
    timeline = null;
    /** marked range for export */
    marks = {from: null, to: null};
    #canvas = document.createElement('canvas');
    #pointers = new Map();
    #moved = 0; #velocity = 0; #lastMove = 0; #busySince = 0; #frame = 0;
    isDragging = false;

    connectedCallback() {
        this.append(this.#canvas);
        this.tabIndex = 0;
        this.setAttribute('role', 'slider');
        this.setAttribute('aria-label', 'Time');
        new ResizeObserver(() => this.draw()).observe(this);
        this.addEventListener('pointerdown', event => this.#down(event));
        this.addEventListener('pointermove', event => this.#move(event));
        for (const type of ['pointerup', 'pointercancel']) this.addEventListener(type, event => this.#up(event));
        this.addEventListener('wheel', event => this.#wheel(event), {passive: false});
        matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
    }

    /** The time on the screen; ignored while somebody drags. @param {number} time */
    follow(time) {
        if (this.isDragging || Math.abs(this.#velocity) > 0) return;
        this.model.centre = time;
        this.draw();
    }
    set busy(on) { this.#busySince = on ? (this.#busySince || performance.now()) : 0; this.draw(); }

    draw() {
        cancelAnimationFrame(this.#frame);
        this.#frame = requestAnimationFrame(() => this.#paint());
    }

    #emit(name, detail) { this.dispatchEvent(new CustomEvent(name, {detail, bubbles: true})); }

    // MARK: input

    #down(event) {
        this.setPointerCapture(event.pointerId);
        this.#pointers.set(event.pointerId, event.offsetX);
        if (this.#pointers.size === 1) { this.#moved = 0; this.#velocity = 0; }
    }

    #move(event) {
        const before = this.#pointers.get(event.pointerId);
        if (before === undefined) return;
        if (this.#pointers.size === 2) {
            const other = [...this.#pointers].find(([id]) => id !== event.pointerId)[1];
            const [old, now] = [Math.abs(before - other), Math.abs(event.offsetX - other)];
            if (old > 4 && now > 4) this.model.zoom(old / now, (event.offsetX + other) / 2);
        } else {
            const by = event.offsetX - before;
            this.#moved += Math.abs(by);
            if (this.#moved > 4) {
                this.isDragging = true;
                this.model.pan(by);
                const passed = Math.max(1, event.timeStamp - this.#lastMove);
                this.#velocity = 0.6 * (by / passed) + 0.4 * this.#velocity;
                this.#emit('scrub', this.model.centre);
            }
        }
        this.#lastMove = event.timeStamp;
        this.#pointers.set(event.pointerId, event.offsetX);
        this.draw();
    }

    #up(event) {
        if (!this.#pointers.delete(event.pointerId) || this.#pointers.size) return;
        if (!this.isDragging) {
            if (event.type === 'pointerup') this.#emit('pick', this.model.timeAt(event.offsetX));
            return;
        }
        const still = matchMedia('(prefers-reduced-motion: reduce)').matches || event.timeStamp - this.#lastMove > 80;
        if (still || Math.abs(this.#velocity) < 0.3) this.#settle(); else this.#fling(performance.now());
    }

    #fling(last) {
        requestAnimationFrame(now => {
            if (this.#pointers.size) return;
            this.model.pan(this.#velocity * (now - last));
            this.#velocity *= Math.exp(-(now - last) / 180);
            this.#emit('scrub', this.model.centre);
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
        if (event.ctrlKey || event.metaKey) {
            this.model.zoom(Math.exp(event.deltaY / 300), event.offsetX);
            this.#emit('moved');
        } else {
            this.model.pan(-(event.deltaX || event.deltaY));
            this.isDragging = true;
            this.#emit('scrub', this.model.centre);
            clearTimeout(this.wheelEnd);
            this.wheelEnd = setTimeout(() => this.#settle(), 160);
        }
        this.draw();
    }

    // MARK: picture

    #paint() {
        const {clientWidth: width, clientHeight: height} = this;
        if (!width) return;
        const scale = devicePixelRatio || 1;
        if (this.#canvas.width !== Math.round(width * scale) || this.#canvas.height !== Math.round(height * scale)) {
            this.#canvas.width = Math.round(width * scale);
            this.#canvas.height = Math.round(height * scale);
        }
        const model = this.model;
        model.width = width;
        const style = getComputedStyle(this);
        const colour = name => style.getPropertyValue(name).trim();
        const paint = this.#canvas.getContext('2d');
        paint.setTransform(scale, 0, 0, scale, 0, 0);
        paint.clearRect(0, 0, width, height);
        paint.font = `12px ${style.fontFamily}`;
        const [top, bar] = [28, Math.max(20, height - 40)];

        paint.fillStyle = colour('--band-empty');
        paint.fillRect(0, top, width, bar);
        const stretch = (from, to) => {
            const [left, right] = [Math.max(0, model.xOf(from)), Math.min(width, model.xOf(to))];
            return right > left ? [left, Math.max(1, right - left)] : null;
        };
        for (const [from, to] of this.timeline?.recorded ?? []) {
            const at = stretch(from, to);
            if (!at) continue;
            paint.fillStyle = colour('--band-recorded');
            paint.fillRect(at[0], top, at[1], bar);
        }
        for (const gap of this.timeline?.gaps ?? []) {
            const at = stretch(gap.from, gap.to);
            if (!at) continue;
            paint.fillStyle = colour('--band-gap');
            paint.fillRect(at[0], top, at[1], bar);
            if (at[1] > 70) {
                paint.fillStyle = colour('--text-soft');
                paint.fillText(gapWords[gap.reason] ?? gap.reason, at[0] + 8, top + bar / 2 + 4, at[1] - 12);
            }
        }
        if (this.marks.from !== null) {
            const at = stretch(this.marks.from, this.marks.to ?? model.centre);
            paint.fillStyle = colour('--band-mark');
            if (at) paint.fillRect(at[0], top, at[1], bar);
        }
        paint.textAlign = 'center';
        for (const {time, isDay} of model.ticks()) {
            const x = model.xOf(time);
            paint.fillStyle = colour('--band-tick');
            paint.fillRect(x, top - 6, 1, isDay ? bar + 6 : 6);
            paint.fillStyle = colour(isDay ? '--text' : '--text-soft');
            const text = isDay ? new Date(time / 1000).toLocaleDateString(undefined, {day: 'numeric', month: 'short'}) : clockText(time, model.span < 10 * MINUTE);
            paint.fillText(text, x, 16);
        }
        paint.textAlign = 'left';
        paint.fillStyle = colour('--accent');
        paint.fillRect(width / 2 - 1, top - 8, 2, bar + 14);
        paint.beginPath();
        paint.moveTo(width / 2 - 6, top - 10);
        paint.lineTo(width / 2 + 6, top - 10);
        paint.lineTo(width / 2, top - 2);
        paint.fill();
        if (this.#busySince && performance.now() - this.#busySince > 300) {
            const phase = performance.now() / 600 % 1;
            paint.globalAlpha = 0.8;
            paint.fillRect(width / 2 - 30 + phase * 48, top + bar + 4, 12, 2);
            paint.globalAlpha = 1;
        }
        if (this.#busySince) this.draw();
        this.setAttribute('aria-valuetext', fullText(model.centre));
        this.setAttribute('aria-valuenow', String(Math.round(model.centre / 1e6)));
    }
}

export class SudoDays extends HTMLElement {
    /** @type {{recorded: number[][]} | null} */
    timeline = null;

    /** One cell a day, filled by the share of the day that was kept. */
    show(timeline, days = 30) {
        this.timeline = timeline;
        const cells = [];
        let day = startOfDay(Date.now() * 1000);
        for (let index = 0; index < days; index++) {
            const end = nextDay(day);
            const kept = timeline.recorded.reduce((sum, [from, to]) => sum + Math.max(0, Math.min(to, end) - Math.max(from, day)), 0);
            cells.unshift({day, share: kept / (end - day)});
            day = startOfDay(day - MINUTE);
        }
        this.replaceChildren(...cells.map(({day, share}) => {
            const cell = document.createElement('button');
            const fill = document.createElement('span');
            fill.style.height = `${share > 0 ? Math.max(6, share * 100) : 0}%`;
            const date = new Date(day / 1000);
            cell.title = cell.ariaLabel = `${date.toLocaleDateString(undefined, {weekday: 'long', day: 'numeric', month: 'long'})}: ${Math.round(share * 240) / 10} h kept`;
            cell.append(fill, String(date.getDate()));
            cell.onclick = () => this.dispatchEvent(new CustomEvent('day', {detail: day, bubbles: true}));
            return cell;
        }));
        this.scrollLeft = this.scrollWidth;
    }
}

customElements.define('sudo-band', SudoBand);
customElements.define('sudo-days', SudoDays);
