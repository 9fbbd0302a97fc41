// Limits are told in seconds, as an error of their own.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Account, CAPTCHA, register } from '../lib/account.mjs';
import { failsWith } from '../lib/expect.mjs';
import { send } from '../lib/messages.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const SCARCE = { size: 2, interval_ms: 600_000 };
const CODE_REQUEST = { client: 'ios', languages: [] };

const world = await World.start({
  limits: {
    messages: SCARCE,
    prekeys: SCARCE,
    registration: SCARCE,
    verification_code_check: SCARCE,
    verification_code_send: SCARCE,
  },
});

async function newSession(carrier, e164) {
  const session = await world.net(carrier).createRegistrationSession({ e164 });
  if (!session.sessionState.allowedToRequestCode) await session.submitCaptcha(CAPTCHA);
  return session;
}

function assertWait(seconds) {
  assert.ok(seconds > 0 && seconds <= SCARCE.interval_ms / 1000, `told to wait ${seconds} s`);
}

onEveryCarrier((carrier) => {
  test('messages to one recipient', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    for (let count = 0; count < SCARCE.size; count++) await send(alice, bob.account.aci, devices, 'x');
    const error = await failsWith('RateLimitedError', () => send(alice, bob.account.aci, devices, 'x'));
    assertWait(error.retryAfterSecs);
  });

  test('fetches of one account by another', async () => {
    const [alice, bob] = [await world.person(carrier), await world.person(carrier)];
    const fetch = () => alice.rest('GET', `/v2/keys/${bob.account.uuid}/*`);
    for (let count = 0; count < SCARCE.size; count++) assert.equal((await fetch()).status, 200);
    const refused = await fetch();
    assert.equal(refused.status, 429);
    assertWait(Number(refused.headers['retry-after']));
    assert.match(refused.headers['retry-after'], /^\d+$/);
  });

  test('codes sent to one number, whatever the session', async () => {
    const number = world.newNumber();
    await (await newSession(carrier, number)).requestVerification({ ...CODE_REQUEST, transport: 'sms' });
    await (await newSession(carrier, number)).requestVerification({ ...CODE_REQUEST, transport: 'voice' });
    const third = await newSession(carrier, number);
    const error = await failsWith('RateLimitedError', () =>
      third.requestVerification({ ...CODE_REQUEST, transport: 'sms' }),
    );
    assertWait(error.retryAfterSecs);
    assert.equal(world.server.outbox.count(number), SCARCE.size);
  });

  test('codes tried', async () => {
    const number = world.newNumber();
    const session = await newSession(carrier, number);
    await session.requestVerification({ ...CODE_REQUEST, transport: 'sms' });
    const { code } = await world.server.outbox.next(number);
    const guesses = ['000000', '000001', '000002', '000003']
      .filter((guess) => guess !== code)
      .slice(0, SCARCE.size + 1);
    const error = await failsWith('RateLimitedError', async () => {
      for (const guess of guesses) assert.equal(await session.verifySession(guess), false);
    });
    assertWait(error.retryAfterSecs);
  });

  test('registrations of one number', async () => {
    const account = new Account(world.newNumber());
    const net = world.net(carrier);
    await register(net, account, world.server.outbox);
    const again = (returned) => net.reregisterAccount({ ...returned.registrationArgs(), e164: account.number });
    await again(account.reinstalled());
    assertWait((await failsWith('RateLimitedError', () => again(account.reinstalled()))).retryAfterSecs);
  });
});
