// Sending, and what arrives.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EnvelopeType } from '../lib/envelope.mjs';
import { fetchBundles, startSessions } from '../lib/keys.mjs';
import { encryptFor, receive, send } from '../lib/messages.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const MAX_CONTENT = 98_304;
/** Envelope fields of an identified message: type, client time, source device, content, server time, urgent, report token, source, destination, guid. */
const IDENTIFIED_FIELDS = [1, 5, 7, 8, 10, 14, 17, 19, 20, 21];
const RECEIPT_FIELDS = IDENTIFIED_FIELDS.filter((field) => field !== 8 && field !== 17);

const world = await World.start();

onEveryCarrier((carrier) => {
  test('a message arrives as it was sent, with everything the protocol says of it', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    const sentAt = await send(alice, bob.account.aci, devices, 'hello');
    const got = await receive(bob);
    assert.equal(got.text, 'hello');
    assert.equal(got.type, EnvelopeType.PreKey);
    assert.deepEqual(got.fields, IDENTIFIED_FIELDS);
    assert.ok(got.source.isEqual(alice.account.aci));
    assert.ok(got.destination.isEqual(bob.account.aci));
    assert.equal(got.sourceDevice, 1);
    assert.equal(got.clientTimestamp, sentAt);
    assert.ok(Math.abs(got.serverTimestamp - Date.now()) < 60_000);
    assert.ok(got.deliveredAt >= got.serverTimestamp);
    assert.ok(got.urgent && got.urgentIsExplicit);
    assert.match(got.guid, /^[0-9a-f-]{36}$/);
  });

  test('a conversation goes both ways', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    for (let turn = 0; turn < 10; turn++) {
      await send(alice, bob.account.aci, devices, `question ${turn}`);
      assert.equal((await receive(bob)).text, `question ${turn}`);
      await send(bob, alice.account.aci, [alice.account.device], `answer ${turn}`);
      const answer = await receive(alice);
      assert.equal(answer.text, `answer ${turn}`);
      assert.equal(answer.type, EnvelopeType.DoubleRatchet);
    }
  });

  test('messages arrive in the order they were accepted', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    const texts = Array.from({ length: 50 }, (_, index) => `message ${index}`);
    const guids = new Set();
    for (const text of texts) await send(alice, bob.account.aci, devices, text);
    for (const text of texts) {
      const got = await receive(bob);
      assert.equal(got.text, text);
      guids.add(got.guid);
    }
    assert.equal(guids.size, texts.length);
  });

  test('the sender is told when the message has been fetched', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    const sentAt = await send(alice, bob.account.aci, devices, 'hello');
    await receive(bob);
    const receipt = await receive(alice, { receipts: true });
    assert.equal(receipt.type, EnvelopeType.ServerDeliveryReceipt);
    assert.deepEqual(receipt.fields, RECEIPT_FIELDS);
    assert.ok(receipt.source.isEqual(bob.account.aci));
    assert.ok(receipt.destination.isEqual(alice.account.aci));
    assert.equal(receipt.sourceDevice, 1);
    assert.equal(receipt.clientTimestamp, sentAt);
    assert.equal(receipt.urgent, false);
  });

  test('a receipt waits for its reader as a message does', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    const sentAt = await send(alice, bob.account.aci, devices, 'hello');
    await alice.disconnect();
    await receive(bob);
    await bob.flush();
    const again = await world.connect(carrier, alice.account);
    assert.equal((await receive(again, { receipts: true })).clientTimestamp, sentAt);
  });

  test('a message that is not urgent says so', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    await send(alice, bob.account.aci, devices, 'no hurry', { urgent: false });
    const got = await receive(bob);
    assert.equal(got.urgent, false);
    assert.deepEqual(got.fields, IDENTIFIED_FIELDS);
  });

  test('an online-only message reaches who is there, and nobody else', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    await send(alice, bob.account.aci, devices, 'typing', { onlineOnly: true, urgent: false });
    const got = await receive(bob);
    assert.equal(got.text, 'typing');
    assert.equal(got.ephemeral, false);
    await bob.disconnect();
    await send(alice, bob.account.aci, devices, 'still typing', { onlineOnly: true, urgent: false });
    await send(alice, bob.account.aci, devices, 'written');
    const again = await world.connect(carrier, bob.account);
    assert.equal((await receive(again)).text, 'written');
    await again.events.waitFor('queueEmpty');
  });

  test('a message to a PNI arrives addressed to it', async () => {
    const [alice, bob] = [await world.person(carrier), await world.person(carrier)];
    const { pni } = bob.account;
    const devices = await startSessions(alice.account, pni, await fetchBundles(alice, pni));
    assert.deepEqual(devices, [bob.account.pniDevice]);
    await send(alice, pni, devices, 'to your number');
    const got = await receive(bob);
    assert.equal(got.text, 'to your number');
    assert.ok(got.destination.isEqual(pni));
    const receipt = await receive(alice, { receipts: true });
    assert.ok(receipt.source.isEqual(pni));
  });

  test('a message close to the limit arrives whole', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    await send(alice, bob.account.aci, devices, 'first');
    await receive(bob);
    await send(bob, alice.account.aci, [alice.account.device], 'established');
    await receive(alice);
    const text = 'x'.repeat(97_000);
    const contents = await encryptFor(alice.account, bob.account.aci, devices, text);
    const size = contents[0].contents.serialize().length;
    assert.ok(size > 97_000 && size <= MAX_CONTENT, `made a content of ${size} bytes`);
    await alice.chat.sendMessage({
      destination: bob.account.aci,
      timestamp: Date.now(),
      contents,
      onlineOnly: false,
      urgent: true,
    });
    assert.equal((await receive(bob)).text, text);
  });

  test('many people write to one at once, and every message arrives', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    const other = await world.person(carrier);
    const otherDevices = await startSessions(
      other.account,
      bob.account.aci,
      await fetchBundles(other, bob.account.aci),
    );
    const writers = [
      [alice, devices],
      [other, otherDevices],
    ];
    const sent = new Set();
    await Promise.all(
      writers.map(async ([writer, to], number) => {
        for (let index = 0; index < 20; index++) {
          const text = `${number}: ${index}`;
          await send(writer, bob.account.aci, to, text);
          sent.add(text);
        }
      }),
    );
    for (let count = 0; count < 40; count++) assert.ok(sent.delete((await receive(bob)).text));
    assert.equal(sent.size, 0);
  });
});
