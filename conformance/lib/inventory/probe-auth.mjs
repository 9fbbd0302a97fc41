// One attempt at each typed call of an authenticated connection. A probe resolves when the server did what the call is for,
// or gave the call's own typed refusal where nothing better can be had.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import * as Signal from '@signalapp/libsignal-client';
import { SvrKey } from '@signalapp/libsignal-client/dist/AccountKeys.js';
import { Authenticator } from '../authenticator.mjs';
import { closedFor, failsWith } from '../expect.mjs';
import { newOneTimeKeys } from '../keys.mjs';
import { receive, send } from '../messages.mjs';
import { totp } from '../totp.mjs';
import { receiptPresentation } from './credentials.mjs';
import { answersOr, newUsername } from './support.mjs';

const ACI = Signal.ServiceIdKind.Aci;
const random = (length) => Uint8Array.from(crypto.randomBytes(length));
const svrKey = new SvrKey(random(32));
const metadata = { name: 'key', createdAt: 1_700_000_000_000 };

const refusedForItsNumber = (call) => assert.rejects(call, /CONSTRAINT_VIOLATED for fields account/);

const plainKey = (record) => ({ keyId: record.id(), publicKey: record.publicKey() });
const signedKey = (record) => ({ ...plainKey(record), signature: record.signature() });

const messages = {
  sendMessage: async ({ alice, bob, devices }) => {
    await send(alice, bob.account.aci, devices, 'probe');
    assert.equal((await receive(bob)).text, 'probe');
  },
  // With a single device there is nobody to synchronise with; the right answer names the sender's own device as one too many.
  sendSyncMessage: async ({ alice, contents }) => {
    await failsWith('MismatchedDevices', async () =>
      alice.chat.sendSyncMessage({ timestamp: Date.now(), contents: await contents(), urgent: true }),
    );
  },
  getUploadForm: ({ alice }) => alice.chat.getUploadForm({ uploadSize: 1000n }),
  getStickerUploadForms: ({ alice }) => alice.chat.getStickerUploadForms({ numberOfStickers: 1 }),
  getCurrencyConversions: ({ alice }) => alice.chat.getCurrencyConversions(),
  fetch: async ({ alice }) => assert.equal((await alice.rest('GET', '/v1/keepalive')).status, 200),
};

const keys = {
  getPreKeyCount: ({ alice }) => alice.chat.getPreKeyCount(),
  setOneTimeEcPreKeys: ({ alice }) => {
    const { preKeys } = newOneTimeKeys(alice.account.aciStore, 2);
    return alice.chat.setOneTimeEcPreKeys({ identity: ACI, preKeys: preKeys.map(plainKey) });
  },
  setOneTimeKemPreKeys: ({ alice }) => {
    const { pqPreKeys } = newOneTimeKeys(alice.account.aciStore, 2);
    return alice.chat.setOneTimeKemPreKeys({ identity: ACI, preKeys: pqPreKeys.map(signedKey) });
  },
  setSignedEcPreKey: ({ alice }) => {
    const preKey = signedKey(alice.account.aciStore.newSignedPreKey());
    return alice.chat.setSignedEcPreKey({ identity: ACI, preKey });
  },
  setLastResortKemPreKey: ({ alice }) => {
    const preKey = signedKey(alice.account.aciStore.newKyberPreKey({ lastResort: true }));
    return alice.chat.setLastResortKemPreKey({ identity: ACI, preKey });
  },
};

const devices = {
  getDevices: async ({ alice }) =>
    assert.deepEqual(
      (await alice.chat.getDevices()).map(({ id }) => id),
      [1],
    ),
  setDeviceName: ({ alice }) => alice.chat.setDeviceName({ deviceId: 1, encryptedName: random(60) }),
  removeDevice: ({ alice }) => alice.chat.removeDevice({ deviceId: 2 }),
  setCapabilities: ({ alice }) =>
    alice.chat.setCapabilities({ capabilities: new Set(['storage', 'sparsePostQuantumRatchet']) }),
  clearPushToken: ({ alice }) => alice.chat.clearPushToken(),
};

