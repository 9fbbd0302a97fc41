// Proving control of a phone number: the verification session.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Account, CAPTCHA, verifiedSession } from '../lib/account.mjs';
import { assertJson, assertTimestamped, failsWith } from '../lib/expect.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const CODE_REQUEST = { transport: 'sms', client: 'ios', languages: ['en'] };
const SESSION_KEYS = [
  'allowedToRequestCode',
  'id',
  'nextCall',
  'nextSms',
  'nextVerificationAttempt',
  'requestedInformation',
  'verified',
];

const world = await World.start();
const { outbox } = world.server;

/** A session that may ask for a code. */
async function newSession(net, number) {
  const session = await net.createRegistrationSession({ e164: number });
  if (!session.sessionState.allowedToRequestCode) await session.submitCaptcha(CAPTCHA);
  return session;
}

/** Another code of the same length. */
const otherThan = (code) => code.replace(/\d$/, (digit) => String((Number(digit) + 1) % 10));

onEveryCarrier((carrier) => {
  test('a code is sent, a wrong one is not accepted, the right one is', async () => {
    const number = world.newNumber();
    const session = await newSession(world.net(carrier), number);
    assert.equal(session.sessionState.verified, false);
    await session.requestVerification(CODE_REQUEST);
    const { code, transport } = await outbox.next(number);
    assert.match(code, /^\d{6}$/);
    assert.equal(transport, 'sms');
    assert.equal(await session.verifySession(otherThan(code)), false);
    assert.equal(await session.verifySession(code), true);
    assert.equal(session.sessionState.verified, true);
  });

  test('a code can be sent again, by call too, and the newest one counts', async () => {
    const number = world.newNumber();
    const session = await newSession(world.net(carrier), number);
    await session.requestVerification(CODE_REQUEST);
    await outbox.next(number);
    await session.requestVerification({ ...CODE_REQUEST, transport: 'voice' });
    const { code, transport } = await outbox.next(number, 1);
    assert.equal(transport, 'voice');
    assert.equal(await session.verifySession(code), true);
  });

  test('a captcha answer is accepted and leaves the session allowed to ask for a code', async () => {
    const session = await world.net(carrier).createRegistrationSession({ e164: world.newNumber() });
    assert.equal((await session.submitCaptcha(CAPTCHA)).allowedToRequestCode, true);
    await session.requestVerification(CODE_REQUEST);
  });

  test('a session can be taken up again from another connection', async () => {
    const number = world.newNumber();
    const { sessionId } = await verifiedSession(world.net(carrier), number, outbox);
    const resumed = await world.net(carrier).resumeRegistrationSession({ sessionId, e164: number });
    assert.equal(resumed.sessionId, sessionId);
    assert.equal(resumed.sessionState.verified, true);
    const account = new Account(number);
    account.adopt(await resumed.registerAccount(account.registrationArgs()));
    await world.connect(carrier, account);
  });

  test('a session that does not exist is not found', async () => {
    const net = world.net(carrier);
    const number = world.newNumber();
    const { sessionId } = await net.createRegistrationSession({ e164: number });
    const forged = (sessionId[0] === 'A' ? 'B' : 'A') + sessionId.slice(1);
    await failsWith('RegistrationSessionNotFound', () =>
      net.resumeRegistrationSession({ sessionId: forged, e164: number }),
    );
  });

  test('a code cannot be submitted before one was sent, nor asked for after it was accepted', async () => {
    const number = world.newNumber();
    const session = await newSession(world.net(carrier), number);
    await failsWith('RegistrationSessionNotReadyForVerification', () => session.verifySession('123456'));
    const verified = await verifiedSession(world.net(carrier), number, outbox);
    await failsWith('RegistrationSessionNotReadyForVerification', () => verified.requestVerification(CODE_REQUEST));
  });

  test('a session answer has every field, also over a plain request', async () => {
    const anonymous = await world.connectAnonymously(carrier);
    const created = await anonymous.rest('POST', '/v1/verification/session', {
      json: { number: world.newNumber(), pushToken: null, pushTokenType: null, mcc: null, mnc: null },
    });
    assertTimestamped(created);
    const session = assertJson(created);
    assert.deepEqual(Object.keys(session).sort(), SESSION_KEYS);
    assert.equal(session.verified, false);
    assert.match(session.id, /^[\w\-.~!$&,()*+;=:@]+$/);
    assert.ok(session.requestedInformation.every((item) => ['captcha', 'pushChallenge'].includes(item)));
  });

  test('what is not a phone number is refused', async () => {
    const anonymous = await world.connectAnonymously(carrier);
    for (const number of ['', '+', '15550100001', '+0555010001', '+1555010000123456', '+1 555 010 0001', null, 5]) {
      const response = await anonymous.rest('POST', '/v1/verification/session', { json: { number } });
      assert.ok([400, 422].includes(response.status), `${number}: ${response.status}`);
    }
    await assert.rejects(world.net(carrier).createRegistrationSession({ e164: '+1' }));
  });
});
