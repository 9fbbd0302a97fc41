// Message padding: a mark, then zeros up to one less than a multiple of the block, so that lengths say little.

const BLOCK = 80;
const MARK = 0x80;

/** The bytes with their padding. */
export function pad(bytes) {
  const padded = new Uint8Array(Math.ceil((bytes.length + 2) / BLOCK) * BLOCK - 1);
  padded.set(bytes);
  padded[bytes.length] = MARK;
  return padded;
}

/** The bytes without their padding. */
export function unpad(bytes) {
  const mark = bytes.lastIndexOf(MARK);
  if (mark < 0 || bytes.subarray(mark + 1).some((byte) => byte !== 0)) throw new Error('bad message padding');
  return bytes.subarray(0, mark);
}
