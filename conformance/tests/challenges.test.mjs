// Challenges: who has sent a great deal shows that it is a person, and goes on.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { b64 } from '../lib/bytes.mjs';
import { GRPC_CARRIER } from '../lib/client.mjs';
import { assertEmpty, assertJson, failsWith, nothingDelivered } from '../lib/expect.mjs';
import { grpcCall } from '../lib/grpc.mjs';
import { encryptFor, receive, send, sendSealed } from '../lib/messages.mjs';
import { writeFields } from '../lib/protobuf.mjs';
import { fetchSenderCertificate } from '../lib/sealed.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const SCARCE = { size: 2, interval_ms: 600_000 };
const METHOD = '/org.signal.chat.challenge.Challenge/HandleChallengeResponse';
const CAPTCHA = 'signal-hcaptcha.site.challenge.answer';

const world = await World.start({
  limits: { challenge: SCARCE },
  config: '[challenges]\nenabled = true\npush = "outbox"\n',
});
const { server } = world;
/** A server on which they are off, as by default. */
const plain = await World.start({ limits: { challenge: SCARCE } });

/** Sends until the account is asked; resolves with the library's error. */
async function usedUp({ alice, bob, devices }) {
  for (let sent = 0; sent < SCARCE.size; sent++) {
    await send(alice, bob.account.aci, devices, `message ${sent}`);
    assert.equal((await receive(bob)).text, `message ${sent}`);
  }
  return asked({ alice, bob, devices });
}

/** The next message is not taken: resolves with what the library says of it. */
async function asked({ alice, bob, devices }) {
  return failsWith('RateLimitChallengeError', () => send(alice, bob.account.aci, devices, 'one too many'));
}

async function goesOn({ alice, bob, devices }) {
  await send(alice, bob.account.aci, devices, 'after all');
  assert.equal((await receive(bob)).text, 'after all');
}

const answer = ({ alice }, json) => alice.rest('PUT', '/v1/challenge', { json });
const captcha = (token) => ({ type: 'captcha', token, captcha: CAPTCHA });
const pushed = (challenge) => ({ type: 'rateLimitPushChallenge', challenge });

/** An answer over gRPC; resolves with whether it is right. */
async function answerGrpc({ alice }, message) {
  const [success] = await grpcCall(server, METHOD, message, { account: alice.account });
  return success?.value === 1n;
}
const captchaGrpc = (token) => [
  [1, token],
  [3, writeFields([[1, CAPTCHA]])],
];
const pushedGrpc = (challenge) => [[2, writeFields([[1, challenge]])]];

async function givePushToken({ alice }) {
  const response = await alice.rest('PUT', '/v1/accounts/gcm', { json: { gcmRegistrationId: 'token' } });
  assert.equal(response.status, 204);
}

async function askForPush({ alice }) {
  const { username } = alice.account;
  const already = server.outbox.pushesTo(username).length;
  assertEmpty(await alice.rest('POST', '/v1/challenge/push'), 200);
  const { challenge } = await server.outbox.nextPush(username, already);
  assert.match(challenge, /^[0-9a-f]{32}$/);
  return challenge;
}

