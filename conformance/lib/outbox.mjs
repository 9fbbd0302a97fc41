// The file to which a development server writes what would have gone out by SMS, call, push or e-mail.

import fs from 'node:fs';
import { sleep } from './bytes.mjs';

const DELIVERED_WITHIN_MS = 5_000;
const POLL_MS = 10;

/** Verification codes by phone number, push challenges by device and mails by address, in the order they were sent. */
export class Outbox {
  constructor(file) {
    this.file = file;
  }

  /** The codes sent to the number so far: `[{ code, transport, time, to, kind }]`. */
  to(number) {
    return this.#sent('verification_code', number);
  }

  /** Everything of that kind sent so far to that number or device. */
  #sent(kind, to) {
    if (!fs.existsSync(this.file)) return [];
    const text = fs.readFileSync(this.file, 'utf8');
    const complete = text.slice(0, text.lastIndexOf('\n') + 1);
    return complete
      .split('\n')
      .filter((line) => line.includes(to))
      .map((line) => JSON.parse(line))
      .filter((entry) => entry.kind === kind && entry.to === to);
  }

  /** How many codes were sent to the number. */
  count(number) {
    return this.to(number).length;
  }

  /** The code after the first `already`, waiting for it if need be. */
  async next(number, already = 0) {
    return this.#next('verification_code', number, already);
  }

  /** The challenges pushed so far to a device, `{aci}.{device}`. */
  pushesTo(device) {
    return this.#sent('push_challenge', device);
  }

  /** The challenge pushed to the device after the first `already`, waiting for it if need be. */
  async nextPush(device, already = 0) {
    return this.#next('push_challenge', device, already);
  }

  /** The mail to the address after the first `already`, waiting for it if need be: `{ subject, text, … }`. */
  async nextMail(address, already = 0) {
    return this.#next('email', address, already);
  }

  async #next(kind, to, already) {
    const deadline = Date.now() + DELIVERED_WITHIN_MS;
    for (;;) {
      const entry = this.#sent(kind, to)[already];
      if (entry) return entry;
      if (Date.now() > deadline) throw new Error(`no ${kind} number ${already + 1} for ${to} in ${this.file}`);
      await sleep(POLL_MS);
    }
  }
}
