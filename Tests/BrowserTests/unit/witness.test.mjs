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

function signer() {
    const {publicKey, privateKey} = generateKeyPairSync('ed25519');
    const point = Buffer.from(publicKey.export({format: 'jwk'}).x, 'base64url');
    const id = sha256(Buffer.from(ORIGIN + '\n'), [1], point).subarray(0, 4);
    const key = `${ORIGIN}+${id.toString('hex')}+${Buffer.concat([Buffer.of(1), point]).toString('base64')}`;
    const note = entries => {
        const text = `${ORIGIN}\n${entries.length}\n${root(entries).toString('base64')}\n`;
        return `${text}\n\u2014 ${ORIGIN} ${Buffer.concat([id, sign(null, Buffer.from(text), privateKey)]).toString('base64')}\n`;
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
});

test('a rollback, a fork, another key and a forged signature are told apart; growth is pinned', async () => {
    const kept = new Map();
    const storage = {getItem: name => kept.get(name) ?? null, setItem: (name, text) => kept.set(name, text), removeItem: name => kept.delete(name)};
    const {key, note} = signer();
    const witness = new Witness(/** @type {any} */ (storage));
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
    witness.forget(VAULT);
    assert.equal(await verdict(answers(leaves(3))), 'first');
});
