// The disk runs full: senders are told to come back, nothing accepted is lost, and service resumes when there is room.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { b64 } from '../lib/bytes.mjs';
import { CARRIERS } from '../lib/client.mjs';
import { receive, send, sendSealed } from '../lib/messages.mjs';
import { fetchSenderCertificate, sealForMany, shareSenderKey } from '../lib/sealed.mjs';
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

/** The ways to send to an account; each resolves with whether the server accepted, and fails if it did anything but refuse with 5xx. */
async function waysToSend(alice, recipient, devices) {
  const anonymous = await world.connectAnonymously(CARRIER);
  const certificate = await fetchSenderCertificate(alice);
  const distributionId = crypto.randomUUID();
  await shareSenderKey(alice.account, distributionId, [recipient]);
  const sealed = { certificate, auth: { accessKey: recipient.accessKey } };
  const headers = [
    ['content-type', 'application/vnd.signal-messenger.mrm'],
    ['unidentified-access-key', b64(recipient.accessKey)],
  ];
  const accepts = async (call) => {
    try {
      await call;
      return true;
    } catch (error) {
      assert.match(error.message, /server-side error/);
      return false;
    }
  };
  return [
    (text) => accepts(send(alice, recipient.aci, devices, text)),
    (text) => accepts(sendSealed(anonymous, alice.account, recipient.aci, devices, text, sealed)),
    async (text) => {
      const recipients = [{ target: recipient.aci, devices }];
      const body = await sealForMany(alice.account, recipients, text, certificate, { distributionId });
      const { status } = await anonymous.rest('PUT', `/v1/messages/multi_recipient?ts=${Date.now()}`, { body, headers });
      assert.ok(status === 200 || status === 503, `answered ${status}`);
      return status === 200;
    },
  ];
}

const disk = smallDisk();

let world;
if (disk) {
  // The server makes its folder, its log included, where temporary files go.
  const temporary = process.env.TMPDIR;
  process.env.TMPDIR = disk.folder;
  world = await World.start();
  if (temporary === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = temporary;
  after(() => {
    execFileSync('umount', ['-l', disk.folder]);
    fs.rmdirSync(disk.folder);
  });

  test('a full disk refuses, loses nothing, and lets go', async () => {
    const { alice, bob, devices } = await world.pair(CARRIER);
    await bob.disconnect();
    const ways = await waysToSend(alice, bob.account, devices);
    const accepted = [];
    const refused = new Map(ways.map((way) => [way, 0]));
    for (let number = 0; number < ATTEMPTS_MAX && Math.min(...refused.values()) < 5; number += 1) {
      const way = ways[number % ways.length];
      if (await way(`${number}:${LARGE}`)) accepted.push(String(number));
      else refused.set(way, refused.get(way) + 1);
    }
    assert.ok(Math.min(...refused.values()) >= 5, 'the disk never ran full');
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
