// Messages whose sender does not say who it is: who may send them, what arrives, and what must not show.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';
import * as Signal from '@signalapp/libsignal-client';
import { b64, u8 } from '../lib/bytes.mjs';
import { EnvelopeType, parseEnvelope } from '../lib/envelope.mjs';
import { assertJson, failsWith, nothingDelivered } from '../lib/expect.mjs';
import { groupSendToken } from '../lib/inventory/credentials.mjs';
import { fetchBundles, startSessions } from '../lib/keys.mjs';
import { receive, sendSealed } from '../lib/messages.mjs';
import { fetchSenderCertificate } from '../lib/sealed.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

/** Envelope fields of a sealed message: type, client time, content, server time, urgent, destination, guid. */
const SEALED_FIELDS = [1, 5, 8, 10, 14, 20, 21];
const SEALED_STORY_FIELDS = [1, 5, 8, 10, 14, 16, 20, 21];
const WRONG_KEY = u8(Buffer.alloc(16, 9));

const world = await World.start();

/** Alice with a certificate and an anonymous connection, and Bob with two devices she has sessions with. */
async function strangers(carrier, options) {
  const { alice, bob } = await world.pair(carrier);
  const tablet = await world.link(carrier, bob);
  if (options) await reconnect(carrier, bob, tablet, options);
  const bundles = await fetchBundles(alice, bob.account.aci);
  const devices = await startSessions(alice.account, bob.account.aci, bundles);
  const certificate = await fetchSenderCertificate(alice);
  const anonymous = await world.connectAnonymously(carrier);
  const auth = { accessKey: bob.account.accessKey };
  const send = (text, more = {}) =>
    sendSealed(anonymous, alice.account, bob.account.aci, devices, text, { certificate, auth, ...more });
  return { alice, bob, tablet, devices, certificate, anonymous, send };
}

/** A message of the JSON API for Bob's primary device and whatever else is given. */
function json(bob, message = {}) {
  const one = {
    type: EnvelopeType.UnidentifiedSender,
    destinationDeviceId: 1,
    destinationRegistrationId: bob.account.aciStore.registrationId,
    content: b64(crypto.randomBytes(64)),
  };
  return { messages: [{ ...one, ...message }], online: false, urgent: true, timestamp: Date.now() };
}

const access = (key) => ['unidentified-access-key', b64(key)];

