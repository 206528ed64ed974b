import assert from 'node:assert/strict';
import {test} from 'node:test';
globalThis.HTMLElement ??= class {};
globalThis.customElements ??= {define() {}};
const {commandFor} = await import('../../../Web/keys.js');

const paused = {mode: 'pause', rate: 1}, playing = {mode: 'play', rate: 2};

test('arrows step by a frame when paused, by 10 s when playing, by a minute with shift', () => {
    assert.deepEqual(commandFor({key: 'ArrowLeft'}, paused), {name: 'step', by: -1});
    assert.deepEqual(commandFor({key: 'ArrowRight'}, playing), {name: 'move', by: 10e6});
    assert.deepEqual(commandFor({key: 'ArrowRight', shiftKey: true}, paused), {name: 'move', by: 60e6});
});

test('J and L again go faster, up to 16 times', () => {
    assert.deepEqual(commandFor({key: 'l'}, paused), {name: 'rate', rate: 1});
    assert.deepEqual(commandFor({key: 'l'}, playing), {name: 'rate', rate: 4});
    assert.deepEqual(commandFor({key: 'l'}, {mode: 'play', rate: 16}), {name: 'rate', rate: 16});
    assert.deepEqual(commandFor({key: 'j'}, playing), {name: 'rate', rate: -1});
    assert.deepEqual(commandFor({key: 'j'}, {mode: 'play', rate: -8}), {name: 'rate', rate: -16});
});

test('digits are cameras, other keys are not ours', () => {
    assert.deepEqual(commandFor({key: '3'}, paused), {name: 'camera', index: 2});
    for (const key of ['0', '10', 'a', 'Tab', 'Enter', 'F5']) assert.equal(commandFor({key}, paused), null);
});
