import assert from 'node:assert/strict';
import {createHash, generateKeyPairSync, sign} from 'node:crypto';
import {test} from 'node:test';
import {continues, openCheckpoint, Witness} from '../../../Web/witness.js';

const VAULT = '0f0e0d0c-0b0a-4908-8706-050403020100', ORIGIN = `sudocam/${VAULT}`;
const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts.map(part => Buffer.from(part)))).digest();

// The definitions of RFC 9162, 2.1.1 and 2.1.4.1, word by word and slow: an implementation of its own.
const split = count => 2 ** (Math.ceil(Math.log2(count)) - 1);
function root(leaves) {
    if (!leaves.length) return sha256();
    if (leaves.length === 1) return sha256([0], leaves[0]);
    const half = split(leaves.length);
    return sha256([1], root(leaves.slice(0, half)), root(leaves.slice(half)));
}
function subproof(count, leaves, isWhole) {
    if (count === leaves.length) return isWhole ? [] : [root(leaves)];
    const half = split(leaves.length);
    return count <= half
        ? [...subproof(count, leaves.slice(0, half), isWhole), root(leaves.slice(half))]
        : [...subproof(count - half, leaves.slice(half), false), root(leaves.slice(0, half))];
}
const leaves = (count, tail = '') => Array.from({length: count}, (_, index) => Buffer.from(`entry ${index}${index === count - 1 ? tail : ''}`));

function signer(origin = ORIGIN) {
    const {publicKey, privateKey} = generateKeyPairSync('ed25519');
    const point = Buffer.from(publicKey.export({format: 'jwk'}).x, 'base64url');
    const id = sha256(Buffer.from(origin + '\n'), [1], point).subarray(0, 4);
    const key = `${origin}+${id.toString('hex')}+${Buffer.concat([Buffer.of(1), point]).toString('base64')}`;
    const note = entries => {
        const text = `${origin}\n${entries.length}\n${root(entries).toString('base64')}\n`;
        return `${text}\n\u2014 ${origin} ${Buffer.concat([id, sign(null, Buffer.from(text), privateKey)]).toString('base64')}\n`;
    };
    return {key, note};
}

test('every tree up to forty entries continues every one before it, and no other', async () => {
    for (let size = 1; size <= 40; size++) {
        for (let before = 1; before <= size; before++) {
            const proof = subproof(before, leaves(size), true), now = root(leaves(size));
            assert.ok(await continues(before, root(leaves(before)), size, now, proof), `${before} of ${size}`);
            assert.ok(!await continues(before, root(leaves(before, '!')), size, now, proof), `another ${before} of ${size}`);
            if (proof.length) assert.ok(!await continues(before, root(leaves(before)), size, now, proof.slice(1)));
            if (before < size) assert.ok(!await continues(size, now, before, root(leaves(before)), proof));
        }
    }
});

test('a checkpoint opens with its key, and with no other byte', async () => {
    const {key, note} = signer(), text = note(leaves(300));
    assert.equal((await openCheckpoint(text, key))?.size, 300);
    assert.equal(await openCheckpoint(text, signer().key), null);
    for (let index = 0; index < text.length; index++) {
        const other = text.slice(0, index) + (text[index] === 'A' ? 'B' : 'A') + text.slice(index + 1);
        assert.equal(await openCheckpoint(other, key).catch(() => null), null, `character ${index}`);
    }
    // The last digits of base64 have bits to spare, which `atob` overlooks.
    for (const [whole, opens] of [[text, other => openCheckpoint(other, key)], [key, other => openCheckpoint(text, other)]]) {
        const last = whole.replace(/=*\n*$/, '').length - 1;
        for (const digit of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/') {
            const other = whole.slice(0, last) + digit + whole.slice(last + 1);
            if (other !== whole) assert.equal(await opens(other).catch(() => null), null, digit);
        }
    }
});

function memory() {
    const kept = new Map();
    return /** @type {any} */ ({getItem: name => kept.get(name) ?? null, setItem: (name, text) => kept.set(name, text), removeItem: name => kept.delete(name)});
}

