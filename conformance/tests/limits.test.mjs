// Limits are told in seconds, as an error of their own.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Account, CAPTCHA, register } from '../lib/account.mjs';
import { failsWith } from '../lib/expect.mjs';
import { send } from '../lib/messages.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const SCARCE = { size: 2, interval_ms: 600_000 };
const CODE_REQUEST = { transport: 'sms', client: 'ios', languages: [] };

const world = await World.start({
  limits: {
    messages: SCARCE,
    prekeys: SCARCE,
    registration: SCARCE,
    verification_code_check: SCARCE,
    verification_code_send: SCARCE,
  },
});

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

  test('codes sent and codes tried', async () => {
    const number = world.newNumber();
    const session = await world.net(carrier).createRegistrationSession({ e164: number });
    if (!session.sessionState.allowedToRequestCode) await session.submitCaptcha(CAPTCHA);
    for (let count = 0; count < SCARCE.size; count++) await session.requestVerification(CODE_REQUEST);
    assertWait((await failsWith('RateLimitedError', () => session.requestVerification(CODE_REQUEST))).retryAfterSecs);
    const { code } = await world.server.outbox.next(number, SCARCE.size - 1);
    const wrong = code === '000000' ? '000001' : '000000';
    for (let count = 0; count < SCARCE.size; count++) assert.equal(await session.verifySession(wrong), false);
    assertWait((await failsWith('RateLimitedError', () => session.verifySession(code))).retryAfterSecs);
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
