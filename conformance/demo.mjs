// Two official Signal clients talk through a Heliograph server: `node demo.mjs --server PATH`.
//
// The last line is "demo: ok (N messages, 0 lost)" and the exit code 0, or it says what went wrong and the code is 1.

import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { Ledger, sendBurst } from './lib/demo/burst.mjs';
import { Person } from './lib/demo/person.mjs';
import { heading, line, quote, timed } from './lib/demo/transcript.mjs';
import { libraryName } from './lib/inventory/enumerate.mjs';
import { Server } from './lib/server.mjs';

const BURST = 200;
const KILL_AFTER = 80;
const WHOLE_DEMO_MS = 180_000;

const { values: options } = parseArgs({ options: { server: { type: 'string' } } });
const server = new Server({ binary: options.server });
let messages = 0;
let finishing = false;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.once(signal, () => finish(new Error(`stopped by ${signal}`)));
process.on('uncaughtException', finish);
process.on('unhandledRejection', finish);
const overdue = setTimeout(() => finish(new Error(`not done within ${WHOLE_DEMO_MS / 1000} s`)), WHOLE_DEMO_MS);

try {
  await story();
  await finish();
} catch (error) {
  await finish(error);
}

async function story() {
  console.log(`Two official clients (${libraryName()}), TLS 1.3, HTTP/2 with gRPC.`);
  await timed(
    'server',
    () => server.start(),
    () => `ready at ${server.url}, data in ${server.data}`,
  );
  const alice = new Person(server, 'Alice', '+15550100001');
  const bob = new Person(server, 'Bob', '+15550100002');

  heading('Registering');
  await alice.register();
  await bob.register();

  heading('Meeting');
  for (const person of [alice, bob]) {
    await timed(person.name, () => person.goOnline(), 'is online, the queue is empty');
    await timed(person.name, () => person.publishKeys(), 'publishes one-time pre-keys, elliptic and Kyber');
  }
  await timed('Alice', () => alice.meet(bob), 'fetches Bob’s pre-keys and starts a session');
  await timed('Bob', () => bob.meet(alice), 'fetches Alice’s pre-keys and starts a session');

  heading('Talking');
  await say(alice, bob, 'Hello Bob. Can you see my signals?');
  await say(bob, alice, 'Clearly. The sun is out.');
  await say(alice, bob, 'Then let us begin.');
  await say(bob, alice, 'Go ahead.');

  heading('Away');
  await timed('Bob', () => bob.goOffline(), 'goes offline');
  const waiting = ['One.', 'Two.', 'Three, and now I wait.'];
  for (const text of waiting) await leave(alice, bob, text);
  const before = bob.inbox.length;
  await timed('Bob', () => bob.goOnline(), 'is back online, and reads:');
  const read = bob.inbox.slice(before).map(({ text }) => text);
  for (const text of read) line(null, '', quote(text));
  assert.deepEqual(read, waiting, 'what had waited did not come whole and in order');

  heading(`A burst of ${BURST} messages, and the power fails`);
  await burst(alice, bob);

  heading('Afterwards');
  await say(bob, alice, 'All of it came through.');
  await bob.goOffline();
  const count = bob.inbox.length + bob.repeated;
  await bob.goOnline();
  assert.equal(bob.inbox.length + bob.repeated, count, 'something that was acknowledged came again');
  line(null, 'Bob', 'comes back once more: nothing is delivered twice');
  await bob.goOffline();
  await alice.goOffline();
  const { code } = await timed('server', () => server.stop(), 'stops on SIGTERM');
  assert.equal(code, 0, 'the server did not exit cleanly');
}

/** One message to somebody who is online, read before the next line. */
async function say(from, to, text) {
  const started = performance.now();
  const transmit = await from.prepare(to, text);
  const reading = to.hasRead(text);
  await Promise.all([transmit(), reading]);
  const message = await reading;
  assert.ok(message.from.isEqual(from.account.aci), `${quote(text)} does not come from ${from.name}`);
  line(performance.now() - started, `${from.name} → ${to.name}`, quote(message.text));
  messages += 1;
}

/** One message to somebody who is away. */
async function leave(from, to, text) {
  const transmit = await from.prepare(to, text);
  await timed(`${from.name} → ${to.name}`, transmit, `${quote(text)} waits`);
  messages += 1;
}

async function burst(alice, bob) {
  const ledger = new Ledger();
  const texts = Array.from({ length: BURST }, (_, index) => `burst ${index + 1}`);
  const kill = async () => {
    line(null, 'server', `SIGKILL after ${ledger.accepted.size} of ${BURST} were accepted`);
    await server.kill();
    await Promise.all([alice, bob].map((person) => person.connection.events.waitFor('interrupted')));
    await timed('server', () => server.run(), 'is started again on the same data');
    await timed(
      'Bob',
      () => bob.goOnline(),
      () => `is back, and has read ${burstOf(bob).length}`,
    );
    await timed('Alice', () => alice.goOnline(), 'is back, and sends what was not accepted again');
  };
  await timed(
    'Alice → Bob',
    () => sendBurst({ from: alice, to: bob, texts, ledger, killAfter: KILL_AFTER, kill }),
    () => `all ${ledger.accepted.size} accepted, ${ledger.retried.size} of them at the second attempt`,
  );
  await Promise.all(texts.map((text) => bob.hasRead(text).catch(() => null)));
  const { lost, unexplained } = ledger.compare(burstOf(bob));
  line(null, 'Bob', `has read ${ledger.accepted.size - lost.length}; ${bob.repeated} came again after the kill`);
  assert.equal(ledger.accepted.size, BURST, 'not every message was accepted in the end');
  assert.deepEqual(lost, [], 'accepted and lost');
  assert.deepEqual(unexplained, [], 'delivered twice although accepted at the first attempt');
  messages += ledger.accepted.size;
}

function burstOf(person) {
  return person.inbox.filter(({ text }) => text.startsWith('burst'));
}

/** Leaves nothing running and ends with the verdict. */
async function finish(error) {
  if (finishing) return;
  finishing = true;
  clearTimeout(overdue);
  const log = error && server.logTail();
  await server.dispose();
  if (error) {
    console.error(`\nThe end of the server's log:\n${log}\n`);
    console.error(`demo: failed: ${error.message}`);
    process.exit(1);
  }
  console.log(`\ndemo: ok (${messages} messages, 0 lost)`);
  process.exit(0);
}
