// Waking who is away: once for what has come, not while connected, and with nothing in it that says what or from whom.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import path from 'node:path';
import { after, test } from 'node:test';
import { CAPTCHA } from '../lib/account.mjs';
import { GRPC_CARRIER } from '../lib/client.mjs';
import { assertJson } from '../lib/expect.mjs';
import { grpcCall } from '../lib/grpc.mjs';
import { receive, send } from '../lib/messages.mjs';
import { writeFields } from '../lib/protobuf.mjs';
import { PushServices } from '../lib/push.mjs';
import { Server } from '../lib/server.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

/** Longer than a push takes that is wrongly sent, and shorter than until the next may be. */
const A_WHILE_MS = 1200;

/** Lends its certificate to the push services, and is not used otherwise. */
const lender = await Server.start();
after(() => lender.dispose());
const secrets = path.join(lender.data, 'secrets');
const services = await PushServices.start(secrets);
after(() => services.close());
const world = await World.start({ config: services.config(lender.home, path.join(secrets, 'ca-certificate.pem')) });

let tokens = 0;
const newToken = () => `token${++tokens}`;

const DEVICES = '/org.signal.chat.device.Devices';
const setToken = {
  apns: (account, token) => grpcCall(world.server, `${DEVICES}/SetPushToken`, [[1, writeFields([[1, token]])]], { account }),
  fcm: (account, token) => grpcCall(world.server, `${DEVICES}/SetPushToken`, [[2, writeFields([[1, token]])]], { account }),
};

function assertWakes(push, service) {
  const data = {
    fcm: { newMessageAlert: '' },
    apns: { aps: { sound: 'default', 'mutable-content': 1, alert: { 'loc-key': 'APN_Message' } } },
  };
  assert.deepEqual({ service: push.service, urgent: push.urgent, data: push.data }, { service, urgent: true, data: data[service] });
}

onEveryCarrier((carrier) => {
  for (const service of ['fcm', 'apns']) {
    test(`${service}: who is away is woken once, and not while connected`, async () => {
      const { alice, bob, devices } = await world.pair(carrier);
      const token = newToken();
      const json = service === 'fcm' ? { gcmRegistrationId: token } : { apnRegistrationId: token };
      const path = service === 'fcm' ? '/v1/accounts/gcm' : '/v1/accounts/apn';
      assert.equal((await bob.rest('PUT', path, { json })).status, 204);

      await send(alice, bob.account.aci, devices, 'while connected');
      assert.equal((await receive(bob)).text, 'while connected');
      await bob.flush();
      await bob.disconnect();
      await sleep(A_WHILE_MS);
      assert.equal(services.to(token).length, 0);

      await send(alice, bob.account.aci, devices, 'while away');
      await services.waitFor(token, 1);
      await send(alice, bob.account.aci, devices, 'and again');
      const back = await world.connect(carrier, bob.account);
      for (const text of ['while away', 'and again']) assert.equal((await receive(back)).text, text);
      await back.events.waitFor('queueEmpty');
      await sleep(2 * A_WHILE_MS);
      const pushes = services.to(token);
      assert.equal(pushes.length, 1, 'the second was called off when the device came');
      assertWakes(pushes[0], service);
      assert.deepEqual(services.mistakes, []);
    });
  }
});

test('tokens given over gRPC are used, the last one counts, and none are once it is given up', async () => {
  const { alice, bob, devices } = await world.pair(GRPC_CARRIER);
  const [first, second] = [newToken(), newToken()];
  await setToken.fcm(bob.account, first);
  await setToken.apns(bob.account, second);
  await bob.disconnect();
  await send(alice, bob.account.aci, devices, 'one');
  assertWakes((await services.waitFor(second, 1))[0], 'apns');
  const back = await world.connect(GRPC_CARRIER, bob.account);
  assert.equal((await receive(back)).text, 'one');
  await back.chat.clearPushToken();
  await back.disconnect();
  await sleep(2 * A_WHILE_MS);
  await send(alice, bob.account.aci, devices, 'two');
  await sleep(A_WHILE_MS);
  assert.deepEqual([first, second].map((token) => services.to(token).length), [0, 1]);
});

test('a push challenge serves in place of a captcha when a number is registered', async () => {
  const anonymous = await world.connectAnonymously(GRPC_CARRIER);
  const token = newToken();
  const json = { number: world.newNumber(), pushToken: token, pushTokenType: 'fcm' };
  const created = await anonymous.rest('POST', '/v1/verification/session', { json });
  assert.deepEqual(created.json.requestedInformation, ['pushChallenge', 'captcha']);
  const [push] = await services.waitFor(token, 1);
  assert.match(push.data.challenge, /^[0-9a-f]{32}$/);
  const session = `/v1/verification/session/${created.json.id}`;
  const wrong = await anonymous.rest('PATCH', session, { json: { pushChallenge: '0'.repeat(32) } });
  assert.equal(wrong.status, 403);
  const right = await anonymous.rest('PATCH', session, { json: { pushChallenge: push.data.challenge } });
  assert.deepEqual(assertJson(right), { ...created.json, requestedInformation: [], allowedToRequestCode: true });
  const captcha = await anonymous.rest('PATCH', session, { json: { captcha: CAPTCHA } });
  assert.equal(captcha.status, 200);
});

test('the operator is told what the provider answered', async () => {
  const bob = await world.person(GRPC_CARRIER);
  const which = [bob.account.uuid, '1', '--config', world.server.configFile];
  await assert.rejects(world.server.command('push', 'test', ...which), /has given no push token/);
  const token = newToken();
  await setToken.fcm(bob.account, token);
  assert.match(await world.server.command('push', 'test', ...which), /Fcm answered: 200/);
  assertWakes(services.to(token)[0], 'fcm');
});
