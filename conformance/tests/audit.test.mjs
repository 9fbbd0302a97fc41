// The audit log: what is written of what clients and the operator do, and what of it shows when somebody changes it.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import * as Signal from '@signalapp/libsignal-client';
import { CAPTCHA, register } from '../lib/account.mjs';
import { auditRecords, recorded as recordedBy } from '../lib/audit.mjs';
import { GRPC_CARRIER } from '../lib/client.mjs';
import { request } from '../lib/https.mjs';
import { uploadKeys } from '../lib/keys.mjs';
import { NativeClient } from '../lib/native.mjs';
import { keyJson } from '../lib/store.mjs';
import { World } from '../lib/world.mjs';

const CARRIER = GRPC_CARRIER;

const world = await World.start();
const { server } = world;

const exported = (...filters) => auditRecords(server, ...filters);
const recorded = (fits) => recordedBy(server, fits);

test('a registration, a sign-in, a wrong password and a deletion are recorded, and the number is not', async () => {
  const account = await world.account(CARRIER);
  const device = `device:${account.uuid}.1`;
  const [registration] = await recorded((record) => record.action === 'register' && record.by === device);
  assert.equal(registration.outcome, 'success');
  assert.equal(registration.detail, 'session');
  assert.equal(registration.network, '127.0.0.0/24');
  const [verified] = await recorded((record) => record.action === 'verify' && record.by === registration.on);
  assert.equal(verified.outcome, 'success');
  await recorded((record) => record.action === 'send_code' && record.by === registration.on);

  const password = account.password;
  account.password = 'wrong';
  for (let tries = 0; tries < 5; tries++) {
    assert.equal((await request(server, { path: '/v1/accounts/whoami', account })).status, 401);
  }
  const refused = await recorded((record) => record.action === 'sign_in' && record.outcome === 'refused' && record.by === device);
  assert.equal(refused.length, 1, 'the others are counted');
  account.password = password;
  assert.equal((await request(server, { method: 'DELETE', path: '/v1/accounts/me', account })).status, 204);
  await recorded((record) => record.action === 'delete_account' && record.by === device);

  const text = JSON.stringify(await exported());
  assert.ok(!text.includes(account.number) && !text.includes(account.number.slice(1)));
  assert.ok(!text.includes(account.password));
});

test('a native device that is linked is recorded, with the session that let it in, and so are wrong codes', async () => {
  const phone = await NativeClient.register(server, 'somebody-with-a-tablet', 'a sentence is fine');
  const [offered, linked] = ['offer_link_code', 'link_device'];
  const body = { code: 'A'.repeat(43), device_identifier: 'x' };
  await assert.rejects(phone.call('POST', '/link', { body, anonymous: true }));
  await phone.link();
  const [asked] = await recorded((record) => record.action === offered && record.by === `device:${phone.userId}.1`);
  assert.equal(asked.outcome, 'success');
  const [made] = await recorded((record) => record.action === linked && record.by === `device:${phone.userId}.2`);
  assert.deepEqual([made.outcome, made.detail], ['success', 'native_api']);
  assert.notEqual(made.on, asked.on, 'a session of its own');
  await recorded((record) => record.action === linked && record.outcome === 'refused' && record.by === 'stranger');
});

test('a wrong code is recorded', async () => {
  const number = world.newNumber();
  const session = await world.net(CARRIER).createRegistrationSession({ e164: number });
  await session.submitCaptcha(CAPTCHA);
  await session.requestVerification({ transport: 'sms', client: 'ios', languages: [] });
  const { code } = await server.outbox.next(number);
  await session.verifySession(code.replace(/\d$/, (digit) => String((Number(digit) + 1) % 10)));
  await recorded((record) => record.action === 'verify' && record.outcome === 'refused' && record.detail === 'wrong_code');
});

test('registering anew is recorded as that', async () => {
  const account = await world.account(CARRIER);
  const anew = account.reinstalled();
  await register(world.net(CARRIER), anew, server.outbox);
  const device = `device:${account.uuid}.1`;
  await recorded((record) => record.action === 'reregister' && record.by === device);
});

