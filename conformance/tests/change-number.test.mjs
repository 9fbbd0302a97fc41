// An account gets another number, and its devices new keys under the identity of that number.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';
import * as Signal from '@signalapp/libsignal-client';
import { Account, reregister, verifiedSession } from '../lib/account.mjs';
import { b64, utf8 } from '../lib/bytes.mjs';
import { GRPC_CARRIER } from '../lib/client.mjs';
import { assertEmpty, assertJson, closedFor, failsWith } from '../lib/expect.mjs';
import { GrpcError, grpcCall } from '../lib/grpc.mjs';
import { fetchBundles, keyCounts, startSessions, uploadKeys } from '../lib/keys.mjs';
import { receive, send, sendJson } from '../lib/messages.mjs';
import { writeFields } from '../lib/protobuf.mjs';
import { IdentityStore, keyJson } from '../lib/store.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const CONTENT_MAX = 98_304;
const LOCK = '5a'.repeat(32);

const world = await World.start();
const { outbox } = world.server;

/** A verified session for the number. */
const verified = async (carrier, number) => (await verifiedSession(world.net(carrier), number, outbox)).sessionId;

/** New keys under a new PNI identity, for each of these devices of an account: `{ identity, stores, keys }`. */
function newPniKeys(accounts) {
  const identity = Signal.IdentityKeyPair.generate();
  const stores = accounts.map(() => new IdentityStore(identity));
  const keys = stores.map((store) => [store.newSignedPreKey(), store.newKyberPreKey({ lastResort: true })]);
  return { identity, stores, keys };
}

/** The body of `PUT /v2/accounts/number` for an account with these devices, the primary first. */
async function changeJson(accounts, number, proof, { text = 'new keys', fresh = newPniKeys(accounts) } = {}) {
  const [phone, ...others] = accounts;
  const devices = others.map(({ device }) => device);
  const { messages } = await sendJson(phone, phone.aci, devices, text);
  const byDevice = (value) => Object.fromEntries(accounts.map(({ deviceId }, index) => [deviceId, value(index)]));
  return {
    ...proof,
    number,
    reglock: null,
    pniIdentityKey: b64(fresh.identity.publicKey.serialize()),
    deviceMessages: messages,
    devicePniSignedPrekeys: byDevice((index) => keyJson(fresh.keys[index][0])),
    devicePniPqLastResortPrekeys: byDevice((index) => keyJson(fresh.keys[index][1])),
    pniRegistrationIds: byDevice((index) => fresh.stores[index].registrationId),
  };
}

const change = (connection, json) => connection.rest('PUT', '/v2/accounts/number', { json });

/** A phone with sessions to its linked devices: `{ phone, linked, accounts }`. */
async function devices(carrier, count) {
  const phone = await world.person(carrier);
  const linked = [];
  for (let index = 1; index < count; index++) linked.push(await world.link(carrier, phone));
  const { aci } = phone.account;
  for (const device of linked) {
    await startSessions(phone.account, aci, await fetchBundles(phone, aci, device.account.deviceId));
  }
  return { phone, linked, accounts: [phone, ...linked].map(({ account }) => account) };
}

