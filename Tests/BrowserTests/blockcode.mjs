// Reads the test picture's block code (docs/reference/block-code.md) from the pixels of a picture.

/** @param {number[]} bytes CRC-16/CCITT-FALSE */
export function crc16(bytes) {
    let crc = 0xffff;
    for (const byte of bytes) {
        crc ^= byte << 8;
        for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1) & 0xffff;
    }
    return crc;
}

/** @param {{data: Uint8ClampedArray | number[], width: number, height: number}} image RGBA @returns {number | null} µs since the epoch */
export function decodeBlockCode(image) {
    const cell = Math.max(8, Math.floor(image.width / 40 / 2) * 2);
    if (image.width < cell * 14 || image.height < cell * 10) return null;
    const bits = [];
    for (let index = 0; index < 96; index++) {
        const [x, y] = [cell + index % 12 * cell, cell + Math.floor(index / 12) * cell];
        let sum = 0, count = 0;
        for (let row = y + (cell >> 2); row < y + cell * 3 / 4; row++) {
            for (let column = x + (cell >> 2); column < x + cell * 3 / 4; column++) {
                sum += image.data[(row * image.width + column) * 4 + 1];
                count++;
            }
        }
        bits.push(sum > 128 * count ? 1 : 0);
    }
    if (bits.slice(0, 12).join('') !== '101010101100') return null;
    const bytes = Array.from({length: 10}, (_, index) => parseInt(bits.slice(12 + index * 8, 20 + index * 8).join(''), 2));
    if (crc16(bytes.slice(0, 8)) !== (bytes[8] << 8 | bytes[9]) || bits.slice(92).some(bit => bit)) return null;
    return Number(bytes.slice(0, 8).reduce((value, byte) => value << 8n | BigInt(byte), 0n));
}
