import assert from 'node:assert/strict';
import {test} from 'node:test';
import {BandModel, DAY, HOUR, SECOND, nextDay, startOfDay} from '../../../Web/band-model.js';
import {PlaybackClock} from '../../../Web/clock.js';
import {Control} from '../../../Web/control.js';
import {crc16, decodeBlockCode} from '../blockcode.mjs';

process.env.TZ = 'Europe/Berlin';

test('a clock maps timestamps to wall time, also across the 32-bit border and backwards', () => {
    const clock = new PlaybackClock();
    clock.add({id: 1, rtp: 0xfffffff0, time: 1_000_000, rate: 1, target: 0xfffffff0, mode: 'play', camera: 'c'});
    assert.equal(clock.timeOf(0xfffffff0), 1_000_000);
    assert.equal(clock.timeOf((0xfffffff0 + 90_000) >>> 0), 2_000_000);
    clock.add({id: 2, rtp: 200_000, time: 5_000_000, rate: -8, target: 200_000, mode: 'play', camera: 'c'});
    assert.equal(clock.timeOf(290_000), 5_000_000 - 8_000_000);
});

test('pre-roll has not reached the target', () => {
    const clock = new PlaybackClock();
    clock.add({id: 1, rtp: 4500, time: 0, rate: 0, target: 4500, mode: 'pause', camera: 'c'});
    assert.equal(clock.hasReached(4050), false);
    assert.equal(clock.timeOf(4050), null);
    assert.equal(clock.hasReached(4500), true);
});

test('while dragging one seek is in flight and the newest wins', async () => {
    const sent = [];
    const control = new Control(text => sent.push(JSON.parse(text)));
    for (let time = 1; time <= 50; time++) control.drag('c', time);
    assert.deepEqual(sent.map(message => message.time), [1]);
    control.shown(1, 1);
    assert.deepEqual(sent.map(message => message.time), [1, 50]);
    const exact = control.seek('c', 7);
    assert.equal(sent.at(-1).mode, 'exact');
    control.shown(2, 50);
    control.shown(3, 7);
    assert.deepEqual(await exact, {id: 3, time: 7});
});

test('a gap and an error answer the seek', async () => {
    const control = new Control(() => {});
    const first = control.seek('c', 7);
    control.receive('{"type":"gap","id":1,"reason":"stopped","from":1,"to":2}');
    assert.equal((await first).gap.reason, 'stopped');
    const second = control.seek('c', 7);
    control.receive('{"type":"error","id":2,"code":"locked","message":"x"}');
    assert.equal((await second).error.code, 'locked');
});

test('zooming keeps the instant under the pointer', () => {
    const model = new BandModel(1_764_000_000 * SECOND);
    model.width = 1000;
    const before = model.timeAt(250);
    model.zoom(0.1, 250);
    assert.ok(Math.abs(model.timeAt(250) - before) < 2);
    for (let index = 0; index < 100; index++) model.zoom(10, 500);
    assert.equal(model.span, 366 * DAY);
});

test('T4: the autumn day has 25 hours and two 02:30, the spring day 23', () => {
    const autumn = startOfDay(Date.UTC(2026, 9, 25, 12) * 1000);
    assert.equal(nextDay(autumn) - autumn, 25 * HOUR);
    const spring = startOfDay(Date.UTC(2026, 2, 29, 12) * 1000);
    assert.equal(nextDay(spring) - spring, 23 * HOUR);
    const model = new BandModel(autumn + 12 * HOUR);
    model.span = 26 * HOUR;
    model.width = 4000;
    const half = model.ticks(60).map(tick => new Date(tick.time / 1000)).filter(date => date.getDate() === 25 && date.getHours() === 2 && date.getMinutes() === 30);
    assert.equal(half.length, 2);
});

test('the block code is read, and a damaged one is refused', () => {
    assert.equal(crc16([...'123456789'].map(letter => letter.charCodeAt(0))), 0x29b1);
    const time = 1_795_597_864_412_939;
    const bytes = Array.from({length: 8}, (_, index) => Number(BigInt(time) >> BigInt(56 - 8 * index) & 255n));
    const crc = crc16(bytes);
    const bits = '101010101100' + [...bytes, crc >> 8, crc & 255].map(byte => byte.toString(2).padStart(8, '0')).join('') + '0000';
    const [width, height, cell] = [640, 360, 16];
    const data = new Uint8ClampedArray(width * height * 4).fill(128);
    [...bits].forEach((bit, index) => {
        for (let y = 0; y < cell; y++) for (let x = 0; x < cell; x++) {
            const at = ((cell + Math.floor(index / 12) * cell + y) * width + cell + index % 12 * cell + x) * 4;
            data.fill(bit === '1' ? 235 : 16, at, at + 3);
        }
    });
    assert.equal(decodeBlockCode({data, width, height}), time);
    for (let y = 0; y < cell; y++) for (let x = 0; x < cell; x++) data.fill(16, ((cell * 4 + y) * width + cell * 3 + x) * 4, ((cell * 4 + y) * width + cell * 3 + x) * 4 + 3);
    for (let y = 0; y < cell; y++) for (let x = 0; x < cell; x++) data.fill(235, ((cell * 5 + y) * width + cell * 3 + x) * 4, ((cell * 5 + y) * width + cell * 3 + x) * 4 + 3);
    assert.equal(decodeBlockCode({data, width, height}), null);
});