test('keys that start many sessions are recorded when they are replaced, one-time keys are not', async () => {
  const person = await world.person(CARRIER);
  const { account } = person;
  const by = `device:${account.uuid}.1`;
  await uploadKeys(person, { count: 3 });
  await person.rest('PUT', '/v2/keys?identity=aci', { json: { signedPreKey: keyJson(account.aciStore.newSignedPreKey()) } });
  await recorded((record) => record.action === 'change_keys' && record.by === by && record.detail === 'signed_pre_key');
  const lastResort = account.aciStore.newKyberPreKey({ lastResort: true });
  const preKey = { keyId: lastResort.id(), publicKey: lastResort.publicKey(), signature: lastResort.signature() };
  await person.chat.setLastResortKemPreKey({ identity: Signal.ServiceIdKind.Aci, preKey });
  await recorded((record) => record.action === 'change_keys' && record.by === by && record.detail === 'last_resort_pre_key');
  const records = (await exported()).filter((record) => record.action === 'change_keys' && record.by === by);
  assert.equal(records.reduce((sum, { count = 1 }) => sum + count, 0), 2);
  await person.disconnect();
});

test('an identity key published by the native API is recorded before it is answered for', async () => {
  const client = await NativeClient.register(server, 'audited', 'a sentence is fine');
  await client.publishIdentity();
  const changes = (await exported()).filter((record) => record.action === 'change_keys' && record.by === `device:${client.userId}.1`);
  assert.deepEqual(changes.map(({ detail, outcome }) => [detail, outcome]), [['identity_key', 'success']]);
});

test('what a command changes is recorded, and the chain of both processes is one', async () => {
  await server.command('keys', 'rotate', 'sender-certificate');
  const [rotation] = await recorded((record) => record.action === 'rotate_key');
  assert.match(rotation.by, /^operator:\d+$/);
  assert.equal(rotation.detail, 'sender_certificate');
  const records = await exported();
  assert.deepEqual(records.map((record) => record.seq), records.map((_, index) => index + 1));
  assert.match(await server.command('audit', 'verify'), /^the audit log is whole: \d+ records/);
});

test('export takes a range of time', async () => {
  const all = await exported();
  const middle = all[Math.floor(all.length / 2)];
  assert.ok((await exported('--since', String(middle.time))).every((record) => record.time >= middle.time));
  assert.ok((await exported('--until', String(middle.time))).every((record) => record.time < middle.time));
  assert.deepEqual(await exported('--until', '2020-01-01'), []);
  assert.deepEqual(await exported('--since', '2020-01-01T00:00:00Z'), await exported());
});

test('only the owner reads it', () => {
  for (const name of ['audit.sqlite', 'audit-checkpoint.json']) {
    assert.equal(fs.statSync(path.join(server.data, name)).mode & 0o077, 0, name);
  }
});

test('a stop writes what was counted, and an end that is cut off shows', async () => {
  const file = path.join(server.data, 'audit.sqlite');
  await server.stop();
  const counted = await exported();
  assert.ok(counted.some((record) => record.action === 'sign_in' && record.outcome === 'refused' && record.count >= 4));
  const head = (await server.command('audit', 'head')).trim();
  assert.match(await server.command('audit', 'verify', '--head', head), /is whole/);
  const earlier = fs.readFileSync(file);

  await server.run();
  await world.account(CARRIER);
  await server.stop();
  assert.match(await server.command('audit', 'verify', '--head', head), /is whole/);
  const later = fs.readFileSync(file);
  fs.writeFileSync(file, earlier);
  await assert.rejects(server.command('audit', 'verify'), /its end is gone/);
  fs.writeFileSync(file, later);
  await assert.rejects(server.command('audit', 'verify', '--head', `3:${'0'.repeat(64)}`), /another log, or it was written anew/);
  await server.run();
});
