// What several probes need.

import crypto from 'node:crypto';
import * as Signal from '@signalapp/libsignal-client';
import { canonical, codeName } from '../expect.mjs';

/** Awaits a call that may succeed or give the named typed refusal; every other error goes on. */
export async function answersOr(name, call) {
  try {
    return await call();
  } catch (error) {
    if (codeName(error) !== canonical(name)) throw error;
    return null;
  }
}

/** A username nobody has, and its hash. */
export function newUsername() {
  const nickname = `probe_${crypto.randomBytes(6).toString('hex')}`;
  const username = `${nickname}.${crypto.randomInt(100, 1000)}`;
  return { username, hash: Signal.usernames.hash(username) };
}
