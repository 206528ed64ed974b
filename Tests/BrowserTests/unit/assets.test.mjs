import assert from 'node:assert/strict';
import {readFileSync, readdirSync} from 'node:fs';
import {test} from 'node:test';

const root = new URL('../../../', import.meta.url);
const files = readdirSync(new URL('Web/', root));
const text = name => readFileSync(new URL(`Web/${name}`, root), 'utf8');

test('every file of the page is in the binary, under the path that the browser asks for', () => {
    const assets = readFileSync(new URL('Sources/CAssets/assets.c', root), 'utf8');
    for (const file of files) {
        assert.ok(assets.includes(`#embed "../../Web/${file}"`), file);
        assert.ok(assets.includes(file === 'index.html' ? '{"/",' : `"/${file}"`), file);
    }
});

test('the page stays under 150 KB and asks nobody else', () => {
    const sizes = files.map(file => Buffer.byteLength(text(file)));
    assert.ok(sizes.reduce((sum, size) => sum + size) < 150_000);
    for (const file of files) assert.doesNotMatch(text(file), /https?:\/\//, file);
});

test('what is imported exists, and nothing is inline', () => {
    for (const file of files.filter(file => file.endsWith('.js'))) {
        for (const [, path] of text(file).matchAll(/^import .*?'\.\/(.+?)'/gm)) assert.ok(files.includes(path), `${file}: ${path}`);
        assert.doesNotMatch(text(file), /\s(style|on\w+)="/, file);
    }
    assert.doesNotMatch(text('index.html'), /<style|<script>|\s(style|on\w+)="/);
});
