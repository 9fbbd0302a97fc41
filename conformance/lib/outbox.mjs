// The file to which a development server writes what would have gone out by SMS or call.

import fs from 'node:fs';
import { sleep } from './bytes.mjs';

const DELIVERED_WITHIN_MS = 5_000;
const POLL_MS = 10;

/** Verification codes by phone number, in the order they were sent. */
export class Outbox {
  constructor(file) {
    this.file = file;
  }

  /** Everything sent to the number so far: `[{ code, transport, time, to, kind }]`. */
  to(number) {
    if (!fs.existsSync(this.file)) return [];
    const text = fs.readFileSync(this.file, 'utf8');
    const complete = text.slice(0, text.lastIndexOf('\n') + 1);
    return complete
      .split('\n')
      .filter((line) => line.includes(number))
      .map((line) => JSON.parse(line))
      .filter((entry) => entry.kind === 'verification_code' && entry.to === number);
  }

  /** How many codes were sent to the number. */
  count(number) {
    return this.to(number).length;
  }

  /** The code after the first `already`, waiting for it if need be. */
  async next(number, already = 0) {
    const deadline = Date.now() + DELIVERED_WITHIN_MS;
    for (;;) {
      const entry = this.to(number)[already];
      if (entry) return entry;
      if (Date.now() > deadline)
        throw new Error(`no verification code number ${already + 1} for ${number} in ${this.file}`);
      await sleep(POLL_MS);
    }
  }
}
