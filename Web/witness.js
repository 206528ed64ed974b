// Watches that the recorder's ledger only grows: keeps the newest signed checkpoint that this browser saw, and at each visit
// asks for the proof that the one shown now continues it (RFC 9162, 2.1.4.2; c2sp.org/signed-note).

/** @param {string} text base64 in its one form (RFC 4648, 3.5): `atob` takes others, and a note would be the same in several */
function bytesOf(text) {
    const bytes = atob(text);
    if (btoa(bytes) !== text) throw new TypeError('base64 with bits left over');
    return Uint8Array.from(bytes, character => character.charCodeAt(0));
}
const same = (a, b) => a.length === b.length && a.every((byte, index) => byte === b[index]);

async function sha256(...parts) {
    const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let offset = 0;
    for (const part of parts) {
        joined.set(part, offset);
        offset += part.length;
    }
    return new Uint8Array(await crypto.subtle.digest('SHA-256', joined));
}
const node = (left, right) => sha256(Uint8Array.of(1), left, right);

/**
 * Origin, size and root of a signed note, once its signature is right.
 * @param {string} note  a checkpoint, c2sp.org/tlog-checkpoint
 * @param {string} key   a verifier key, `name+id+base64`, c2sp.org/signed-note
 * @returns {Promise<{origin: string, size: number, root: Uint8Array} | null>} null when it is wrong
 */
export async function openCheckpoint(note, key) {
    const gap = note.indexOf('\n\n');
    if (gap < 0) return null;
    const text = note.slice(0, gap + 1), lines = text.split('\n');
    const parts = /^(.+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(key);
    if (!parts || lines.length < 4 || !/^(0|[1-9]\d{0,15})$/.test(lines[1]) || parts[1] !== lines[0]) return null;
    const point = bytesOf(parts[3]);
    if (point.length !== 33 || point[0] !== 1) return null;
    for (const line of note.slice(gap + 2).split('\n')) {
        const found = /^\u2014 (\S+) ([A-Za-z0-9+/=]+)$/.exec(line);
        if (!found || found[1] !== parts[1]) continue;
        const signature = bytesOf(found[2]);
        const id = Array.from(signature.slice(0, 4), byte => byte.toString(16).padStart(2, '0')).join('');
        if (id !== parts[2]) continue;
        const verifier = await crypto.subtle.importKey('raw', point.slice(1), 'Ed25519', false, ['verify']);
        if (await crypto.subtle.verify('Ed25519', verifier, signature.slice(4), new TextEncoder().encode(text))) {
            return {origin: lines[0], size: Number(lines[1]), root: bytesOf(lines[2])};
        }
    }
    return null;
}

/** Whether the tree of `size` entries with `root` begins with the one of `before` entries with `rootBefore`. */
export async function continues(before, rootBefore, size, root, proof) {
    if (before === 0) return true;
    if (before > size) return false;
    if (before === size) return !proof.length && same(rootBefore, root);
    if (!proof.length) return false;
    const path = [...proof];
    const isPower = 2 ** Math.round(Math.log2(before)) === before;
    if (isPower) path.unshift(rootBefore);
    let first = before - 1, last = size - 1;
    const halve = () => { first = Math.floor(first / 2); last = Math.floor(last / 2); };
    while (first % 2) halve();
    let old = path[0], now = path[0];
    for (const hash of path.slice(1)) {
        if (!last) return false;
        if (first % 2 || first === last) {
            old = await node(hash, old);
            now = await node(hash, now);
            while (first && first % 2 === 0) halve();
        } else {
            now = await node(now, hash);
        }
        halve();
    }
    return !last && same(old, rootBefore) && same(now, root);
}

/** The vault that this origin showed last; a browser keeps each origin's things apart. */
const LAST = 'ledger-vault';
/** Looks that fail before that is worth saying, and the time (ms) after which one is enough. */
const PATIENCE = 2, LONG = 30 * 60_000;

/** What this browser remembers of a vault's ledger, and what it makes of the next look. */
export class Witness {
    #misses = 0;

    /** @param {Storage | null} storage  null: nothing is remembered */
    constructor(storage) { this.storage = storage; }

    #name(vault) { return `ledger ${vault}`; }
    pin(vault) {
        try { return JSON.parse(this.storage?.getItem(this.#name(vault)) ?? 'null'); } catch { return null; }
    }
    get #last() { return this.storage?.getItem(LAST) ?? null; }

    /** Another vault is the known one from now on; of the known one, what is shown now is a new beginning. */
    accept(vault) {
        if ((this.#last ?? vault) === vault) this.storage?.removeItem(this.#name(vault));
        this.storage?.setItem(LAST, vault);
    }

    /**
     * @param {string} vault  its id
     * @param {(from: number) => Promise<{checkpoint: string, key: string, proof: string[]}>} ask
     * @returns {Promise<{verdict: 'first' | 'continues' | 'rollback' | 'fork' | 'key' | 'otherVault' | 'forged', size: number, since: number}>}
     */
    async look(vault, ask) {
        const pin = this.pin(vault);
        const answer = await ask(pin?.size ?? 0);
        // Whatever is malformed throws before anything is made of it: that is no look.
        const proof = answer.proof.map(bytesOf);
        const seen = await openCheckpoint(answer.checkpoint, answer.key);
        this.#misses = 0;
        const now = Date.now();
        const verdict = (name, size = seen?.size ?? 0) => ({verdict: name, size, since: pin?.since ?? now});
        if (!seen || seen.origin !== `sudocam/${vault}`) return verdict('forged');
        // A ledger begun anew under another id has no pin here, and would pass for one that is seen for the first time.
        if (this.#last && this.#last !== vault) return verdict('otherVault');
        if (pin) {
            if (pin.key !== answer.key) return verdict('key');
            if (seen.size < pin.size) return verdict('rollback');
            if (!await continues(pin.size, bytesOf(pin.root), seen.size, seen.root, proof)) return verdict('fork');
        }
        const root = btoa(String.fromCharCode(...seen.root));
        this.storage?.setItem(this.#name(vault), JSON.stringify({size: seen.size, root, key: answer.key, since: pin?.since ?? now, seen: now}));
        this.storage?.setItem(LAST, vault);
        return verdict(pin ? 'continues' : 'first');
    }

    /**
     * Told of each look that failed: no answer, or a malformed one. Who stops answering may have something to hide.
     * @returns {number | null} since when (ms) the ledger of a vault known here could not be checked, once that is worth saying
     */
    miss(vault, now = Date.now()) {
        this.#misses += 1;
        const pin = this.pin(vault) ?? this.pin(this.#last);
        if (!pin) return null;
        const since = pin.seen ?? pin.since;
        return this.#misses >= PATIENCE || now - since > LONG ? since : null;
    }
}
