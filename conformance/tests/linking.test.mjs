// How a device is let into an account, and what keeps it out.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linkJson, newLinkCode, requestLink } from '../lib/account.mjs';
import { b64 } from '../lib/bytes.mjs';
import { assertEmpty, assertJson } from '../lib/expect.mjs';
import { request } from '../lib/https.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const DEVICES_MAX = 6;
const NAME_MAX = 225;

const world = await World.start();
const scarce = await World.start({ limits: { allocate_device: { size: 1, interval_ms: 600_000 } } });

/** A primary, a device to be linked with its code, and an anonymous connection to ask over. */
async function candidate(carrier) {
  const phone = await world.person(carrier);
  const device = phone.account.newDevice();
  const { verificationCode } = await newLinkCode(phone);
  return { phone, device, verificationCode, anonymous: await world.connectAnonymously(carrier) };
}

onEveryCarrier((carrier) => {
  test('a code and its identifier have the form clients expect', async () => {
    const phone = await world.person(carrier);
    const { verificationCode, tokenIdentifier } = assertJson(await phone.rest('GET', '/v1/devices/provisioning/code'));
    assert.match(verificationCode, /^\S+$/);
    assert.match(tokenIdentifier, /^[\w-]{43}$/);
    assert.notEqual((await newLinkCode(phone)).verificationCode, verificationCode);
  });

  test('linking answers who the device is now', async () => {
    const { phone, device, verificationCode, anonymous } = await candidate(carrier);
    const answer = assertJson(await requestLink(anonymous, device, linkJson(device, verificationCode)));
    const { account } = phone;
    assert.deepEqual(answer, { uuid: account.uuid, pni: account.pni.getRawUuid(), deviceId: 2 });
  });

  test('the user name of the credentials does not matter, the header does', async () => {
    const { phone, device, verificationCode, anonymous } = await candidate(carrier);
    const body = linkJson(device, verificationCode);
    assert.equal((await anonymous.rest('PUT', '/v1/devices/link', { json: body })).status, 401);
    assertJson(await requestLink(anonymous, device, body, phone.account.uuid));
  });

  test('a code is good once', async () => {
    const { phone, device, verificationCode, anonymous } = await candidate(carrier);
    assertJson(await requestLink(anonymous, device, linkJson(device, verificationCode)));
    const other = phone.account.newDevice();
    assertEmpty(await requestLink(anonymous, other, linkJson(other, verificationCode)), 403);
    for (const wrong of ['', 'x', `${verificationCode}x`]) {
      assertEmpty(await requestLink(anonymous, other, linkJson(other, wrong)), 403);
    }
  });

  test('two devices that show the same code at once: one is let in', async () => {
    const { phone, device, verificationCode, anonymous } = await candidate(carrier);
    const devices = [device, phone.account.newDevice(), phone.account.newDevice()];
    const answers = await Promise.all(
      devices.map((one) => requestLink(anonymous, one, linkJson(one, verificationCode))),
    );
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 403, 403]);
    assert.equal((await phone.rest('GET', '/v1/devices')).json.devices.length, 2);
  });

  test('two devices with a code each get an id each, also at once', async () => {
    const { phone, device, verificationCode, anonymous } = await candidate(carrier);
    const other = phone.account.newDevice();
    const second = await newLinkCode(phone);
    const answers = await Promise.all([
      requestLink(anonymous, device, linkJson(device, verificationCode)),
      requestLink(anonymous, other, linkJson(other, second.verificationCode)),
    ]);
    assert.deepEqual(answers.map((answer) => assertJson(answer).deviceId).sort(), [2, 3]);
  });

  test('keys that the account has not signed', async () => {
    const { device, verificationCode, anonymous } = await candidate(carrier);
    const stranger = (await world.account(carrier)).newDevice();
    const [good, bad] = [linkJson(device, verificationCode), linkJson(stranger, verificationCode)];
    for (const name of ['aciSignedPreKey', 'pniSignedPreKey', 'aciPqLastResortPreKey', 'pniPqLastResortPreKey']) {
      assert.equal((await requestLink(anonymous, device, { ...good, [name]: bad[name] })).status, 422, name);
    }
    const { pniSignedPreKey, pniPqLastResortPreKey, ...withoutPni } = good;
    assert.equal((await requestLink(anonymous, device, withoutPni)).status, 422);
    delete withoutPni.accountAttributes.pniRegistrationId;
    assert.equal((await requestLink(anonymous, device, withoutPni)).status, 422, 'the account has a PNI');
    assertJson(await requestLink(anonymous, device, linkJson(device, verificationCode)));
  });

  test('bodies that make no sense, and that the code survives', async () => {
    const { device, verificationCode, anonymous } = await candidate(carrier);
    const good = linkJson(device, verificationCode);
    const attributes = (changes) => ({ ...good, accountAttributes: { ...good.accountAttributes, ...changes } });
    const cases = [
      {},
      { ...good, verificationCode: undefined },
      attributes({ registrationId: 0 }),
      attributes({ registrationId: 16_384 }),
      attributes({ pniRegistrationId: 16_384 }),
      attributes({ name: b64(new Uint8Array(NAME_MAX + 1)) }),
      attributes({ fetchesMessages: false }),
      attributes({ capabilities: null }),
      { ...good, gcmToken: { gcmRegistrationId: 'token' } },
    ];
    for (const body of cases) {
      const { status } = await requestLink(anonymous, device, body);
      assert.equal(status, 422, JSON.stringify(body.accountAttributes));
    }
    assertJson(await requestLink(anonymous, device, attributes({ name: b64(new Uint8Array(NAME_MAX)) })));
  });

  test('a device that would take a capability from the account', async () => {
    const { phone, device, verificationCode, anonymous } = await candidate(carrier);
    const lacking = (name) => {
      device.capabilities = phone.account.capabilities.filter((capability) => capability !== name);
      return requestLink(anonymous, device, linkJson(device, verificationCode));
    };
    assertEmpty(await lacking('spqr'), 409);
    assertEmpty(await lacking('usernameChangeSyncMessage'), 409);
    assertJson(await lacking('attachmentBackfill'));
  });

  test('an account has at most six devices', async () => {
    const { phone, device, verificationCode, anonymous } = await candidate(carrier);
    let linked;
    for (let id = 2; id <= DEVICES_MAX; id++) linked = await world.link(carrier, phone);
    const full = { current: DEVICES_MAX, max: DEVICES_MAX };
    for (const connection of [phone, linked]) {
      assert.deepEqual(assertJson(await connection.rest('GET', '/v1/devices/provisioning/code'), 411), full);
    }
    const refused = await requestLink(anonymous, device, linkJson(device, verificationCode));
    assert.deepEqual(assertJson(refused, 411), full);
    assertEmpty(await phone.rest('DELETE', '/v1/devices/4'), 204);
    const answer = await requestLink(anonymous, device, linkJson(device, verificationCode));
    assert.equal(assertJson(answer).deviceId, 4);
  });

  test('only the primary makes codes', async () => {
    const phone = await world.person(carrier);
    const linked = await world.link(carrier, phone);
    assertEmpty(await linked.rest('GET', '/v1/devices/provisioning/code'), 401);
  });

  test('a code does not outlive a new registration of the account', async () => {
    const { phone, device, verificationCode, anonymous } = await candidate(carrier);
    await world.account(carrier, phone.account.reinstalled());
    assertEmpty(await requestLink(anonymous, device, linkJson(device, verificationCode)), 403);
  });

  test('too many codes', async () => {
    const phone = await scarce.person(carrier);
    await newLinkCode(phone);
    const refused = await phone.rest('GET', '/v1/devices/provisioning/code');
    assert.equal(refused.status, 429);
    assert.ok(Number(refused.headers['retry-after']) > 0);
  });
});

test('the Android app links over plain HTTPS, with the ACI as user', async () => {
  for (const version of [1, 2]) {
    const phone = await world.person({ name: 'h1', httpVersion: 1, grpc: false });
    const device = phone.account.newDevice();
    const { verificationCode } = await newLinkCode(phone);
    const account = { username: phone.account.uuid, password: device.password };
    const json = linkJson(device, verificationCode);
    const answer = await request(world.server, { version, method: 'PUT', path: '/v1/devices/link', account, json });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.deviceId, 2);
  }
});
