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

/** The key and parameters of a key URI, as a QR code says them. */
export function fromUri(text) {
  const uri = new URL(text);
  if (uri.protocol !== 'otpauth:' || uri.host !== 'totp') throw new Error(`not of one-time passwords by time: ${text}`);
  const parameters = {
    algorithm: uri.searchParams.get('algorithm'),
    passwordLength: Number(uri.searchParams.get('digits')),
    timeStepSeconds: Number(uri.searchParams.get('period')),
  };
  const [issuer, account] = decodeURIComponent(uri.pathname.slice(1)).split(':');
  return { key: fromBase32(uri.searchParams.get('secret')), parameters, issuer, account };
}

/** RFC 4648, section 6, without padding. */
function fromBase32(text) {
  const bits = [...text].map((symbol) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(symbol).toString(2).padStart(5, '0'));
  return Buffer.from(bits.join('').match(/.{8}/g).map((byte) => parseInt(byte, 2)));
}

/** A number that is the password of no step about now. */
export function wrongTotp(key, parameters) {
  const present = presentStep(parameters);
  const near = [-2, -1, 0, 1, 2].map((offset) => totp(key, parameters, present + offset));
  for (let number = 0; ; number += 1) if (!near.includes(number)) return number;
}
