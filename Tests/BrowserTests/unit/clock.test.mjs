import assert from 'node:assert/strict';
import {test} from 'node:test';
import {PlaybackClock, rtpDifference} from '../../../Web/clock.js';

const message = (rtp, more = {}) => ({id: 1, rtp, time: 1_000_000, rate: 1, target: rtp, mode: 'live', camera: 'c', ...more});

test('differences of timestamps are signed 32-bit numbers', () => {
    assert.equal(rtpDifference(5, 0xfffffffb), 10);
    assert.equal(rtpDifference(0xfffffffb, 5), -10);
});

test('a live view left on for three days still tells the time', () => {
    const clock = new PlaybackClock();
    clock.add(message(0xf0000000));
    for (let second = 0; second < 3 * 86_400; second += 60) {
        const rtp = (0xf0000000 + second * 90_000) % 2 ** 32;
        assert.equal(clock.timeOf(rtp), 1_000_000 + second * 1e6);
        assert.equal(clock.hasReached(rtp), true);
    }
});

test('frames in flight belong to the older line, those after the seek to the newer', () => {
    const clock = new PlaybackClock();
    clock.add(message(1000, {id: 1}));
    clock.add(message(91_000, {id: 2, time: 50_000_000, target: 95_500}));
    assert.equal(clock.lineOf(90_999).id, 1);
    assert.equal(clock.timeOf(46_000), 1_500_000);
    assert.equal(clock.lineOf(91_000).id, 2);
    assert.equal(clock.hasReached(91_000), false);
    assert.equal(clock.hasReached(95_500), true);
});

test('a line of rate 0 is one picture, whatever its timestamp', () => {
    const clock = new PlaybackClock();
    clock.add(message(90_000, {rate: 0, mode: 'pause'}));
    assert.equal(clock.timeOf(90_000), 1_000_000);
    assert.equal(clock.timeOf(180_000), 1_000_000);
});

test('a still picture is there when its own frame is, not with the pre-roll of one sent again', () => {
    const clock = new PlaybackClock();
    clock.add(message(90_000, {rate: 0, mode: 'pause'}));
    assert.equal(clock.hasReached(89_999), false);
    assert.equal(clock.hasReached(90_000), true);
    // The message that names the new target is still under way.
    assert.equal(clock.hasReached(90_090), false);
    clock.add(message(94_500, {rate: 0, mode: 'pause'}));
    assert.equal(clock.hasReached(90_180), false);
    assert.equal(clock.hasReached(94_500), true);
});

test('before the first message nothing is known', () => {
    const clock = new PlaybackClock();
    assert.equal(clock.timeOf(5), null);
    assert.equal(clock.lineOf(5), null);
    assert.equal(clock.hasReached(5), false);
    assert.equal(clock.latest, null);
});
