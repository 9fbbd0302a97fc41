// Second factors with the library's typed calls, under the names that Signal's server gave some of them before, and what they
// mean for registering again.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';
import { SvrKey } from '@signalapp/libsignal-client/dist/AccountKeys.js';
import { reregister, verifiedSession } from '../lib/account.mjs';
import { CARRIERS, basicAuth } from '../lib/client.mjs';
import { failsWith } from '../lib/expect.mjs';
import { grpcCall } from '../lib/grpc.mjs';
import { readFields } from '../lib/protobuf.mjs';
import { presentStep, totp, wrongTotp } from '../lib/totp.mjs';
import { World } from '../lib/world.mjs';

const TOTP_KEYS_MAX = 2;
const METADATA_LEN = 160;
const world = await World.start();
const random = (length) => Uint8Array.from(crypto.randomBytes(length));
const svrKey = new SvrKey(random(32));
const metadata = { name: 'my phone', createdAt: 1_700_000_000_000 };
const method = (name) => `/org.signal.chat.account.Accounts/${name}`;

/**
 * A key for one-time passwords that counts: `{ id, key, parameters, next }`, where `next` is the password of the step after the one
 * that confirmed it. The server takes it early, so that no test has to wait for it.
 */
async function newTotpKey(person) {
  const { key, parameters } = await person.chat.generateTotpKey();
  const step = presentStep(parameters);
  const oneTimePassword = totp(key, parameters, step);
  const id = await person.chat.confirmTotpKey({ oneTimePassword, metadata, svrKey });
  return { id, key, parameters, used: oneTimePassword, next: totp(key, parameters, step + 1) };
}

const verify = (person, totpPassword) => person.chat.finishMfaVerification({ credential: { totpPassword } });

