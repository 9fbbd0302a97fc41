// Passkeys in a real browser: what the server says is what the browser takes, and the other way round. `CHROMIUM` says which
// browser; `scripts/chromium.sh` finds or installs one.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Browser } from '../lib/browser.mjs';
import { NativeClient, Problem } from '../lib/native.mjs';
import { freePort } from '../lib/server.mjs';
import { World } from '../lib/world.mjs';

const PASSWORD = 'a sentence is fine';

const binary = findBrowser();
// Where passkeys are used says the port as well, so that it has to be known before.
const port = await freePort();
const origin = `https://localhost:${port}`;
const world = await World.start({ port, config: `[passkeys]\norigins = ["${origin}"]` });

function findBrowser() {
  try {
    const script = fileURLToPath(new URL('../../scripts/chromium.sh', import.meta.url));
    return execFileSync(script, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined;
  }
}

/** A browser on a page of the server. */
async function open(options) {
  const browser = await Browser.start(binary, world.server);
  after(() => browser.end());
  const authenticator = await browser.addAuthenticator(options);
  await browser.open(`${origin}/docs`);
  return { browser, authenticator };
}

const create = (browser, options) =>
  browser.run(async (json) => {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(json);
    return (await navigator.credentials.create({ publicKey })).toJSON();
  }, options);

const get = (browser, options) =>
  browser.run(async (json) => {
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(json);
    return (await navigator.credentials.get({ publicKey })).toJSON();
  }, options);

async function addPasskey(client, browser) {
  await client.reauthenticate({ password: PASSWORD });
  const options = await client.call('POST', '/second-factors/passkeys/options');
  const body = { passkey: await create(browser, options), name: 'my laptop' };
  await client.call('POST', '/second-factors/passkeys', { body });
  return options;
}

const skip = binary ? false : 'there is no Chromium, and none could be installed';

test('a browser makes a passkey, logs in with it alone, and shows it beside a password', { skip }, async () => {
  const { browser } = await open();
  const client = await NativeClient.register(world.server, 'alice', PASSWORD);
  await addPasskey(client, browser);
  const [factor] = (await client.call('GET', '/second-factors')).second_factors;
  assert.deepEqual([factor.kind, factor.name], ['passkey', 'my laptop']);

  await client.loginWithPasskey((options) => get(browser, options));
  assert.equal((await client.call('GET', '/sessions')).sessions.length, 1);

  const asked = await client.login('alice', PASSWORD).catch((error) => error);
  assert.ok(asked instanceof Problem && asked.code === 'second_factor_required');
  await client.finishLogin(asked, { passkey: await get(browser, asked.details.second_factors.passkey) });
  assert.equal((await client.call('GET', '/sessions')).sessions.length, 1);

  // The authenticator has one already, and the server says so.
  await client.reauthenticate({ passkey: await get(browser, await client.call('POST', '/login/passkey/options', { anonymous: true })) });
  const options = await client.call('POST', '/second-factors/passkeys/options');
  await assert.rejects(create(browser, options), /InvalidStateError/);
});

test('a user whom the authenticator has not checked does not come in by a passkey alone', { skip }, async () => {
  const { browser, authenticator } = await open();
  const client = await NativeClient.register(world.server, 'bob', PASSWORD);
  await addPasskey(client, browser);
  await browser.call('WebAuthn.setUserVerified', { authenticatorId: authenticator, isUserVerified: false });
  await assert.rejects(client.loginWithPasskey((options) => get(browser, options)), /NotAllowedError/);
  // A page that asks for less than the server does is noticed.
  const careless = (options) => get(browser, { ...options, userVerification: 'discouraged' });
  await assert.rejects(client.loginWithPasskey(careless), (error) => error instanceof Problem && error.code === 'passkey_failed');
});