const accounts = {
  deleteAccount: async ({ person }) => {
    const leaving = await person();
    await answersOr('ConnectionInvalidated', () => leaving.chat.deleteAccount());
    await closedFor(leaving, 'ConnectionInvalidated');
  },
  setRegistrationLock: ({ alice }) => alice.chat.setRegistrationLock({ svrKey }),
  clearRegistrationLock: ({ alice }) => alice.chat.clearRegistrationLock(),
  setRegistrationRecoveryPassword: ({ alice }) => alice.chat.setRegistrationRecoveryPassword({ svrKey }),
  setDiscoverableByPhoneNumber: ({ alice }) => alice.chat.setDiscoverableByPhoneNumber({ discoverable: true }),
  redeemBackupReceipt: ({ alice }) =>
    answersOr('MissingBackupId', () => alice.chat.redeemBackupReceipt({ presentation: receiptPresentation() })),
};

const secondFactors = {
  generateTotpKey: ({ alice }) => alice.chat.generateTotpKey(),
  confirmTotpKey: async ({ person }) => {
    const owner = await person();
    const { key, parameters } = await owner.chat.generateTotpKey();
    await owner.chat.confirmTotpKey({ oneTimePassword: totp(key, parameters), metadata, svrKey });
  },
  // These two are for accounts without a number; with one, refusing is what the call is for. tests/passkeys.test.mjs has others.
  startWebAuthnRegistration: ({ alice }) => refusedForItsNumber(() => alice.chat.startWebAuthnRegistration()),
  finishWebAuthnRegistration: ({ alice }) =>
    refusedForItsNumber(() =>
      alice.chat.finishWebAuthnRegistration({ ...new Authenticator().create(), metadata, svrKey }),
    ),
  startMfaVerification: ({ alice }) => alice.chat.startMfaVerification({}),
  finishMfaVerification: ({ alice }) =>
    answersOr('MfaNotVerified', () => alice.chat.finishMfaVerification({ credential: { totpPassword: 123_456 } })),
  listMfaKeys: async ({ alice }) => assert.ok(Array.isArray(await alice.chat.listMfaKeys({ svrKey }))),
  setMfaKeyMetadata: ({ alice }) =>
    answersOr('MfaKeyNotFound', () => alice.chat.setMfaKeyMetadata({ keyId: 1, metadata, svrKey })),
  removeMfaKey: ({ alice }) => alice.chat.removeMfaKey({ keyId: 1 }),
};

const usernames = {
  reserveUsernameHash: async ({ person }) => {
    const { hash } = newUsername();
    const reserved = await (await person()).chat.reserveUsernameHash({ usernameHashes: [hash] });
    assert.deepEqual(reserved, hash);
  },
  confirmUsername: async ({ person }) => void (await confirmedUsername(await person())),
  setUsernameLink: async ({ person }) => {
    const owner = await person();
    const { username } = await confirmedUsername(owner);
    const { encryptedUsername } = Signal.usernames.createUsernameLink(username);
    await owner.chat.setUsernameLink({ usernameCiphertext: encryptedUsername, keepLinkHandle: false });
  },
  deleteUsernameHash: ({ alice }) => alice.chat.deleteUsernameHash(),
  deleteUsernameLink: ({ alice }) => alice.chat.deleteUsernameLink(),
};

/** Gives the person a username; resolves with it, its hash and its link. */
export async function confirmedUsername(person) {
  const { username, hash } = newUsername();
  await person.chat.reserveUsernameHash({ usernameHashes: [hash] });
  const link = Signal.usernames.createUsernameLink(username);
  const uuid = await person.chat.confirmUsername({ username, usernameCiphertext: link.encryptedUsername });
  return { username, hash, link: { uuid, entropy: link.entropy } };
}

/** Probes by the name of the call. */
export const authProbes = { ...messages, ...keys, ...devices, ...accounts, ...secondFactors, ...usernames };
