// Which typed calls of the official library work: `node inventory.mjs [--server PATH] [--update]`.
//
// Compares with typed-calls.json and exits 1 on any difference, better or worse; --update writes the file instead.

import fs from 'node:fs';
import { parseArgs } from 'node:util';
import { Server } from './lib/server.mjs';
import { World } from './lib/world.mjs';
import { differences, takeInventory } from './lib/inventory/take.mjs';

const FILE = new URL('typed-calls.json', import.meta.url);

const { values: options } = parseArgs({
  options: { server: { type: 'string' }, update: { type: 'boolean', default: false } },
});

const world = new World(await Server.start({ binary: options.server }));
let inventory;
try {
  inventory = await takeInventory(world);
} finally {
  await world.end();
}

const failures = Object.entries(inventory.calls).flatMap(([name, verdicts]) =>
  Object.entries(verdicts)
    .filter(([, verdict]) => verdict.startsWith('fails'))
    .map(([carrier, verdict]) => `${name} over ${carrier}: ${verdict}`),
);
const recorded = fs.existsSync(FILE) ? JSON.parse(fs.readFileSync(FILE, 'utf8')) : {};
const changes = differences(recorded, inventory);

for (const line of changes) console.log(line);
for (const line of failures) console.error(`neither works nor is missing: ${line}`);
if (options.update && failures.length === 0) {
  fs.writeFileSync(FILE, `${JSON.stringify(inventory, null, 2)}\n`);
  console.log(`typed-calls.json: ${changes.length} change(s) written`);
} else if (changes.length === 0 && failures.length === 0) {
  console.log('typed-calls.json is right');
}
process.exit(failures.length > 0 || (changes.length > 0 && !options.update) ? 1 : 0);
