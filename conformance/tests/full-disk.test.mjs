// The disk runs full: senders are told to come back, nothing accepted is lost, and service resumes when there is room.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { CARRIERS } from '../lib/client.mjs';
import { receive, send } from '../lib/messages.mjs';
import { World } from '../lib/world.mjs';

const [CARRIER] = CARRIERS;
const LARGE = 'x'.repeat(20_000);
const ATTEMPTS_MAX = 1_000;

/** A file system of six megabytes, or null where this user may not mount one. */
function smallDisk() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'heliograph-small-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', folder], { stdio: 'ignore' });
  } catch {
    fs.rmdirSync(folder);
    return null;
  }
  return { folder, grow: () => execFileSync('mount', ['-o', 'remount,size=64m', folder]) };
}

const disk = smallDisk();

if (disk) {
  // The server makes its folder, its log included, where temporary files go.
  const temporary = process.env.TMPDIR;
  process.env.TMPDIR = disk.folder;
  const world = await World.start();
  if (temporary === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = temporary;
  after(() => {
    execFileSync('umount', ['-l', disk.folder]);
    fs.rmdirSync(disk.folder);
  });

  test('a full disk refuses, loses nothing, and lets go', async () => {
    const { alice, bob, devices } = await world.pair(CARRIER);
    await bob.disconnect();
    const accepted = [];
    let refused = 0;
    for (let number = 0; number < ATTEMPTS_MAX && refused < 10; number += 1) {
      try {
        await send(alice, bob.account.aci, devices, `${number}:${LARGE}`);
        accepted.push(String(number));
      } catch (error) {
        assert.match(error.message, /server-side error/);
        refused += 1;
      }
    }
    assert.equal(refused, 10, 'the disk never ran full');
    disk.grow();
    await send(alice, bob.account.aci, devices, 'afterwards:');
    await world.server.kill();
    await world.server.start();
    const reader = await world.connect(CARRIER, bob.account);
    const delivered = new Set();
    while (!delivered.has('afterwards')) delivered.add((await receive(reader)).text.split(':')[0]);
    assert.deepEqual(accepted.filter((number) => !delivered.has(number)), []);
  });
} else {
  test('a full disk refuses, loses nothing, and lets go', { skip: 'no file system can be mounted here' }, () => {});
}
