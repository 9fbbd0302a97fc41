// Publishing pre-keys, counting them, and handing each out once.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';
import * as Signal from '@signalapp/libsignal-client';
import { b64 } from '../lib/bytes.mjs';
import { CARRIERS } from '../lib/client.mjs';
import { assertEmpty, assertJson, failsWith } from '../lib/expect.mjs';
import { bundlesOf, fetchBundles, keyCounts, newOneTimeKeys, startSessions, uploadKeys } from '../lib/keys.mjs';
import { keyJson } from '../lib/store.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const FETCHERS = 64;

const world = await World.start();

/** The typed fetch by someone who shows an access key. */
function fetchTyped(anonymous, account, { target = account.aci, device = 'all', auth } = {}) {
  return anonymous.chat.getPreKeys({ target, device, auth: auth ?? { accessKey: account.accessKey } });
}

const oneTimeIds = ({ preKeyBundles }) => preKeyBundles.map((bundle) => bundle.preKeyId());

onEveryCarrier((carrier) => {
  test('uploads are counted, for each identity by itself', async () => {
    const person = await world.person(carrier);
    assert.deepEqual(await keyCounts(person), { count: 0, pqCount: 0 });
    await uploadKeys(person, { count: 5 });
    await uploadKeys(person, { identity: 'pni', count: 2 });
    assert.deepEqual(await keyCounts(person, 'aci'), { count: 5, pqCount: 5 });
    assert.deepEqual(await keyCounts(person, 'pni'), { count: 2, pqCount: 2 });
    assert.deepEqual(await keyCounts(person, 'PNI'), { count: 2, pqCount: 2 });
  });

  test('an upload replaces the keys of its kind, and leaves the others', async () => {
    const person = await world.person(carrier);
    await uploadKeys(person, { count: 5 });
    const { preKeys } = newOneTimeKeys(person.account.aciStore, 3);
    assertEmpty(await person.rest('PUT', '/v2/keys', { json: { preKeys: preKeys.map(keyJson), pqPreKeys: [] } }), 204);
    assert.deepEqual(await keyCounts(person), { count: 3, pqCount: 5 });
    assertEmpty(await person.rest('PUT', '/v2/keys', { json: {} }), 204);
    assert.deepEqual(await keyCounts(person), { count: 3, pqCount: 5 });
  });

  test('a fetch takes one key of each kind, lowest id first, until only the last resort is left', async () => {
    const person = await world.person(carrier);
    const { account } = person;
    const { preKeys, pqPreKeys } = await uploadKeys(person, { count: 3 });
    const anonymous = await world.connectAnonymously(carrier);
    for (let taken = 0; taken < 3; taken++) {
      const { identityKey, preKeyBundles } = await fetchTyped(anonymous, account);
      assert.equal(preKeyBundles.length, 1);
      const [bundle] = preKeyBundles;
      assert.ok(identityKey.equals(account.aciStore.identity.publicKey));
      assert.equal(bundle.deviceId(), 1);
      assert.equal(bundle.registrationId(), account.aciStore.registrationId);
      assert.equal(bundle.preKeyId(), preKeys[taken].id());
      assert.equal(bundle.kyberPreKeyId(), pqPreKeys[taken].id());
      assert.equal(bundle.signedPreKeyId(), account.aciSignedPreKey.id());
      assert.equal((await keyCounts(person)).count, 2 - taken);
    }
    for (let again = 0; again < 2; again++) {
      const [bundle] = (await fetchTyped(anonymous, account)).preKeyBundles;
      assert.equal(bundle.preKeyId(), null);
      assert.equal(bundle.kyberPreKeyId(), account.aciLastResort.id());
    }
  });

  test('a session can be started from a bundle of either fetch', async () => {
    const [alice, bob] = [await world.person(carrier), await world.person(carrier)];
    const anonymous = await world.connectAnonymously(carrier);
    await startSessions(alice.account, bob.account.aci, await fetchTyped(anonymous, bob.account));
    await uploadKeys(bob, { count: 1 });
    const bundles = await fetchBundles(alice, bob.account.aci, 1);
    assert.deepEqual(await startSessions(alice.account, bob.account.aci, bundles), [bob.account.device]);
  });

  test('a PNI has its own identity, registration id and keys', async () => {
    const [alice, bob] = [await world.person(carrier), await world.person(carrier)];
    const { preKeys } = await uploadKeys(bob, { identity: 'pni', count: 1 });
    const { identityKey, preKeyBundles } = await fetchBundles(alice, bob.account.pni);
    assert.ok(identityKey.equals(bob.account.pniStore.identity.publicKey));
    assert.equal(preKeyBundles[0].registrationId(), bob.account.pniStore.registrationId);
    assert.deepEqual(oneTimeIds({ preKeyBundles }), [preKeys[0].id()]);
  });

  test('who shows no right access key learns nothing', async () => {
    const anonymous = await world.connectAnonymously(carrier);
    const account = await world.account(carrier);
    const nobody = Signal.Aci.fromUuid(crypto.randomUUID());
    const refused = (options) => failsWith('RequestUnauthorized', () => fetchTyped(anonymous, account, options));
    await refused({ auth: { accessKey: new Uint8Array(16).fill(1) } });
    await refused({ auth: 'unrestricted' });
    await refused({ target: nobody });
    await refused({ target: account.pni });
    await refused({ device: { deviceId: 2 } });
    assert.equal((await fetchTyped(anonymous, account, { device: { deviceId: 1 } })).preKeyBundles.length, 1);
    for (const path of [`/v2/keys/${account.uuid}/*`, `/v2/keys/${nobody.getServiceIdString()}/1`]) {
      assert.equal((await anonymous.rest('GET', path)).status, 401);
      const headers = [['unidentified-access-key', 'AAAA']];
      assert.equal((await anonymous.rest('GET', path, { headers })).status, 401);
    }
  });

  test('an account may let everybody in', async () => {
    const person = await world.person(carrier);
    const attributes = { ...person.account.attributesJson(), unrestrictedUnidentifiedAccess: true };
    assertEmpty(await person.rest('PUT', '/v1/accounts/attributes', { json: attributes }), 204);
    const anonymous = await world.connectAnonymously(carrier);
    assert.equal((await fetchTyped(anonymous, person.account, { auth: 'unrestricted' })).preKeyBundles.length, 1);
  });

  test('who says who they are is told what does not exist', async () => {
    const [alice, bob] = [await world.person(carrier), await world.person(carrier)];
    const status = async (id, device) => (await alice.rest('GET', `/v2/keys/${id}/${device}`)).status;
    assert.equal(await status(crypto.randomUUID(), '*'), 404);
    assert.equal(await status(`PNI:${crypto.randomUUID()}`, '*'), 404);
    assert.equal(await status(bob.account.uuid, 2), 404);
    assert.equal(await status('no-uuid', '*'), 404);
    assert.equal(await status(bob.account.uuid, 'one'), 422);
    assert.equal(await status(bob.account.uuid, 1), 200);
  });

  test('the answer names every field, and says when there is no one-time key', async () => {
    const [alice, bob] = [await world.person(carrier), await world.person(carrier)];
    const json = assertJson(await alice.rest('GET', `/v2/keys/${bob.account.uuid}/*?pq=true`));
    assert.deepEqual(Object.keys(json).sort(), ['devices', 'identityKey']);
    assert.deepEqual(Object.keys(json.devices[0]).sort(), [
      'deviceId',
      'pqPreKey',
      'preKey',
      'registrationId',
      'signedPreKey',
    ]);
    assert.equal(json.devices[0].preKey, null);
    bundlesOf(json);
  });

  test('the digest of the repeated-use keys is compared', async () => {
    const person = await world.person(carrier);
    const check = (identityType, digest) =>
      person.rest('POST', '/v2/keys/check', { json: { identityType, digest: b64(digest) } });
    const { account } = person;
    assertEmpty(await check('aci', digestOf(account.aciStore, account.aciSignedPreKey, account.aciLastResort)), 200);
    assertEmpty(await check('pni', digestOf(account.pniStore, account.pniSignedPreKey, account.pniLastResort)), 200);
    assertEmpty(await check('pni', digestOf(account.aciStore, account.aciSignedPreKey, account.aciLastResort)), 409);
    const signed = account.aciStore.newSignedPreKey();
    assertEmpty(await person.rest('PUT', '/v2/keys?identity=aci', { json: { signedPreKey: keyJson(signed) } }), 204);
    assertEmpty(await check('aci', digestOf(account.aciStore, account.aciSignedPreKey, account.aciLastResort)), 409);
    assertEmpty(await check('aci', digestOf(account.aciStore, signed, account.aciLastResort)), 200);
    assert.equal((await check('aci', crypto.randomBytes(31))).status, 422);
  });

  test('many fetchers of the last keys get each one once', async () => {
    const person = await world.person(carrier);
    const { preKeys, pqPreKeys } = await uploadKeys(person, { count: 10 });
    const anonymous = await world.connectAnonymously(carrier);
    const fetched = await Promise.all(Array.from({ length: FETCHERS }, () => fetchTyped(anonymous, person.account)));
    const bundles = fetched.flatMap(({ preKeyBundles }) => preKeyBundles);
    const ids = bundles.map((bundle) => bundle.preKeyId()).filter((id) => id !== null);
    const lastResort = person.account.aciLastResort.id();
    const pqIds = bundles.map((bundle) => bundle.kyberPreKeyId()).filter((id) => id !== lastResort);
    assert.deepEqual(
      ids.sort(byNumber),
      preKeys.map((key) => key.id()),
    );
    assert.deepEqual(
      pqIds.sort(byNumber),
      pqPreKeys.map((key) => key.id()),
    );
  });

  test('keys that do not hold are refused, and nothing of the upload is kept', async () => {
    const person = await world.person(carrier);
    const { preKeys, pqPreKeys } = newOneTimeKeys(person.account.aciStore, 2);
    const stranger = newOneTimeKeys(person.account.pniStore, 1).pqPreKeys[0];
    const good = { preKeys: preKeys.map(keyJson), pqPreKeys: pqPreKeys.map(keyJson) };
    const refused = async (changes, statuses = [422]) => {
      const response = await person.rest('PUT', '/v2/keys', { json: { ...good, ...changes } });
      assert.ok(statuses.includes(response.status), `${response.status} for ${JSON.stringify(changes).slice(0, 100)}`);
      assert.deepEqual(await keyCounts(person), { count: 0, pqCount: 0 });
    };
    await refused({ pqPreKeys: [good.pqPreKeys[0], keyJson(stranger)] });
    await refused({ preKeys: Array.from({ length: 101 }, () => good.preKeys[0]) });
    await refused({ preKeys: [null] });
    await refused({ preKeys: [{ ...good.preKeys[0], keyId: -1 }] });
    await refused({ preKeys: [{ ...good.preKeys[0], keyId: 2 ** 31 }] });
    await refused({ preKeys: [{ keyId: 1, publicKey: null }] }, [400, 422]);
    await refused({ preKeys: [{ keyId: 1, publicKey: b64(crypto.randomBytes(34)) }] }, [400, 422]);
    await refused({ pqPreKeys: [{ ...good.pqPreKeys[0], publicKey: b64(Buffer.alloc(1568, 8)) }] }, [400, 422]);
    assert.equal((await person.rest('PUT', '/v2/keys?identity=other', { json: good })).status, 400);
    assert.equal((await person.rest('GET', '/v2/keys?identity=other')).status, 400);
    assertEmpty(await person.rest('PUT', '/v2/keys', { json: good }), 204);
  });
});

test('a key published over one carrier can be fetched over the others', async () => {
  const person = await world.person(CARRIERS[0]);
  const { preKeys } = await uploadKeys(person, { count: CARRIERS.length });
  const ids = [];
  for (const carrier of CARRIERS) {
    const fetched = await fetchTyped(await world.connectAnonymously(carrier), person.account);
    ids.push(...oneTimeIds(fetched));
  }
  assert.deepEqual(
    ids,
    preKeys.map((key) => key.id()),
  );
});

const byNumber = (a, b) => a - b;

/** SHA-256 over the identity key, then each repeated-use key behind its id as 8 bytes. */
function digestOf(store, signed, lastResort) {
  const hash = crypto.createHash('sha256').update(store.identity.publicKey.serialize());
  for (const key of [signed, lastResort]) {
    const id = Buffer.alloc(8);
    id.writeBigUInt64BE(BigInt(key.id()));
    hash.update(id).update(key.publicKey().serialize());
  }
  return hash.digest();
}
