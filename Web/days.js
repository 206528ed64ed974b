// <sudo-days>: the last 30 days, one cell a day, filled by the share of the day that was kept.
import {HOUR, nextDay, startOfDay} from './band-model.js';

const DAYS = 30;

export class SudoDays extends HTMLElement {
    #cells = /** @type {{day: number, button: HTMLButtonElement, fill: HTMLElement, number: Text}[]} */ ([]);

    connectedCallback() {
        this.setAttribute('role', 'group');
        this.setAttribute('aria-label', 'The last 30 days');
        this.#cells = Array.from({length: DAYS}, () => {
            const button = document.createElement('button'), fill = document.createElement('span'), number = document.createTextNode('');
            button.append(fill, number);
            return {day: 0, button, fill, number};
        });
        this.replaceChildren(...this.#cells.map(cell => cell.button));
    }

    /** @param {{recorded: number[][]}} timeline @param {number} now µs */
    show(timeline, now) {
        let day = startOfDay(now);
        for (const cell of this.#cells.toReversed()) {
            const from = cell.day = day, end = nextDay(day);
            let kept = 0, first = 0;
            for (const [start, stop] of timeline.recorded) {
                const part = Math.min(stop, end) - Math.max(start, from);
                if (part > 0) { kept += part; first ||= Math.max(start, from); }
            }
            const date = new Date(from / 1000), share = Math.min(1, kept / (end - from));
            cell.fill.style.height = `${share > 0 ? Math.max(8, share * 100) : 0}%`;
            cell.number.data = String(date.getDate());
            cell.button.title = cell.button.ariaLabel =
                `${date.toLocaleDateString(undefined, {weekday: 'long', day: 'numeric', month: 'long'})}: ${Math.round(kept / HOUR * 10) / 10} h kept`;
            cell.button.classList.toggle('sunday', date.getDay() === 0);
            cell.button.onclick = () => this.dispatchEvent(new CustomEvent('day', {detail: {day: from, first: first || null}, bubbles: true}));
            day = startOfDay(from - HOUR);
        }
        this.scrollLeft = this.scrollWidth;
    }

    /** Marks the day the picture is of. @param {number} time */
    point(time) {
        for (const {day, button} of this.#cells) button.toggleAttribute('aria-current', day > 0 && time >= day && time < nextDay(day));
    }
}

customElements.define('sudo-days', SudoDays);
