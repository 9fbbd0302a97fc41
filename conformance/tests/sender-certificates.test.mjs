// Sender certificates, believed by the official library under what `client-config` says.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import * as Signal from '@signalapp/libsignal-client';
import { sleep, u8 } from '../lib/bytes.mjs';
import { GRPC_CARRIER } from '../lib/client.mjs';
import { assertEmpty, assertJson } from '../lib/expect.mjs';
import { grpcCall } from '../lib/grpc.mjs';
import { fetchSenderCertificate, trustRootsOf } from '../lib/sealed.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const DAY_MS = 86_400_000;
const PATH = '/v1/certificate/delivery';
const METHOD = '/org.signal.chat.credentials.Credentials/GetDeliveryCertificate';

const world = await World.start();
const { server } = world;

/** The certificate says who the account's device is, with that number, and is good for a week. */
function assertCertifies(certificate, account, e164) {
  assert.ok(certificate.senderAci().isEqual(account.aci));
  assert.equal(certificate.senderDeviceId(), account.deviceId);
  assert.equal(certificate.senderE164(), e164);
  assert.ok(certificate.key().equals(account.aciStore.identity.publicKey));
  const life = certificate.expiration() - Date.now();
  assert.ok(life > 7 * DAY_MS - 60_000 && life <= 7 * DAY_MS + 60_000, `good for ${life} ms`);
  assert.ok(certificate.validateWithTrustRoots(server.trustRoots, Date.now()));
}

onEveryCarrier((carrier) => {
  test('with the number and without it', async () => {
    const alice = await world.person(carrier);
    const { account } = alice;
    assertCertifies(await fetchSenderCertificate(alice), account, account.number);
    assertCertifies(await fetchSenderCertificate(alice, { includeE164: false }), account, null);
    for (const [query, e164] of [
      ['', account.number],
      ['?includeUuid=true', account.number],
      ['?includeE164=whatever', null],
    ]) {
      const { certificate } = assertJson(await alice.rest('GET', PATH + query));
      assertCertifies(Signal.SenderCertificate.deserialize(u8(certificate)), account, e164);
    }
  });

  test('to the last millisecond, and under no other root', async () => {
    const certificate = await fetchSenderCertificate(await world.person(carrier));
    const [root] = server.trustRoots;
    assert.equal(certificate.validate(root, certificate.expiration()), true);
    assert.equal(certificate.validate(root, certificate.expiration() + 1), false);
    const other = Signal.IdentityKeyPair.generate().publicKey;
    assert.equal(certificate.validate(other, Date.now()), false);
  });

  test('for nobody who does not say who they are', async () => {
    const anonymous = await world.connectAnonymously(carrier);
    assertEmpty(await anonymous.rest('GET', PATH), 401);
  });
});

test('both at once over gRPC', async () => {
  const account = await world.account(GRPC_CARRIER);
  const fields = await grpcCall(server, METHOD, [], { account });
  assert.deepEqual(
    fields.map(({ number }) => number),
    [1, 2],
  );
  const [withNumber, without] = fields.map(({ value }) => Signal.SenderCertificate.deserialize(u8(value)));
  assertCertifies(withNumber, account, account.number);
  assertCertifies(without, account, null);
  await assert.rejects(grpcCall(server, METHOD, [], {}), /BAD_AUTHENTICATION/);
});

