// The committed list of what works is the truth, in both directions.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { differences, takeInventory } from '../lib/inventory/take.mjs';
import { World } from '../lib/world.mjs';

const world = await World.start();

test('every typed call of the library does what typed-calls.json says', async () => {
  const recorded = JSON.parse(fs.readFileSync(new URL('../typed-calls.json', import.meta.url), 'utf8'));
  const changed = differences(recorded, await takeInventory(world));
  assert.deepEqual(changed, [], 'if this is meant: node conformance/inventory.mjs --update');
});
