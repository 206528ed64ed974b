import assert from 'node:assert/strict';
import {test} from 'node:test';
import {MINUTE} from '../../../Web/band-model.js';
import {remoteText, remotesNote, sizeText} from '../../../Web/remotes.js';

const level = {
    name: 'offsite', followed: false, lagSeconds: 0, lagObjects: 0, lagBytes: 0, objects: 12, bytes: 34_000_000, evictedObjects: 0, lockedObjects: 0,
    backfillObjects: 0, backfillBytes: 0,
};
const now = 1_764_000_000_000_000;

test('a remote that is level, or behind by less than a clip takes, is not worth a line', () => {
    assert.equal(remoteText(level, now), '');
    assert.equal(remoteText({...level, lagObjects: 3, lagBytes: 9e6, lagSeconds: 100}, now), '');
});

test('one that is behind says how far, and that an event waits', () => {
    const behind = {...level, lagObjects: 40, lagBytes: 123_456_789, lagSeconds: 600, oldestUnsentEvent: now - 9 * MINUTE};
    assert.equal(remoteText(behind, now), 'Copy in offsite: 123 MB wait, 10 min behind; an event of 9 min ago is not there yet');
    assert.match(remoteText({...behind, lagSeconds: 5, failure: 'It does not answer.'}, now), /123 MB wait, 5 s behind/);
});

test('a restore tells what is still to come', () => {
    assert.equal(
        remoteText({...level, backfillObjects: 7, backfillBytes: 1_500_000_000}, now),
        'Copy in offsite: 1.5 GB still to come back from there; everything plays meanwhile');
});

test('a reading node says how old the newest recording is, and why it gets no newer', () => {
    const followed = {...level, name: 'source', followed: true, lagSeconds: 65};
    assert.equal(remoteText(followed, now), 'From source: the newest recording is 65 s old');
    assert.equal(remoteText({...followed, failure: 'It does not answer.'}, now), 'From source: It does not answer.; the newest recording is 65 s old');
});

test('the help says what lies there', () => {
    assert.match(remotesNote([{...level, evictedObjects: 5, lastSuccess: now}]), /^Copy in offsite: 12 recordings, 34 MB, 5 of them only there; last sent /);
    assert.equal(remotesNote([{...level, followed: true}]), '');
});

test('sizes are as people say them', () => {
    assert.deepEqual([0, 999, 1000, 1_234_567, 56_700_000, 9.99e12].map(sizeText), ['0 B', '999 B', '1 kB', '1.2 MB', '57 MB', '10 TB']);
});
