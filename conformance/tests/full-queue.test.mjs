// A queue that is full: its senders are told to come back, and nothing in it makes room.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sleep } from '../lib/bytes.mjs';
import { failsWith } from '../lib/expect.mjs';
import { receive, send, sendSealed } from '../lib/messages.mjs';
import { fetchSenderCertificate } from '../lib/sealed.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

/** The smallest bound there may be. */
const MOST = 100;

const world = await World.start({ config: `[queue]\naccount_messages_max = ${MOST}\n` });

onEveryCarrier((carrier) => {
  test('senders are refused until the recipient has read, and everything accepted arrives', async () => {
    const { alice, bob, devices } = await world.pair(carrier);
    const { account } = bob;
    await bob.disconnect();
    for (let number = 0; number < MOST; number++) await send(alice, account.aci, devices, `number ${number}`);
    const error = await failsWith('RateLimitedError', () => send(alice, account.aci, devices, 'too many'));
    assert.ok(error.retryAfterSecs >= 60, `told to wait ${error.retryAfterSecs} s`);
    const anonymous = await world.connectAnonymously(carrier);
    const sealed = { certificate: await fetchSenderCertificate(alice), auth: { accessKey: account.accessKey } };
    const sendSealedToBob = (text) => sendSealed(anonymous, alice.account, account.aci, devices, text, sealed);
    await failsWith('RateLimitedError', () => sendSealedToBob('too many'));

    const again = await world.connect(carrier, account);
    for (let number = 0; number < MOST; number++) assert.equal((await receive(again)).text, `number ${number}`);
    await again.events.waitFor('queueEmpty');
    // That it was full is believed for a second.
    await sleep(1_500);
    await sendSealedToBob('there is room');
    assert.equal((await receive(again)).text, 'there is room');
  });
});
