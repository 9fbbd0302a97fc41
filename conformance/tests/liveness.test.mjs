// The library gives up on a connection from which it heard nothing for 45 seconds; it asks with a ping after 31.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sleep } from '../lib/bytes.mjs';
import { CARRIERS } from '../lib/client.mjs';
import { World } from '../lib/world.mjs';

const IDLE_MS = 50_000;

const world = await World.start();

test('idle connections stay up on every carrier', async () => {
  const connections = [];
  for (const carrier of CARRIERS) {
    connections.push(await world.person(carrier), await world.connectAnonymously(carrier));
  }
  await sleep(IDLE_MS);
  for (const connection of connections) {
    assert.deepEqual(connection.events.drain('interrupted'), []);
    assert.equal((await connection.rest('GET', '/v1/keepalive')).status, 200);
  }
});
