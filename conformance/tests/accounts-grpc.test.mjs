// The library's typed account calls, which exist as gRPC only.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';
import { SvrKey } from '@signalapp/libsignal-client/dist/AccountKeys.js';
import { reregister, verifiedSession } from '../lib/account.mjs';
import { CARRIERS } from '../lib/client.mjs';
import { closedFor, failsWith } from '../lib/expect.mjs';
import { grpcCall } from '../lib/grpc.mjs';
import { readFields, writeFields } from '../lib/protobuf.mjs';
import { World } from '../lib/world.mjs';

const world = await World.start();
const newSvrKey = () => new SvrKey(Uint8Array.from(crypto.randomBytes(32)));

for (const carrier of CARRIERS.filter(({ httpVersion }) => httpVersion === 2)) {
  test(`a registration lock derived by the library holds until it is cleared (${carrier.name})`, async () => {
    const person = await world.person(carrier);
    const svrKey = newSvrKey();
    await person.chat.setRegistrationLock({ svrKey });
    const returned = person.account.reinstalled();
    const session = await verifiedSession(world.net(carrier), returned.number, world.server.outbox);
    await failsWith('RegistrationLock', () => session.registerAccount(returned.registrationArgs()));
    returned.registrationLock = Buffer.from(svrKey.deriveRegistrationLock()).toString('hex');
    returned.adopt(await session.registerAccount(returned.registrationArgs()));
    const connection = await world.connect(carrier, returned);
    await connection.chat.clearRegistrationLock();
    const again = returned.reinstalled();
    await reregister(world.net(carrier), again);
    await world.connect(carrier, again);
  });

  test(`a recovery password derived by the library registers again (${carrier.name})`, async () => {
    const person = await world.person(carrier);
    const svrKey = newSvrKey();
    await person.chat.setRegistrationRecoveryPassword({ svrKey });
    await failsWith('RegistrationRecoveryVerificationFailed', () =>
      reregister(world.net(carrier), person.account.reinstalled()),
    );
    const returned = person.account.reinstalled();
    returned.recoveryPassword = svrKey.deriveRegistrationRecoveryPassword();
    await reregister(world.net(carrier), returned);
    assert.ok(returned.aci.isEqual(person.account.aci));
  });

  test(`discoverability is a switch (${carrier.name})`, async () => {
    const person = await world.person(carrier);
    await person.chat.setDiscoverableByPhoneNumber({ discoverable: false });
    await person.chat.setDiscoverableByPhoneNumber({ discoverable: true });
  });

  test(`deleting the account closes its connection (${carrier.name})`, async () => {
    const person = await world.person(carrier);
    person.chat.deleteAccount().catch(() => {});
    await closedFor(person, 'ConnectionInvalidated');
    await failsWith('DeviceDelinked', () => world.connect(carrier, person.account));
  });

  test(`calls of a connection whose account is gone are refused (${carrier.name})`, async () => {
    const person = await world.person(carrier);
    const other = await world.connectAnonymously(carrier);
    person.rest('DELETE', '/v1/accounts/me').catch(() => {});
    await closedFor(person, 'ConnectionInvalidated');
    await assert.rejects(person.chat.getPreKeyCount());
    assert.equal(await other.chat.accountExists({ account: person.account.aci }), false);
  });
}

test('whoever may write to an account is told what concerns writing to it, and nobody else is', async () => {
  const METHOD = '/org.signal.chat.account.AccountsAnonymous/GetCapabilities';
  const account = await world.account(CARRIERS[0]);
  const ask = async (id, key) => {
    const [{ number, value }] = await grpcCall(world.server, METHOD, [[1, writeFields(id)], [2, key]]);
    return [number, number === 1 ? readFields(value) : undefined];
  };
  const [ACI, PNI, CAPABILITIES, REFUSED] = [1, 2, 1, 3];
  const aci = [[1, ACI], [2, account.aci.getRawUuidBytes()]];
  const [outcome, [{ number, value }]] = await ask(aci, account.accessKey);
  const SPQR = 7n;
  assert.deepEqual([outcome, number], [CAPABILITIES, 1]);
  assert.deepEqual(Buffer.isBuffer(value) ? [...value].map(BigInt) : [value], [SPQR], 'not what its own devices or the server want to know');
  assert.deepEqual(await ask(aci, new Uint8Array(16)), [REFUSED, undefined]);
  assert.deepEqual(await ask([[1, PNI], [2, account.pni.getRawUuidBytes()]], account.accessKey), [REFUSED, undefined]);
  assert.deepEqual(await ask([[1, ACI], [2, crypto.randomBytes(16)]], account.accessKey), [REFUSED, undefined], 'nor who exists');
  await assert.rejects(grpcCall(world.server, METHOD, [[1, writeFields(aci)]]), { status: 3 });
  await assert.rejects(grpcCall(world.server, METHOD, [[1, writeFields(aci)], [2, account.accessKey]], { account }));
});

for (const carrier of CARRIERS.filter(({ httpVersion }) => httpVersion === 2)) {
  test(`credentials of a PIN service that is not here are good for nobody (${carrier.name})`, async () => {
    const anonymous = await world.connectAnonymously(carrier);
    const credentials = ['user:1700000000:00', 'other:1700000000:11'];
    const found = await anonymous.chat.checkSvrCredentials({ number: world.newNumber(), credentials });
    assert.deepEqual([...found.keys()].sort(), [...credentials].sort());
    assert.equal(new Set(found.values()).size, 1);
    const many = Array.from({ length: 11 }, (_, index) => `user:${index}`);
    await failsWith('IoError', () => anonymous.chat.checkSvrCredentials({ number: world.newNumber(), credentials: many }));
  });
}

test('the settings are those of the REST call, and not sent to whoever holds them', async () => {
  const METHOD = '/org.signal.chat.remoteconfiguration.RemoteConfiguration/GetConfiguration';
  const [TAGGED, MATCHED] = [1, 2];
  const person = await world.person(CARRIERS[0]);
  const { account } = person;
  const rest = await person.rest('GET', '/v2/config');
  const [tagged] = await grpcCall(world.server, METHOD, [], { account });
  assert.equal(tagged.number, TAGGED);
  const fields = readFields(tagged.value);
  const settings = readFields(fields.find(({ number }) => number === 1).value).map(({ value }) => {
    const [name, text] = readFields(value);
    return [name.value.toString(), text.value.toString()];
  });
  assert.deepEqual(Object.fromEntries(settings), rest.json.config);
  const etag = fields.find(({ number }) => number === 2).value;
  assert.deepEqual(await grpcCall(world.server, METHOD, [[1, etag]], { account }), [{ number: MATCHED, value: 1n }]);
  assert.equal((await grpcCall(world.server, METHOD, [[1, 'other']], { account }))[0].number, TAGGED);
  await assert.rejects(grpcCall(world.server, METHOD, []));
});
