// What waits for who is away, and how it is handed over: in order, at least once, not after it was acknowledged.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nothingDelivered } from '../lib/expect.mjs';
import { parseEnvelope } from '../lib/envelope.mjs';
import { receive, send } from '../lib/messages.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const BACKLOG = 300;

const world = await World.start();

/** Someone who was written to while away: the sender, the account, and the texts in order. */
async function awayWith(carrier, count) {
  const { alice, bob, devices } = await world.pair(carrier);
  await bob.disconnect();
  const texts = Array.from({ length: count }, (_, index) => `message ${index}`);
  for (const text of texts) await send(alice, bob.account.aci, devices, text);
  return { alice, account: bob.account, devices, texts };
}

/** Takes that many message events without acknowledging any. */
async function takeEvents(connection, count) {
  const events = [];
  while (events.length < count) events.push(await connection.events.waitFor('message'));
  return events;
}

const guidOf = (event) => parseEnvelope(event.envelope).guid;

onEveryCarrier((carrier) => {
  test('three messages wait and come in order, then the queue is empty', async () => {
    const { account, texts } = await awayWith(carrier, 3);
    const bob = await world.connect(carrier, account);
    for (const text of texts) assert.equal((await receive(bob)).text, text);
    await nothingDelivered(bob);
  });

  test('what was not acknowledged comes again, the same, until it is', async () => {
    const { account, texts } = await awayWith(carrier, 2);
    const first = await world.connect(carrier, account);
    const seen = (await takeEvents(first, 2)).map(guidOf);
    await first.disconnect();
    const second = await world.connect(carrier, account);
    assert.deepEqual((await takeEvents(second, 2)).map(guidOf), seen);
    await second.disconnect();
    const third = await world.connect(carrier, account);
    for (const [index, guid] of seen.entries()) {
      const got = await receive(third);
      assert.equal(got.guid, guid);
      assert.equal(got.text, texts[index]);
    }
    await third.events.waitFor('queueEmpty');
    await third.disconnect();
    await nothingDelivered(await world.connect(carrier, account));
  });

  test('acknowledgements count in any order, each for its own message', async () => {
    const { account } = await awayWith(carrier, 6);
    const first = await world.connect(carrier, account);
    const events = await takeEvents(first, 6);
    for (const index of [4, 0, 3]) events[index].ack();
    await first.flush();
    await first.disconnect();
    const second = await world.connect(carrier, account);
    const again = (await takeEvents(second, 3)).map(guidOf);
    assert.deepEqual(
      again,
      [1, 2, 5].map((index) => guidOf(events[index])),
    );
  });

  test('a refusal by the app keeps the message', async () => {
    const { account, texts } = await awayWith(carrier, 1);
    const first = await world.connect(carrier, account);
    (await first.events.waitFor('message')).ack(500);
    await first.flush();
    await first.disconnect();
    const second = await world.connect(carrier, account);
    assert.equal((await receive(second)).text, texts[0]);
  });

  test('what was delivered while connected but not acknowledged waits too', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    await send(alice, bob.account.aci, devices, 'seen, not acknowledged');
    const seen = guidOf(await bob.events.waitFor('message'));
    const displacing = await world.connect(carrier, bob.account);
    const got = await receive(displacing);
    assert.equal(got.guid, seen);
    assert.equal(got.text, 'seen, not acknowledged');
  });

  test('what arrives while the backlog is read comes after it', async () => {
    const { alice, account, devices, texts } = await awayWith(carrier, 20);
    const bob = await world.connect(carrier, account);
    assert.equal((await receive(bob)).text, texts[0]);
    await send(alice, account.aci, devices, 'live');
    for (const text of [...texts.slice(1), 'live']) assert.equal((await receive(bob)).text, text);
    await bob.events.waitFor('queueEmpty');
  });

  test('a long backlog comes whole and in order before the queue is said to be empty', async () => {
    const { account, texts } = await awayWith(carrier, BACKLOG);
    const bob = await world.connect(carrier, account);
    let received = 0;
    const emptyAfter = bob.events.waitFor('queueEmpty', { timeoutMs: 60_000 }).then(() => received);
    for (const text of texts) {
      const event = await bob.events.waitFor('message');
      received += 1;
      event.ack();
      assert.ok(parseEnvelope(event.envelope).content.length > 0, text);
    }
    assert.equal(await emptyAfter, BACKLOG);
    await bob.disconnect();
    await nothingDelivered(await world.connect(carrier, account));
  });

  test('a reader who acknowledges nothing does not make the server forget or repeat', async () => {
    const { account } = await awayWith(carrier, 40);
    const first = await world.connect(carrier, account);
    const seen = (await takeEvents(first, 40)).map(guidOf);
    assert.equal(new Set(seen).size, 40);
    await first.flush();
    assert.deepEqual(first.events.drain('message'), []);
    await first.disconnect();
    const second = await world.connect(carrier, account);
    assert.deepEqual((await takeEvents(second, 40)).map(guidOf), seen);
  });
});