onEveryCarrier((carrier) => {
  test('a new number: who one is stays, the PNI and its keys are new, other devices are told', async () => {
    const { phone, linked, accounts } = await devices(carrier, 3);
    const former = phone.account.pni;
    const number = world.newNumber();
    const fresh = newPniKeys(accounts);
    await uploadKeys(linked[0], { identity: 'pni', count: 3 });
    const json = await changeJson(accounts, number, { sessionId: await verified(carrier, number) }, { fresh });
    const identity = assertJson(await change(phone, json));
    assert.equal(identity.uuid, phone.account.uuid);
    assert.equal(identity.number, number);
    assert.notEqual(identity.pni, former.getRawUuid());
    assert.deepEqual(assertJson(await phone.rest('GET', '/v1/accounts/whoami')), identity);
    for (const device of linked) {
      const told = await receive(device);
      assert.equal(told.text, 'new keys');
      assert.equal(told.sourceDevice, 1);
      assert.ok(told.source.isEqual(phone.account.aci) && told.destination.isEqual(phone.account.aci));
      assert.equal(told.updatedPni, identity.pni);
    }

    // Sockets that were open before use the new PNI too, and the former one is nobody's.
    for (const [index, account] of accounts.entries()) {
      Object.assign(account, { pni: Signal.Pni.fromUuid(identity.pni), pniStore: fresh.stores[index], number });
    }
    assert.deepEqual(await keyCounts(linked[0], 'pni'), { count: 0, pqCount: 0 });
    await uploadKeys(linked[0], { identity: 'pni', count: 2 });
    const alice = await world.person(carrier);
    assert.equal((await alice.rest('GET', `/v2/keys/${former.getServiceIdString()}/*`)).status, 404);
    const { pni } = phone.account;
    const to = await startSessions(alice.account, pni, await fetchBundles(alice, pni));
    assert.deepEqual(to, accounts.map(({ pniDevice }) => pniDevice));
    await send(alice, pni, to, 'to the new number');
    for (const device of [phone, ...linked]) assert.equal((await receive(device)).text, 'to the new number');
  });

  test('what is wrong with a request', async () => {
    const { phone, linked, accounts } = await devices(carrier, 2);
    const [laptop] = linked;
    const number = world.newNumber();
    const good = await changeJson(accounts, number, { sessionId: await verified(carrier, number) });
    const [message] = good.deviceMessages;
    const other = await changeJson(accounts, number, {});
    const attempt = async (changes) => (await change(phone, { ...good, ...changes })).status;
    assertEmpty(await change(laptop, good), 403);
    for (const changes of [
      { pniIdentityKey: undefined },
      { pniIdentityKey: other.pniIdentityKey },
      { devicePniSignedPrekeys: other.devicePniSignedPrekeys },
      { recoveryPassword: b64(crypto.randomBytes(32)) },
      { sessionId: undefined },
      { reglock: 'short' },
      { deviceMessages: [{ ...message, type: 5 }] },
      { deviceMessages: [message, message] },
      { number: 1 },
    ]) {
      assert.equal(await attempt(changes), 422, JSON.stringify(Object.keys(changes)));
    }
    assert.equal(await attempt({ number: 'nobody' }), 400);
    const elsewhere = await verified(carrier, world.newNumber());
    assert.equal(await attempt({ sessionId: elsewhere }), 400);
    assert.equal(await attempt({ sessionId: crypto.randomBytes(16).toString('base64url') }), 400);
    const { sessionId } = await world.net(carrier).createRegistrationSession({ e164: number });
    assertEmpty(await change(phone, { ...good, sessionId }), 401);
    const password = { sessionId: undefined, recoveryPassword: b64(crypto.randomBytes(32)) };
    assertEmpty(await change(phone, { ...good, ...password }), 403);
    const large = { ...message, content: b64(crypto.randomBytes(CONTENT_MAX + 1)) };
    assertEmpty(await change(phone, { ...good, deviceMessages: [large] }), 413);
    const stranger = { ...message, destinationDeviceId: 9 };
    const mismatch = await change(phone, { ...good, deviceMessages: [stranger] });
    assert.deepEqual(assertJson(mismatch, 409), { missingDevices: [2], extraDevices: [9] });
    const { 1: ownKey } = good.devicePniSignedPrekeys;
    const forgotten = await change(phone, { ...good, devicePniSignedPrekeys: { 1: ownKey } });
    assert.deepEqual(assertJson(forgotten, 409), { missingDevices: [2], extraDevices: [] });
    const stale = { ...message, destinationRegistrationId: (message.destinationRegistrationId % 16_383) + 1 };
    const gone = await change(phone, { ...good, deviceMessages: [stale] });
    assert.deepEqual(assertJson(gone, 410), { staleDevices: [2] });
    assert.equal(assertJson(await phone.rest('GET', '/v1/accounts/whoami')).number, phone.account.number);
    assertJson(await change(phone, good));
    assert.equal((await receive(laptop)).text, 'new keys');
    assert.deepEqual(laptop.events.drain('message'), []);
  });

  test('a number is taken from the account that holds it, unless that is locked', async () => {
    const { phone, accounts } = await devices(carrier, 1);
    const holder = new Account(world.newNumber());
    holder.registrationLock = LOCK;
    const former = await world.connect(carrier, await world.account(carrier, holder));
    const json = await changeJson(accounts, holder.number, { sessionId: await verified(carrier, holder.number) });
    const { timeRemaining, svr2Credentials } = assertJson(await change(phone, json), 423);
    assert.ok(timeRemaining > 0 && timeRemaining <= 7 * 86_400_000);
    assert.ok(svr2Credentials.username);
    await closedFor(former, 'ConnectionInvalidated');
    await failsWith('DeviceDelinked', () => world.connect(carrier, holder));
    assertJson(await change(phone, { ...json, reglock: '5b'.repeat(32) }), 423);
    const identity = assertJson(await change(phone, { ...json, reglock: LOCK }));
    assert.equal(identity.pni, holder.pni.getRawUuid(), 'the PNI is the number’s');
    const anonymous = await world.connectAnonymously(carrier);
    assert.equal((await anonymous.rest('HEAD', `/v1/accounts/account/${holder.uuid}`)).status, 404);
  });

  test('a recovery password shows the right to a number too, and goes along', async () => {
    const { phone, accounts } = await devices(carrier, 1);
    const holder = await world.person(carrier);
    const { number, recoveryPassword } = holder.account;
    const json = await changeJson(accounts, number, { recoveryPassword: b64(recoveryPassword) });
    assertJson(await change(phone, json));
    await closedFor(holder, 'ConnectionInvalidated');
    await failsWith('RegistrationRecoveryVerificationFailed', () =>
      reregister(world.net(carrier), holder.account.reinstalled()),
    );
    const returned = Object.assign(phone.account.reinstalled(), { number });
    const response = await reregister(world.net(carrier), returned);
    assert.ok(response.aci.isEqual(phone.account.aci));
    await closedFor(phone, 'ConnectionInvalidated');
  });

  test('for the number one has, only the keys are new, and nothing needs to be shown', async () => {
    const { phone, linked, accounts } = await devices(carrier, 2);
    const { number, pni } = phone.account;
    const identity = assertJson(await change(phone, await changeJson(accounts, number, {})));
    assert.deepEqual([identity.number, identity.pni], [number, pni.getRawUuid()]);
    assert.equal((await receive(linked[0])).updatedPni, pni.getRawUuid());
  });

  test('devices that are away are told when they come, also after a kill', async () => {
    const { phone, linked, accounts } = await devices(carrier, 2);
    const [laptop] = linked;
    await laptop.disconnect();
    const number = world.newNumber();
    assertJson(await change(phone, await changeJson(accounts, number, { sessionId: await verified(carrier, number) })));
    await world.server.kill();
    await world.server.run();
    assert.equal((await receive(await world.connect(carrier, laptop.account))).text, 'new keys');
  });
});

