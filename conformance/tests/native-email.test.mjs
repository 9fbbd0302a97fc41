// E-mail addresses and forgotten passwords, as an app and a browser without scripts use them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { auditRecords, isOf, recorded } from '../lib/audit.mjs';
import { request } from '../lib/https.mjs';
import { NativeClient, Problem } from '../lib/native.mjs';
import { World } from '../lib/world.mjs';

const PASSWORD = 'a sentence is fine';
const NEXT = 'another one is too';

const world = await World.start();
const { server } = world;
const { outbox } = server;
const refusedWith = (code) => (error) => error instanceof Problem && error.code === code;

/** The code in the mail to that address after the first `already`. */
async function codeTo(address, already = 0) {
  const { text } = await outbox.nextMail(address, already);
  return /^ {4}((?:[0-9a-z]{4}-){6}[0-9a-z]{4})$/m.exec(text)[1];
}

/** A native account with a confirmed address. */
async function withAddress(username) {
  const client = await NativeClient.register(server, username, PASSWORD);
  const email = `${username}@example.org`;
  await client.call('PUT', '/email', { body: { email, password: PASSWORD } });
  await client.call('POST', '/email/confirm', { body: { code: await codeTo(email) } });
  return { client, email };
}

const ask = (body) => request(server, { method: 'POST', path: '/password/reset', json: body });

test('an app sets an address, and resets a forgotten password by it', async () => {
  const { client, email } = await withAddress('ada');
  assert.deepEqual(await client.call('GET', '/email'), { email, pending: null });
  assert.equal((await ask({ username: 'ada' })).status, 202);
  const token = await codeTo(email, 1);
  const body = { token, new_password: NEXT };
  await client.call('POST', '/password/reset/confirm', { body, anonymous: true });
  await assert.rejects(client.call('GET', '/email'), refusedWith('unauthorized'));
  await assert.rejects(
    client.call('POST', '/password/reset/confirm', { body, anonymous: true }),
    refusedWith('mail_code_refused'),
  );
  await assert.rejects(client.login('ada', PASSWORD), refusedWith('login_failed'));
  await client.login('ada', NEXT);
  assert.match((await outbox.nextMail(email, 2)).subject, /was reset/);
});

test('whoever asks is answered alike, whether or not there is such an account', async () => {
  const { email } = await withAddress('grace');
  const answers = [];
  for (const body of [{ username: 'grace' }, { username: 'nobody' }, { email }, { email: 'nobody@example.org' }]) {
    const { status, text, headers } = await ask(body);
    answers.push({ status, text, names: Object.keys(headers).sort() });
  }
  for (const answer of answers) assert.deepEqual(answer, answers[0]);
  assert.equal(answers[0].status, 202);
});

test('the form of the page resets a password without a script', async () => {
  const { client, email } = await withAddress('joan');
  await ask({ email });
  const code = await codeTo(email, 1);
  const page = await request(server, { path: '/password/reset' });
  assert.match(page.headers['content-security-policy'], /^default-src 'none'/);
  assert.equal(page.headers['referrer-policy'], 'no-referrer');
  const [, action] = /<form method="post" action="([^"]+)">/.exec(page.text);
  const names = [...page.text.matchAll(/<input name="([^"]+)"/g)].map(([, name]) => name);
  assert.deepEqual(names, ['code', 'password', 'again']);
  const submit = (again) =>
    request(server, {
      method: 'POST',
      path: action,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ code, password: NEXT, again }).toString(),
    });
  assert.equal((await submit('something else')).status, 422);
  assert.equal((await submit(NEXT)).status, 200);
  assert.equal((await submit(NEXT)).status, 403);
  await client.login('joan', NEXT);
});

test('what happens to addresses and passwords is in the audit log, and no address is', async () => {
  const { client, email } = await withAddress('mary');
  await assert.rejects(
    client.call('DELETE', '/email', { body: { password: 'not the present one' } }),
    refusedWith('wrong_password'),
  );
  await ask({ username: 'mary' });
  const body = { token: await codeTo(email, 1), new_password: NEXT };
  await client.call('POST', '/password/reset/confirm', { body, anonymous: true });
  await assert.rejects(
    client.call('POST', '/password/reset/confirm', { body, anonymous: true }),
    refusedWith('mail_code_refused'),
  );
  await client.login('mary', NEXT);
  await client.call('DELETE', '/email', { body: { password: NEXT } });
  // Refusals are counted together for a moment before they are written.
  const about = (record) => [record.by, record.on].some((party) => party?.includes(client.userId));
  for (const event of [
    ['change_email', 'success', 'pending'],
    ['verify', 'success', 'email'],
    ['change_email', 'success', 'set'],
    ['change_email', 'refused', 'wrong_credentials'],
    ['request_password_reset', 'success', null],
    ['reset_password', 'success', 'email'],
    ['change_email', 'success', 'cleared'],
  ]) {
    await recorded(server, (record) => about(record) && isOf(...event)(record), event.join(' '));
  }
  await recorded(server, isOf('reset_password', 'refused', 'wrong_code'));
  assert.ok(!JSON.stringify(await auditRecords(server)).includes('example.org'));
});