describe('rotation', () => {
  let alice;
  before(async () => {
    alice = await world.person(GRPC_CARRIER);
  });
  after(() => alice.disconnect());

  const publishedRoots = async () => trustRootsOf(await server.clientConfig());
  const idOf = (certificate) => certificate.serverCertificate().keyId();
  const isGood = (certificate, roots) => certificate.validateWithTrustRoots(roots, Date.now());

  /** The first certificate by another signer than that of the given one, which a running server takes up by itself. */
  async function nextCertificate(former) {
    server.hangUp();
    for (let tries = 0; tries < 100; tries++) {
      const certificate = await fetchSenderCertificate(alice);
      if (idOf(certificate) !== idOf(former)) return certificate;
      await sleep(50);
    }
    return assert.fail('the server goes on with its old certificate');
  }

  test('of the server certificate: what was issued stays good, and a running server takes up the new one', async () => {
    const old = await fetchSenderCertificate(alice);
    const [root] = server.trustRoots;
    assert.match(await server.command('keys', 'rotate', 'sender-certificate'), /server certificate 4, under trust root 1/);
    const fresh = await nextCertificate(old);
    assert.equal(idOf(fresh), 4);
    assert.ok(!fresh.serverCertificate().key().equals(old.serverCertificate().key()));
    assert.deepEqual(await publishedRoots(), [root]);
    assert.ok(isGood(old, [root]) && isGood(fresh, [root]));
  });

  test('of the trust root: published at once, used with the next server certificate', async () => {
    const old = await fetchSenderCertificate(alice);
    const [oldRoot] = server.trustRoots;
    await server.command('keys', 'rotate', 'sender-trust-root');
    const roots = await publishedRoots();
    assert.equal(roots.length, 2);
    assert.ok(roots[0].equals(oldRoot));
    server.hangUp();
    const meanwhile = await fetchSenderCertificate(alice);
    assert.equal(idOf(meanwhile), idOf(old));
    assert.ok(isGood(meanwhile, [oldRoot]));
    assert.match(await server.command('keys', 'rotate', 'sender-certificate'), /under trust root 2/);
    const fresh = await nextCertificate(old);
    assert.ok(isGood(fresh, [roots[1]]) && !isGood(fresh, [oldRoot]));
    const now = await publishedRoots();
    assert.equal(now.length, 2, 'the old root counts as long as what it signed');
    assert.ok(isGood(old, now) && isGood(fresh, now));
  });

  test('without the private half of the trust root on the server', async () => {
    const [usual, elsewhere] = [
      path.join(server.data, 'secrets', 'sender-trust-root-2.key'),
      path.join(server.home, 'trust-root.key'),
    ];
    fs.renameSync(usual, elsewhere);
    await server.stop();
    await server.run();
    alice = await world.connect(GRPC_CARRIER, alice.account);
    const old = await fetchSenderCertificate(alice);
    await assert.rejects(server.command('keys', 'rotate', 'sender-certificate'), (error) => {
      assert.ok(error.stderr.includes(usual) && error.stderr.includes('--trust-root'), error.stderr);
      return true;
    });
    await server.command('keys', 'rotate', 'sender-certificate', '--trust-root', elsewhere);
    const fresh = await nextCertificate(old);
    assert.ok(isGood(fresh, await publishedRoots()));
    assert.ok(!fs.existsSync(usual));
  });

  test('with a damaged file the server goes on as before, and says so', async () => {
    const file = path.join(server.data, 'secrets', 'sender-certificate.json');
    const whole = fs.readFileSync(file);
    fs.writeFileSync(file, whole.subarray(0, whole.length / 2));
    server.hangUp();
    for (let tries = 0; tries < 100 && !server.logTail().includes('not read anew'); tries++) await sleep(50);
    assert.match(server.logTail(), /not read anew.*sender-certificate\.json is damaged/);
    fs.writeFileSync(file, whole);
    assert.ok(isGood(await fetchSenderCertificate(alice), await publishedRoots()));
  });

  test('the list shows ids, dates and public keys, and no secrets', async () => {
    const list = await server.command('keys', 'list');
    const [rootLines, certificateLines] = list.split('Access token keys\n')[0].trim().split('Server certificates\n');
    const roots = await publishedRoots();
    for (const root of roots) assert.ok(rootLines.includes(Buffer.from(root.serialize()).toString('base64')));
    assert.deepEqual(
      certificateLines.split('\n').map((line) => line.trim().split(' ')[0]),
      ['1', '4', '5', '6'],
    );
    const file = JSON.parse(fs.readFileSync(path.join(server.data, 'secrets', 'sender-certificate.json'), 'utf8'));
    assert.ok(!list.includes(file.sealed_key));
  });
});