onEveryCarrier((carrier) => {
  test('a sealed message is read at every device, and says nothing of who sent it', async () => {
    const { alice, bob, tablet, send } = await strangers(carrier);
    const sentAt = await send('from nobody');
    for (const device of [bob, tablet]) {
      const got = await receive(device);
      assert.equal(got.text, 'from nobody');
      assert.equal(got.type, EnvelopeType.UnidentifiedSender);
      assert.deepEqual(got.fields, SEALED_FIELDS);
      assert.equal(got.clientTimestamp, sentAt);
      assert.ok(got.destination.isEqual(bob.account.aci));
      assert.ok(got.sealed.sender.isEqual(alice.account.aci));
      assert.equal(got.sealed.senderE164, alice.account.number);
    }
    await Promise.all([bob.flush(), tablet.flush()]);
    await alice.flush();
    assert.deepEqual(alice.events.drain('message'), [], 'the server cannot tell whom to send a receipt');
  });

  test('urgent, online-only and waiting sealed messages', async () => {
    const { bob, tablet, send } = await strangers(carrier);
    await send('no hurry', { urgent: false });
    assert.equal((await receive(bob)).urgent, false);
    await receive(tablet);
    await send('typing', { onlineOnly: true });
    assert.equal((await receive(bob)).text, 'typing');
    await receive(tablet);
    await bob.disconnect();
    await send('typing', { onlineOnly: true });
    await send('waiting');
    assert.equal((await receive(tablet)).text, 'typing');
    assert.equal((await receive(tablet)).text, 'waiting');
    const again = await world.connect(carrier, bob.account);
    assert.equal((await receive(again)).text, 'waiting');
    await again.events.waitFor('queueEmpty');
  });

  test('who may not send is not told whether there is anybody', async () => {
    const { alice, bob, devices, certificate, anonymous, send } = await strangers(carrier);
    await failsWith('RequestUnauthorized', () => send('x', { auth: { accessKey: WRONG_KEY } }));
    await failsWith('RequestUnauthorized', () => send('x', { auth: 'unrestricted' }));
    await failsWith('RequestUnauthorized', () => send('x', { auth: groupSendToken() }));
    const nobody = Signal.Aci.fromUuid(crypto.randomUUID());
    const path = (target) => `/v1/messages/${target}`;
    const headers = [access(bob.account.accessKey)];
    const put = (target, more = headers) => anonymous.rest('PUT', path(target), { json: json(bob), headers: more });
    assert.equal((await put(nobody.getServiceIdString())).status, 401);
    assert.equal((await put(bob.account.pni.getServiceIdString())).status, 401, 'a PNI has no access key');
    assert.equal((await put(bob.account.uuid, [])).status, 401);
    assert.equal((await put(bob.account.uuid, [['unidentified-access-key', 'AAAA']])).status, 401);
    assert.equal((await put(bob.account.uuid, [['group-send-token', 'AAAA']])).status, 401);
    const token = ['group-send-token', b64(groupSendToken().serialize())];
    assert.equal((await put(bob.account.uuid, [token])).status, 401);
    assert.equal((await put(bob.account.uuid, [token, ...headers])).status, 400);
    assert.equal((await alice.rest('PUT', path(bob.account.uuid), { json: json(bob), headers: [token] })).status, 400);
    await bob.flush();
    assert.deepEqual(bob.events.drain('message'), []);
    // An access key beside credentials is passed over: the message is an identified one.
    const identified = { json: json(bob, { type: 1 }), headers: [access(WRONG_KEY)] };
    const mismatch = await alice.rest('PUT', path(bob.account.uuid), identified);
    assert.deepEqual(assertJson(mismatch, 409), { missingDevices: [2], extraDevices: [] });
    assert.ok(devices.length === 2 && certificate.senderAci().isEqual(alice.account.aci));
  });

  test('an account may let everybody in', async () => {
    const { bob, tablet, send } = await strangers(carrier);
    const attributes = { ...bob.account.attributesJson(), unrestrictedUnidentifiedAccess: true };
    const set = await bob.rest('PUT', '/v1/accounts/attributes', { json: attributes });
    assert.equal(set.status, 204, set.text);
    await send('let in', { auth: 'unrestricted' });
    assert.equal((await receive(bob)).text, 'let in');
    await send('with any key', { auth: { accessKey: WRONG_KEY } });
    assert.equal((await receive(bob)).text, 'with any key');
    assert.equal((await receive(tablet)).text, 'let in');
  });

  test('devices too many, too few and stale', async () => {
    const { alice, bob, devices, certificate, anonymous } = await strangers(carrier);
    const auth = { accessKey: bob.account.accessKey };
    const sendTo = (list) =>
      failsWith('MismatchedDevices', () =>
        sendSealed(anonymous, alice.account, bob.account.aci, list, 'x', { certificate, auth }),
      );
    const missing = await sendTo(devices.slice(0, 1));
    assert.deepEqual(missing.entries[0].missingDevices, [2]);
    const [first, second] = devices;
    const stale = await sendTo([first, { ...second, registrationId: (second.registrationId % 16_383) + 1 }]);
    assert.deepEqual(stale.entries[0].staleDevices, [2]);
    assert.ok(stale.entries[0].account.isEqual(bob.account.aci));
  });

  test('a story reaches the devices that want stories, and needs no key', async () => {
    const { alice, bob, tablet, devices, certificate, anonymous } = await strangers(carrier);
    await bob.disconnect();
    const viewer = await world.connect(carrier, bob.account, { receiveStories: true });
    await viewer.events.waitFor('queueEmpty');
    const story = { certificate, auth: 'story', urgent: false };
    await sendSealed(anonymous, alice.account, bob.account.aci, devices, 'my day', story);
    const got = await receive(viewer);
    assert.equal(got.text, 'my day');
    assert.ok(got.story && got.sealed.sender.isEqual(alice.account.aci));
    assert.deepEqual(got.fields, SEALED_STORY_FIELDS);
    await tablet.flush();
    assert.deepEqual(tablet.events.drain('message'), []);
    await tablet.disconnect();
    const late = await world.connect(carrier, tablet.account, { receiveStories: true });
    await nothingDelivered(late);

    const nobody = Signal.Aci.fromUuid(crypto.randomUUID());
    const put = (target, headers = []) =>
      anonymous.rest('PUT', `/v1/messages/${target}?story=true`, { json: json(bob), headers });
    assert.deepEqual(assertJson(await put(nobody.getServiceIdString())), { needsSync: false });
    assert.equal((await put(bob.account.uuid, [['group-send-token', b64(groupSendToken().serialize())]])).status, 400);
  });

  test('an identified sender is not told to a story either', async () => {
    const { alice, bob } = await world.pair(carrier);
    await bob.disconnect();
    const viewer = await world.connect(carrier, bob.account, { receiveStories: true });
    await viewer.events.waitFor('queueEmpty');
    const sent = await alice.rest('PUT', `/v1/messages/${bob.account.uuid}?story=true`, { json: json(bob) });
    assert.deepEqual(assertJson(sent), { needsSync: false });
    const event = await viewer.events.waitFor('message');
    event.ack();
    assert.deepEqual(parseEnvelope(event.envelope).fields, SEALED_STORY_FIELDS);
  });
});
