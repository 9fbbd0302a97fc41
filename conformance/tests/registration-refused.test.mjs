// Registration bodies the library would not make.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { before, test } from 'node:test';
import { Account, verifiedSession } from '../lib/account.mjs';
import { b64 } from '../lib/bytes.mjs';
import { basicAuth } from '../lib/client.mjs';
import { assertTimestamped } from '../lib/expect.mjs';
import { keyJson } from '../lib/store.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const world = await World.start();

onEveryCarrier((carrier) => {
  let anonymous;
  let account;
  let good;
  before(async () => {
    anonymous = await world.connectAnonymously(carrier);
    account = new Account(world.newNumber());
    const { sessionId } = await verifiedSession(world.net(carrier), account.number, world.server.outbox);
    good = account.registrationJson({ sessionId });
  });

  /** Sends a registration with some fields changed; `undefined` takes one away. */
  async function attempt(changes, headers = [basicAuth(account.number, account.password)]) {
    const response = await anonymous.rest('POST', '/v1/registration', { headers, json: { ...good, ...changes } });
    assertTimestamped(response);
    return response.status;
  }

  const attributes = (changes) => ({ accountAttributes: { ...good.accountAttributes, ...changes } });
  const flipped = (key) => {
    const signature = Buffer.from(key.signature, 'base64');
    signature[0] ^= 1;
    return { ...key, signature: b64(signature) };
  };

  test('a signature that does not hold', async () => {
    for (const field of ['aciSignedPreKey', 'pniSignedPreKey', 'aciPqLastResortPreKey', 'pniPqLastResortPreKey']) {
      assert.equal(await attempt({ [field]: flipped(good[field]) }), 422, field);
    }
    assert.equal(
      await attempt({ aciSignedPreKey: keyJson(account.pniSignedPreKey) }),
      422,
      'signed by the other identity',
    );
  });

  test('keys of a wrong size or kind', async () => {
    const short = { ...good.aciSignedPreKey, publicKey: b64(crypto.randomBytes(32)) };
    const kind = { ...good.aciPqLastResortPreKey, publicKey: b64(Buffer.alloc(1569, 7)) };
    const large = { ...good.aciSignedPreKey, keyId: 2 ** 31 };
    for (const [field, value] of Object.entries({
      aciSignedPreKey: short,
      aciPqLastResortPreKey: kind,
      pniSignedPreKey: large,
    })) {
      assert.ok([400, 422].includes(await attempt({ [field]: value })), field);
    }
    assert.ok([400, 422].includes(await attempt({ aciIdentityKey: b64(crypto.randomBytes(33)) })));
  });

  test('some of the PNI keys but not all', async () => {
    assert.equal(await attempt({ pniSignedPreKey: undefined }), 422);
    assert.equal(await attempt(attributes({ pniRegistrationId: undefined })), 422);
  });

  test('no proof, or two', async () => {
    assert.equal(await attempt({ sessionId: undefined }), 422);
    assert.equal(await attempt({ recoveryPassword: b64(account.recoveryPassword) }), 422);
  });

  test('no way to be reached, or two', async () => {
    assert.equal(await attempt(attributes({ fetchesMessages: false })), 422);
    assert.equal(await attempt({ apnToken: { apnRegistrationId: 'token' } }), 422);
  });

  test('a device that does not know the current ratchet', async () => {
    assert.equal(await attempt(attributes({ capabilities: { storage: true } })), 499);
    assert.equal(await attempt(attributes({ capabilities: null })), 499);
  });

  test('attributes out of range', async () => {
    for (const changes of [
      { registrationId: 0 },
      { registrationId: 16_384 },
      { pniRegistrationId: 16_384 },
      { registrationLock: 'short' },
      { unidentifiedAccessKey: null },
      { unidentifiedAccessKey: b64(crypto.randomBytes(15)) },
      { recoveryPassword: b64(crypto.randomBytes(31)) },
      { name: b64(crypto.randomBytes(226)) },
    ]) {
      assert.ok([400, 422].includes(await attempt(attributes(changes))), JSON.stringify(changes));
    }
  });

  test('no credentials, or unreadable ones', async () => {
    for (const headers of [
      [],
      [['authorization', 'Basic !']],
      [basicAuth('', account.password)],
      [basicAuth(account.number, '')],
    ]) {
      assert.ok([400, 401, 422].includes(await attempt({}, headers)), JSON.stringify(headers));
    }
  });

  test('a session that does not exist', async () => {
    assert.equal(await attempt({ sessionId: crypto.randomBytes(16).toString('base64url') }), 400);
  });

  test('after all that, the good one still goes through, with the access key as text', async () => {
    assert.equal(typeof good.accountAttributes.unidentifiedAccessKey, 'string');
    assert.equal(await attempt({ requireAtomic: true, everySignedKeyValid: true }), 200);
  });

  test('a push token in place of fetching', async () => {
    for (const token of [
      { apnToken: { apnRegistrationId: 'token' } },
      { gcmToken: { gcmRegistrationId: 'token' } },
      { pushToken: { gcmRegistrationId: 'token' } },
    ]) {
      assert.equal(await attempt({ ...token, ...attributes({ fetchesMessages: false }) }), 200, JSON.stringify(token));
    }
  });
});
