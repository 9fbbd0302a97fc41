// What an account says of itself, and its settings over REST.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';
import * as Signal from '@signalapp/libsignal-client';
import { reregister, verifiedSession } from '../lib/account.mjs';
import { b64 } from '../lib/bytes.mjs';
import { assertEmpty, assertJson, assertTimestamped, closedFor, failsWith } from '../lib/expect.mjs';
import { send } from '../lib/messages.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const world = await World.start();

onEveryCarrier((carrier) => {
  test('who am I', async () => {
    const person = await world.person(carrier);
    const { account } = person;
    assert.deepEqual(assertJson(await person.rest('GET', '/v1/accounts/whoami')), {
      uuid: account.uuid,
      pni: account.pni.getRawUuid(),
      number: account.number,
      usernameHash: null,
      usernameLinkHandle: null,
      storageCapable: true,
      entitlements: { badges: [], backup: null },
      authCredentialSalt: null,
    });
  });

  test('attributes: a new access key takes the place of the old one', async () => {
    const person = await world.person(carrier);
    const { account } = person;
    const old = account.accessKey;
    account.profileKey = Uint8Array.from(crypto.randomBytes(32));
    const json = { ...account.attributesJson(), name: b64(crypto.randomBytes(40)), signalingKey: 'ignored', pin: null };
    assertEmpty(await person.rest('PUT', '/v1/accounts/attributes', { json }), 204);
    const anonymous = await world.connectAnonymously(carrier);
    const fetch = (accessKey) => anonymous.chat.getPreKeys({ target: account.aci, device: 'all', auth: { accessKey } });
    await failsWith('RequestUnauthorized', () => fetch(old));
    await fetch(account.accessKey);
  });

  test('attributes: the registration id is not a setting', async () => {
    const person = await world.person(carrier);
    const registrationId = (person.account.aciStore.registrationId % 16_383) + 1;
    const json = {
      ...person.account.attributesJson(),
      registrationId,
      unidentifiedAccessKey: [...person.account.accessKey],
    };
    assertEmpty(await person.rest('PUT', '/v1/accounts/attributes', { json }), 204);
    const anonymous = await world.connectAnonymously(carrier);
    const auth = { accessKey: person.account.accessKey };
    const { preKeyBundles } = await anonymous.chat.getPreKeys({ target: person.account.aci, device: 'all', auth });
    assert.equal(preKeyBundles[0].registrationId(), person.account.aciStore.registrationId);
  });

  test('attributes that are out of range are refused', async () => {
    const person = await world.person(carrier);
    for (const changes of [
      { unidentifiedAccessKey: null },
      { registrationLock: 'short' },
      { recoveryPassword: b64(crypto.randomBytes(5)) },
      { name: b64(crypto.randomBytes(226)) },
      { registrationId: 0 },
    ]) {
      const json = { ...person.account.attributesJson(), ...changes };
      const { status } = await person.rest('PUT', '/v1/accounts/attributes', { json });
      assert.ok([400, 422].includes(status), `${status} for ${JSON.stringify(changes)}`);
    }
  });

  test('whether an account exists', async () => {
    const account = await world.account(carrier);
    const anonymous = await world.connectAnonymously(carrier);
    const exists = (id) => anonymous.chat.accountExists({ account: id });
    assert.equal(await exists(account.aci), true);
    assert.equal(await exists(account.pni), true);
    assert.equal(await exists(Signal.Aci.fromUuid(crypto.randomUUID())), false);
    assert.equal(await exists(Signal.Pni.fromUuid(account.aci.getRawUuid())), false);
    const path = `/v1/accounts/account/${account.uuid}`;
    assertEmpty(await anonymous.rest('HEAD', path), 200);
    const person = await world.person(carrier);
    assert.equal((await person.rest('HEAD', path)).status, 400);
  });

  test('a deleted account is gone', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    const { account } = bob;
    bob.rest('DELETE', '/v1/accounts/me').catch(() => {});
    await closedFor(bob, 'ConnectionInvalidated');
    await failsWith('DeviceDelinked', () => world.connect(carrier, account));
    await failsWith('ServiceIdNotFound', () => send(alice, account.aci, devices, 'too late'));
    const anonymous = await world.connectAnonymously(carrier);
    assert.equal(await anonymous.chat.accountExists({ account: account.aci }), false);
    const auth = { accessKey: account.accessKey };
    await failsWith('RequestUnauthorized', () =>
      anonymous.chat.getPreKeys({ target: account.aci, device: 'all', auth }),
    );
    await failsWith('RegistrationRecoveryVerificationFailed', () =>
      reregister(world.net(carrier), account.reinstalled()),
    );
  });

  test('the number of a deleted account can be registered again', async () => {
    const person = await world.person(carrier);
    const { account } = person;
    person.rest('DELETE', '/v1/accounts/me').catch(() => {});
    await closedFor(person, 'ConnectionInvalidated');
    const returned = account.reinstalled();
    const session = await verifiedSession(world.net(carrier), account.number, world.server.outbox);
    const response = await session.registerAccount(returned.registrationArgs());
    assert.ok(response.pni.isEqual(account.pni), 'a PNI belongs to its number for good');
    await world.connect(carrier, returned.adopt(response));
  });

  test('the configuration is tagged, and not sent twice', async () => {
    const person = await world.person(carrier);
    const first = await person.rest('GET', '/v2/config');
    const json = assertJson(first);
    assert.deepEqual(Object.keys(json), ['config']);
    assert.ok(Object.values(json.config).every((value) => typeof value === 'string'));
    assert.match(first.headers.etag, /^(W\/)?"[^"]+"$/);
    assertTimestamped(first);
    const headers = [['if-none-match', first.headers.etag]];
    const second = await person.rest('GET', '/v2/config', { headers });
    assert.equal(second.status, 304);
    assert.equal(second.text, '');
    assert.equal(second.headers.etag, first.headers.etag);
    assertTimestamped(second);
    assertJson(await person.rest('GET', '/v2/config', { headers: [['if-none-match', '"other"']] }));
  });

  test('settings with nothing to answer', async () => {
    const person = await world.person(carrier);
    const name = b64(crypto.randomBytes(60));
    const calls = [
      ['PUT', '/v2/accounts/phone_number_discoverability', { discoverableByPhoneNumber: false }],
      ['PUT', '/v2/accounts/phone_number_discoverability', { discoverableByPhoneNumber: true }],
      ['PUT', '/v1/devices/capabilities', { storage: true, spqr: true, unknown: true }],
      ['PUT', '/v1/accounts/name', { deviceName: name }],
      ['PUT', '/v1/accounts/name?deviceId=1', { deviceName: name }],
      ['PUT', '/v1/accounts/apn', { apnRegistrationId: 'token' }],
      ['DELETE', '/v1/accounts/apn'],
      ['PUT', '/v1/accounts/gcm', { gcmRegistrationId: 'token' }],
      ['DELETE', '/v1/accounts/gcm'],
      ['PUT', '/v1/accounts/registration_lock', { registrationLock: '0f'.repeat(32) }],
      ['DELETE', '/v1/accounts/registration_lock'],
    ];
    for (const [verb, path, json] of calls) {
      const response = await person.rest(verb, path, { json });
      assert.equal(response.status, 204, `${verb} ${path}: ${response.status} ${response.text}`);
      assertEmpty(response, 204);
    }
  });

  test('settings that make no sense', async () => {
    const person = await world.person(carrier);
    const calls = [
      ['PUT', '/v1/accounts/name?deviceId=7', { deviceName: b64(crypto.randomBytes(60)) }, [404]],
      ['PUT', '/v1/accounts/name', { deviceName: b64(crypto.randomBytes(226)) }, [422]],
      ['PUT', '/v1/accounts/name', { deviceName: '' }, [422]],
      ['PUT', '/v1/accounts/registration_lock', { registrationLock: 'short' }, [422]],
      ['PUT', '/v1/accounts/apn', {}, [400, 422]],
      ['PUT', '/v1/accounts/gcm', { gcmRegistrationId: '' }, [400, 422]],
    ];
    for (const [verb, path, json, statuses] of calls) {
      const { status } = await person.rest(verb, path, { json });
      assert.ok(statuses.includes(status), `${verb} ${path} ${JSON.stringify(json)}: ${status}`);
    }
  });

  test('a registration lock set by request holds, and is gone when taken away', async () => {
    const person = await world.person(carrier);
    const { account } = person;
    const lock = '0f'.repeat(32);
    await person.rest('PUT', '/v1/accounts/registration_lock', { json: { registrationLock: lock } });
    const returned = account.reinstalled();
    const session = await verifiedSession(world.net(carrier), account.number, world.server.outbox);
    await failsWith('RegistrationLock', () => session.registerAccount(returned.registrationArgs()));
    returned.registrationLock = lock;
    returned.adopt(await session.registerAccount(returned.registrationArgs()));
    const connection = await world.connect(carrier, returned);
    assertEmpty(await connection.rest('DELETE', '/v1/accounts/registration_lock'), 204);
    const again = account.reinstalled();
    await reregister(world.net(carrier), again);
    await world.connect(carrier, again);
  });
});
