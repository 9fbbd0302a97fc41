// Who may register: with an invitation, after the operator's word, or not at all.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { Account, CAPTCHA, register } from '../lib/account.mjs';
import { GRPC_CARRIER } from '../lib/client.mjs';
import { failsWith } from '../lib/expect.mjs';
import { World, onEveryCarrier } from '../lib/world.mjs';

const CODE_REQUEST = { transport: 'sms', client: 'ios', languages: ['de-DE', 'en'] };

/** A session in which a code was asked for. */
async function askedForCode(net, number) {
  const session = await net.createRegistrationSession({ e164: number });
  if (!session.sessionState.allowedToRequestCode) await session.submitCaptcha(CAPTCHA);
  await session.requestVerification(CODE_REQUEST);
  return session;
}

/** Registers by a code that somebody was given. */
async function registerByCode(net, account, code) {
  const session = await askedForCode(net, account.number);
  if (!(await session.verifySession(code))) return null;
  return account.adopt(await session.registerAccount(account.registrationArgs()));
}

const lines = (text) => text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
const codeOf = (printed) => /^code +(\d+)$/m.exec(printed)[1];

const invited = await World.start({ config: '[registration]\nmode = "invite"\n' });
const approved = await World.start({ config: '[registration]\nmode = "approval"\n' });
const closed = await World.start({ config: '[registration]\nmode = "closed"\n' });
const abroad = await World.start({ config: '[registration]\nmode = "open"\nnumber_prefixes = ["+49"]\n' });

describe('by invitation', () => {
  const world = invited;
  const { server } = world;
  const invites = async () => lines(await server.command('invite', 'list'));

  onEveryCarrier((carrier) => {
    test('the code of an invitation bound to the number is the verification code', async () => {
      const account = new Account(world.newNumber());
      const printed = await server.command('invite', 'create', '--number', account.number, '--note', 'for a friend');
      const code = codeOf(printed);
      assert.match(code, /^\d{6}$/);
      const other = await askedForCode(world.net(carrier), world.newNumber());
      assert.equal(await other.verifySession(code), false, 'with another number it is wrong');
      await registerByCode(world.net(carrier), account, code);
      await world.connect(carrier, account);
      const invite = (await invites()).at(-1);
      assert.deepEqual([invite.state, invite.note, invite.accounts], ['used', 'for a friend', [account.uuid]]);
    });

    test('without one no code is right, and there is no account', async () => {
      const account = new Account(world.newNumber());
      const session = await askedForCode(world.net(carrier), account.number);
      assert.equal(await session.verifySession('123456'), false);
      await failsWith('RegistrationInvalidSession', () => session.registerAccount(account.registrationArgs()));
    });
  });

  test('one for several makes as many accounts as it may, and is shown by its link', async () => {
    const printed = await server.command('invite', 'create', '--uses', '2', '--days', '1');
    const code = codeOf(printed);
    assert.match(code, /^\d{12}$/);
    assert.match(printed, new RegExp(`^link +https://\\S+/invite#${code}$`, 'm'));
    for (let made = 0; made < 2; made++) {
      assert.ok(await registerByCode(world.net(GRPC_CARRIER), new Account(world.newNumber()), code));
    }
    assert.equal(await registerByCode(world.net(GRPC_CARRIER), new Account(world.newNumber()), code), null);
  });

  test('one that was revoked is none', async () => {
    const printed = await server.command('invite', 'create');
    const id = /^invitation (\S+)$/m.exec(printed)[1];
    await server.command('invite', 'revoke', id);
    assert.equal(await registerByCode(world.net(GRPC_CARRIER), new Account(world.newNumber()), codeOf(printed)), null);
    await assert.rejects(server.command('invite', 'revoke', id));
    assert.equal((await invites()).at(-1).state, 'revoked');
  });

  test('whoever has an account proves the number as ever', async () => {
    const account = new Account(world.newNumber());
    const code = codeOf(await server.command('invite', 'create', '--number', account.number));
    await registerByCode(world.net(GRPC_CARRIER), account, code);
    const anew = account.reinstalled();
    await register(world.net(GRPC_CARRIER), anew, server.outbox);
    assert.equal(anew.uuid, account.uuid);
  });

  test('no code and no number is in the store or the log', async () => {
    const number = world.newNumber();
    const code = codeOf(await server.command('invite', 'create', '--number', number));
    const audit = lines(await server.command('audit', 'export'));
    for (const action of ['create_invite', 'use_invite', 'revoke_invite']) {
      assert.ok(audit.some((record) => record.action === action), action);
    }
    for (const name of fs.readdirSync(server.data).filter((name) => name.includes('.sqlite'))) {
      assert.ok(!fs.readFileSync(path.join(server.data, name)).includes(number.slice(1)), name);
    }
    assert.ok(!JSON.stringify(audit).includes(code));
  });
});

describe('by approval', () => {
  const world = approved;
  const { server } = world;
  const waiting = async () => lines(await server.command('registration', 'list'));

  test('who asks is told to wait, until the operator has decided', async () => {
    const account = new Account(world.newNumber());
    const net = world.net(GRPC_CARRIER);
    await failsWith('RegistrationVerificationCodeNotDeliverable', () => askedForCode(net, account.number));
    const [asked] = await waiting();
    assert.deepEqual([asked.number, asked.standing], [account.number, 'pending']);
    await server.command('registration', 'approve', asked.id);
    await register(net, account, server.outbox);
    assert.deepEqual(await waiting(), []);
  });

  test('who is refused stays outside', async () => {
    const number = world.newNumber();
    await failsWith('RegistrationVerificationCodeNotDeliverable', () => askedForCode(world.net(GRPC_CARRIER), number));
    const asked = (await waiting()).find((found) => found.number === number);
    await server.command('registration', 'refuse', asked.id);
    await failsWith('RegistrationVerificationCodeNotDeliverable', () => askedForCode(world.net(GRPC_CARRIER), number));
    assert.equal((await waiting()).find((found) => found.number === number).standing, 'refused');
  });
});

