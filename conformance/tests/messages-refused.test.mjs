// Sends the server must not accept, and how it says so.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { before, test } from 'node:test';
import * as Signal from '@signalapp/libsignal-client';
import { b64 } from '../lib/bytes.mjs';
import { parseEnvelope } from '../lib/envelope.mjs';
import { assertJson, failsWith, nothingDelivered } from '../lib/expect.mjs';
import { encryptFor, receive, send } from '../lib/messages.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const MAX_CONTENT = 98_304;
const MAX_TIMESTAMP = 8_640_000_000_000_000;

const world = await World.start();

onEveryCarrier((carrier) => {
  let alice;
  let bob;
  let devices;
  before(async () => {
    ({ alice, bob, devices } = await world.pair(carrier));
  });

  /** A message of the JSON API with some fields changed, for someone's only device. */
  function json(changes = {}, message = {}) {
    const one = {
      type: 1,
      destinationDeviceId: 1,
      destinationRegistrationId: bob.account.aciStore.registrationId,
      content: b64(crypto.randomBytes(64)),
    };
    return { messages: [{ ...one, ...message }], online: false, urgent: true, timestamp: Date.now(), ...changes };
  }

  const put = (target, body, connection = alice) => connection.rest('PUT', `/v1/messages/${target}`, { json: body });

  test('an account that does not exist', async () => {
    const contents = await encryptFor(alice.account, bob.account.aci, devices, 'x');
    const nobody = { timestamp: Date.now(), contents, onlineOnly: false, urgent: true };
    for (const destination of [Signal.Aci.fromUuid(crypto.randomUUID()), Signal.Pni.fromUuid(crypto.randomUUID())]) {
      await failsWith('ServiceIdNotFound', () => alice.chat.sendMessage({ ...nobody, destination }));
    }
    assert.equal((await put('nobody', json())).status, 404);
  });

  test('a device too many, and a stale one', async () => {
    const [one] = await encryptFor(alice.account, bob.account.aci, devices, 'x');
    const sendTo = (contents) =>
      failsWith('MismatchedDevices', () =>
        alice.chat.sendMessage({
          destination: bob.account.aci,
          timestamp: Date.now(),
          contents,
          onlineOnly: false,
          urgent: true,
        }),
      );
    const extra = await sendTo([one, { ...one, deviceId: 9 }]);
    assert.deepEqual(extra.entries[0].extraDevices, [9]);
    assert.deepEqual(extra.entries[0].missingDevices, []);
    assert.ok(extra.entries[0].account.isEqual(bob.account.aci));
    const wrong = await sendTo([{ ...one, deviceId: 2 }]);
    assert.deepEqual(wrong.entries[0].missingDevices, [1]);
    assert.deepEqual(wrong.entries[0].extraDevices, [2]);
    const stale = await sendTo([{ ...one, registrationId: (one.registrationId % 16_383) + 1 }]);
    assert.deepEqual(stale.entries[0].staleDevices, [1]);
  });

  test('the bodies of the two refusals', async () => {
    const extra = await put(bob.account.uuid, json({}, { destinationDeviceId: 3 }));
    assert.deepEqual(assertJson(extra, 409), { missingDevices: [1], extraDevices: [3] });
    const { messages } = json();
    const both = json({
      messages: [
        { ...messages[0], destinationRegistrationId: 0 },
        { ...messages[0], destinationDeviceId: 3 },
      ],
    });
    assert.deepEqual(assertJson(await put(bob.account.uuid, both), 410), { staleDevices: [1] });
    const toPni = await put(bob.account.pni.getServiceIdString(), json());
    assert.deepEqual(assertJson(toPni, 410), { staleDevices: [1] });
  });

  test('to oneself: only other devices, of which there are none', async () => {
    const [one] = await encryptFor(alice.account, bob.account.aci, devices, 'x');
    const error = await failsWith('MismatchedDevices', () =>
      alice.chat.sendSyncMessage({ timestamp: Date.now(), contents: [one], urgent: true }),
    );
    assert.deepEqual(error.entries[0].extraDevices, [1]);
    const sync = await put(alice.account.uuid, json());
    assert.deepEqual(assertJson(sync, 409), { missingDevices: [], extraDevices: [1] });
    assert.equal((await put(alice.account.pni.getServiceIdString(), json())).status, 403);
  });

  test('a message above the limit', async () => {
    const contents = await encryptFor(alice.account, bob.account.aci, devices, 'x'.repeat(MAX_CONTENT));
    const destination = bob.account.aci;
    await failsWith('IoError', () =>
      alice.chat.sendMessage({ destination, timestamp: Date.now(), contents, onlineOnly: false, urgent: true }),
    );
    const over = json({}, { content: b64(crypto.randomBytes(MAX_CONTENT + 1)) });
    assert.equal((await put(bob.account.uuid, over)).status, 413);
  });

  test('bodies that make no sense', async () => {
    const [one] = json().messages;
    const cases = [
      [{ messages: [] }, {}, [422]],
      [{ messages: undefined }, {}, [422]],
      [{ messages: [null] }, {}, [422]],
      [{ messages: [one, one] }, {}, [422]],
      [{ timestamp: -1 }, {}, [422]],
      [{ timestamp: MAX_TIMESTAMP + 1 }, {}, [422]],
      [{}, { type: 5 }, [422]],
      [{}, { type: 2 }, [422]],
      [{}, { type: 99 }, [422]],
      [{}, { content: '' }, [422]],
      [{}, { content: undefined }, [422]],
      [{}, { content: 'not base64!' }, [400, 422]],
      [{}, { destinationDeviceId: 300 }, [400, 422]],
    ];
    for (const [changes, message, statuses] of cases) {
      const response = await put(bob.account.uuid, json(changes, message));
      const what = JSON.stringify([changes, message]);
      assert.ok(statuses.includes(response.status), `${response.status} for ${what}`);
    }
  });

  test('a sender who shows nothing', async () => {
    const anonymous = await world.connectAnonymously(carrier);
    assert.equal((await put(bob.account.uuid, json(), anonymous)).status, 401);
    assert.equal((await put(crypto.randomUUID(), json(), anonymous)).status, 401);
  });

  test('nothing of all this was delivered, and a good message still is', async () => {
    await bob.disconnect();
    bob = await world.connect(carrier, bob.account);
    await nothingDelivered(bob);
    await send(alice, bob.account.aci, devices, 'after all');
    assert.equal((await receive(bob)).text, 'after all');
  });

  test('what the JSON form leaves open', async () => {
    const body = json({ urgent: null, timestamp: 0, destination: 'ignored', relay: 'ignored' });
    delete body.online;
    assert.deepEqual(assertJson(await put(bob.account.uuid, body)), { needsSync: false });
    const event = await bob.events.waitFor('message');
    event.ack();
    const envelope = parseEnvelope(event.envelope);
    assert.equal(envelope.urgent, true);
    assert.ok(Math.abs(envelope.clientTimestamp - Date.now()) < 60_000);
  });
});
