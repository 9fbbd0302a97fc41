// The whole way of a new device into an account, and its parts.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';
import * as Signal from '@signalapp/libsignal-client';
import { Account, linkJson, newLinkCode, requestLink } from '../lib/account.mjs';
import { b64, sleep, textOf, u8 } from '../lib/bytes.mjs';
import { assertEmpty, assertJson } from '../lib/expect.mjs';
import { fetchBundles, startSessions } from '../lib/keys.mjs';
import { receive, send, sendSync } from '../lib/messages.mjs';
import { connectProvisioning, openProvisionMessage, sealProvisionMessage } from '../lib/provisioning.mjs';
import { IdentityStore } from '../lib/store.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const DEVICES_MAX = 6;
const ENVELOPE_TEXT_MAX = 256 * 1024;

const world = await World.start();

const deliver = (primary, address, envelope) =>
  primary.rest('PUT', `/v1/provisioning/${encodeURIComponent(address)}`, { json: { body: b64(envelope) } });

const wait = (primary, identifier, seconds = 8) =>
  primary.rest('GET', `/v1/devices/wait_for_linked_device/${identifier}?timeout=${seconds}`, { timeoutMillis: 20_000 });

/** A device that knows of its account only what the provisioning message says. */
function deviceOf(message) {
  const identity = (publicKey, privateKey) =>
    new Signal.IdentityKeyPair(Signal.PublicKey.deserialize(u8(publicKey)), Signal.PrivateKey.deserialize(u8(privateKey)));
  const device = new Account(textOf(message.number));
  device.renewKeys({
    aciIdentity: identity(message.aciIdentityKeyPublic, message.aciIdentityKeyPrivate),
    pniIdentity: identity(message.pniIdentityKeyPublic, message.pniIdentityKeyPrivate),
  });
  device.profileKey = u8(message.profileKey);
  device.aci = Signal.Aci.fromUuid(textOf(message.aci));
  device.pni = Signal.Pni.fromUuid(textOf(message.pni));
  return device;
}

/** A device that joins the account of a phone by what comes to its provisioning address, connected. */
async function joinFromQrCode(carrier, phone) {
  const { events } = await connectProvisioning(world.net(carrier));
  const { address } = await events.waitFor('address');
  const key = Signal.PrivateKey.generate();
  const { verificationCode } = await newLinkCode(phone);
  const delivered = deliver(phone, address, sealProvisionMessage(phone.account, verificationCode, key.getPublicKey()));
  const { envelope, ack } = await events.waitFor('envelope');
  assertEmpty(await delivered, 204);
  ack();
  const message = openProvisionMessage(envelope, key);
  const device = deviceOf(message);
  const anonymous = await world.connectAnonymously(carrier);
  const body = linkJson(device, textOf(message.provisioningCode));
  device.deviceId = assertJson(await requestLink(anonymous, device, body)).deviceId;
  return world.connect(carrier, device);
}

