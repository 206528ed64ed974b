// The band of time without its pixels: what stretch is shown, where ticks stand, how a pointer moves it. Pure; no DOM.
// Times are microseconds since the epoch (UTC); days and ticks are those of the viewer's zone.

export const SECOND = 1e6, MINUTE = 60 * SECOND, HOUR = 3600 * SECOND, DAY = 86400 * SECOND;
const SHORTEST = SECOND, LONGEST = 366 * DAY;
const STEPS = [SECOND, 5 * SECOND, 10 * SECOND, 30 * SECOND, MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR];

export class BandModel {
    /** the instant under the playhead */ centre;
    /** µs from edge to edge */ span = HOUR / 2;
    width = 1;

    /** @param {number} centre */
    constructor(centre) { this.centre = centre; }

    get from() { return this.centre - this.span / 2; }
    get to() { return this.centre + this.span / 2; }
    /** @param {number} x */ timeAt(x) { return this.from + x / this.width * this.span; }
    /** @param {number} time */ xOf(time) { return (time - this.from) / this.span * this.width; }

    /** Moves time by this many pixels to the right. @param {number} pixels */
    pan(pixels) { this.centre -= pixels / this.width * this.span; }

    /** Zooms by a factor with the instant under x fixed. @param {number} factor @param {number} x */
    zoom(factor, x) {
        const fixed = this.timeAt(x);
        this.span = Math.min(LONGEST, Math.max(SHORTEST, this.span * factor));
        this.centre = fixed - (x / this.width - 0.5) * this.span;
    }

    /** Instants for labels, at least `gap` pixels apart. @param {number} gap @returns {{time: number, isDay: boolean}[]} */
    ticks(gap = 90) {
        const least = gap / this.width * this.span;
        const step = STEPS.find(step => step >= least);
        return step ? this.#clockTicks(step) : this.#dayTicks(Math.max(1, Math.ceil(least / DAY)));
    }

    // From local midnight in real hours, so that the two 02:30 of an autumn night are two places.
    #clockTicks(step) {
        const ticks = [];
        for (let day = startOfDay(this.from); day < this.to; day = nextDay(day)) {
            const end = Math.min(nextDay(day), this.to);
            for (let time = day; time < end; time += step) {
                if (time >= this.from) ticks.push({time, isDay: time === day});
            }
        }
        return ticks;
    }

    #dayTicks(days) {
        const ticks = [];
        let count = 0;
        for (let day = startOfDay(this.from); day < this.to; day = nextDay(day)) {
            const number = Math.round((day / DAY));
            if (number % days === 0 && day >= this.from) ticks.push({time: day, isDay: true});
            if (++count > 1000) break;
        }
        return ticks;
    }
}

/** Local midnight at or before. @param {number} time */
export function startOfDay(time) {
    const date = new Date(time / 1000);
    date.setHours(0, 0, 0, 0);
    return date.getTime() * 1000;
}
/** The next local midnight: 23, 24 or 25 hours on. @param {number} day */
export function nextDay(day) {
    const date = new Date(day / 1000);
    date.setDate(date.getDate() + 1);
    date.setHours(0, 0, 0, 0);
    return date.getTime() * 1000;
}

const pad = (value, digits = 2) => String(value).padStart(digits, '0');
/** 14:03, with seconds when asked. @param {number} time */
export function clockText(time, seconds = false) {
    const date = new Date(time / 1000);
    return `${pad(date.getHours())}:${pad(date.getMinutes())}${seconds ? ':' + pad(date.getSeconds()) : ''}`;
}
/** Tue 25 Nov 14:03:27.480 +01:00 @param {number} time */
export function fullText(time) {
    const date = new Date(time / 1000);
    const minutes = -date.getTimezoneOffset();
    const offset = `${minutes < 0 ? '−' : '+'}${pad(Math.floor(Math.abs(minutes) / 60))}:${pad(Math.abs(minutes) % 60)}`;
    const day = date.toLocaleDateString(undefined, {weekday: 'short', day: 'numeric', month: 'short'});
    return `${day} ${clockText(time, true)}.${pad(date.getMilliseconds(), 3)} ${offset}`;
}

export const gapWords = {
    disconnected: 'camera offline', noSignal: 'no picture', paused: 'paused', stopped: 'recorder off', diskFull: 'disk full',
    diskError: 'disk error', clockStep: 'clock was set', overload: 'machine too slow', unknown: 'not recorded',
    'before-first': 'before the first recording', 'after-last': 'not recorded yet', 'not-recorded': 'not recorded', offline: 'camera offline',
};
