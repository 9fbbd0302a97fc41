// Accounts with several devices: sending to all of them, keeping them in step, and losing one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linkJson, newLinkCode, requestLink } from '../lib/account.mjs';
import { u8 } from '../lib/bytes.mjs';
import { assertEmpty, assertJson, closedFor, failsWith, nothingDelivered } from '../lib/expect.mjs';
import { fetchBundles, keyCounts, startSessions, uploadKeys } from '../lib/keys.mjs';
import { encryptFor, receive, send, sendJson, sendSync } from '../lib/messages.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const HOUR_MS = 3_600_000;

const world = await World.start();

/** Starts sessions with one more device of an account, as an app does that was told of it. */
async function meet(connection, target, deviceId) {
  return startSessions(connection.account, target, await fetchBundles(connection, target, deviceId));
}

/** A sender, and a recipient with two devices, to both of which the sender has sessions: `{ alice, phone, laptop, devices }`. */
async function twoDevices(carrier) {
  const { alice, bob: phone, devices } = await world.pair(carrier);
  const laptop = await world.link(carrier, phone);
  return { alice, phone, laptop, devices: [...devices, ...(await meet(alice, phone.account.aci, 2))] };
}

onEveryCarrier((carrier) => {
  test('a new device gets the lowest free id, and keys of its own', async () => {
    const phone = await world.person(carrier);
    const [second, third] = [await world.link(carrier, phone), await world.link(carrier, phone)];
    assert.deepEqual([second.account.deviceId, third.account.deviceId], [2, 3]);
    assert.deepEqual(await keyCounts(second, 'aci'), { count: 0, pqCount: 0 });
    await uploadKeys(second, { count: 3 });
    assert.deepEqual(await keyCounts(second), { count: 3, pqCount: 3 });
    assert.equal((await phone.rest('DELETE', '/v1/devices/2')).status, 204);
    const again = await world.link(carrier, phone);
    assert.equal(again.account.deviceId, 2);
    assert.deepEqual(await keyCounts(again), { count: 0, pqCount: 0 });
  });

  test('a sender is told of a new device at once, and both devices get the message', async () => {
    const { alice, bob: phone, devices } = await world.pair(carrier);
    await send(alice, phone.account.aci, devices, 'to one');
    assert.equal((await receive(phone)).text, 'to one');
    const laptop = await world.link(carrier, phone);
    const error = await failsWith('MismatchedDevices', () => send(alice, phone.account.aci, devices, 'to one'));
    assert.deepEqual(error.entries[0].missingDevices, [2]);
    assert.deepEqual(error.entries[0].extraDevices, []);
    const all = [...devices, ...(await meet(alice, phone.account.aci, 2))];
    await send(alice, phone.account.aci, all, 'to both');
    for (const device of [phone, laptop]) {
      const got = await receive(device);
      assert.equal(got.text, 'to both');
      assert.equal(got.sourceDevice, 1);
    }
  });

  test('a message to the PNI reaches both devices too', async () => {
    const { alice, phone, laptop } = await twoDevices(carrier);
    const { pni } = phone.account;
    const devices = await startSessions(alice.account, pni, await fetchBundles(alice, pni));
    assert.deepEqual(
      devices,
      [phone, laptop].map((device) => device.account.pniDevice),
    );
    await send(alice, pni, devices, 'to your number');
    for (const device of [phone, laptop]) assert.equal((await receive(device)).text, 'to your number');
  });

  test('each device has its queue: what one has read still waits for the other', async () => {
    const { alice, phone, laptop, devices } = await twoDevices(carrier);
    await laptop.disconnect();
    const texts = ['one', 'two', 'three'];
    for (const text of texts) await send(alice, phone.account.aci, devices, text);
    for (const text of texts) assert.equal((await receive(phone)).text, text);
    const again = await world.connect(carrier, laptop.account);
    for (const text of texts) assert.equal((await receive(again)).text, text);
    await nothingDelivered(again);
  });

  test('a linked device sends, and is told when each of the recipients devices has fetched', async () => {
    const { alice, phone, laptop } = await twoDevices(carrier);
    await uploadKeys(alice, { count: 2 });
    const devices = await startSessions(laptop.account, alice.account.aci, await fetchBundles(laptop, alice.account.aci));
    const sentAt = await send(laptop, alice.account.aci, devices, 'from the laptop');
    const got = await receive(alice);
    assert.equal(got.text, 'from the laptop');
    assert.equal(got.sourceDevice, 2);
    for (const device of [phone, laptop]) {
      const receipt = await receive(device, { receipts: true });
      assert.equal(receipt.clientTimestamp, sentAt);
    }
  });

  test('a sender with two devices is told to synchronise, and one with a single device is not', async () => {
    const { alice, phone, laptop, devices } = await twoDevices(carrier);
    const { aci } = phone.account;
    const put = async (connection, target, to) => {
      const json = await sendJson(connection.account, target, to, 'text');
      return assertJson(await connection.rest('PUT', `/v1/messages/${target.getServiceIdString()}`, { json }));
    };
    assert.deepEqual(await put(alice, aci, devices), { needsSync: false });
    const toAlice = await startSessions(laptop.account, alice.account.aci, await fetchBundles(laptop, alice.account.aci));
    assert.deepEqual(await put(laptop, alice.account.aci, toAlice), { needsSync: true });
    const toPhone = await meet(laptop, aci, 1);
    assert.deepEqual(await put(laptop, aci, toPhone), { needsSync: false });
  });

  test('sync messages reach the other devices and only them', async () => {
    const { phone, laptop } = await twoDevices(carrier);
    const tablet = await world.link(carrier, phone);
    const { aci } = phone.account;
    const missing = await failsWith('MismatchedDevices', async () => sendSync(phone, await meet(phone, aci, 2), 'sync'));
    assert.deepEqual(missing.entries[0].missingDevices, [3]);
    await sendSync(phone, [laptop.account.device, ...(await meet(phone, aci, 3))], 'from the phone');
    for (const device of [laptop, tablet]) {
      const got = await receive(device);
      assert.equal(got.text, 'from the phone');
      assert.ok(got.source.isEqual(aci) && got.destination.isEqual(aci));
      assert.equal(got.sourceDevice, 1);
    }
    await sendSync(laptop, [phone.account.device, ...(await meet(laptop, aci, 3))], 'from the laptop');
    for (const device of [phone, tablet]) assert.equal((await receive(device)).text, 'from the laptop');
    await phone.flush();
    assert.deepEqual(laptop.events.drain('message'), [], 'its own sync message came back');
    const contents = await encryptFor(laptop.account, aci, [phone.account.device, tablet.account.device], 'to myself');
    contents.push({ ...contents[0], ...laptop.account.device });
    const wrong = await failsWith('MismatchedDevices', () =>
      laptop.chat.sendSyncMessage({ timestamp: Date.now(), contents, urgent: true }),
    );
    assert.deepEqual(wrong.entries[0].extraDevices, [2]);
  });

  test('a removed device is thrown out at once, for good, and senders are told', async () => {
    const { alice, phone, laptop, devices } = await twoDevices(carrier);
    assertEmpty(await phone.rest('DELETE', '/v1/devices/2'), 204);
    await closedFor(laptop, 'ConnectionInvalidated');
    await failsWith('DeviceDelinked', () => world.connect(carrier, laptop.account));
    const error = await failsWith('MismatchedDevices', () => send(alice, phone.account.aci, devices, 'to both'));
    assert.deepEqual(error.entries[0].extraDevices, [2]);
    assert.deepEqual(error.entries[0].missingDevices, []);
    await send(alice, phone.account.aci, [devices[0]], 'to one');
    assert.equal((await receive(phone)).text, 'to one');
    assert.equal((await alice.rest('GET', `/v2/keys/${phone.account.uuid}/2`)).status, 404);
    assertEmpty(await phone.rest('DELETE', '/v1/devices/2'), 204);
  });

  test('what waited for a removed device is not for the next one of its id', async () => {
    const { alice, phone, laptop, devices } = await twoDevices(carrier);
    await laptop.disconnect();
    await send(alice, phone.account.aci, devices, 'for the laptop');
    assert.equal((await receive(phone)).text, 'for the laptop');
    assertEmpty(await phone.rest('DELETE', '/v1/devices/2'), 204);
    const next = await world.link(carrier, phone);
    assert.equal(next.account.deviceId, 2);
    await next.flush();
    assert.deepEqual(next.events.drain('message'), []);
    const error = await failsWith('MismatchedDevices', () => send(alice, phone.account.aci, devices, 'to both'));
    assert.deepEqual(error.entries[0].staleDevices, [2]);
  });

  test('a linked device leaves by itself and removes no other', async () => {
    const { phone, laptop } = await twoDevices(carrier);
    const tablet = await world.link(carrier, phone);
    for (const id of [1, 3]) assertEmpty(await laptop.rest('DELETE', `/v1/devices/${id}`), 401);
    assert.equal((await phone.rest('DELETE', '/v1/devices/1')).status, 403);
    for (const id of ['0', '128', 'x']) assert.equal((await phone.rest('DELETE', `/v1/devices/${id}`)).status, 404);
    assertEmpty(await laptop.rest('DELETE', '/v1/devices/2'), 204);
    await closedFor(laptop, 'ConnectionInvalidated');
    await failsWith('DeviceDelinked', () => world.connect(carrier, laptop.account));
    await tablet.flush();
  });

  test('removing a device in the middle of traffic loses nothing for the other', async () => {
    const { alice, phone, laptop, devices } = await twoDevices(carrier);
    laptop.events.onEach('message', ({ ack }) => ack());
    const [first] = devices;
    const accepted = [];
    let to = devices;
    const traffic = (async () => {
      for (let index = 0; index < 60; index++) {
        const text = `message ${index}`;
        try {
          await send(alice, phone.account.aci, to, text);
        } catch (error) {
          assert.deepEqual(error.entries?.[0].extraDevices, [2], error.message);
          to = [first];
          await send(alice, phone.account.aci, to, text);
        }
        accepted.push(text);
      }
    })();
    while (accepted.length < 10) await alice.flush();
    assert.equal((await phone.rest('DELETE', '/v1/devices/2')).status, 204);
    await closedFor(laptop, 'ConnectionInvalidated');
    await traffic;
    assert.equal(to.length, 1, 'the removal fell behind the traffic');
    for (const text of accepted) assert.equal((await receive(phone)).text, text);
  });

  test('the list shows every device, and only its account can read when it came', async () => {
    const { phone, laptop } = await twoDevices(carrier);
    const before = Date.now();
    for (const connection of [phone, laptop]) {
      const { devices } = assertJson(await connection.rest('GET', '/v1/devices'));
      assert.deepEqual(
        devices.map(({ id, name, registrationId }) => ({ id, name, registrationId })),
        [phone, laptop].map(({ account }) => ({ id: account.deviceId, name: null, registrationId: account.aciStore.registrationId })),
      );
      for (const device of devices) {
        assert.equal(device.lastSeen % (24 * HOUR_MS), 0);
        const created = createdAt(connection.account, device);
        assert.ok(created <= before && created > before - HOUR_MS, `created ${created}`);
      }
    }
  });

  test('registering again removes every linked device', async () => {
    const { alice, phone, laptop, devices } = await twoDevices(carrier);
    const returned = phone.account.reinstalled();
    await world.account(carrier, returned);
    await closedFor(laptop, 'ConnectionInvalidated');
    await failsWith('DeviceDelinked', () => world.connect(carrier, laptop.account));
    await failsWith('MismatchedDevices', () => send(alice, phone.account.aci, devices, 'to both'));
    const { preKeyBundles } = await fetchBundles(alice, phone.account.aci);
    assert.deepEqual(
      preKeyBundles.map((bundle) => bundle.deviceId()),
      [1],
    );
  });

  test('devices, their queues and codes survive a kill', async () => {
    const { alice, phone, laptop, devices } = await twoDevices(carrier);
    const { verificationCode } = await newLinkCode(phone);
    await laptop.disconnect();
    await send(alice, phone.account.aci, devices, 'over the kill');
    await world.server.kill();
    await world.server.run();
    const again = await world.connect(carrier, laptop.account);
    assert.equal((await receive(again)).text, 'over the kill');
    const device = phone.account.newDevice();
    const anonymous = await world.connectAnonymously(carrier);
    const answer = await requestLink(anonymous, device, linkJson(device, verificationCode));
    assert.equal(assertJson(answer).deviceId, 3);
  });
});

/** Opens the creation time of a device in a list, in milliseconds. */
function createdAt(account, { id, registrationId, createdAtCiphertext }) {
  const sealed = u8(createdAtCiphertext);
  assert.equal(sealed.length, 57);
  assert.doesNotMatch(createdAtCiphertext, /=/, 'padded');
  const aad = Buffer.alloc(5);
  aad.writeUInt8(id, 0);
  aad.writeUInt32BE(registrationId, 1);
  const plain = account.aciStore.identity.privateKey.open(sealed, 'deviceCreatedAt', u8(aad));
  return Number(Buffer.from(plain).readBigUInt64BE());
}
