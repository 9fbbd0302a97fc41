// One message to many: sealed sender v2, its credentials, its answers, and its body at every device.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { before, test } from 'node:test';
import * as Signal from '@signalapp/libsignal-client';
import { b64, u8 } from '../lib/bytes.mjs';
import { EnvelopeType } from '../lib/envelope.mjs';
import { assertJson, failsWith } from '../lib/expect.mjs';
import { groupSendToken } from '../lib/inventory/credentials.mjs';
import { fetchBundles, startSessions } from '../lib/keys.mjs';
import { receive, sendToMany } from '../lib/messages.mjs';
import { fetchSenderCertificate, sealForMany, shareSenderKey } from '../lib/sealed.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const MEDIA_TYPE = ['content-type', 'application/vnd.signal-messenger.mrm'];
const SEALED_FIELDS = [1, 5, 10, 14, 20, 21, 8];
const MAX_CONTENT = 98_304;

const world = await World.start();

/** Alice and a group she writes to: Bob with two devices, and Carol. */
async function group(carrier) {
  const alice = await world.person(carrier);
  const [bob, carol] = [await world.person(carrier), await world.person(carrier)];
  const tablet = await world.link(carrier, bob);
  const members = [bob, tablet, carol];
  const distributionId = crypto.randomUUID();
  await shareSenderKey(alice.account, distributionId, members.map((member) => member.account));
  const recipients = [];
  for (const { account } of [bob, carol]) {
    const devices = await startSessions(alice.account, account.aci, await fetchBundles(alice, account.aci));
    recipients.push({ target: account.aci, devices });
  }
  const certificate = await fetchSenderCertificate(alice);
  const anonymous = await world.connectAnonymously(carrier);
  return { alice, bob, carol, members, recipients, anonymous, options: { certificate, distributionId } };
}

/** What the access keys of accounts come to. */
function combined(...accounts) {
  const sum = Buffer.alloc(16);
  for (const { accessKey } of accounts) for (let at = 0; at < 16; at++) sum[at] ^= accessKey[at];
  return ['unidentified-access-key', b64(sum)];
}

function put(connection, body, headers, query = `ts=${Date.now()}&online=false&urgent=true`) {
  return connection.rest('PUT', `/v1/messages/multi_recipient?${query}`, { body, headers: [MEDIA_TYPE, ...headers] });
}

