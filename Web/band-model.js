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

    /**
     * Instants for labels, at least `gap` pixels apart, at most a few dozen.
     * @param {number} gap @returns {{time: number, unit: 'clock' | 'day' | 'month'}[]}
     */
    ticks(gap = 90) {
        const least = gap / this.width * this.span;
        const step = STEPS.find(step => step >= least);
        if (step) return this.#clockTicks(step);
        return least <= 14 * DAY ? this.#dayTicks(least / DAY) : this.#monthTicks(Math.ceil(least / (28 * DAY)));
    }

    // From local midnight in real time, so that the two 02:30 of an autumn night are two places.
    #clockTicks(step) {
        const ticks = [];
        // A step of hours stands on round hours of the wall clock on every day, also a 23-hour one.
        const hours = step / HOUR, stride = hours > 1 ? HOUR / 2 : step;
        for (let day = startOfDay(this.from); day < this.to; day = nextDay(day)) {
            const end = Math.min(nextDay(day), this.to);
            const skipped = Math.max(0, Math.ceil((this.from - day) / stride));
            for (let time = day + skipped * stride; time < end; time += stride) {
                if (hours > 1 && time !== day) {
                    const date = new Date(time / 1000);
                    if (date.getMinutes() || date.getHours() % hours || date.getHours() === 0) continue;
                }
                ticks.push({time, unit: time === day ? 'day' : 'clock'});
            }
        }
        return ticks;
    }

    // Days of the month that stay put while the band moves: 1, 3, 5 … or 1, 8, 15, 22 …
    #dayTicks(least) {
        const ticks = [], every = [1, 2, 7, 14].find(days => days >= least) ?? 14;
        for (let day = startOfDay(this.from); day < this.to; day = nextDay(day)) {
            const number = new Date(day / 1000).getDate() - 1;
            const crowdsTheFirst = every > 1 && number + every / 2 >= daysInMonth(day);
            if (number % every === 0 && !crowdsTheFirst && day >= this.from) ticks.push({time: day, unit: number ? 'day' : 'month'});
        }
        return ticks;
    }

    #monthTicks(every) {
        const ticks = [], date = new Date(this.from / 1000);
        for (let month = new Date(date.getFullYear(), date.getMonth()); month.getTime() * 1000 < this.to; month.setMonth(month.getMonth() + 1)) {
            const time = month.getTime() * 1000;
            if (month.getMonth() % every === 0 && time >= this.from) ticks.push({time, unit: 'month'});
        }
        return ticks;
    }

    /** What is known of an instant: inside a recorded stretch, inside a gap, or neither. */
    static lookUp(timeline, time) {
        if (!timeline) return null;
        const recorded = timeline.recorded.find(([from, to]) => from <= time && time < to);
        if (recorded) return {recorded};
        const gap = timeline.gaps.find(gap => gap.from <= time && time < gap.to);
        if (gap) return {gap};
        const before = timeline.recorded.findLast(([, to]) => to <= time)?.[1];
        const after = timeline.recorded.find(([from]) => from > time)?.[0];
        const reason = before === undefined && after === undefined ? 'not-recorded'
            : before === undefined ? 'before-first' : after === undefined ? 'after-last' : 'not-recorded';
        return {gap: {from: before, to: after, reason}};
    }

    /**
     * The event whose mark lies nearest to x, and not further away than a finger is wide; its mark stands where it began.
     * @param {{events?: {from: number, to: number, label: string}[]} | null} timeline @param {number} x
     */
    eventAt(timeline, x, reach = 14) {
        let nearest = null, least = reach;
        for (const event of timeline?.events ?? []) {
            const [from, to] = [this.xOf(event.from), this.xOf(event.to)];
            // On its bar is on it; beside it its beginning counts.
            const distance = x >= from && x <= to ? Math.min(x - from, reach / 2) : Math.abs(x - from);
            if (distance <= least) { nearest = event; least = distance; }
        }
        return nearest;
    }
}

/** @param {number} time */
function daysInMonth(time) {
    const date = new Date(time / 1000);
    return new Date(date.getFullYear(), date.getMonth() + 1, 0).getDate();
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

/** Tue 25 Nov 14:03 @param {number} time */
export function shortText(time) {
    const day = new Date(time / 1000).toLocaleDateString(undefined, {weekday: 'short', day: 'numeric', month: 'short'});
    return `${day} ${clockText(time)}`;
}
/** 45 s · 12 min · 3 h 05 min · 2 d 4 h @param {number} span µs */
export function spanText(span) {
    const seconds = Math.round(span / SECOND), minutes = Math.round(seconds / 60), hours = Math.round(minutes / 60);
    if (seconds < 1) return `${Math.round(span / 1000)} ms`;
    if (seconds < 120) return `${seconds} s`;
    if (minutes < 120) return `${minutes} min`;
    if (hours < 48) return minutes % 60 ? `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min` : `${minutes / 60} h`;
    return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${hours / 24} d`;
}
/** What stands at a tick. @param {{time: number, unit: string}} tick @param {number} span µs from edge to edge */
export function tickText({time, unit}, span) {
    const date = new Date(time / 1000);
    if (unit === 'clock') return clockText(time, span < 12 * MINUTE);
    if (unit === 'day') return date.toLocaleDateString(undefined, {weekday: span < 14 * DAY ? 'short' : undefined, day: 'numeric', month: 'short'});
    return date.toLocaleDateString(undefined, date.getMonth() ? {month: 'short', day: span < 60 * DAY ? 'numeric' : undefined} : {month: 'short', year: 'numeric'});
}

/** What was noticed. */
export const eventWords = {frozen: 'picture does not change', unknown: 'event'};

export const gapWords = {
    disconnected: 'camera offline', noSignal: 'no picture', paused: 'paused', stopped: 'recorder off', diskFull: 'disk full',
    diskError: 'disk error', clockStep: 'clock was set', overload: 'machine too slow', lost: 'recording lost', damaged: 'recording damaged', unknown: 'not recorded',
    'before-first': 'before the first recording', 'after-last': 'not recorded yet', 'not-recorded': 'not recorded', expired: 'deleted by retention', offline: 'camera offline',
};
