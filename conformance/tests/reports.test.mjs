// Reporting a message as spam, and what the operator sees of it.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';
import { b64 } from '../lib/bytes.mjs';
import { fetchBundles, startSessions } from '../lib/keys.mjs';
import { receive, send } from '../lib/messages.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const TOKEN_LEN = 20;

const world = await World.start();

/** How often an account was reported, as the operator is told. */
async function reportsOf(account) {
  const found = (await world.server.reports()).find(({ source }) => source === account.uuid);
  return found?.reports ?? 0;
}

/** Reports as an app does, in a request of its socket; resolves with the status. */
async function report(connection, source, guid, body) {
  const answer = await connection.rest('POST', `/v1/messages/report/${source}/${guid}`, body && { json: body });
  return answer.status;
}

onEveryCarrier((carrier) => {
  test('a message reported with its token counts, once', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    const before = Date.now();
    await send(alice, bob.account.aci, devices, 'buy this');
    await send(alice, bob.account.aci, devices, 'and that');
    for (const count of [1, 2]) {
      const got = await receive(bob);
      assert.equal(got.reportSpamToken.length, TOKEN_LEN);
      const body = { token: b64(got.reportSpamToken) };
      for (let again = 0; again < 2; again++) assert.equal(await report(bob, alice.account.uuid, got.guid, body), 202);
      assert.equal(await reportsOf(alice.account), count);
    }
    const reports = await world.server.reports();
    const { source, reports: count, first, last, ...rest } = reports.find((found) => found.source === alice.account.uuid);
    assert.deepEqual([source, count, rest], [alice.account.uuid, 2, {}]);
    assert.ok(before <= first && first <= last && last <= Date.now());
    assert.equal(await reportsOf(bob.account), 0);
  });

  test('a report that is not backed by a message is answered alike and does not count', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    const eve = await world.person(carrier);
    await send(alice, bob.account.aci, devices, 'hello');
    const { guid, reportSpamToken } = await receive(bob);
    const token = b64(reportSpamToken);
    const { uuid } = alice.account;
    const other = crypto.randomUUID();
    for (const [who, source, about, body] of [
      [bob, uuid, guid, undefined],
      [bob, uuid, guid, {}],
      [bob, uuid, guid, { token: null }],
      [bob, uuid, guid, { token: '' }],
      [bob, uuid, guid, { token: b64(crypto.randomBytes(TOKEN_LEN)) }],
      [bob, uuid, other, { token }],
      [bob, eve.account.uuid, guid, { token }],
      [bob, other, other, { token }],
      // Who was not sent the message cannot report it, even with its token.
      [eve, uuid, guid, { token }],
      [alice, uuid, guid, { token }],
      [bob, alice.account.number, guid, { token }],
    ]) {
      assert.equal(await report(who, source, about, body), 202);
    }
    for (const { account } of [alice, bob, eve]) assert.equal(await reportsOf(account), 0);
  });

  test('a report that cannot be read is refused', async () => {
    const bob = await world.person(carrier);
    const guid = crypto.randomUUID();
    const { uuid } = bob.account;
    assert.equal(await report(bob, uuid, guid, { token: '!' }), 422);
    assert.equal(await report(bob, uuid, guid, { token: 7 }), 422);
    assert.equal(await report(bob, uuid, 'no-guid', {}), 404);
    assert.equal(await report(bob, 'nobody', guid, {}), 404);
  });

  test('a receipt carries no token', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    await send(alice, bob.account.aci, devices, 'hello');
    await receive(bob);
    const receipt = await receive(alice, { receipts: true });
    assert.equal(receipt.reportSpamToken, undefined);
  });

  test('a message to a PNI can be reported too', async () => {
    const [alice, bob] = [await world.person(carrier), await world.person(carrier)];
    const { pni } = bob.account;
    const devices = await startSessions(alice.account, pni, await fetchBundles(alice, pni));
    await send(alice, pni, devices, 'to your number');
    const { guid, reportSpamToken } = await receive(bob);
    assert.equal(await report(bob, alice.account.uuid, guid, { token: b64(reportSpamToken) }), 202);
    assert.equal(await reportsOf(alice.account), 1);
  });
});