test('a rollback, a fork, another key and a forged signature are told apart; growth is pinned', async () => {
    const {key, note} = signer();
    const witness = new Witness(memory());
    const answers = (entries, by = {key, note}) => async from => ({
        checkpoint: by.note(entries), key: by.key,
        proof: from && from <= entries.length ? subproof(from, entries, true).map(hash => hash.toString('base64')) : [],
    });
    const verdict = async ask => (await witness.look(VAULT, ask)).verdict;
    assert.equal(await verdict(answers(leaves(5))), 'first');
    assert.equal(await verdict(answers(leaves(5))), 'continues');
    assert.equal(await verdict(answers(leaves(300))), 'continues');
    assert.equal(await verdict(answers(leaves(299))), 'rollback');
    assert.equal(await verdict(answers(leaves(300, '!'))), 'fork');
    assert.equal(await verdict(answers([...leaves(300, '!'), ...leaves(3)])), 'fork');
    assert.equal(await verdict(answers(leaves(301), signer())), 'key');
    assert.equal(await verdict(async from => ({...await answers(leaves(301))(from), checkpoint: note(leaves(301)).replace('301', '302')})), 'forged');
    assert.equal(witness.pin(VAULT).size, 300);
    witness.accept(VAULT);
    assert.equal(await verdict(answers(leaves(3))), 'first');
});

test('a ledger begun anew under another id is another vault, until that is accepted', async () => {
    const OTHER = VAULT.replace('0f', '1f'), storage = memory();
    const looks = (vault, count, by) => new Witness(storage).look(vault, async from => ({
        checkpoint: by.note(leaves(count)), key: by.key, proof: from ? subproof(from, leaves(count), true).map(hash => hash.toString('base64')) : [],
    })).then(look => look.verdict);
    const first = signer(), second = signer(`sudocam/${OTHER}`);
    assert.equal(await looks(VAULT, 5, first), 'first');
    assert.equal(await looks(OTHER, 5, second), 'otherVault');
    // Looking again makes it no better known.
    assert.equal(await looks(OTHER, 6, second), 'otherVault');
    assert.equal(await looks(VAULT, 6, first), 'continues');
    new Witness(storage).accept(OTHER);
    assert.equal(await looks(OTHER, 6, second), 'first');
    assert.equal(await looks(OTHER, 7, second), 'continues');
    // The first one comes back: what was seen of it still counts.
    assert.equal(await looks(VAULT, 7, first), 'otherVault');
    new Witness(storage).accept(VAULT);
    assert.equal(await looks(VAULT, 5, first), 'rollback');
    new Witness(storage).accept(VAULT);
    assert.equal(await looks(VAULT, 5, first), 'first');
});

test('a recorder that stops answering about its ledger is told of, not at the first hiccup', async () => {
    const storage = memory(), {key, note} = signer(), minute = 60_000;
    const good = async () => ({checkpoint: note(leaves(5)), key, proof: []});
    const witness = new Witness(storage);
    assert.equal(witness.miss(VAULT), null);
    assert.equal(witness.miss(VAULT), null, 'nothing is known of it yet');
    await witness.look(VAULT, good);
    const seen = witness.pin(VAULT).seen;
    assert.equal(witness.miss(VAULT, seen + minute), null);
    assert.equal(witness.miss(VAULT, seen + 2 * minute), seen);
    await witness.look(VAULT, good);
    assert.equal(witness.miss(VAULT, seen + 3 * minute), null);
    // After a long time once is enough, also when the page was closed meanwhile or another vault is named.
    assert.equal(new Witness(storage).miss(VAULT, witness.pin(VAULT).seen + 31 * minute), witness.pin(VAULT).seen);
    assert.equal(new Witness(storage).miss('another', witness.pin(VAULT).seen + 31 * minute), witness.pin(VAULT).seen);
    // A malformed answer is no look: it throws, is counted, and changes nothing.
    for (const answer of [{}, null, {checkpoint: 5, key, proof: []}, {checkpoint: note(leaves(5)), key}, {...await good(), proof: ['%']}]) {
        await assert.rejects(witness.look(VAULT, async () => answer), undefined, JSON.stringify(answer));
    }
    assert.equal(witness.miss(VAULT), witness.pin(VAULT).seen);
});