describe('closed, or not to this number', () => {
  test('nobody new gets a code', async () => {
    await failsWith('RegistrationVerificationCodeNotDeliverable', () => askedForCode(closed.net(GRPC_CARRIER), closed.newNumber()));
    await failsWith('RegistrationVerificationCodeNotDeliverable', () => askedForCode(abroad.net(GRPC_CARRIER), abroad.newNumber()));
    const account = new Account('+4915112345678');
    await register(abroad.net(GRPC_CARRIER), account, abroad.server.outbox);
  });
});

describe('codes', () => {
  test('the operator looks them up', async () => {
    const world = await World.start({ config: '[verification]\nprovider = "operator"\n' });
    const account = new Account(world.newNumber());
    const session = await askedForCode(world.net(GRPC_CARRIER), account.number);
    const [found] = lines(await world.server.command('codes'));
    assert.deepEqual([found.to, found.transport], [account.number, 'sms']);
    assert.equal(await session.verifySession(found.code), true);
    assert.deepEqual(lines(await world.server.command('codes')), []);
    account.adopt(await session.registerAccount(account.registrationArgs()));
  });

  test('a webhook delivers them, and says what it cannot', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'heliograph-webhook-'));
    after(() => fs.rmSync(folder, { recursive: true, force: true }));
    const secret = crypto.randomBytes(24).toString('hex');
    fs.writeFileSync(path.join(folder, 'secret'), `${secret}\n`);
    const delivered = [];
    let status = 204;
    const webhook = http.createServer(async (incoming, outgoing) => {
      const chunks = [];
      for await (const chunk of incoming) chunks.push(chunk);
      const body = Buffer.concat(chunks);
      const timestamp = incoming.headers['heliograph-timestamp'];
      const expected = crypto.createHmac('sha256', secret).update(`${timestamp}.`).update(body).digest('hex');
      const genuine = incoming.headers['heliograph-signature'] === `v1=${expected}`;
      const fresh = Math.abs(Date.now() / 1000 - Number(timestamp)) < 300;
      if (genuine && fresh) delivered.push(JSON.parse(body));
      outgoing.writeHead(genuine && fresh ? status : 401).end();
    });
    await new Promise((resolve) => webhook.listen(0, '127.0.0.1', resolve));
    after(() => webhook.close());
    const world = await World.start({
      config: `[verification]\nprovider = "webhook"\nwebhook_url = "http://127.0.0.1:${webhook.address().port}/codes"\nwebhook_secret_file = "${folder}/secret"\n`,
    });
    const number = world.newNumber();
    const session = await askedForCode(world.net(GRPC_CARRIER), number);
    assert.deepEqual([delivered[0].to, delivered[0].transport, delivered[0].client], [number, 'sms', 'ios']);
    assert.equal(await session.verifySession(delivered[0].code), true);

    status = 406;
    await failsWith('RegistrationVerificationSendFailed', () => askedForCode(world.net(GRPC_CARRIER), world.newNumber()));
    status = 403;
    await failsWith('RegistrationVerificationCodeNotDeliverable', () => askedForCode(world.net(GRPC_CARRIER), world.newNumber()));
  });

  test('Twilio Verify draws and checks them', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'heliograph-twilio-'));
    after(() => fs.rmSync(folder, { recursive: true, force: true }));
    fs.writeFileSync(path.join(folder, 'token'), 'a-token\n');
    const asked = [];
    const twilio = http.createServer(async (incoming, outgoing) => {
      const chunks = [];
      for await (const chunk of incoming) chunks.push(chunk);
      const form = new URLSearchParams(Buffer.concat(chunks).toString());
      const credentials = Buffer.from(incoming.headers.authorization.slice(6), 'base64').toString();
      asked.push({ path: incoming.url, form: Object.fromEntries(form), credentials });
      const status = incoming.url.endsWith('/VerificationCheck') && form.get('Code') === '424242' ? 'approved' : 'pending';
      outgoing.writeHead(incoming.url.endsWith('/Verifications') ? 201 : 200, { 'content-type': 'application/json' });
      outgoing.end(JSON.stringify({ status, valid: status === 'approved' }));
    });
    await new Promise((resolve) => twilio.listen(0, '127.0.0.1', resolve));
    after(() => twilio.close());
    const world = await World.start({
      config: `[verification]\nprovider = "twilio"\ntwilio_account = "AC1"\ntwilio_service = "VA2"\ntwilio_token_file = "${folder}/token"\ntwilio_url = "http://127.0.0.1:${twilio.address().port}"\n`,
    });
    const account = new Account(world.newNumber());
    const session = await askedForCode(world.net(GRPC_CARRIER), account.number);
    assert.equal(await session.verifySession('111111'), false);
    assert.equal(await session.verifySession('424242'), true);
    account.adopt(await session.registerAccount(account.registrationArgs()));
    assert.deepEqual(asked.map((call) => call.path), [
      '/v2/Services/VA2/Verifications',
      '/v2/Services/VA2/VerificationCheck',
      '/v2/Services/VA2/VerificationCheck',
    ]);
    assert.ok(asked.every((call) => call.credentials === 'AC1:a-token' && call.form.To === account.number));
    assert.deepEqual([asked[0].form.Channel, asked[0].form.Locale], ['sms', 'de']);
  });
});
