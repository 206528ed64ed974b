// <sudo-controls>: the row of buttons. Says what was pressed by the event `command`; `show` makes it tell what goes on.

const RATES = [-8, -1, 1, 2, 4, 16];
const icon = path => `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${path}"/></svg>`;
const PLAY = 'M7 4l13 8-13 8z', PAUSE = 'M6 4h4v16H6zM14 4h4v16h-4z';
const template = document.createElement('template');
template.innerHTML = `
<div class="group">
  <button id="first" title="First recording (Home)" aria-label="First recording">${icon('M5 5h2.5v14H5zM19 5v14L8.5 12z')}</button>
  <button id="back" title="One frame back (←)" aria-label="One frame back">${icon('M16 5v14L6 12zM17.5 5H20v14h-2.5z')}</button>
  <button id="play" title="Play or pause (space)" aria-label="Play">${icon(PLAY)}</button>
  <button id="forward" title="One frame on (→)" aria-label="One frame on">${icon('M8 5l10 7-10 7zM4 5h2.5v14H4z')}</button>
</div>
<div id="rates" class="group" role="group" aria-label="Speed"></div>
<div id="zoom" class="group" role="group" aria-label="Stretch of time">
  <button id="out" title="Show more time (−)" aria-label="Show more time">${icon('M5 11h14v2H5z')}</button>
  <button id="in" title="Show less time (+)" aria-label="Show less time">${icon('M5 11h14v2H5zM11 5h2v14h-2z')}</button>
</div>
<div id="range" class="group">
  <button id="mark" title="Mark a range ([ and ])">Mark</button>
  <button id="export" title="Save the marked range as MP4" disabled>Export</button>
  <button id="help" title="Keys (?)" aria-label="Keys">?</button>
</div>`;

export class SudoControls extends HTMLElement {
    connectedCallback() {
        this.setAttribute('role', 'toolbar');
        this.setAttribute('aria-label', 'Playback');
        this.append(template.content.cloneNode(true));
        for (const rate of RATES) {
            const button = document.createElement('button');
            button.textContent = `${String(rate).replace('-', '−')}×`;
            button.ariaLabel = `${Math.abs(rate)} times ${rate < 0 ? 'backwards' : 'forwards'}`;
            button.dataset.rate = String(rate);
            this.querySelector('#rates').append(button);
        }
        this.addEventListener('click', event => {
            const button = /** @type {Element} */ (event.target).closest('button');
            if (!button) return;
            const detail = button.dataset.rate ? {name: 'rate', rate: Number(button.dataset.rate)} : {name: button.id};
            this.dispatchEvent(new CustomEvent('command', {detail, bubbles: true}));
        });
    }

    /** @param {{mode: string, rate: number, canSeek: boolean, marks: {from: number | null, to: number | null}, span: string}} now */
    show({mode, rate, canSeek, marks, span}) {
        const isMoving = mode === 'play' || mode === 'live';
        const play = this.querySelector('#play');
        play.querySelector('path').setAttribute('d', isMoving ? PAUSE : PLAY);
        play.ariaLabel = isMoving ? 'Pause' : 'Play';
        for (const id of ['first', 'back', 'play', 'forward']) this.querySelector(`#${id}`).disabled = !canSeek;
        for (const button of this.querySelector('#rates').children) {
            const isOn = mode === 'play' && Number(button.dataset.rate) === rate;
            button.disabled = !canSeek;
            button.setAttribute('aria-pressed', String(isOn));
        }
        const isOpen = marks.from !== null && marks.to === null;
        this.querySelector('#mark').textContent = isOpen ? 'Mark end' : 'Mark';
        this.querySelector('#mark').setAttribute('aria-pressed', String(isOpen));
        this.querySelector('#export').disabled = marks.to === null;
        this.querySelector('#export').textContent = span ? `Export ${span}` : 'Export';
    }
}

customElements.define('sudo-controls', SudoControls);
