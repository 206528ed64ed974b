import assert from 'node:assert/strict';
import {test} from 'node:test';
import {Control} from '../../../Web/control.js';

const make = (clock = {now: 0}) => {
    const sent = [];
    return {sent, control: new Control(text => sent.push(JSON.parse(text)), () => clock.now)};
};

test('a drag whose picture never comes holds nothing up for longer than a second', () => {
    const clock = {now: 0}, {sent, control} = make(clock);
    control.drag('c', 1);
    clock.now = 900;
    control.drag('c', 2);
    assert.equal(sent.length, 1);
    clock.now = 1100;
    control.drag('c', 3);
    assert.deepEqual(sent.map(message => message.time), [1, 3]);
});

test('letting go forgets where the hand has been', () => {
    const {sent, control} = make();
    control.drag('c', 1);
    control.drag('c', 2);
    control.seek('c', 3);
    control.shown(1, 1);
    control.shown(2, 3);
    assert.deepEqual(sent.map(message => [message.time, message.mode]), [[1, 'keyframe'], [3, 'exact']]);
});

test('a seek overtaken by another, or by a picture of a later request, says so', async () => {
    const {control} = make();
    const first = control.seek('c', 1), second = control.seek('c', 2);
    assert.deepEqual(await first, {superseded: true});
    control.play(1);
    control.shown(3, 9);
    assert.deepEqual(await second, {superseded: true});
});

test('answers to older requests do not end the newest', async () => {
    const {control} = make();
    control.seek('c', 1);
    const newest = control.seek('c', 2);
    control.receive('{"type":"gap","id":1,"reason":"stopped"}');
    control.receive('{"type":"error","id":1,"code":"damaged","message":"x"}');
    control.shown(2, 7);
    assert.deepEqual(await newest, {id: 2, time: 7});
});

test('a lost connection answers what was asked', async () => {
    const {control} = make();
    const asked = control.seek('c', 1);
    control.close();
    assert.equal((await asked).error.code, 'closed');
});

test('what is no message is passed over, and 200 replies are kept', () => {
    const {control} = make(), seen = [];
    control.onmessage = message => seen.push(message.type);
    for (const text of ['', '{', 'null', '[]', '{"type":7}']) control.receive(text);
    assert.deepEqual(seen, []);
    for (let index = 0; index < 250; index++) control.receive(`{"type":"end","id":${index},"at":"last"}`);
    assert.equal(control.messages.length, 200);
    assert.equal(control.messages.at(-1).id, 249);
});

test('ids rise, and times are whole microseconds', () => {
    const {sent, control} = make();
    control.seek('c', 1.4);
    control.pause();
    control.live();
    control.live('c');
    assert.deepEqual(sent.map(message => message.id), [1, 2, 3, 4]);
    assert.equal(sent[0].time, 1);
    assert.deepEqual([sent[2].camera, sent[3].camera], [undefined, 'c']);
});
