// What somebody who takes the disk learns: nothing that names a person or a conversation.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { GRPC_CARRIER } from '../lib/client.mjs';
import { parseEnvelope } from '../lib/envelope.mjs';
import { receive, send } from '../lib/messages.mjs';
import { World } from '../lib/world.mjs';

/** Long enough to be no accident, short enough to lie within one page of the database. */
const SLICE_BYTES = 32;
/** What is meant to be readable: the development outbox, and the keys that open the rest. */
const READABLE = new Set(['outbox.jsonl', 'secrets']);

const world = await World.start();
const { server } = world;
const { alice, bob, devices } = await world.pair(GRPC_CARRIER);
await bob.disconnect();
await send(alice, bob.account.aci, devices, 'the words nobody may read');
await send(alice, bob.account.aci, devices, 'x'.repeat(20_000));
const contents = await waitingContents();

// Killed, so that the write-ahead logs are searched as well as the databases.
await server.kill();
const files = filesUnder(server.data);

test('there are two databases to search', () => {
  const names = files.map(({ name }) => name);
  assert.ok(names.includes('accounts.sqlite'), names.join());
  assert.ok(names.includes('messages.sqlite'), names.join());
});

test('no phone number is in any file', () => {
  for (const { account } of [alice, bob]) {
    const digits = account.number.slice(1);
    const number = Buffer.alloc(8);
    number.writeBigUInt64BE(BigInt(digits));
    assertNowhere(Buffer.from(digits), 'a phone number as text');
    assertNowhere(number.subarray(2), 'a phone number as an integer');
    assertNowhere(number.swap64().subarray(0, 6), 'a phone number as a little-endian integer');
  }
});

test('no envelope content is in any file', () => {
  for (const content of contents) {
    const middle = Math.floor(content.length / 2);
    assertNowhere(content.subarray(0, SLICE_BYTES), 'the start of a content');
    assertNowhere(content.subarray(middle, middle + SLICE_BYTES), 'the middle of a content');
    assertNowhere(content.subarray(-SLICE_BYTES), 'the end of a content');
  }
});

test('beside a waiting message there is nothing of its sender', () => {
  const beside = files.filter(({ name }) => name.startsWith('messages'));
  for (const form of identifierForms(alice.account)) assertNowhere(form, 'the sender', beside);
});

test('no password, access key or recovery password is in any file', () => {
  for (const { account } of [alice, bob]) {
    assertNowhere(Buffer.from(account.password), 'a device password');
    assertNowhere(Buffer.from(account.accessKey), 'an access key');
    assertNowhere(Buffer.from(account.recoveryPassword), 'a recovery password');
  }
});

test('and yet the server reads it all again', async () => {
  await server.run();
  const again = await world.connect(GRPC_CARRIER, bob.account);
  assert.equal((await receive(again)).text, 'the words nobody may read');
  assert.equal((await receive(again)).text.length, 20_000);
});

/** The content of every waiting envelope, seen by its reader without acknowledging it. */
async function waitingContents() {
  const reader = await world.connect(GRPC_CARRIER, bob.account);
  const events = [await reader.events.waitFor('message'), await reader.events.waitFor('message')];
  await reader.disconnect();
  return events.map((event) => Buffer.from(parseEnvelope(event.envelope).content));
}

function identifierForms(account) {
  return [account.aci, account.pni].flatMap((id) => [
    Buffer.from(id.getRawUuidBytes()),
    Buffer.from(id.getRawUuid()),
    Buffer.from(id.getRawUuid().replaceAll('-', '')),
  ]);
}

function assertNowhere(needle, what, among = files) {
  for (const { name, bytes } of among) assert.ok(!bytes.includes(needle), `${what} is in ${name}`);
}

function filesUnder(folder, prefix = '') {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const name = path.join(prefix, entry.name);
    const full = path.join(folder, entry.name);
    if (READABLE.has(name)) return [];
    if (entry.isDirectory()) return filesUnder(full, name);
    return entry.isFile() ? [{ name, bytes: fs.readFileSync(full) }] : [];
  });
}
