// The library's typed key calls, which exist as gRPC only.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as Signal from '@signalapp/libsignal-client';
import { CARRIERS, GRPC_CARRIER } from '../lib/client.mjs';
import { failsWith } from '../lib/expect.mjs';
import { keyCounts, newOneTimeKeys, startSessions, storeOf, uploadKeys } from '../lib/keys.mjs';
import { World } from '../lib/world.mjs';

const KIND = { aci: Signal.ServiceIdKind.Aci, pni: Signal.ServiceIdKind.Pni };

const world = await World.start();

const signedKey = (record) => ({ keyId: record.id(), publicKey: record.publicKey(), signature: record.signature() });
const plainKey = (record) => ({ keyId: record.id(), publicKey: record.publicKey() });
const over = CARRIERS.filter((carrier) => carrier.httpVersion === 2);

for (const carrier of over) {
  test(`one-time keys are published and counted (${carrier.name})`, async () => {
    const person = await world.person(carrier);
    for (const [identity, count] of Object.entries({ aci: 4, pni: 2 })) {
      const { preKeys, pqPreKeys } = newOneTimeKeys(storeOf(person.account, identity), count);
      await person.chat.setOneTimeEcPreKeys({ identity: KIND[identity], preKeys: preKeys.map(plainKey) });
      await person.chat.setOneTimeKemPreKeys({ identity: KIND[identity], preKeys: pqPreKeys.map(signedKey) });
      assert.deepEqual(await keyCounts(person, identity), { count, pqCount: count });
    }
    const counts = await person.chat.getPreKeyCount();
    assert.deepEqual(counts, { aciEcPreKeyCount: 4, aciKemPreKeyCount: 4, pniEcPreKeyCount: 2, pniKemPreKeyCount: 2 });
  });

  test(`keys published by REST are counted by gRPC (${carrier.name})`, async () => {
    const person = await world.person(carrier);
    await uploadKeys(person, { count: 3 });
    assert.equal((await person.chat.getPreKeyCount()).aciEcPreKeyCount, 3);
  });

  test(`repeated-use keys are replaced, and a session starts from them (${carrier.name})`, async () => {
    const [alice, bob] = [await world.person(carrier), await world.person(carrier)];
    const store = bob.account.aciStore;
    const [signed, lastResort] = [store.newSignedPreKey(), store.newKyberPreKey({ lastResort: true })];
    await bob.chat.setSignedEcPreKey({ identity: KIND.aci, preKey: signedKey(signed) });
    await bob.chat.setLastResortKemPreKey({ identity: KIND.aci, preKey: signedKey(lastResort) });
    const anonymous = await world.connectAnonymously(carrier);
    const auth = { accessKey: bob.account.accessKey };
    const bundles = await anonymous.chat.getPreKeys({ target: bob.account.aci, device: 'all', auth });
    assert.equal(bundles.preKeyBundles[0].signedPreKeyId(), signed.id());
    assert.equal(bundles.preKeyBundles[0].kyberPreKeyId(), lastResort.id());
    await startSessions(alice.account, bob.account.aci, bundles);
  });

  test(`keys that do not hold are refused (${carrier.name})`, async () => {
    const person = await world.person(carrier);
    const identity = KIND.aci;
    const foreign = signedKey(person.account.pniStore.newKyberPreKey());
    await failsWith('IoError', () => person.chat.setOneTimeKemPreKeys({ identity, preKeys: [foreign] }));
    await failsWith('IoError', () => person.chat.setLastResortKemPreKey({ identity, preKey: foreign }));
    const signed = signedKey(person.account.pniStore.newSignedPreKey());
    await failsWith('IoError', () => person.chat.setSignedEcPreKey({ identity, preKey: signed }));
    const many = Array.from({ length: 101 }, () => plainKey(person.account.aciStore.newPreKey()));
    await failsWith('IoError', () => person.chat.setOneTimeEcPreKeys({ identity, preKeys: many }));
    assert.equal((await person.chat.getPreKeyCount()).aciEcPreKeyCount, 0);
  });
}

test('without gRPC the library cannot make these calls at all', async () => {
  const person = await world.person(CARRIERS.find((carrier) => carrier.httpVersion === 1));
  await assert.rejects(person.chat.getPreKeyCount(), /H2/);
  assert.equal(GRPC_CARRIER.httpVersion, 2);
});
