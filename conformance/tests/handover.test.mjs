// What one device leaves for another that is being set up: word of a history archive, and how an account is restored.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';
import { b64 } from '../lib/bytes.mjs';
import { assertEmpty, assertJson } from '../lib/expect.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const KEY_MAX = 64;
const BOOTSTRAP_MAX = 4096;

const world = await World.start();
const scarce = await World.start({ limits: { upload_transfer_archive: { size: 1, interval_ms: 600_000 } } });

const archive = { cdn: 3, key: 'k'.repeat(KEY_MAX) };

/** Leaves word for the device behind a connection. */
const leave = (phone, { deviceId, aciStore }, transferArchive, changes = {}) =>
  phone.rest('PUT', '/v1/devices/transfer_archive', {
    json: {
      destinationDeviceId: deviceId,
      destinationDeviceRegistrationId: aciStore.registrationId,
      transferArchive,
      ...changes,
    },
  });

const wait = (device, seconds = 8) =>
  device.rest('GET', `/v1/devices/transfer_archive?timeout=${seconds}`, { timeoutMillis: 20_000 });

async function phoneAndLaptop(carrier) {
  const phone = await world.person(carrier);
  return { phone, laptop: await world.link(carrier, phone) };
}

onEveryCarrier((carrier) => {
  test('a new device waits for its history and is told where it lies', async () => {
    const { phone, laptop } = await phoneAndLaptop(carrier);
    const waiting = wait(laptop);
    await laptop.flush();
    assertEmpty(await leave(phone, laptop.account, archive), 204);
    assert.deepEqual(assertJson(await waiting), archive);
    assert.deepEqual(assertJson(await wait(laptop)), archive, 'a second time');
    const error = { error: 'RELINK_REQUESTED' };
    assertEmpty(await leave(phone, laptop.account, error), 204);
    assert.deepEqual(assertJson(await wait(laptop)), error);
  });

  test('word is for one device and one installation of it', async () => {
    const { phone, laptop } = await phoneAndLaptop(carrier);
    const tablet = await world.link(carrier, phone);
    assertEmpty(await leave(phone, laptop.account, archive), 204);
    assertEmpty(await wait(tablet, 1), 204);
    assert.equal((await phone.rest('DELETE', '/v1/devices/2')).status, 204);
    const next = await world.link(carrier, phone);
    assert.equal(next.account.deviceId, 2);
    assertEmpty(await wait(next, 1), 204);
    assertEmpty(await leave(phone, { ...laptop.account, deviceId: 9 }, archive), 204);
  });

  test('what is no word, and who may not leave one', async () => {
    const { phone, laptop } = await phoneAndLaptop(carrier);
    for (const wrong of [null, {}, { cdn: 3 }, { ...archive, key: `${archive.key}k` }, { error: 'ELSE' }]) {
      assert.equal((await leave(phone, laptop.account, wrong)).status, 422, JSON.stringify(wrong));
    }
    for (const changes of [
      { destinationDeviceId: 0 },
      { destinationDeviceId: 128 },
      { destinationDeviceRegistrationId: -1 },
      { destinationDeviceRegistrationId: 16_384 },
    ]) {
      assert.equal((await leave(phone, laptop.account, archive, changes)).status, 422, JSON.stringify(changes));
    }
    assert.equal((await leave(laptop, laptop.account, archive)).status, 403);
    for (const seconds of [0, 3601, 'x']) assert.equal((await wait(laptop, seconds)).status, 400);
  });

  test('too many words', async () => {
    const phone = await scarce.person(carrier);
    const laptop = await scarce.link(carrier, phone);
    assertEmpty(await leave(phone, laptop.account, archive), 204);
    const refused = await leave(phone, laptop.account, archive);
    assert.equal(refused.status, 429);
    assert.ok(Number(refused.headers['retry-after']) > 0);
  });

  test('a new phone tells the old one how it goes on', async () => {
    const [old, fresh] = [await world.connectAnonymously(carrier), await world.connectAnonymously(carrier)];
    const token = crypto.randomBytes(16).toString('base64url');
    const path = `/v1/devices/restore_account/${token}`;
    assertEmpty(await old.rest('GET', `${path}?timeout=1`), 204);
    const waiting = old.rest('GET', `${path}?timeout=8`, { timeoutMillis: 20_000 });
    const choice = { method: 'DEVICE_TRANSFER', deviceTransferBootstrap: b64(crypto.randomBytes(BOOTSTRAP_MAX)) };
    assertEmpty(await fresh.rest('PUT', path, { json: choice }), 204);
    assert.deepEqual(assertJson(await waiting), choice);
    for (const method of ['REMOTE_BACKUP', 'LOCAL_BACKUP', 'DECLINE']) {
      assertEmpty(await fresh.rest('PUT', path, { json: { method } }), 204);
      assert.deepEqual(assertJson(await old.rest('GET', path)), { method, deviceTransferBootstrap: null });
    }
    const long = { ...choice, deviceTransferBootstrap: b64(crypto.randomBytes(BOOTSTRAP_MAX + 1)) };
    for (const json of [{}, { method: 'ELSE' }, long]) {
      assert.equal((await fresh.rest('PUT', path, { json })).status, 422);
    }
    const tooLong = `/v1/devices/restore_account/${'t'.repeat(65)}`;
    assert.equal((await fresh.rest('PUT', tooLong, { json: choice })).status, 422);
    assert.equal((await old.rest('GET', tooLong)).status, 400);
  });
});

test('what was left survives a kill', async () => {
  const carrier = { name: 'h1', httpVersion: 1, grpc: false };
  const { phone, laptop } = await phoneAndLaptop(carrier);
  const path = `/v1/devices/restore_account/${crypto.randomBytes(16).toString('base64url')}`;
  const anonymous = await world.connectAnonymously(carrier);
  assertEmpty(await leave(phone, laptop.account, archive), 204);
  assertEmpty(await anonymous.rest('PUT', path, { json: { method: 'DECLINE' } }), 204);
  await world.server.kill();
  await world.server.run();
  assert.deepEqual(assertJson(await wait(await world.connect(carrier, laptop.account))), archive);
  const again = await world.connectAnonymously(carrier);
  assert.equal(assertJson(await again.rest('GET', path)).method, 'DECLINE');
});
