// The native API from another language, and beside the official library.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EnvelopeType } from '../lib/envelope.mjs';
import { fetchBundles, startSessions } from '../lib/keys.mjs';
import { receive, send } from '../lib/messages.mjs';
import { NativeClient, PASSWORD, Problem } from '../lib/native.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const world = await World.start();
const newNative = () => NativeClient.newPerson(world.server);

onEveryCarrier((carrier) => {
  test('a native client and the official library talk, whoever begins', async () => {
    const signal = await world.person(carrier);
    const native = await newNative();
    const aci = signal.account.aci.getServiceIdString();

    const { timestamp, devices } = await native.send(aci, 'hello from a native client');
    assert.deepEqual(devices, [1]);
    const got = await receive(signal);
    assert.equal(got.text, 'hello from a native client');
    assert.equal(got.type, EnvelopeType.PreKey);
    assert.equal(got.clientTimestamp, timestamp);
    assert.ok(got.source.isEqual(native.aci));

    for (let turn = 0; turn < 5; turn++) {
      const receipts = [];
      const devicesOfNative = [{ deviceId: native.deviceId, registrationId: native.store.registrationId }];
      const sentAt = await send(signal, native.aci, devicesOfNative, `answer ${turn}`);
      const answer = await native.receive({ onReceipt: (receipt) => receipts.push(receipt) });
      assert.equal(answer.text, `answer ${turn}`);
      assert.equal(answer.sender_id, aci);
      assert.equal(answer.timestamp, sentAt);
      if (turn === 0) assert.deepEqual(receipts.map((receipt) => receipt.timestamp), [timestamp]);
      await native.send(aci, `question ${turn}`);
      assert.equal((await receive(signal)).text, `question ${turn}`);
    }

    const other = await world.person(carrier);
    const found = await fetchBundles(other, native.aci);
    const sentAt = await send(other, native.aci, await startSessions(other.account, native.aci, found), 'and from me');
    let message = await native.receive();
    while (message.text.startsWith('answer')) message = await native.receive();
    assert.equal(message.text, 'and from me');
    const receipt = await receive(other, { receipts: true });
    assert.equal(receipt.type, EnvelopeType.ServerDeliveryReceipt);
    assert.equal(receipt.clientTimestamp, sentAt);
    assert.ok(receipt.source.isEqual(native.aci));
  });
});

test('two native clients talk with one-time keys, and go on after refreshing and logging in again', async () => {
  const [alice, bob] = [await newNative(), await newNative()];
  await bob.publishOneTimeKeys(2);
  assert.deepEqual(await bob.call('GET', '/keys'), { pre_keys: 2, pq_pre_keys: 2 });
  await alice.send(bob.userId, 'one');
  assert.deepEqual(await bob.call('GET', '/keys'), { pre_keys: 1, pq_pre_keys: 1 });
  assert.equal((await bob.receive()).text, 'one');
  await bob.refresh();
  await alice.send(bob.userId, 'two');
  assert.equal((await bob.receive()).text, 'two');
  await bob.call('POST', '/logout');
  await alice.send(bob.userId, 'three');
  await assert.rejects(bob.receive(), (error) => error instanceof Problem && error.code === 'unauthorized');
  await bob.login(bob.username, PASSWORD);
  assert.equal(bob.deviceId, 1);
  assert.equal((await bob.receive()).text, 'three');
});

test('a refusal has a code that a client can rely on', async () => {
  const native = await newNative();
  const refused = (code, status) => (error) => error instanceof Problem && error.code === code && error.status === status;
  await assert.rejects(NativeClient.register(world.server, native.username, PASSWORD), refused('username_taken', 409));
  await assert.rejects(NativeClient.register(world.server, 'x', 'password'), refused('password_too_common', 422));
  await assert.rejects(native.login(native.username, 'not the password'), refused('login_failed', 401));
  await assert.rejects(native.send('00000000-0000-4000-8000-000000000000', 'x'), refused('not_found', 404));
});
