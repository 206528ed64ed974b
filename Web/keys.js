// The keyboard, and the overlay that explains it.
import {HOUR, MINUTE, SECOND} from './band-model.js';

const HELP = [
    ['Space', 'play, pause'], ['← →', 'one frame when paused, 10 s when playing'], ['Shift + ← →', 'one minute'], ['Page ↑ ↓', 'one hour'],
    ['J K L', 'backwards, pause, forwards; again: faster'], ['[ ]', 'mark begin and end for export'], ['+ −', 'less time, more time'],
    ['Home End', 'first recording, live'], ['1 … 9', 'camera'], ['?', 'this help'],
];

export class SudoHelp extends HTMLElement {
    #dialog = document.createElement('dialog'); #notes = document.createElement('div');

    connectedCallback() {
        const list = document.createElement('dl');
        for (const [keys, words] of HELP) {
            const term = document.createElement('dt'), text = document.createElement('dd');
            term.textContent = keys;
            text.textContent = words;
            list.append(term, text);
        }
        const title = document.createElement('h2'), hand = document.createElement('p'), form = document.createElement('form');
        title.textContent = 'Keys and hand';
        hand.textContent = 'Drag the band to move through time, pinch or Ctrl + wheel to see more or less of it, tap it to jump.';
        form.method = 'dialog';
        form.append(Object.assign(document.createElement('button'), {textContent: 'Close'}));
        this.#dialog.setAttribute('aria-label', 'Keys and hand');
        this.#dialog.append(title, hand, list, this.#notes, form);
        this.#dialog.addEventListener('click', event => { if (event.target === this.#dialog) this.#dialog.close(); });
        this.append(this.#dialog);
    }

    /** One paragraph a topic, the newest words. */
    note(topic, text) {
        const place = this.#notes.querySelector(`[data-topic=${topic}]`) ?? this.#notes.appendChild(document.createElement('p'));
        place.dataset.topic = topic;
        place.textContent = text;
    }
    get isOpen() { return this.#dialog.open; }
    open() { this.#dialog.showModal(); }
}

customElements.define('sudo-help', SudoHelp);

/**
 * What a key means now, or null. Pure.
 * @param {{key: string, shiftKey?: boolean}} event @param {{mode: string, rate: number}} state
 * @returns {{name: string, by?: number, rate?: number, index?: number} | null}
 */
export function commandFor({key, shiftKey = false}, {mode, rate}) {
    const isMoving = mode === 'play' || mode === 'live';
    const arrow = way => shiftKey ? {name: 'move', by: way * MINUTE} : isMoving ? {name: 'move', by: way * 10 * SECOND} : {name: 'step', by: way};
    switch (key) {
    case ' ': return {name: 'play'};
    case 'ArrowLeft': return arrow(-1);
    case 'ArrowRight': return arrow(1);
    case 'PageUp': return {name: 'move', by: -HOUR};
    case 'PageDown': return {name: 'move', by: HOUR};
    case 'j': case 'J': return {name: 'rate', rate: mode === 'play' && rate < 0 ? Math.max(-16, rate * 2) : -1};
    case 'k': case 'K': return {name: 'pause'};
    case 'l': case 'L': return {name: 'rate', rate: mode === 'play' && rate > 0 ? Math.min(16, rate * 2) : 1};
    case '[': return {name: 'from'};
    case ']': return {name: 'to'};
    case '+': case '=': return {name: 'in'};
    case '-': case '−': return {name: 'out'};
    case 'Home': return {name: 'first'};
    case 'End': return {name: 'live'};
    case '?': return {name: 'help'};
    }
    return /^[1-9]$/.test(key) ? {name: 'camera', index: Number(key) - 1} : null;
}
