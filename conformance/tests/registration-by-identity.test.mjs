// Registering again by who one is instead of by one's number, and without a number at all.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';
import { Account, newPassword } from '../lib/account.mjs';
import { b64 } from '../lib/bytes.mjs';
import { basicAuth } from '../lib/client.mjs';
import { assertJson, closedFor, failsWith } from '../lib/expect.mjs';
import { receiptPresentation } from '../lib/inventory/credentials.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const LOCK = '5a'.repeat(32);

const world = await World.start();

/** The arguments of the library's calls about accounts without a number, which make up what is for the PNI themselves. */
function argsOf(account) {
  const { pniPublicKey, pniSignedPreKey, pniPqLastResortPreKey, ...args } = account.registrationArgs();
  return args;
}

onEveryCarrier((carrier) => {
  test('the identity and the recovery password register again, with the number', async () => {
    const old = await world.person(carrier);
    const returned = old.account.reinstalled();
    const response = await world.net(carrier).reregisterAccountWithoutNumber({ ...argsOf(returned), aci: old.account.aci });
    assert.ok(response.aci.isEqual(old.account.aci));
    assert.ok(response.pni.isEqual(old.account.pni));
    assert.equal(response.number, old.account.number);
    assert.equal(response.reregistration, true);
    await closedFor(old, 'ConnectionInvalidated');
    await failsWith('DeviceDelinked', () => world.connect(carrier, old.account));
    await world.connect(carrier, returned.adopt(response));
  });

  test('a wrong password, and an identity that nobody has', async () => {
    const old = await world.person(carrier);
    const stranger = new Account(old.account.number);
    for (const aci of [old.account.aci, (await world.account(carrier)).aci]) {
      await failsWith('RegistrationRecoveryVerificationFailed', () =>
        world.net(carrier).reregisterAccountWithoutNumber({ ...argsOf(stranger), aci }),
      );
    }
    const anonymous = await world.connectAnonymously(carrier);
    const attempt = (user, json) =>
      anonymous.rest('POST', '/v1/registration', { json, headers: [basicAuth(user, newPassword())] });
    const proof = { recoveryPassword: b64(stranger.recoveryPassword) };
    assert.equal((await attempt(crypto.randomUUID(), stranger.registrationJson(proof))).status, 403);
    const withoutNew = stranger.registrationJson(proof);
    withoutNew.accountAttributes.recoveryPassword = null;
    assert.equal((await attempt(old.account.uuid, withoutNew)).status, 400);
    const withSession = stranger.registrationJson({ sessionId: 'AAAA' });
    assert.equal((await attempt(old.account.uuid, withSession)).status, 400);
    assertJson(await old.rest('GET', '/v1/accounts/whoami'));
  });

  test('a registration lock holds here too, and a transfer is offered', async () => {
    const account = new Account(world.newNumber());
    account.registrationLock = LOCK;
    account.capabilities = [...account.capabilities, 'transfer'];
    await world.account(carrier, account);
    const returned = account.reinstalled();
    const attempt = (options) =>
      world.net(carrier).reregisterAccountWithoutNumber({ ...argsOf(returned), ...options, aci: account.aci });
    await failsWith('RegistrationDeviceTransferPossibleNotSkipped', () => attempt({ skipDeviceTransfer: false }));
    await world.connect(carrier, account);
    await failsWith('RegistrationLock', () => attempt());
    await failsWith('DeviceDelinked', () => world.connect(carrier, account));
    returned.registrationLock = LOCK;
    assert.ok((await attempt()).aci.isEqual(account.aci));
  });

  test('this server issues no receipts, and takes none', async () => {
    const args = { ...argsOf(new Account(null)), receiptCredentialPresentation: receiptPresentation() };
    await failsWith('RegisterAccountRequestRejected', () => world.net(carrier).registerAccountWithoutNumber(args));
    const anonymous = await world.connectAnonymously(carrier);
    const { pniIdentityKey, pniSignedPreKey, pniPqLastResortPreKey, ...json } = new Account(null).registrationJson({
      receiptCredentialPresentation: b64(crypto.randomBytes(329)),
    });
    delete json.accountAttributes.pniRegistrationId;
    const attempt = async (body) =>
      (await anonymous.rest('POST', '/v1/registration', { json: body, headers: [basicAuth(crypto.randomUUID(), 'p')] }))
        .status;
    assert.equal(await attempt(json), 400);
    const attributes = { ...json.accountAttributes, recoveryPassword: null };
    assert.equal(await attempt({ ...json, accountAttributes: attributes }), 422);
    assert.equal(await attempt({ ...json, receiptCredentialPresentation: 'not base64!' }), 422);
  });
});
