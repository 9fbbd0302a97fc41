// What several probes need.

import crypto from 'node:crypto';
import * as Signal from '@signalapp/libsignal-client';
import { codeName } from '../expect.mjs';

/** Awaits a call that may succeed or give the named typed refusal; every other error goes on. */
export async function answersOr(name, call) {
  try {
    return await call();
  } catch (error) {
    if (codeName(error) !== name) throw error;
    return null;
  }
}

/** A username nobody has, and its hash. */
export function newUsername() {
  const nickname = `probe_${crypto.randomBytes(6).toString('hex')}`;
  const username = `${nickname}.${crypto.randomInt(100, 1000)}`;
  return { username, hash: Signal.usernames.hash(username) };
}

/** The time-based one-time password of this moment (RFC 6238). */
export function totp(key, { algorithm, passwordLength, timeStepSeconds }) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 1000 / timeStepSeconds)));
  const digest = crypto.createHmac(algorithm.replace(/^Hmac/, ''), key).update(counter).digest();
  const offset = digest.at(-1) & 0x0f;
  return (digest.readUInt32BE(offset) & 0x7fff_ffff) % 10 ** passwordLength;
}
