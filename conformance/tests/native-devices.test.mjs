// Native accounts with several devices: linked by a code, written to by the official library, and losing one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failsWith } from '../lib/expect.mjs';
import { fetchBundles, startSessions } from '../lib/keys.mjs';
import { receive, send } from '../lib/messages.mjs';
import { NativeClient, Problem } from '../lib/native.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const world = await World.start();
const newNative = () => NativeClient.newPerson(world.server);

const refused = (code, status) => (error) => error instanceof Problem && error.code === code && error.status === status;

onEveryCarrier((carrier) => {
  test('the official library is told of a linked device, reaches it on retry, and is told when it goes', async () => {
    const signal = await world.person(carrier);
    const phone = await newNative();
    const meet = async (device) =>
      startSessions(signal.account, phone.aci, await fetchBundles(signal, phone.aci, device));
    const toPhone = await meet(1);
    await send(signal, phone.aci, toPhone, 'to one');
    assert.equal((await phone.receive()).text, 'to one');

    const tablet = await phone.link({ name: 'tablet' });
    assert.deepEqual([tablet.userId, tablet.deviceId], [phone.userId, 2]);
    const missing = await failsWith('MismatchedDevices', () => send(signal, phone.aci, toPhone, 'to both'));
    assert.deepEqual(missing.entries[0].missingDevices, [2]);
    const toBoth = [...toPhone, ...(await meet(2))];
    await send(signal, phone.aci, toBoth, 'to both');
    for (const device of [phone, tablet]) assert.equal((await device.receive()).text, 'to both');

    // The linked device writes for itself.
    await tablet.send(signal.account.aci.getServiceIdString(), 'from the tablet');
    const got = await receive(signal);
    assert.equal(got.text, 'from the tablet');
    assert.ok(got.source.isEqual(phone.aci));
    assert.equal(got.sourceDevice, 2);

    await phone.call('DELETE', '/devices/2');
    await assert.rejects(tablet.call('GET', '/devices'), refused('unauthorized', 401));
    const extra = await failsWith('MismatchedDevices', () => send(signal, phone.aci, toBoth, 'to one again'));
    assert.deepEqual(extra.entries[0].extraDevices, [2]);
    await send(signal, phone.aci, toPhone, 'to one again');
    assert.equal((await phone.receive({ onReceipt: () => {} })).text, 'to one again');
  });
});

test('a native sender is told of a linked device, and reaches it on retry', async () => {
  const [alice, phone] = [await newNative(), await newNative()];
  await alice.send(phone.userId, 'to one');
  assert.equal((await phone.receive()).text, 'to one');
  const tablet = await phone.link();
  await assert.rejects(alice.send(phone.userId, 'to both'), (error) => {
    assert.deepEqual([error.status, error.code], [409, 'device_mismatch']);
    assert.deepEqual(error.details.missing_devices, [2]);
    return true;
  });
  alice.sessions.delete(phone.userId);
  const { devices } = await alice.send(phone.userId, 'to both');
  assert.deepEqual(devices, [1, 2]);
  for (const device of [phone, tablet]) assert.equal((await device.receive()).text, 'to both');
});

test('the owner is told who has come, and sees it among the devices', async () => {
  const phone = await newNative();
  const { code, uri, expires_in } = await phone.linkCode();
  assert.equal(uri, `heliograph://link?server=127.0.0.1:${world.server.port}&code=${code}`);
  assert.equal(expires_in, 600);
  const told = phone.call('GET', '/devices/link-code?wait=60');
  const body = { code, device_identifier: 'a laptop', device_name: 'laptop' };
  const laptop = new NativeClient(world.server);
  const made = await laptop.call('POST', '/link', { body, anonymous: true });
  assert.deepEqual(await told, { state: 'used', expires_in: null, device_id: made.device_id });
  await assert.rejects(laptop.call('POST', '/link', { body, anonymous: true }), refused('link_code_refused', 403));
  await phone.call('PATCH', '/devices/2', { body: { device_name: 'the laptop' } });
  const { devices } = await phone.call('GET', '/devices');
  assert.deepEqual(
    devices.map(({ device_id, device_name, kind, push, current }) => ({ device_id, device_name, kind, push, current })),
    [
      { device_id: 1, device_name: null, kind: 'primary', push: null, current: true },
      { device_id: 2, device_name: 'the laptop', kind: 'linked', push: null, current: false },
    ],
  );
});

test('a device does not join under another identity key', async () => {
  const [phone, stranger] = [await newNative(), await newNative()];
  const { code } = await phone.linkCode();
  const keys = stranger.firstKeys();
  const body = { code, device_identifier: 'other', keys };
  await assert.rejects(phone.call('POST', '/link', { body, anonymous: true }), refused('other_identity', 409));
  const broken = { ...keys, signed_pre_key: { ...keys.signed_pre_key, signature: keys.pq_last_resort_pre_key.signature } };
  await assert.rejects(
    phone.call('POST', '/link', { body: { ...body, keys: broken }, anonymous: true }),
    refused('wrong_signature', 422),
  );
  const made = await phone.call('POST', '/link', { body: { code, device_identifier: 'other' }, anonymous: true });
  assert.equal(made.device_id, 2, 'the code has survived');
});
