// Stopping, being killed, and starting again.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { beforeEach, test } from 'node:test';
import { Account, CAPTCHA } from '../lib/account.mjs';
import { failsWith, nothingDelivered } from '../lib/expect.mjs';
import { fetchBundles, keyCounts, startSessions, uploadKeys } from '../lib/keys.mjs';
import { receive, send } from '../lib/messages.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const STOP_WITHIN_MS = 10_000;

const world = await World.start();
const { server } = world;

/** A test that failed half way may have left the server stopped, and the library tries for ever to register with it. */
beforeEach(async () => {
  if (!server.running) await server.run();
});

onEveryCarrier((carrier) => {
  test('stopping closes the sockets, exits cleanly, and keeps everything', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    const anonymous = await world.connectAnonymously(carrier);
    await bob.disconnect();
    await send(alice, bob.account.aci, devices, 'over the restart');
    const asked = Date.now();
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
    assert.ok(Date.now() - asked < STOP_WITHIN_MS);
    for (const connection of [alice, anonymous]) {
      const { cause } = await connection.events.waitFor('interrupted');
      assert.ok(cause, 'the library was not told');
      assert.doesNotMatch(cause.message, /ResetWithoutClosingHandshake/, 'no close frame');
    }
    await server.run();
    const again = await world.connect(carrier, bob.account);
    assert.equal((await receive(again)).text, 'over the restart');
    await again.events.waitFor('queueEmpty');
  });

  test('being killed loses nothing that was accepted', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    await bob.disconnect();
    const texts = ['one', 'two', 'three'];
    for (const text of texts) await send(alice, bob.account.aci, devices, text);
    assert.deepEqual(await server.kill(), { code: null, signal: 'SIGKILL' });
    await alice.events.waitFor('interrupted');
    await server.run();
    const again = await world.connect(carrier, bob.account);
    for (const text of texts) assert.equal((await receive(again)).text, text);
    await nothingDelivered(again);
  });

  test('being killed brings nothing back that was acknowledged before the last thing accepted', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    await bob.disconnect();
    await send(alice, bob.account.aci, devices, 'read');
    const reading = await world.connect(carrier, bob.account);
    await receive(reading);
    await reading.events.waitFor('queueEmpty');
    await reading.disconnect();
    await send(alice, bob.account.aci, devices, 'not read');
    await server.kill();
    await server.run();
    const again = await world.connect(carrier, bob.account);
    assert.equal((await receive(again)).text, 'not read');
    await again.events.waitFor('queueEmpty');
  });

  test('accounts, keys and one-time keys already handed out survive a kill', async () => {
    const [alice, bob] = [await world.person(carrier), await world.person(carrier)];
    await uploadKeys(bob, { count: 3 });
    const before = (await fetchBundles(alice, bob.account.aci)).preKeyBundles[0].preKeyId();
    await server.kill();
    await server.run();
    const [again, reader] = [await world.connect(carrier, alice.account), await world.connect(carrier, bob.account)];
    assert.deepEqual(await keyCounts(reader), { count: 2, pqCount: 2 });
    const bundles = await fetchBundles(again, bob.account.aci);
    assert.notEqual(bundles.preKeyBundles[0].preKeyId(), before);
    await startSessions(alice.account, bob.account.aci, bundles);
  });

  test('a registration can go on after a restart, from where it was or from the start', async () => {
    const account = new Account(world.newNumber());
    const net = world.net(carrier);
    const session = await net.createRegistrationSession({ e164: account.number });
    if (!session.sessionState.allowedToRequestCode) await session.submitCaptcha(CAPTCHA);
    await session.requestVerification({ transport: 'sms', client: 'ios', languages: [] });
    const { code } = await server.outbox.next(account.number);
    await server.stop();
    await server.run();
    const resumed = await resume(world.net(carrier), session.sessionId, account.number);
    if (resumed) {
      assert.equal(await resumed.verifySession(code), true);
      await resumed.registerAccount(account.registrationArgs());
    } else {
      await world.account(carrier, account);
    }
  });

  test('a second signal does not leave a process behind', async () => {
    const person = await world.person(carrier);
    const { pid } = server;
    process.kill(pid, 'SIGTERM');
    process.kill(pid, 'SIGINT');
    await server.stop();
    await person.events.waitFor('interrupted');
    assert.equal(fs.existsSync(`/proc/${pid}/exe`), false);
    await server.run();
    await world.connect(carrier, person.account);
  });
});

/** The session, or `null` when the server does not remember it. */
async function resume(net, sessionId, e164) {
  try {
    return await net.resumeRegistrationSession({ sessionId, e164 });
  } catch (error) {
    await failsWith('RegistrationSessionNotFound', () => Promise.reject(error));
    return null;
  }
}