// The library has no call for it.
const METHOD = '/org.signal.chat.account.Accounts/ChangeNumber';

test('over gRPC, and its answers', async () => {
  const carrier = GRPC_CARRIER;
  const { phone, linked, accounts } = await devices(carrier, 2);
  const number = world.newNumber();
  const fresh = newPniKeys(accounts);
  const { messages } = await sendJson(phone.account, phone.account.aci, [linked[0].account.device], 'new keys');
  const key = (record) =>
    writeFields([
      [1, record.id()],
      [2, record.publicKey().serialize()],
      [3, record.signature()],
    ]);
  const entry = (index, value) => [
    [1, accounts[index].deviceId],
    [2, value],
  ];
  const message = ({ destinationRegistrationId, content, type }) =>
    writeFields([
      [1, destinationRegistrationId],
      [2, Buffer.from(content, 'base64')],
      [3, type === 3 ? 2 : 1],
    ]);
  const fields = (session, told = messages) => [
    [1, utf8(session)],
    [3, utf8(number)],
    [5, fresh.identity.publicKey.serialize()],
    [
      6,
      writeFields([
        [1, Date.now()],
        ...told.map((one) => [2, writeFields([[1, one.destinationDeviceId], [2, message(one)]])]),
      ]),
    ],
    ...fresh.keys.map(([signed], index) => [7, writeFields(entry(index, key(signed)))]),
    ...fresh.keys.map(([, lastResort], index) => [8, writeFields(entry(index, key(lastResort)))]),
    ...fresh.stores.map((store, index) => [9, writeFields(entry(index, store.registrationId))]),
  ];
  const call = (request, account = phone.account) => grpcCall(world.server, METHOD, request, { account });
  const outcome = async (request) => (await call(request)).map(({ number: field }) => field);

  const session = await verified(carrier, number);
  assert.deepEqual(await outcome(fields('AAAA')), [7], 'no session');
  const { sessionId } = await world.net(carrier).createRegistrationSession({ e164: number });
  assert.deepEqual(await outcome(fields(sessionId)), [6], 'not verified');
  assert.deepEqual(await outcome(fields(session, [])), [2], 'a device was forgotten');
  const stale = [{ ...messages[0], destinationRegistrationId: (messages[0].destinationRegistrationId % 16_383) + 1 }];
  assert.deepEqual(await outcome(fields(session, stale)), [4], 'a device was reinstalled');
  await assert.rejects(call(fields(session), linked[0].account), GrpcError);
  assert.deepEqual(await outcome(fields(session)), [1]);
  assert.equal((await receive(linked[0])).text, 'new keys');
  assert.equal(assertJson(await phone.rest('GET', '/v1/accounts/whoami')).number, number);
});

test('what an account can do and has paid for', async () => {
  const phone = await world.person(GRPC_CARRIER);
  const ask = (method) =>
    grpcCall(world.server, `/org.signal.chat.account.Accounts/${method}`, [], { account: phone.account });
  assert.deepEqual(await ask('GetEntitlements'), []);
  const [capabilities] = await ask('GetCapabilities');
  // One list, packed: storage, attachment backfill, the post-quantum ratchet, the changed username.
  assert.deepEqual([...capabilities.value], [0x0a, 4, 1, 6, 7, 9]);
});
