// Second factors and passkeys of native accounts, from another language, and what the trail says of them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { auditRecords, isOf, recorded } from '../lib/audit.mjs';
import { Authenticator } from '../lib/authenticator.mjs';
import { NativeClient, Problem } from '../lib/native.mjs';
import { fromUri, presentStep, totp, wrongTotp } from '../lib/totp.mjs';
import { World } from '../lib/world.mjs';

const PASSWORD = 'a sentence is fine';

const world = await World.start();
let people = 0;

async function newNative() {
  people += 1;
  const username = `person-${people}`;
  return { username, client: await NativeClient.register(world.server, username, PASSWORD) };
}

const refused = (code, status) => (error) => error instanceof Problem && error.code === code && error.status === status;

/** What the server refuses with. */
async function problemOf(promise) {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof Problem, error);
    return error;
  }
  return assert.fail('nothing was refused');
}

const digits = (number) => String(number).padStart(6, '0');

/** Sets up a generator, and answers the password of the next step, which the server takes early. */
async function addTotp(client, name = 'my phone') {
  const { uri, secret } = await client.call('POST', '/second-factors/totp');
  const { key, parameters, issuer, account } = fromUri(uri);
  assert.equal(new URL(uri).searchParams.get('secret'), secret);
  const step = presentStep(parameters);
  const body = { one_time_password: digits(totp(key, parameters, step)), name };
  await client.call('POST', '/second-factors/totp/confirm', { body });
  return {
    issuer,
    account,
    next: digits(totp(key, parameters, step + 1)),
    wrong: digits(wrongTotp(key, parameters)),
  };
}

async function addPasskey(client, authenticator) {
  const options = await client.call('POST', '/second-factors/passkeys/options');
  const body = { passkey: authenticator.createFrom(options), name: 'blue key' };
  return client.call('POST', '/second-factors/passkeys', { body });
}

/** The audit records of the account and of strangers, as soon as one of them is that one. */
async function recordedOf(account, ...last) {
  const about = (record) => record.by.startsWith('stranger') || record.by.includes(account);
  await recorded(world.server, (record) => about(record) && isOf(...last)(record));
  return (await auditRecords(world.server)).filter(about);
}

test('a log-in takes a one-time password, or a recovery code once it is lost', async () => {
  const { username, client } = await newNative();
  await assert.rejects(client.call('POST', '/second-factors/totp'), refused('reauthentication_required', 403));
  await client.reauthenticate({ password: PASSWORD });
  const { issuer, account, next, wrong } = await addTotp(client);
  assert.deepEqual([issuer, account], ['localhost', username]);
  const { recovery_codes: codes } = await client.call('POST', '/second-factors/recovery-codes');
  assert.equal(new Set(codes).size, 10);
  const listed = await client.call('GET', '/second-factors');
  assert.deepEqual(listed.second_factors.map(({ kind, name }) => [kind, name]), [['totp', 'my phone']]);
  assert.equal(listed.recovery_codes, 10);

  let asked = await problemOf(client.login(username, PASSWORD));
  assert.deepEqual([asked.status, asked.code], [403, 'second_factor_required']);
  assert.deepEqual(asked.details.second_factors, { totp: true, passkey: null, recovery_codes: 10 });
  await assert.rejects(client.finishLogin(asked, { one_time_password: wrong }), refused('second_factor_failed', 403));
  await client.finishLogin(asked, { one_time_password: next });
  assert.equal((await client.call('GET', '/sessions')).sessions.length, 1);
  await assert.rejects(client.finishLogin(asked, { one_time_password: next }), refused('login_expired', 401));

  asked = await problemOf(client.login(username, PASSWORD));
  await client.finishLogin(asked, { recovery_code: codes[3].replaceAll('-', ' ').toUpperCase() });
  asked = await problemOf(client.login(username, PASSWORD));
  await assert.rejects(client.finishLogin(asked, { recovery_code: codes[3] }), refused('second_factor_failed', 403));
  assert.equal(asked.details.second_factors.recovery_codes, 9);

  const records = await recordedOf(client.userId, 'use_second_factor', 'refused', 'recovery_code');
  for (const [action, outcome, detail] of [
    ['reauthenticate', 'success', 'password'],
    ['add_second_factor', 'success', 'totp'],
    ['renew_recovery_codes', 'success', undefined],
    ['log_in', 'refused', 'missing'],
    ['use_second_factor', 'refused', 'totp'],
    ['use_second_factor', 'success', 'totp'],
    ['use_second_factor', 'success', 'recovery_code'],
  ]) {
    assert.ok(records.some(isOf(action, outcome, detail)), `${action} ${outcome} ${detail}`);
  }
  const logins = records.filter((record) => record.action === 'log_in' && record.outcome === 'success');
  assert.equal(logins.length, 2, 'only log-ins that were finished');
  assert.ok(!JSON.stringify(records).includes(codes[3]));
});

for (const algorithm of [-7, -8]) {
  test(`a passkey is made from the options, and logs in by itself (COSE ${algorithm})`, async () => {
    const { username, client } = await newNative();
    await client.reauthenticate({ password: PASSWORD });
    const authenticator = new Authenticator({ algorithm });
    const { factor_id } = await addPasskey(client, authenticator);
    await client.loginWithPasskey((options) => {
      assert.equal(options.userVerification, 'required');
      return authenticator.getFrom(options);
    });
    assert.equal(client.deviceId, 1);
    assert.equal((await client.call('GET', '/second-factors')).second_factors[0].factor_id, factor_id);

    const asked = await problemOf(client.login(username, PASSWORD));
    const { passkey } = asked.details.second_factors;
    assert.equal(passkey.userVerification, 'preferred');
    await client.finishLogin(asked, { passkey: authenticator.getFrom(passkey) });

    const options = await client.call('POST', '/login/passkey/options', { anonymous: true });
    await client.reauthenticate({ passkey: authenticator.getFrom(options) });
    await client.call('DELETE', `/second-factors/${factor_id}`);
    const gone = client.loginWithPasskey((asking) => authenticator.getFrom(asking));
    await assert.rejects(gone, refused('passkey_failed', 401));
    await client.login(username, PASSWORD);

    const records = await recordedOf(client.userId, 'remove_second_factor', 'success');
    const byPasskey = records.filter((record) => record.action === 'log_in' && record.detail === 'passkey');
    assert.ok(byPasskey.some((record) => record.outcome === 'success'));
    assert.ok(records.some((record) => record.action === 'reauthenticate' && record.detail === 'passkey'));
  });
}