onEveryCarrier((carrier) => {
  test('a group message by the combined access key is read at every device', async () => {
    const { alice, bob, carol, members, recipients, anonymous, options } = await group(carrier);
    const excluded = [alice.account.aci];
    const payload = await sealForMany(alice.account, recipients, 'to all', options.certificate, { ...options, excluded });
    const answer = await put(anonymous, payload, [combined(bob.account, carol.account)]);
    assert.deepEqual(assertJson(answer), { uuids404: [] });
    for (const member of members) {
      const got = await receive(member);
      assert.equal(got.text, 'to all');
      assert.equal(got.type, EnvelopeType.UnidentifiedSender);
      assert.deepEqual(got.fields, SEALED_FIELDS);
      assert.ok(got.sealed.sender.isEqual(alice.account.aci));
      assert.ok(got.urgent && !got.story);
    }
    await alice.flush();
    assert.deepEqual(alice.events.drain('message'), [], 'excluded, and told nothing');
  });

  test('a group story by the typed call, to those who want stories', async () => {
    const { alice, bob, carol, members, recipients, anonymous, options } = await group(carrier);
    await Promise.all([bob, carol].map((member) => member.disconnect()));
    const viewers = [];
    for (const { account } of [bob, carol])
      viewers.push(await world.connect(carrier, account, { receiveStories: true }));
    const story = { ...options, auth: 'story', urgent: false };
    const { unregisteredIds } = await sendToMany(anonymous, alice.account, recipients, 'our day', story);
    assert.deepEqual(unregisteredIds, []);
    for (const viewer of viewers) {
      const got = await receive(viewer);
      assert.ok(got.story);
      assert.equal(got.text, 'our day');
      assert.equal(got.urgent, false);
    }
    await members[1].flush();
    assert.deepEqual(members[1].events.drain('message'), []);
  });

  test('what waits survives a kill, one body for all', async () => {
    const { alice, bob, carol, members, recipients, anonymous, options } = await group(carrier);
    await Promise.all(members.map((member) => member.disconnect()));
    for (let number = 0; number < 5; number++) {
      const payload = await sealForMany(alice.account, recipients, `number ${number}`, options.certificate, options);
      const answer = await put(anonymous, payload, [combined(bob.account, carol.account)]);
      assert.deepEqual(assertJson(answer), { uuids404: [] });
    }
    await world.server.kill();
    await world.server.run();
    for (const { account } of members) {
      const again = await world.connect(carrier, account);
      for (let number = 0; number < 5; number++) assert.equal((await receive(again)).text, `number ${number}`);
      await again.events.waitFor('queueEmpty');
    }
  });

  test('a group send token is refused while there are no groups', async () => {
    const { alice, members, recipients, anonymous, options } = await group(carrier);
    const auth = groupSendToken();
    await failsWith('RequestUnauthorized', () => sendToMany(anonymous, alice.account, recipients, 'x', { ...options, auth }));
    await members[0].flush();
    assert.deepEqual(members[0].events.drain('message'), []);
  });

  test('the typed call is told who has other devices', async () => {
    const { alice, bob, recipients, anonymous, options } = await group(carrier);
    await world.link(carrier, bob);
    const error = await failsWith('MismatchedDevices', () =>
      sendToMany(anonymous, alice.account, recipients, 'x', { ...options, auth: 'story' }),
    );
    assert.equal(error.entries.length, 1);
    assert.ok(error.entries[0].account.isEqual(bob.account.aci));
    assert.deepEqual(error.entries[0].missingDevices, [3]);
  });
});

/** A message in the sent form, made by hand: `entries` of `{ kind, uuid, devices: [[id, registrationId]] }`. */
function sent(entries, { version = 0x23, sharedLength = 64 } = {}) {
  const parts = [Buffer.from([version, entries.length])];
  for (const { kind = 0, uuid, devices } of entries) {
    if (version === 0x23) parts.push(Buffer.from([kind]));
    parts.push(Buffer.from(uuid.replaceAll('-', ''), 'hex'));
    devices.forEach(([id, registrationId], index) => {
      const more = index < devices.length - 1 ? 0x8000 : 0;
      parts.push(Buffer.from([id, (registrationId | more) >> 8, registrationId & 0xff]));
    });
    parts.push(devices.length === 0 ? Buffer.from([0]) : crypto.randomBytes(48));
  }
  return u8(Buffer.concat([...parts, crypto.randomBytes(sharedLength)]));
}

