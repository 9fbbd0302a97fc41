// The same API over plain HTTPS, and what the door shows before any library is involved.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { before, describe, test } from 'node:test';
import { CARRIERS, basicAuth } from '../lib/client.mjs';
import { assertEmpty, assertJson, assertTimestamped } from '../lib/expect.mjs';
import { HTTP_VERSIONS, handshake, remoteSettings, request, upgrade } from '../lib/https.mjs';
import { World } from '../lib/world.mjs';

/** Above the limit of a request's body, 512 KiB. */
const LARGE = 600 * 1024;

const world = await World.start();
const { server } = world;
let account;
before(async () => {
  account = await world.account(CARRIERS[0]);
});

test('the handshake offers TLS 1.3 only, and both HTTP versions', async () => {
  const offer = { maxVersion: 'TLSv1.3', minVersion: 'TLSv1.3' };
  assert.deepEqual(await handshake(server, { ...offer, ALPNProtocols: ['h2'] }), { protocol: 'TLSv1.3', alpn: 'h2' });
  assert.equal((await handshake(server, { ...offer, ALPNProtocols: ['http/1.1'] })).alpn, 'http/1.1');
  await assert.rejects(handshake(server, { maxVersion: 'TLSv1.2', minVersion: 'TLSv1.2' }));
});

test('HTTP/2 announces extended CONNECT', async () => {
  assert.equal((await remoteSettings(server)).enableConnectProtocol, true);
});

for (const version of HTTP_VERSIONS) {
  describe(`HTTP/${version}`, () => {
    const ask = (path, options) => request(server, { version, path, ...options });

    test('an account asks who it is, with and without its device id', async () => {
      const answer = await ask('/v1/accounts/whoami', { account });
      assert.equal(assertJson(answer).uuid, account.uuid);
      assertTimestamped(answer);
      const [, authorization] = basicAuth(account.uuid, account.password);
      assert.equal((await ask('/v1/accounts/whoami', { headers: { authorization } })).status, 200);
    });

    test('every answer carries the server time, refusals too', async () => {
      for (const path of ['/', '/v1/nothing', '/v1/accounts/whoami', '/v1/keepalive', '/v2/keys?identity=other']) {
        assertTimestamped(await ask(path));
      }
      assertTimestamped(await ask('/v1/accounts/whoami', { method: 'DELETE' }));
      assertTimestamped(await ask('/v1/registration', { method: 'POST', body: '{' }));
    });

    test('wrong credentials are 401', async () => {
      const wrong = [
        basicAuth(account.username, 'wrong'),
        basicAuth(`${account.uuid}.2`, account.password),
        basicAuth(`${crypto.randomUUID()}.1`, account.password),
        basicAuth('nobody', 'nothing'),
        ['authorization', 'Bearer token'],
        ['authorization', 'Basic !'],
      ];
      for (const [, authorization] of wrong) {
        const answer = await ask('/v1/accounts/whoami', { headers: { authorization } });
        assert.equal(answer.status, 401, authorization);
        assertTimestamped(answer);
      }
      assert.equal((await ask('/v1/accounts/whoami')).status, 401);
    });

    test('a trailing slash does not matter, and path segments are decoded', async () => {
      assert.equal((await ask('/v1/accounts/whoami/', { account })).status, 200);
      const escaped = encodeURIComponent(account.pni.getServiceIdString());
      assert.match(escaped, /^PNI%3A/);
      assert.equal((await ask(`/v1/accounts/account/${escaped}`, { method: 'HEAD' })).status, 200);
    });

    test('an answer without a result has no body and no content type', async () => {
      assertEmpty(await ask('/v1/keepalive'), 200);
      assertEmpty(await ask(`/v1/accounts/account/${account.uuid}`, { method: 'HEAD' }), 200);
      assert.equal((await ask(`/v1/accounts/account/${crypto.randomUUID()}`, { method: 'HEAD' })).status, 404);
    });

    test('a body that is not JSON, or too large, is refused', async () => {
      const put = { account, method: 'PUT', headers: { 'content-type': 'application/json' } };
      const notJson = await ask('/v1/accounts/attributes', { ...put, body: '{"fetchesMessages":' });
      assert.ok([400, 422].includes(notJson.status), String(notJson.status));
      const wrongType = await ask('/v1/accounts/attributes', {
        account,
        method: 'PUT',
        json: { registrationId: 'one' },
      });
      assert.ok([400, 422].includes(wrongType.status), String(wrongType.status));
      const large = await ask('/v1/accounts/attributes', { ...put, body: Buffer.alloc(LARGE, 0x20) }).catch(
        (error) => error,
      );
      assert.ok(large.status === 413 || large instanceof Error, String(large.status));
      assert.equal((await ask('/v1/keepalive')).status, 200);
    });

    test('a request content type may carry parameters', async () => {
      const headers = { 'content-type': 'application/json; charset=utf-8' };
      const body = JSON.stringify(account.attributesJson());
      const answer = await ask('/v1/accounts/attributes', { account, method: 'PUT', headers, body });
      assertEmpty(answer, 204);
    });

    test('a socket is refused with 403 and the server time, only for wrong credentials', async () => {
      for (const path of ['/v1/websocket/', '/v1/websocket']) {
        const [, right] = basicAuth(account.username, account.password);
        const [, wrong] = basicAuth(account.username, 'wrong');
        const accepted = version === 1 ? 101 : 200;
        const opened = await upgrade(server, { version, path, headers: { authorization: right } });
        assert.equal(opened.status, accepted);
        assertTimestamped(opened);
        assert.equal(opened.headers['sec-websocket-extensions'], undefined);
        assert.equal((await upgrade(server, { version, path })).status, accepted);
        const refused = await upgrade(server, { version, path, headers: { authorization: wrong } });
        assert.equal(refused.status, 403);
        assertTimestamped(refused);
        assert.equal(refused.headers['retry-after'], undefined);
      }
    });

    test('unknown query parameters on the socket path are ignored', async () => {
      const opened = await upgrade(server, { version, path: '/v1/websocket/?agent=old&version=1' });
      assert.equal(opened.status, version === 1 ? 101 : 200);
    });
  });
}
