// Opening the chat socket, being refused, being displaced, and the requests every socket answers.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';
import * as Signal from '@signalapp/libsignal-client';
import { assertEmpty, assertTimestamped, closedFor, failsWith } from '../lib/expect.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const world = await World.start();

/** The same account under other credentials. */
const like = (account, changes) => Object.assign(Object.create(account), changes);

onEveryCarrier((carrier) => {
  test('a connection is told the server time, its alerts, and that its queue is empty', async () => {
    const { events } = await world.connect(carrier, await world.account(carrier));
    const { timestamp } = await events.waitFor('serverTimestamp');
    assert.ok(Math.abs(timestamp - Date.now()) < 60_000, `the server's clock says ${timestamp}`);
    assert.deepEqual((await events.waitFor('alerts')).alerts, []);
    await events.waitFor('queueEmpty');
  });

  test('credentials that do not hold are refused as a removed device', async () => {
    const account = await world.account(carrier);
    const refused = (changes) => failsWith('DeviceDelinked', () => world.connect(carrier, like(account, changes)));
    await refused({ password: 'wrong' });
    await refused({ password: '' });
    await refused({ deviceId: 2 });
    await refused({ aci: Signal.Aci.fromUuid(crypto.randomUUID()) });
    await world.connect(carrier, account);
  });

  test('a second connection of a device displaces the first', async () => {
    const account = await world.account(carrier);
    const first = await world.connect(carrier, account);
    const second = await world.connect(carrier, account);
    await closedFor(first, 'ConnectedElsewhere');
    await failsWith('ConnectedElsewhere', () => first.rest('GET', '/v1/accounts/whoami'));
    assert.equal((await second.rest('GET', '/v1/accounts/whoami')).json.uuid, account.uuid);
  });

  test('of many connections at once, one stays', async () => {
    const account = await world.account(carrier);
    const open = new Set(await Promise.all(Array.from({ length: 5 }, () => world.connect(carrier, account))));
    while (open.size > 1) {
      const displaced = await Promise.race([...open].map((one) => one.closed.then(() => one)));
      await closedFor(displaced, 'ConnectedElsewhere');
      open.delete(displaced);
    }
    const [last] = open;
    assert.equal((await last.rest('GET', '/v1/keepalive')).status, 200);
    assert.deepEqual(last.events.drain('interrupted'), []);
  });

  test('closing by the app is not reported as a failure', async () => {
    const connection = await world.connect(carrier, await world.account(carrier));
    await connection.chat.disconnect();
    assert.equal((await connection.events.waitFor('interrupted')).cause, null);
    await failsWith('ChatServiceInactive', () => connection.rest('GET', '/v1/keepalive'));
  });

  test('keepalive is answered on both kinds of socket', async () => {
    for (const connection of [await world.person(carrier), await world.connectAnonymously(carrier)]) {
      for (const path of ['/v1/keepalive', '/v1/keepalive/provisioning']) {
        const response = await connection.rest('GET', path);
        assertEmpty(response, 200);
        assertTimestamped(response);
      }
    }
  });

  test('an unknown path is not found, and the socket goes on', async () => {
    for (const connection of [await world.person(carrier), await world.connectAnonymously(carrier)]) {
      for (const path of ['/', '/v1/nothing', '/v1/accounts/whoami/nothing', '/v1/%zz']) {
        const response = await connection.rest('GET', path);
        assert.ok([400, 404].includes(response.status), `${path}: ${response.status}`);
        assertTimestamped(response);
      }
      assert.equal((await connection.rest('GET', '/v1/keepalive')).status, 200);
    }
  });

  test('a request that needs an account is refused without one', async () => {
    const anonymous = await world.connectAnonymously(carrier);
    for (const path of ['/v1/accounts/whoami', '/v2/config', '/v2/keys']) {
      assert.equal((await anonymous.rest('GET', path)).status, 401, path);
    }
  });

  test('many requests at once are all answered', async () => {
    const connection = await world.person(carrier);
    const answers = await Promise.all(Array.from({ length: 100 }, () => connection.rest('GET', '/v1/accounts/whoami')));
    assert.ok(answers.every((answer) => answer.json?.uuid === connection.account.uuid));
  });

  test('a request body beyond the limit costs the request or the connection, never the server', async () => {
    const connection = await world.person(carrier);
    const body = new Uint8Array(12 * 1024 * 1024);
    const outcome = await connection.rest('PUT', '/v1/accounts/attributes', { body }).then(
      (response) => response.status,
      (error) => error,
    );
    assert.ok(outcome === 413 || outcome instanceof Error, `answered ${outcome}`);
    assert.equal((await (await world.connect(carrier, connection.account)).rest('GET', '/v1/keepalive')).status, 200);
  });
});
