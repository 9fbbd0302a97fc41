// One-time passwords by time (RFC 6238), as a generator makes them.

import crypto from 'node:crypto';

/** The step of this moment. */
export function presentStep({ timeStepSeconds }) {
  return Math.floor(Date.now() / 1000 / timeStepSeconds);
}

/** The password of a step, a number. */
export function totp(key, { algorithm, passwordLength, timeStepSeconds }, step = presentStep({ timeStepSeconds })) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const digest = crypto.createHmac(algorithm.replace(/^Hmac/, ''), key).update(counter).digest();
  const offset = digest.at(-1) & 0x0f;
  return (digest.readUInt32BE(offset) & 0x7fff_ffff) % 10 ** passwordLength;
}

/** A number that is the password of no step about now. */
export function wrongTotp(key, parameters) {
  const present = presentStep(parameters);
  const near = [-2, -1, 0, 1, 2].map((offset) => totp(key, parameters, present + offset));
  for (let number = 0; ; number += 1) if (!near.includes(number)) return number;
}