onEveryCarrier((carrier) => {
  test('from the QR code to the first message', async () => {
    const [alice, phone] = [await world.person(carrier), await world.person(carrier)];
    const net = world.net(carrier);
    const { events } = await connectProvisioning(net);
    const { address } = await events.waitFor('address');
    const key = Signal.PrivateKey.generate();

    const { verificationCode, tokenIdentifier } = await newLinkCode(phone);
    const waiting = wait(phone, tokenIdentifier);
    const sealed = sealProvisionMessage(phone.account, verificationCode, key.getPublicKey());
    const delivered = deliver(phone, address, sealed);
    const { envelope, ack } = await events.waitFor('envelope');
    assertEmpty(await delivered, 204);
    ack();
    await events.waitFor('interrupted');
    const message = openProvisionMessage(envelope, key);
    const device = deviceOf(message);
    const anonymous = await world.connectAnonymously(carrier);
    const body = linkJson(device, textOf(message.provisioningCode));
    device.deviceId = assertJson(await requestLink(anonymous, device, body)).deviceId;
    const laptop = await world.connect(carrier, device);

    const info = assertJson(await waiting);
    assert.equal(info.id, 2);
    assert.equal(info.registrationId, device.aciStore.registrationId);
    assert.ok(info.createdAtCiphertext);
    const { aci } = phone.account;
    const devices = await startSessions(alice.account, aci, await fetchBundles(alice, aci));
    await send(alice, aci, devices, 'to both');
    for (const connection of [phone, laptop]) assert.equal((await receive(connection)).text, 'to both');
  });

  test('five more devices join from their QR codes, and everything reaches all six', async () => {
    const [alice, phone] = [await world.person(carrier), await world.person(carrier)];
    const all = [phone];
    while (all.length < DEVICES_MAX) all.push(await joinFromQrCode(carrier, phone));
    const { aci } = phone.account;
    assert.deepEqual(
      all.map(({ account }) => account.deviceId),
      [1, 2, 3, 4, 5, 6],
    );
    const devices = await startSessions(alice.account, aci, await fetchBundles(alice, aci));
    await send(alice, aci, devices, 'to all six');
    for (const connection of all) assert.equal((await receive(connection)).text, 'to all six');

    const tablet = all[3];
    const others = all.filter((connection) => connection !== tablet);
    for (const { account } of others) {
      await startSessions(tablet.account, aci, await fetchBundles(tablet, aci, account.deviceId));
    }
    const to = others.map(({ account }) => account.device);
    await sendSync(tablet, to, 'to my other five');
    for (const connection of others) {
      const got = await receive(connection);
      assert.deepEqual([got.text, got.sourceDevice], ['to my other five', 4]);
    }
    await tablet.flush();
    assert.deepEqual(tablet.events.drain('message'), []);
  });

  test('a device may wait at two addresses at once', async () => {
    const phone = await world.person(carrier);
    const net = world.net(carrier);
    const sockets = [await connectProvisioning(net), await connectProvisioning(net)];
    const addresses = [];
    for (const { events } of sockets) addresses.push((await events.waitFor('address')).address);
    assert.notEqual(addresses[0], addresses[1]);
    for (const address of addresses) assert.match(address, /^[\w-]{22}==$/);
    for (const [index, { events }] of sockets.entries()) {
      const sent = crypto.randomBytes(100);
      const delivered = deliver(phone, addresses[index], sent);
      const { envelope, ack } = await events.waitFor('envelope');
      assert.deepEqual(Buffer.from(envelope), sent);
      assertEmpty(await delivered, 204);
      ack();
      await events.waitFor('interrupted');
    }
  });

  test('an address takes one envelope, and is gone with its socket', async () => {
    const phone = await world.person(carrier);
    const net = world.net(carrier);
    const { events } = await connectProvisioning(net);
    const { address } = await events.waitFor('address');
    const answers = await Promise.all([1, 2].map((fill) => deliver(phone, address, new Uint8Array([fill]))));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [204, 404]);
    const other = await connectProvisioning(net);
    const { address: left } = await other.events.waitFor('address');
    await other.connection.disconnect();
    for (let tries = 0; ; tries++) {
      const { status } = await deliver(phone, left, new Uint8Array([1]));
      if (status === 404) break;
      assert.ok(tries < 20, `still answered ${status}`);
      await sleep(50);
    }
  });

  test('envelopes that are none', async () => {
    const phone = await world.person(carrier);
    const put = (body) => phone.rest('PUT', '/v1/provisioning/AAAAAAAAAAAAAAAAAAAAAA==', { json: { body } });
    assertEmpty(await put('AAAA'), 404);
    assert.equal((await put('A'.repeat(ENVELOPE_TEXT_MAX + 4))).status, 400);
    for (const body of ['', 'not base64!', undefined]) assert.equal((await put(body)).status, 422);
    const anonymous = await world.connectAnonymously(carrier);
    const nobody = await anonymous.rest('PUT', '/v1/provisioning/AAAA', { json: { body: 'AAAA' } });
    assert.equal(nobody.status, 401);
  });

  test('waiting ends with nothing, with the next who waits, and with mistakes', async () => {
    const phone = await world.person(carrier);
    const { tokenIdentifier } = await newLinkCode(phone);
    const begun = Date.now();
    assertEmpty(await wait(phone, tokenIdentifier, 1), 204);
    assert.ok(Date.now() - begun >= 900);
    const first = wait(phone, tokenIdentifier, 30);
    await phone.flush();
    const second = wait(phone, tokenIdentifier, 1);
    assertEmpty(await first, 204);
    assertEmpty(await second, 204);
    for (const seconds of [0, 3601, 'x']) assert.equal((await wait(phone, tokenIdentifier, seconds)).status, 400);
    for (const identifier of ['AAAA', 'A'.repeat(44), '!'.repeat(43)]) {
      assert.equal((await wait(phone, identifier)).status, 400, identifier);
    }
    const laptop = await world.link(carrier, phone);
    assert.equal((await wait(laptop, tokenIdentifier)).status, 400);
  });

  test('the primary is told only once it has read what came before', async () => {
    const { alice, bob: phone, devices } = await world.pair(carrier);
    const { verificationCode, tokenIdentifier } = await newLinkCode(phone);
    await send(alice, phone.account.aci, devices, 'not read yet');
    const device = phone.account.newDevice();
    const anonymous = await world.connectAnonymously(carrier);
    assertJson(await requestLink(anonymous, device, linkJson(device, verificationCode)));
    assertEmpty(await wait(phone, tokenIdentifier, 1), 204);
    assert.equal((await receive(phone)).text, 'not read yet');
    assert.equal(assertJson(await wait(phone, tokenIdentifier)).id, 2);
    assert.equal(assertJson(await wait(phone, tokenIdentifier)).id, 2, 'a second time');
  });
});

test('a server that stops does not wait for those who wait', async () => {
  const phone = await world.person({ name: 'h1', httpVersion: 1, grpc: false });
  const { tokenIdentifier } = await newLinkCode(phone);
  const waiting = wait(phone, tokenIdentifier, 60).catch((error) => error);
  await phone.flush();
  const asked = Date.now();
  await world.server.stop();
  assert.ok(Date.now() - asked < 3000, 'it took as long as the wait');
  await waiting;
  await world.server.run();
});
