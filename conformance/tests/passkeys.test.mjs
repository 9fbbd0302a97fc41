// Passkeys with the library's typed calls, which are for accounts without a number.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { SvrKey } from '@signalapp/libsignal-client/dist/AccountKeys.js';
import { Authenticator } from '../lib/authenticator.mjs';
import { GRPC_CARRIER } from '../lib/client.mjs';
import { failsWith } from '../lib/expect.mjs';
import { World } from '../lib/world.mjs';

const FACTORS_MAX = 8;
const svrKey = new SvrKey(Uint8Array.from(crypto.randomBytes(32)));
const metadata = { name: 'blue key', createdAt: 1_700_000_000_000 };

const world = await World.start();
const accounts = [];
for (let count = 0; count < 4; count += 1) accounts.push(await world.account(GRPC_CARRIER));
await takeNumbersAway();

/**
 * Signal's way to an account without a number leads through a credential that this server does not issue yet, so the
 * numbers are taken away where they are kept, while the server is stopped.
 */
async function takeNumbersAway() {
  await world.server.stop();
  const script = `
import sqlite3, sys
file = sqlite3.connect(sys.argv[1])
file.execute("UPDATE auth_accounts SET number = NULL, pni = NULL, pni_identity_key = NULL, discoverable = 0")
file.execute("DELETE FROM auth_numbers")
file.commit()`;
  execFileSync('python3', ['-c', script, path.join(world.server.data, 'accounts.sqlite')]);
  await world.server.start();
}

const person = () => world.connect(GRPC_CARRIER, accounts.pop());

const add = (connection, created) =>
  connection.chat.finishWebAuthnRegistration({ ...created, metadata, svrKey });

const prove = (connection, webauthnJson) => connection.chat.finishMfaVerification({ credential: { webauthnJson } });

test('a passkey of each kind is made, listed, used and removed', async () => {
  const connection = await person();
  const parameters = await connection.chat.startWebAuthnRegistration();
  assert.ok(parameters.userHandle.length >= 16 && parameters.userHandle.length <= 64);
  assert.deepEqual(parameters.excludeCredentialIds, []);
  for (const algorithm of [-7, -8]) {
    assert.ok(parameters.allowedAlgorithms.includes(algorithm));
    const authenticator = new Authenticator({ algorithm });
    const id = await add(connection, authenticator.create());
    assert.deepEqual(await connection.chat.listMfaKeys({ svrKey }), [{ id, metadata, kind: 'webAuthn' }]);
    const { excludeCredentialIds } = await connection.chat.startWebAuthnRegistration();
    assert.deepEqual(excludeCredentialIds.map(Buffer.from), [authenticator.credentialId]);

    const { hasTotp, webauthnParams } = await connection.chat.startMfaVerification({});
    assert.equal(hasTotp, false);
    assert.ok(webauthnParams.timeoutSeconds > 0);
    assert.deepEqual(webauthnParams.allowedCredentialIds.map(Buffer.from), [authenticator.credentialId]);
    const answer = authenticator.get(webauthnParams.challenge);
    await prove(connection, answer);
    await failsWith('MfaNotVerified', () => prove(connection, answer));
    await connection.chat.removeMfaKey({ keyId: id });
    assert.equal((await connection.chat.startMfaVerification({})).webauthnParams ?? null, null);
  }
});

test('what is not as it should be is not verified', async () => {
  const connection = await person();
  const authenticator = new Authenticator();
  await add(connection, authenticator.create());
  const challenge = async () => (await connection.chat.startMfaVerification({})).webauthnParams.challenge;

  const stranger = new Authenticator();
  await failsWith('MfaNotVerified', async () => prove(connection, stranger.get(await challenge())));
  stranger.credentialId = authenticator.credentialId;
  await failsWith('MfaNotVerified', async () => prove(connection, stranger.get(await challenge())));
  await failsWith('MfaNotVerified', () => prove(connection, authenticator.get(crypto.randomBytes(32))));
  await failsWith('MfaNotVerified', () => prove(connection, '{}'));
  for (const [field, value] of Object.entries({ origin: 'https://evil.example', relyingParty: 'evil.example' })) {
    const right = authenticator[field];
    authenticator[field] = value;
    await failsWith('MfaNotVerified', async () => prove(connection, authenticator.get(await challenge())));
    await failsWith('WebAuthnRegistrationUnsuccessful', () =>
      add(connection, Object.assign(new Authenticator(), { [field]: value }).create()),
    );
    authenticator[field] = right;
  }
  await prove(connection, authenticator.get(await challenge()));
  authenticator.counter = 0;
  await failsWith('MfaNotVerified', async () => prove(connection, authenticator.get(await challenge())));
  authenticator.counter = 100;
  await prove(connection, authenticator.get(await challenge()));
});

test('a passkey belongs to one account', async () => {
  const [one, other] = [await person(), await person()];
  const created = new Authenticator().create();
  await add(one, created);
  for (const connection of [one, other]) {
    await failsWith('WebAuthnRegistrationUnsuccessful', () => add(connection, created));
  }
  for (let count = 1; count < FACTORS_MAX; count += 1) await add(one, new Authenticator().create());
  await failsWith('TooManyMfaKeys', () => add(one, new Authenticator().create()));
  await failsWith('TooManyMfaKeys', () => one.chat.startWebAuthnRegistration());
  await failsWith('TooManyMfaKeys', () => one.chat.generateTotpKey());
});
