// Conversions between the byte types of Node and of the official library, which insists on plain Uint8Array.

/** Bytes as the library wants them, from base64 text or any byte sequence. */
export function u8(value) {
  return Uint8Array.from(typeof value === 'string' ? Buffer.from(value, 'base64') : value);
}

/** UTF-8 bytes of a text. */
export function utf8(text) {
  return Uint8Array.from(Buffer.from(text, 'utf8'));
}

/** Standard base64, padded. */
export function b64(bytes) {
  return Buffer.from(bytes).toString('base64');
}

/** The UTF-8 text of some bytes. */
export function textOf(bytes) {
  return Buffer.from(bytes).toString('utf8');
}

/** Hyphenated text of a 16-byte UUID. */
export function uuidText(bytes) {
  const hex = Buffer.from(bytes).toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** Waits. Only for what has no event to wait for. */
export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