for (const carrier of CARRIERS.filter(({ httpVersion }) => httpVersion === 2)) {
  test(`a key is made, confirmed, listed, renamed and removed (${carrier.name})`, async () => {
    const person = await world.person(carrier);
    const { key, parameters } = await person.chat.generateTotpKey();
    assert.equal(key.length, 32);
    assert.deepEqual(parameters, { algorithm: 'HmacSHA256', passwordLength: 6, timeStepSeconds: 30 });
    const confirm = (oneTimePassword) => person.chat.confirmTotpKey({ oneTimePassword, metadata, svrKey });
    await failsWith('MfaNotVerified', () => confirm(wrongTotp(key, parameters)));
    assert.deepEqual(await person.chat.listMfaKeys({ svrKey }), [], 'it does not count yet');
    const id = await confirm(totp(key, parameters));
    assert.deepEqual(await person.chat.listMfaKeys({ svrKey }), [{ id, metadata, kind: 'totp' }]);
    const renamed = { ...metadata, name: 'my other phone' };
    await person.chat.setMfaKeyMetadata({ keyId: id, metadata: renamed, svrKey });
    assert.deepEqual(await person.chat.listMfaKeys({ svrKey }), [{ id, metadata: renamed, kind: 'totp' }]);
    await failsWith('MfaKeyNotFound', () => person.chat.setMfaKeyMetadata({ keyId: id + 1, metadata, svrKey }));
    await person.chat.removeMfaKey({ keyId: id });
    await person.chat.removeMfaKey({ keyId: id });
    assert.deepEqual(await person.chat.listMfaKeys({ svrKey }), []);
  });

  test(`a password proves once that somebody has the key (${carrier.name})`, async () => {
    const person = await world.person(carrier);
    assert.deepEqual({ ...(await person.chat.startMfaVerification({})) }.hasTotp, false);
    const { key, parameters, used, next } = await newTotpKey(person);
    assert.equal((await person.chat.startMfaVerification({})).hasTotp, true);
    await failsWith('MfaNotVerified', () => verify(person, wrongTotp(key, parameters)));
    await failsWith('MfaNotVerified', () => verify(person, used));
    await verify(person, next);
    await failsWith('MfaNotVerified', () => verify(person, next));
  });

  test(`two keys are enough (${carrier.name})`, async () => {
    const person = await world.person(carrier);
    for (let count = 0; count < TOTP_KEYS_MAX; count += 1) await newTotpKey(person);
    await failsWith('TooManyTotpKeys', () => person.chat.generateTotpKey());
    await person.chat.removeMfaKey({ keyId: 0 });
    await person.chat.generateTotpKey();
  });

  test(`who guesses has to wait longer and longer (${carrier.name})`, async () => {
    const person = await world.person(carrier);
    const { key, parameters, next } = await newTotpKey(person);
    const wrong = wrongTotp(key, parameters);
    for (let guess = 0; guess < 5; guess += 1) await failsWith('MfaNotVerified', () => verify(person, wrong));
    const limited = await failsWith('RateLimitedError', () => verify(person, next));
    assert.ok(limited.retryAfterSecs > 0 && limited.retryAfterSecs <= 30, String(limited.retryAfterSecs));
  });

  test(`passkeys are for accounts without a number (${carrier.name})`, async () => {
    const person = await world.person(carrier);
    await assert.rejects(person.chat.startWebAuthnRegistration());
    assert.equal((await person.chat.startMfaVerification({})).webauthnParams ?? null, null);
  });

  test(`registering again takes a one-time password (${carrier.name})`, async () => {
    const person = await world.person(carrier);
    const { next, used } = await newTotpKey(person);
    const returned = person.account.reinstalled();
    await failsWith('RegistrationOneTimePasswordRequired', () => reregister(world.net(carrier), returned));
    const session = await verifiedSession(world.net(carrier), returned.number, world.server.outbox);
    await failsWith('RegistrationOneTimePasswordRequired', () => session.registerAccount(returned.registrationArgs()));
    // The library has a field for it only where there is no number.
    const anonymous = await world.connectAnonymously(carrier);
    const register = (password) =>
      anonymous.rest('POST', '/v1/registration', {
        headers: [basicAuth(returned.number, returned.password)],
        json: { ...returned.registrationJson({ sessionId: session.sessionId }), totp: password },
      });
    assert.equal((await register(used)).status, 441, 'that password is used up');
    const response = await register(next);
    assert.equal(response.status, 200, response.text);
    assert.equal(response.json.reregistration, true);
    assert.equal((await register(next)).status, 441, 'so is that one now');
    const { aci, pni } = person.account;
    const connection = await world.connect(carrier, returned.adopt({ aci, pni }));
    assert.equal((await connection.chat.listMfaKeys({ svrKey })).length, 1, 'the key stays with the account');
  });
}

test('the names that Signal’s server had before work too', async () => {
  const carrier = CARRIERS.find(({ httpVersion }) => httpVersion === 2);
  const person = await world.person(carrier);
  const { id } = await newTotpKey(person);
  const call = (name, message) => grpcCall(world.server, method(name), message, { account: person.account });

  const [{ number, value: entry }] = await call('ListTotpKeys', []);
  assert.equal(number, 1);
  const listed = Object.fromEntries(readFields(entry).map((field) => [field.number, field.value]));
  assert.equal(Number(listed[1] ?? 0n), id);
  const [ciphertext, parameters] = readFields(listed[2]);
  assert.deepEqual([ciphertext.number, ciphertext.value.length], [1, METADATA_LEN]);
  const [algorithm, digits, seconds] = readFields(parameters.value);
  assert.deepEqual([algorithm.value.toString(), digits.value, seconds.value], ['HmacSHA256', 6n, 30n]);

  const keyId = id === 0 ? [] : [[1, id]];
  const [renamed] = await call('SetTotpKeyMetadata', [...keyId, [2, random(METADATA_LEN)]]);
  assert.equal(renamed.number, 1);
  const [missing] = await call('SetTotpKeyMetadata', [
    [1, 9],
    [2, random(METADATA_LEN)],
  ]);
  assert.equal(missing.number, 2);
  assert.deepEqual(await call('RemoveTotpKey', keyId), []);
  assert.deepEqual(await call('ListTotpKeys', []), []);
});
