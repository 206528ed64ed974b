"""What is on a screen or in a file, told by the block code that the test camera draws into every picture."""

import pathlib
import subprocess

FRAME = 40_000  # µs; the test cameras' 25 frames a second
CODE = (pathlib.Path(__file__).parent / "blockcode.mjs").read_text().replace("export ", "")

# As a person sees it: the time in the picture itself.
READ = CODE + """
const picture = sudocam.picture;
const width = picture.videoWidth || picture.width, height = picture.videoHeight || picture.height;
if (!width) return null;
const canvas = document.createElement('canvas');
canvas.width = width; canvas.height = height;
const paint = canvas.getContext('2d', {willReadFrequently: true});
paint.drawImage(picture, 0, 0);
return decodeBlockCode(paint.getImageData(0, 0, width, height));
"""
SEEK = "const result = await sudocam.seek(args[0], args[1], {mode: args[2], then: args[3]}); const code = (() => {" + READ + "})(); return {...result, code};"

# Every picture of the next args[0] milliseconds: [code, time the page says, width].
WATCH = CODE + """
const pictures = [], canvas = document.createElement('canvas'), paint = canvas.getContext('2d', {willReadFrequently: true});
let goesOn = true;
const each = () => {
    if (!goesOn) return;
    sudocam.video.requestVideoFrameCallback(each);
    const picture = sudocam.picture, width = picture.videoWidth || picture.width, height = picture.videoHeight || picture.height;
    if (!width || !sudocam.shown()) return;
    canvas.width = width; canvas.height = height;
    paint.drawImage(picture, 0, 0);
    pictures.push([decodeBlockCode(paint.getImageData(0, 0, width, height)), sudocam.shown().time, width]);
};
sudocam.video.requestVideoFrameCallback(each);
await new Promise(done => setTimeout(done, args[0]));
goesOn = false;
return pictures;
"""


def rises(pictures):
    """The codes of watched pictures, after checking that none goes back."""
    codes = [code for code, _, _ in pictures if code]
    assert len(codes) > 0.8 * len(pictures) and len(codes) > 5, f"{len(codes)} of {len(pictures)} pictures have a code"
    assert all(a <= b for a, b in zip(codes, codes[1:])), f"a picture goes back: {codes}"
    return codes


def crc16(data):
    """CRC-16/CCITT-FALSE"""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def block_code(luma, width):
    """µs since the epoch, or None; docs/reference/block-code.md"""
    cell = max(8, width // 40 // 2 * 2)
    bits = ""
    for index in range(96):
        x, y = cell + index % 12 * cell, cell + index // 12 * cell
        rows = [luma[row * width + x + cell // 4:row * width + x + cell * 3 // 4] for row in range(y + cell // 4, y + cell * 3 // 4)]
        bits += "1" if sum(map(sum, rows)) > 128 * sum(map(len, rows)) else "0"
    data = int(bits[12:92], 2).to_bytes(10, "big")
    if bits[:12] != "101010101100" or crc16(data[:8]) != int.from_bytes(data[8:], "big"):
        return None
    return int.from_bytes(data[:8], "big")


def codes_of(movie, width, height):
    """The block code of each picture that a player shows of a movie."""
    shown = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(movie), "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"],
        capture_output=True, check=True).stdout
    size = width * height
    return [block_code(shown[place:place + size], width) for place in range(0, len(shown), size)]


def unlock(browser, url, passphrase):
    """Opens the page, logs in and waits for the first picture."""
    browser.open(url)
    browser.run("await sudocam.ready;")
    browser.run(f"document.querySelector('#passphrase').value = '{passphrase}'; document.querySelector('#unlock').click();")
    browser.wait("return sudocam.shown()", 20)
