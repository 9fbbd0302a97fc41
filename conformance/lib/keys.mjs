// Publishing pre-keys and fetching them.

import assert from 'node:assert/strict';
import * as Signal from '@signalapp/libsignal-client';
import { u8 } from './bytes.mjs';
import { keyJson } from './store.mjs';

/** Makes a batch of one-time keys for an identity of the account: `{ preKeys, pqPreKeys }`, both lists of records. */
export function newOneTimeKeys(store, count) {
  return {
    preKeys: Array.from({ length: count }, () => store.newPreKey()),
    pqPreKeys: Array.from({ length: count }, () => store.newKyberPreKey()),
  };
}

/** Publishes one-time keys with `PUT /v2/keys`, as apps do; returns the records. */
export async function uploadKeys(connection, { identity = 'aci', count = 10 } = {}) {
  const keys = newOneTimeKeys(storeOf(connection.account, identity), count);
  const response = await connection.rest('PUT', `/v2/keys?identity=${identity}`, {
    json: { preKeys: keys.preKeys.map(keyJson), pqPreKeys: keys.pqPreKeys.map(keyJson) },
  });
  assert.equal(response.status, 204, `PUT /v2/keys: ${response.text}`);
  return keys;
}

/** What is left of an identity's one-time keys: `{ count, pqCount }`. */
export async function keyCounts(connection, identity = 'aci') {
  const response = await connection.rest('GET', `/v2/keys?identity=${identity}`);
  assert.equal(response.status, 200, response.text);
  return response.json;
}

/** A fetch by a sender who says who they are, which only has a REST form: `{ identityKey, preKeyBundles }` as the library's own fetch gives. */
export async function fetchBundles(connection, target, device = '*') {
  const response = await connection.rest('GET', `/v2/keys/${target.getServiceIdString()}/${device}`);
  assert.equal(response.status, 200, `GET /v2/keys: ${response.text}`);
  return bundlesOf(response.json);
}

/** Turns the JSON of a key fetch into the library's objects. */
export function bundlesOf(json) {
  const identityKey = Signal.PublicKey.deserialize(u8(json.identityKey));
  const preKeyBundles = json.devices.map((device) =>
    Signal.PreKeyBundle.new(
      device.registrationId,
      device.deviceId,
      device.preKey?.keyId ?? null,
      device.preKey ? Signal.PublicKey.deserialize(u8(device.preKey.publicKey)) : null,
      device.signedPreKey.keyId,
      Signal.PublicKey.deserialize(u8(device.signedPreKey.publicKey)),
      u8(device.signedPreKey.signature),
      identityKey,
      device.pqPreKey.keyId,
      Signal.KEMPublicKey.deserialize(u8(device.pqPreKey.publicKey)),
      u8(device.pqPreKey.signature),
    ),
  );
  return { identityKey, preKeyBundles };
}

/** Checks the signatures of the bundles and starts a session with each device; returns `[{ deviceId, registrationId }]`. */
export async function startSessions(account, target, { preKeyBundles }) {
  for (const bundle of preKeyBundles) {
    const remote = Signal.ProtocolAddress.new(target, bundle.deviceId());
    await Signal.processPreKeyBundle(bundle, remote, account.address, account.aciStore, account.aciStore);
  }
  return preKeyBundles.map((bundle) => ({
    deviceId: bundle.deviceId(),
    registrationId: bundle.registrationId(),
  }));
}

/** The store of one identity of an account. */
export function storeOf(account, identity) {
  return identity === 'aci' ? account.aciStore : account.pniStore;
}