onEveryCarrier((carrier) => {
  test('the library is told a token and what may be answered', async () => {
    const scene = await world.pair(carrier);
    const error = await usedUp(scene);
    assert.ok(error.token.length > 0);
    assert.deepEqual(error.options, new Set(['captcha', 'pushChallenge']));
    const { retryAfterSecs } = error;
    assert.ok(retryAfterSecs > 0 && retryAfterSecs <= SCARCE.interval_ms / 1000, `told to wait ${retryAfterSecs} s`);
    assert.equal((await asked(scene)).token, error.token);
    const [own] = await encryptFor(scene.alice.account, scene.bob.account.aci, scene.devices, 'to oneself');
    await failsWith('RateLimitChallengeError', () =>
      scene.alice.chat.sendSyncMessage({ timestamp: Date.now(), contents: [own], urgent: true }),
    );
    await scene.bob.disconnect();
    await nothingDelivered(await world.connect(carrier, scene.bob.account));
  });

  test('sealed messages are not asked about', async () => {
    const scene = await world.pair(carrier);
    await usedUp(scene);
    const { alice, bob, devices } = scene;
    const certificate = await fetchSenderCertificate(alice);
    const options = { certificate, auth: { accessKey: bob.account.accessKey } };
    const anonymous = await world.connectAnonymously(carrier);
    await sendSealed(anonymous, alice.account, bob.account.aci, devices, 'sealed', options);
    assert.equal((await receive(bob)).text, 'sealed');
  });

  test('a captcha lets messages through again', async () => {
    const scene = await world.pair(carrier);
    const { token } = await usedUp(scene);
    assertEmpty(await answer(scene, captcha('another token')), 428);
    await asked(scene);
    assertEmpty(await answer(scene, captcha(token)), 200);
    await goesOn(scene);
    assertEmpty(await answer(scene, captcha(token)), 428);
  });

  test('so does a push challenge', async () => {
    const scene = await world.pair(carrier);
    assertEmpty(await scene.alice.rest('POST', '/v1/challenge/push'), 404);
    await givePushToken(scene);
    await usedUp(scene);
    const challenge = await askForPush(scene);
    assertEmpty(await scene.alice.rest('POST', '/v1/challenge/push'), 200);
    assert.equal(server.outbox.pushesTo(scene.alice.account.username).length, 1, 'one is on its way');
    assertEmpty(await answer(scene, pushed('0'.repeat(32))), 200);
    await asked(scene);
    assertEmpty(await answer(scene, pushed(challenge)), 200);
    await goesOn(scene);
  });

  test('two right answers and no more in half a day', async () => {
    const scene = await world.pair(carrier);
    for (let count = 0; count < 2; count++) {
      const { token } = await usedUp(scene);
      assertEmpty(await answer(scene, captcha(token)), 200);
    }
    const { token, options } = await usedUp(scene);
    assert.deepEqual(options, new Set());
    const third = await answer(scene, captcha(token));
    assertEmpty(third, 429);
    assert.ok(Number(third.headers['retry-after']) > 3600);
    await givePushToken(scene);
    const push = await scene.alice.rest('POST', '/v1/challenge/push');
    assertEmpty(push, 429);
    assert.equal(push.headers['retry-after'], undefined);
  });

  test('answers that are none', async () => {
    const { alice } = await world.pair(carrier);
    for (const [body, status] of [
      [{ type: 'recaptcha', token: 'x', captcha: 'x' }, 400],
      [{ token: 'x', captcha: 'x' }, 400],
      [{ type: 'captcha', token: ' ', captcha: 'x' }, 422],
      [{ type: 'captcha', token: 'x' }, 422],
      [{ type: 'rateLimitPushChallenge', challenge: '' }, 422],
    ]) {
      assert.equal((await answer({ alice }, body)).status, status, JSON.stringify(body));
    }
    const broken = await alice.rest('PUT', '/v1/challenge', { body: new Uint8Array([0x7b]) });
    assert.equal(broken.status, 400);
    const anonymous = await world.connectAnonymously(carrier);
    assertEmpty(await anonymous.rest('POST', '/v1/challenge/push'), 401);
    assertEmpty(await answer({ alice: anonymous }, captcha('x')), 401);
  });
});

test('the answer of the JSON API', async () => {
  const scene = await world.pair(GRPC_CARRIER);
  const { token } = await usedUp(scene);
  const { bob } = scene;
  const copy = {
    type: 1,
    destinationDeviceId: 1,
    destinationRegistrationId: bob.account.aciStore.registrationId,
    content: b64([1]),
  };
  const json = { messages: [copy], timestamp: Date.now() };
  const response = await scene.alice.rest('PUT', `/v1/messages/${bob.account.uuid}`, { json });
  assert.deepEqual(assertJson(response, 428), { token, options: ['captcha', 'pushChallenge'] });
  assert.match(response.headers['retry-after'], /^[1-9]\d*$/);
});

test('answers over gRPC say whether they are right', async () => {
  const scene = await world.pair(GRPC_CARRIER);
  await givePushToken(scene);
  const { token } = await usedUp(scene);
  assert.equal(await answerGrpc(scene, captchaGrpc('another token')), false);
  assert.equal(await answerGrpc(scene, captchaGrpc(token)), true);
  await goesOn(scene);
  const challenge = await askForPush(scene);
  assert.equal(await answerGrpc(scene, pushedGrpc('0'.repeat(32))), false);
  assert.equal(await answerGrpc(scene, pushedGrpc(challenge)), true);
  await goesOn(scene);
  for (const message of [[], captchaGrpc(''), pushedGrpc(' ')]) {
    await assert.rejects(answerGrpc(scene, message), /CONSTRAINT_VIOLATED/);
  }
});

test('where nobody has switched them on, nobody is asked, and every answer will do', async () => {
  const scene = await plain.pair(GRPC_CARRIER);
  for (let count = 0; count < 3 * SCARCE.size; count++) await goesOn(scene);
  await givePushToken(scene);
  assertEmpty(await scene.alice.rest('POST', '/v1/challenge/push'), 404);
  assertEmpty(await answer(scene, captcha('x')), 200);
  assertEmpty(await answer(scene, pushed('x')), 200);
});
