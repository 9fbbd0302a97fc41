// Challenges by push, end to end: who has sent a great deal is asked, is sent a secret by the push service of its device,
// gives it back, and goes on.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, test } from 'node:test';
import { GRPC_CARRIER } from '../lib/client.mjs';
import { assertEmpty, failsWith } from '../lib/expect.mjs';
import { grpcCall } from '../lib/grpc.mjs';
import { receive, send } from '../lib/messages.mjs';
import { writeFields } from '../lib/protobuf.mjs';
import { PushServices } from '../lib/push.mjs';
import { Server } from '../lib/server.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const SCARCE = { size: 2, interval_ms: 600_000 };
const METHOD = '/org.signal.chat.challenge.Challenge/HandleChallengeResponse';

/** Lends its certificate to the push services, and is not used otherwise. */
const lender = await Server.start();
after(() => lender.dispose());
const secrets = path.join(lender.data, 'secrets');
const services = await PushServices.start(secrets);
after(() => services.close());
const world = await World.start({
  limits: { challenge: SCARCE },
  config: [
    services.config(lender.home, path.join(secrets, 'ca-certificate.pem')),
    '[challenges]\nenabled = true\ncaptcha = false\npush = "push"\n',
  ].join('\n'),
});

let tokens = 0;

/** A sender whose primary device has a token of that service, and who has sent all it may. */
async function usedUp(carrier, service) {
  const scene = { ...(await world.pair(carrier)), token: `token${++tokens}` };
  const { alice, bob, devices, token } = scene;
  const [route, key] = service === 'fcm' ? ['gcm', 'gcmRegistrationId'] : ['apn', 'apnRegistrationId'];
  assertEmpty(await alice.rest('PUT', `/v1/accounts/${route}`, { json: { [key]: token } }), 204);
  for (let sent = 0; sent < SCARCE.size; sent++) {
    await send(alice, bob.account.aci, devices, `message ${sent}`);
    assert.equal((await receive(bob)).text, `message ${sent}`);
  }
  const { options } = await asked(scene);
  assert.deepEqual(options, new Set(['pushChallenge']));
  return scene;
}

/** The next message is not taken: resolves with the library's error. */
function asked({ alice, bob, devices }) {
  return failsWith('RateLimitChallengeError', () => send(alice, bob.account.aci, devices, 'one too many'));
}

async function goesOn({ alice, bob, devices }) {
  await send(alice, bob.account.aci, devices, 'after all');
  assert.equal((await receive(bob)).text, 'after all');
}

/** Asks for a challenge, and resolves with the secret that came by push: nothing else is in it. */
async function challenged({ alice, token }, service) {
  const already = services.to(token).length;
  assertEmpty(await alice.rest('POST', '/v1/challenge/push'), 200);
  const push = (await services.waitFor(token, already + 1))[already];
  const { rateLimitChallenge, ...rest } = push.data;
  assert.match(rateLimitChallenge, /^[0-9a-f]{32}$/);
  assert.deepEqual(rest, service === 'fcm' ? {} : { aps: { 'content-available': 1 } });
  assert.deepEqual(services.mistakes, []);
  return rateLimitChallenge;
}

const answer = ({ alice }, challenge) =>
  alice.rest('PUT', '/v1/challenge', { json: { type: 'rateLimitPushChallenge', challenge } });

onEveryCarrier((carrier) => {
  for (const service of ['fcm', 'apns']) {
    test(`${service}: the secret comes by push, and giving it back lets messages through`, async () => {
      const scene = await usedUp(carrier, service);
      const challenge = await challenged(scene, service);
      assertEmpty(await answer(scene, '0'.repeat(32)), 200);
      await asked(scene);
      assertEmpty(await answer(scene, challenge), 200);
      await goesOn(scene);
      // It is used up: the same answer opens nothing a second time.
      await send(scene.alice, scene.bob.account.aci, scene.devices, 'the last of them');
      await asked(scene);
      assertEmpty(await answer(scene, challenge), 200);
      await asked(scene);
    });
  }
});

test('another account does not get through with it', async () => {
  const [one, other] = [await usedUp(GRPC_CARRIER, 'fcm'), await usedUp(GRPC_CARRIER, 'fcm')];
  const challenge = await challenged(one, 'fcm');
  assertEmpty(await answer(other, challenge), 200);
  await asked(other);
  assertEmpty(await answer(one, challenge), 200);
  await goesOn(one);
});

test('over gRPC the answer says whether it is right', async () => {
  const scene = await usedUp(GRPC_CARRIER, 'apns');
  const challenge = await challenged(scene, 'apns');
  const { account } = scene.alice;
  const answerGrpc = async (text) => {
    const [success] = await grpcCall(world.server, METHOD, [[2, writeFields([[1, text]])]], { account });
    return success?.value === 1n;
  };
  assert.equal(await answerGrpc('0'.repeat(32)), false);
  assert.equal(await answerGrpc(challenge), true);
  await goesOn(scene);
  assert.equal(await answerGrpc(challenge), false);
});
