// <sudo-picture>: the video, and above it a canvas that keeps the old picture until the one asked for is there.
import {fullText} from './band-model.js';

export class SudoPicture extends HTMLElement {
    video = document.createElement('video');
    canvas = document.createElement('canvas');
    #stamp = document.createElement('time');
    #facts = document.createElement('div');

    connectedCallback() {
        this.video.muted = this.video.playsInline = this.video.autoplay = true;
        this.video.disablePictureInPicture = true;
        this.video.setAttribute('aria-label', 'Camera picture');
        this.canvas.hidden = true;
        this.canvas.setAttribute('aria-hidden', 'true');
        this.#stamp.className = 'stamp';
        this.#facts.className = 'facts';
        this.append(this.video, this.canvas, this.#stamp, this.#facts);
    }

    /** What a person sees now. */
    get onScreen() { return this.canvas.hidden ? this.video : this.canvas; }

    /** Freezes what is shown, until `release`. */
    hold() {
        if (!this.canvas.hidden || !this.video.videoWidth || this.hasAttribute('blank')) return;
        this.canvas.width = this.video.videoWidth;
        this.canvas.height = this.video.videoHeight;
        this.canvas.getContext('2d')?.drawImage(this.video, 0, 0);
        this.canvas.hidden = false;
    }
    release() { this.canvas.hidden = true; this.removeAttribute('blank'); }

    /** Shows nothing until the next picture. */
    blank() {
        this.canvas.hidden = true;
        this.toggleAttribute('blank', true);
        this.#stamp.textContent = this.#facts.textContent = '';
    }

    /** Nothing of the footage stays in the page. */
    clear() {
        this.canvas.width = this.canvas.height = 1;
        this.canvas.hidden = true;
        this.#stamp.textContent = this.#facts.textContent = '';
    }

    /** @param {number} time @param {string} facts */
    stamp(time, facts) {
        this.#stamp.textContent = fullText(time);
        this.#stamp.dateTime = new Date(time / 1000).toISOString();
        this.#facts.textContent = facts;
    }
}

customElements.define('sudo-picture', SudoPicture);
