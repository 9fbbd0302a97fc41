// Making an account, and making it again.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Account, newPassword, register, reregister, verifiedSession } from '../lib/account.mjs';
import { basicAuth } from '../lib/client.mjs';
import { assertJson, closedFor, failsWith, nothingDelivered } from '../lib/expect.mjs';
import { keyCounts, uploadKeys } from '../lib/keys.mjs';
import { send } from '../lib/messages.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const world = await World.start();
const { outbox } = world.server;

onEveryCarrier((carrier) => {
  test('a new number gets an account', async () => {
    const account = new Account(world.newNumber());
    const response = await register(world.net(carrier), account, outbox);
    assert.equal(response.number, account.number);
    assert.equal(response.reregistration, false);
    assert.equal(response.storageCapable, false);
    assert.equal(response.usernameHash, null);
    assert.ok(response.pni);
    assert.notEqual(response.pni.getRawUuid(), response.aci.getRawUuid());
    const connection = await world.connect(carrier, account);
    await connection.events.waitFor('queueEmpty');
  });

  test('two numbers are two accounts', async () => {
    const [one, other] = [await world.account(carrier), await world.account(carrier)];
    assert.ok(!one.aci.isEqual(other.aci));
    assert.ok(!one.pni.isEqual(other.pni));
  });

  test('a session without a code is no proof', async () => {
    const account = new Account(world.newNumber());
    const session = await world.net(carrier).createRegistrationSession({ e164: account.number });
    await failsWith('RegistrationInvalidSession', () => session.registerAccount(account.registrationArgs()));
  });

  test('a session of another number is refused', async () => {
    const { sessionId } = await verifiedSession(world.net(carrier), world.newNumber(), outbox);
    const account = new Account(world.newNumber());
    const taken = await world.net(carrier).resumeRegistrationSession({ sessionId, e164: account.number });
    await failsWith('RegisterAccountRequestRejected', () => taken.registerAccount(account.registrationArgs()));
  });

  test('the same registration sent twice, as the library does after a lost answer', async () => {
    const account = new Account(world.newNumber());
    const session = await verifiedSession(world.net(carrier), account.number, outbox);
    const first = await session.registerAccount(account.registrationArgs());
    const second = await session.registerAccount(account.registrationArgs());
    assert.ok(first.aci.isEqual(second.aci));
    assert.ok(first.pni.isEqual(second.pni));
    await world.connect(carrier, account.adopt(second));
  });

  test('the recovery password registers again: same identity, everything else new', async () => {
    const { alice: friend, bob: old, devices } = await world.pair(carrier);
    const account = old.account;
    await uploadKeys(old, { count: 3, identity: 'pni' });
    const returned = account.reinstalled();
    const response = await reregister(world.net(carrier), returned);
    assert.ok(response.aci.isEqual(account.aci));
    assert.ok(response.pni.isEqual(account.pni));
    assert.equal(response.reregistration, true);
    assert.equal(response.storageCapable, true);
    await closedFor(old, 'ConnectionInvalidated');
    await failsWith('DeviceDelinked', () => world.connect(carrier, account));
    const connection = await world.connect(carrier, returned);
    assert.deepEqual(await keyCounts(connection, 'aci'), { count: 0, pqCount: 0 });
    assert.deepEqual(await keyCounts(connection, 'pni'), { count: 0, pqCount: 0 });
    const error = await failsWith('MismatchedDevices', () => send(friend, account.aci, devices, 'to the old device'));
    assert.deepEqual(error.entries[0].staleDevices, [1]);
  });

  test('registering again empties the queue', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    await bob.disconnect();
    await send(alice, bob.account.aci, devices, 'for the old phone');
    const returned = bob.account.reinstalled();
    await register(world.net(carrier), returned, outbox);
    await nothingDelivered(await world.connect(carrier, returned));
  });

  test('a new session registers a known number again', async () => {
    const old = await world.person(carrier);
    const returned = old.account.reinstalled();
    const response = await register(world.net(carrier), returned, outbox);
    assert.ok(response.aci.isEqual(old.account.aci));
    assert.equal(response.reregistration, true);
    await closedFor(old, 'ConnectionInvalidated');
  });

  test('a wrong recovery password is refused, and changes nothing', async () => {
    const old = await world.person(carrier);
    const stranger = new Account(old.account.number);
    await failsWith('RegistrationRecoveryVerificationFailed', () => reregister(world.net(carrier), stranger));
    const nobody = new Account(world.newNumber());
    await failsWith('RegistrationRecoveryVerificationFailed', () => reregister(world.net(carrier), nobody));
    assert.equal((await old.rest('GET', '/v1/accounts/whoami')).status, 200);
  });

  test('an account that can hand over its history asks about it first', async () => {
    const account = new Account(world.newNumber());
    account.capabilities = [...account.capabilities, 'transfer'];
    await world.account(carrier, account);
    const returned = account.reinstalled();
    const session = await verifiedSession(world.net(carrier), account.number, outbox);
    await failsWith('RegistrationDeviceTransferPossibleNotSkipped', () =>
      session.registerAccount(returned.registrationArgs({ skipDeviceTransfer: false })),
    );
    await world.connect(carrier, account);
    returned.adopt(await session.registerAccount(returned.registrationArgs({ skipDeviceTransfer: true })));
    await world.connect(carrier, returned);
  });

  test('a registration lock stops who does not know it, and locks the old device out', async () => {
    const account = new Account(world.newNumber());
    account.registrationLock = '5a'.repeat(32);
    await world.account(carrier, account);
    const old = await world.connect(carrier, account);
    const returned = account.reinstalled();
    const session = await verifiedSession(world.net(carrier), account.number, outbox);
    const error = await failsWith('RegistrationLock', () => session.registerAccount(returned.registrationArgs()));
    assert.ok(
      error.timeRemainingSeconds > 0 && error.timeRemainingSeconds <= 7 * 86_400,
      String(error.timeRemainingSeconds),
    );
    await closedFor(old, 'ConnectionInvalidated');
    await failsWith('DeviceDelinked', () => world.connect(carrier, account));
    returned.registrationLock = '5b'.repeat(32);
    await failsWith('RegistrationLock', () => session.registerAccount(returned.registrationArgs()));
    returned.registrationLock = account.registrationLock;
    returned.adopt(await session.registerAccount(returned.registrationArgs()));
    assert.ok(returned.aci.isEqual(account.aci));
    await world.connect(carrier, returned);
  });

  test('the answer over a plain request has every field', async () => {
    const account = new Account(world.newNumber());
    const { sessionId } = await verifiedSession(world.net(carrier), account.number, outbox);
    const anonymous = await world.connectAnonymously(carrier);
    const response = await anonymous.rest('POST', '/v1/registration', {
      headers: [basicAuth(account.number, account.password), ['x-signal-agent', 'OWA']],
      json: account.registrationJson({ sessionId }),
    });
    const { uuid, pni, ...rest } = assertJson(response);
    assert.match(uuid, /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/);
    assert.match(pni, /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/);
    assert.deepEqual(rest, {
      number: account.number,
      usernameHash: null,
      usernameLinkHandle: null,
      storageCapable: false,
      entitlements: { badges: [], backup: null },
      authCredentialSalt: null,
      reregistration: false,
    });
  });

  test('an account keeps its password only as long as nobody registers the number again', async () => {
    const account = await world.account(carrier);
    const changed = Object.assign(account.reinstalled(), { password: newPassword() });
    await reregister(world.net(carrier), changed);
    await failsWith('DeviceDelinked', () => world.connect(carrier, account));
    await world.connect(carrier, changed);
  });
});