onEveryCarrier((carrier) => {
  let bob;
  let carol;
  let anonymous;
  let ofBob;
  let ofCarol;
  let key;
  before(async () => {
    [bob, carol] = [await world.person(carrier), await world.person(carrier)];
    anonymous = await world.connectAnonymously(carrier);
    const entry = ({ account }) => ({ uuid: account.uuid, devices: [[1, account.aciStore.registrationId]] });
    [ofBob, ofCarol] = [entry(bob), entry(carol)];
    key = combined(bob.account, carol.account);
  });
  const nobody = () => ({ uuid: crypto.randomUUID(), devices: [[1, 1]] });

  test('both versions are delivered in the received form', async () => {
    for (const version of [0x22, 0x23]) {
      assert.deepEqual(assertJson(await put(anonymous, sent([ofBob, ofCarol], { version }), [key])), { uuids404: [] });
      for (const member of [bob, carol]) {
        const event = await member.events.waitFor('message');
        event.ack();
        assert.ok(Buffer.from(event.envelope).includes(Buffer.from([0x22])), 'its first byte');
      }
    }
  });

  test('credentials that do not fit', async () => {
    const body = sent([ofBob, ofCarol]);
    const token = ['group-send-token', b64(groupSendToken().serialize())];
    assert.equal((await put(anonymous, body, [])).status, 401);
    assert.equal((await put(anonymous, body, [combined(bob.account)])).status, 401);
    assert.equal((await put(anonymous, body, [token])).status, 401);
    assert.equal((await put(anonymous, body, [key, token])).status, 400);
    assert.equal((await put(anonymous, body, [token], 'ts=1&story=true')).status, 400);
    const byPni = { kind: 1, uuid: bob.account.pni.getRawUuid(), devices: [[1, bob.account.pniStore.registrationId]] };
    assert.equal((await put(anonymous, sent([byPni]), [combined(bob.account)])).status, 401);
  });

  test('recipients who do not exist', async () => {
    assert.equal((await put(anonymous, sent([ofBob, ofCarol, nobody()]), [key])).status, 404);
    const story = await put(anonymous, sent([nobody()]), [], 'ts=1&story=true');
    assert.deepEqual(assertJson(story), { uuids404: [] });
  });

  test('devices that do not fit: missing and extra before stale', async () => {
    const [[, registrationId]] = ofBob.devices;
    const extra = { ...ofBob, devices: [...ofBob.devices, [9, 1]] };
    const stale = { ...ofCarol, devices: [[1, (ofCarol.devices[0][1] % 16_383) + 1]] };
    assert.deepEqual(assertJson(await put(anonymous, sent([extra, stale]), [key]), 409), [
      { uuid: bob.account.uuid, devices: { missingDevices: [], extraDevices: [9] } },
    ]);
    assert.deepEqual(assertJson(await put(anonymous, sent([ofBob, stale]), [key]), 410), [
      { uuid: carol.account.uuid, devices: { staleDevices: [1] } },
    ]);
    assert.ok(registrationId > 0);
  });

  test('bodies that make no sense', async () => {
    const twice = { ...ofBob, devices: [ofBob.devices[0], ofBob.devices[0]] };
    const excluded = { ...ofBob, devices: [] };
    for (const body of [
      u8(Buffer.from('no message')),
      u8(Buffer.alloc(0)),
      sent([]),
      sent([excluded]),
      sent([twice]),
      sent([ofBob, excluded]),
      sent([ofBob], { sharedLength: 31 }),
      sent([{ ...ofBob, kind: 2 }]),
    ]) {
      assert.equal((await put(anonymous, body, [combined(bob.account)])).status, 400, Buffer.from(body).toString('hex'));
    }
    const good = sent([ofBob, ofCarol]);
    assert.equal((await put(anonymous, good, [key], 'ts=8640000000000001')).status, 400);
    assert.equal((await put(anonymous, good, [key], 'ts=soon')).status, 400);
    const other = { body: good, headers: [['content-type', 'application/octet-stream'], key] };
    assert.equal((await anonymous.rest('PUT', '/v1/messages/multi_recipient?ts=1', other)).status, 415);
    const sharedLength = MAX_CONTENT - 49 + 1;
    assert.equal((await put(anonymous, sent([ofBob, ofCarol], { sharedLength }), [key])).status, 413);
  });

  test('nothing of all this was delivered, and the largest that may be is', async () => {
    for (const member of [bob, carol]) {
      await member.flush();
      assert.deepEqual(member.events.drain('message'), []);
    }
    const body = sent([ofBob, ofCarol], { sharedLength: MAX_CONTENT - 49 });
    assert.deepEqual(assertJson(await put(anonymous, body, [key])), { uuids404: [] });
    for (const member of [bob, carol]) {
      const event = await member.events.waitFor('message');
      event.ack();
      assert.ok(event.envelope.length > MAX_CONTENT);
    }
  });
});
