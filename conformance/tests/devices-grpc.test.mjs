// The library's typed calls about devices, which exist over gRPC only.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';
import { u8, utf8 } from '../lib/bytes.mjs';
import { GRPC_CARRIER } from '../lib/client.mjs';
import { closedFor, failsWith } from '../lib/expect.mjs';
import { GrpcError, grpcCall } from '../lib/grpc.mjs';
import { writeFields } from '../lib/protobuf.mjs';
import { World } from '../lib/world.mjs';

const NAME_MAX = 225;

const world = await World.start();
const random = (length) => u8(crypto.randomBytes(length));

async function phoneAndLaptop() {
  const phone = await world.person(GRPC_CARRIER);
  return { phone, laptop: await world.link(GRPC_CARRIER, phone) };
}

test('the list shows both devices to both', async () => {
  const { phone, laptop } = await phoneAndLaptop();
  for (const connection of [phone, laptop]) {
    const devices = await connection.chat.getDevices();
    assert.deepEqual(
      devices.map(({ id, registrationId }) => ({ id, registrationId })),
      [phone, laptop].map(({ account }) => ({ id: account.deviceId, registrationId: account.aciStore.registrationId })),
    );
    for (const { lastSeen, createdAtCiphertext } of devices) {
      assert.equal(lastSeen % 86_400_000, 0);
      assert.equal(createdAtCiphertext.length, 57);
    }
  }
});

test('names: the primary names all devices, a linked one itself', async () => {
  const { phone, laptop } = await phoneAndLaptop();
  const [mine, theirs] = [random(NAME_MAX), random(1)];
  await phone.chat.setDeviceName({ deviceId: 2, encryptedName: theirs });
  await phone.chat.setDeviceName({ deviceId: 1, encryptedName: mine });
  const names = async () => (await phone.chat.getDevices()).map(({ encryptedName }) => encryptedName);
  assert.deepEqual(await names(), [mine, theirs]);
  await laptop.chat.setDeviceName({ deviceId: 2, encryptedName: mine });
  assert.deepEqual(await names(), [mine, mine]);
  await failsWith('DeviceIdNotFound', () => phone.chat.setDeviceName({ deviceId: 3, encryptedName: mine }));
  await assert.rejects(laptop.chat.setDeviceName({ deviceId: 1, encryptedName: theirs }));
  for (const encryptedName of [random(0), random(NAME_MAX + 1)]) {
    await assert.rejects(phone.chat.setDeviceName({ deviceId: 1, encryptedName }));
  }
  assert.deepEqual(await names(), [mine, mine]);
});

test('a removed device is thrown out', async () => {
  const { phone, laptop } = await phoneAndLaptop();
  await assert.rejects(phone.chat.removeDevice({ deviceId: 1 }));
  await assert.rejects(laptop.chat.removeDevice({ deviceId: 3 }));
  await phone.chat.removeDevice({ deviceId: 2 });
  await closedFor(laptop, 'ConnectionInvalidated');
  await failsWith('DeviceDelinked', () => world.connect(GRPC_CARRIER, laptop.account));
  await phone.chat.removeDevice({ deviceId: 2 });
  assert.equal((await phone.chat.getDevices()).length, 1);
});

test('a linked device removes itself', async () => {
  const { phone, laptop } = await phoneAndLaptop();
  await laptop.chat.removeDevice({ deviceId: 2 }).catch(() => {});
  await closedFor(laptop, 'ConnectionInvalidated');
  assert.equal((await phone.chat.getDevices()).length, 1);
});

// The library has no call for setting them.
test('push tokens: of one service or of the other, and not an empty one', async () => {
  const { phone, laptop } = await phoneAndLaptop();
  const set = (account, request) =>
    grpcCall(world.server, '/org.signal.chat.device.Devices/SetPushToken', request, { account });
  const token = (field, text) => [[field, writeFields([[1, utf8(text)]])]];
  for (const { account } of [phone, laptop]) {
    assert.deepEqual(await set(account, token(1, 'apns')), []);
    assert.deepEqual(await set(account, token(2, 'fcm')), []);
    for (const nothing of [[], token(1, ''), token(2, '')]) await assert.rejects(set(account, nothing), GrpcError);
  }
  await phone.chat.clearPushToken();
  const agents = async () => (await phone.rest('GET', '/v2/accounts/data_report')).json.data.devices;
  const before = await agents();
  assert.equal((await phone.rest('DELETE', '/v1/accounts/gcm')).status, 204);
  assert.deepEqual(
    (await agents()).map(({ userAgent }) => userAgent),
    ['OWA', before[1].userAgent],
  );
});

test('capabilities are replaced, and decide what may be linked', async () => {
  const phone = await world.person(GRPC_CARRIER);
  await phone.chat.setCapabilities({ capabilities: new Set(['sparsePostQuantumRatchet']) });
  const device = phone.account.newDevice();
  device.capabilities = ['spqr'];
  const laptop = await world.link(GRPC_CARRIER, phone, device);
  await laptop.chat.clearPushToken();
});
