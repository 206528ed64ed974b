import assert from 'node:assert/strict';
import {test} from 'node:test';
import {BandModel, DAY, HOUR, MINUTE, SECOND, fullText, nextDay, spanText, startOfDay, tickText} from '../../../Web/band-model.js';

process.env.TZ = 'Europe/Berlin';
const at = (...parts) => Date.UTC(...parts) * 1000;
const model = (centre, span, width = 1000) => Object.assign(new BandModel(centre), {span, width});

test('at every zoom labels are apart, inside and few', () => {
    for (let span = SECOND; span < 366 * DAY; span *= 1.3) {
        const band = model(at(2026, 9, 25, 1, 10), span), ticks = band.ticks(90);
        assert.ok(ticks.length < 30, `${ticks.length} at ${spanText(span)}`);
        for (const [index, tick] of ticks.entries()) {
            assert.ok(tick.time >= band.from && tick.time < band.to);
            assert.ok(tickText(tick, span).length > 0);
            // A 23-hour day brings two labels a little nearer together.
            if (index) assert.ok(band.xOf(tick.time) - band.xOf(ticks[index - 1].time) > 55, spanText(span));
        }
    }
});

test('hours stand on round hours of the wall clock, also after the clock was put on', () => {
    const band = model(at(2026, 2, 29, 10), 26 * HOUR);
    const hours = band.ticks(90).filter(tick => tick.unit === 'clock').map(tick => new Date(tick.time / 1000).getHours());
    assert.ok(hours.length > 5);
    assert.ok(hours.every(hour => hour % 3 === 0), String(hours));
});

test('the two 02:30 of an autumn night are told apart by their offset', () => {
    const first = at(2026, 9, 25, 0, 30), second = at(2026, 9, 25, 1, 30);
    assert.match(fullText(first), /02:30:00\.000 \+02:00$/);
    assert.match(fullText(second), /02:30:00\.000 \+01:00$/);
    const band = model(first, 4 * HOUR);
    assert.equal(band.xOf(second) - band.xOf(first), 250);
});

test('panning there and back ends where it began', () => {
    const band = model(at(2026, 10, 25), HOUR), before = band.centre;
    band.pan(333);
    assert.ok(band.centre < before);
    band.pan(-333);
    assert.ok(Math.abs(band.centre - before) < 2);
});

test('midnights follow each other through a whole year', () => {
    let day = startOfDay(at(2026, 0, 1, 12)), count = 0;
    for (const end = at(2026, 11, 31, 12); day < end; day = nextDay(day)) {
        assert.equal(new Date(day / 1000).getHours(), 0);
        count++;
    }
    assert.equal(count, 365);
});

test('what is not recorded has a reason and its edges', () => {
    const timeline = {from: 0, to: 100, recorded: [[10, 20], [30, 40], [60, 70]], gaps: [{from: 20, to: 30, reason: 'paused'}]};
    assert.deepEqual(BandModel.lookUp(timeline, 15), {recorded: [10, 20]});
    assert.equal(BandModel.lookUp(timeline, 20).gap.reason, 'paused');
    assert.deepEqual(BandModel.lookUp(timeline, 50).gap, {from: 40, to: 60, reason: 'not-recorded'});
    assert.deepEqual(BandModel.lookUp(timeline, 5).gap, {from: undefined, to: 10, reason: 'before-first'});
    assert.equal(BandModel.lookUp(timeline, 80).gap.reason, 'after-last');
    assert.equal(BandModel.lookUp({recorded: [], gaps: []}, 80).gap.reason, 'not-recorded');
    assert.equal(BandModel.lookUp(null, 80), null);
});

test('lengths of time are words', () => {
    assert.deepEqual([40_000, 45 * SECOND, 12 * MINUTE, 185 * MINUTE, 52 * HOUR].map(spanText), ['40 ms', '45 s', '12 min', '3 h 05 min', '2 d 4 h']);
});

test('T4: an event made before the clock was put on opens the very instant, also after it', () => {
    // Berlin, 29 March 2026: 02:00 +01:00 is followed by 03:00 +02:00; that day has 23 hours.
    const before = at(2026, 2, 29, 0, 59, 59) + 123456, after = at(2026, 2, 29, 1, 0, 1), late = at(2026, 2, 29, 20, 30);
    const day = startOfDay(before);
    assert.equal(nextDay(day) - day, 23 * HOUR);
    const timeline = {from: day, to: nextDay(day), recorded: [[day, nextDay(day)]], gaps: [], events: [before, after, late].map(from => ({from, to: from + 40 * SECOND, label: 'frozen'}))};
    // Seen on the day itself, and from the summer months later; at every zoom the one that is pointed at.
    for (const [event, span] of [[before, 10 * SECOND], [after, 10 * SECOND], [late, HOUR], [late, 24 * HOUR]]) {
        const band = model(event + span / 5, span);
        assert.equal(band.eventAt(timeline, band.xOf(event) + 3)?.from, event);
        assert.equal(BandModel.lookUp(timeline, event).recorded[0], day);
    }
    assert.match(fullText(before), /01:59:59\.123 \+01:00$/);
    assert.match(fullText(after), /03:00:01\.000 \+02:00$/);
});

test('a mark is found where it is drawn, and no further than a finger is wide', () => {
    const timeline = {events: [{from: 100 * SECOND, to: 160 * SECOND, label: 'frozen'}, {from: 165 * SECOND, to: 170 * SECOND, label: 'frozen'}]};
    const band = model(150 * SECOND, 200 * SECOND);
    const found = time => band.eventAt(timeline, band.xOf(time * SECOND))?.from;
    assert.equal(found(100), 100 * SECOND);
    assert.equal(found(98), 100 * SECOND);
    assert.equal(found(96), undefined);
    assert.equal(found(150), 100 * SECOND);
    assert.equal(found(165), 165 * SECOND);
    assert.equal(found(190), undefined);
    assert.equal(band.eventAt(null, 3), null);
});
