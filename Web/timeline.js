// Fetches what is recorded: three screens around the band at its own resolution, and a month by the hour.
import {DAY, HOUR, MINUTE} from './band-model.js';

const REFRESH = 10_000, THROTTLE = 60, MONTH_PIXELS = 31 * 24 + 1;

export class TimelineLoader {
    onband = (/** @type {any} */ _timeline) => {};
    onmonth = (/** @type {any} */ _timeline) => {};
    #camera = /** @type {string | null} */ (null); #view = () => ({centre: 0, span: HOUR, width: 1, now: 0});
    #key = ''; #timer = 0; #isBusy = false; #monthAt = 0;

    /** @param {() => {centre: number, span: number, width: number, now: number}} view what the band shows */
    constructor(view) {
        this.#view = view;
        setInterval(() => { if (!document.hidden) this.load(true); }, REFRESH);
    }

    /** @param {string | null} camera */
    choose(camera) {
        if (camera === this.#camera) return;
        this.#camera = camera;
        this.#key = '';
        this.#monthAt = 0;
        this.load();
    }

    /** Cheap enough to be called for every move of a finger. */
    load(again = false) {
        if (again) this.#key = '';
        if (this.#timer || !this.#camera || this.#keyOf(this.#view()) === this.#key) return;
        this.#timer = setTimeout(() => { this.#timer = 0; this.#fetch(); }, THROTTLE);
    }

    #keyOf({centre, span, width}) {
        return `${this.#camera} ${Math.round(centre / span * 2)} ${Math.round(Math.log2(span) * 4)} ${Math.round(width / 100)}`;
    }

    async #get(camera, from, to, pixels) {
        const query = `from=${Math.round(from)}&to=${Math.round(to)}&pixels=${Math.min(10_000, Math.max(1, Math.round(pixels)))}`;
        const response = await fetch(`/api/v1/cameras/${camera}/timeline?${query}`);
        return response.ok && camera === this.#camera ? response.json() : null;
    }

    async #fetch() {
        if (this.#isBusy || !this.#camera) return;
        const camera = this.#camera, view = this.#view(), {centre, span, width, now} = view;
        this.#isBusy = true;
        this.#key = this.#keyOf(view);
        try {
            const timeline = await this.#get(camera, centre - 1.5 * span, centre + 1.5 * span, width * 3);
            if (timeline) this.onband(timeline);
            if (Math.abs(now - this.#monthAt) > 5 * MINUTE) {
                const month = await this.#get(camera, now - 31 * DAY, now + HOUR, MONTH_PIXELS);
                if (month) { this.#monthAt = now; this.onmonth(month); }
            }
        } catch {
            // The change stream says that the recorder is away; the next refresh asks again.
        } finally {
            this.#isBusy = false;
            this.load();
        }
    }
}
