// One attempt at each way to connect and to register.

import assert from 'node:assert/strict';
import { Account, CAPTCHA, register, reregister, verifiedSession } from '../account.mjs';
import { Events } from '../events.mjs';
import { answersOr } from './support.mjs';
import { receiptPresentation } from './credentials.mjs';

const CODE_REQUEST = { transport: 'sms', client: 'ios', languages: ['en'] };

/** Probes of the library's entry point, by the name of the call. */
export const netProbes = {
  preconnectChat: ({ net }) => net().preconnectChat(),
  connectAuthenticatedChat: ({ person }) => person(),
  connectUnauthenticatedChat: ({ connectAnonymously }) => connectAnonymously(),
  connectProvisioning: async ({ net }) => {
    const events = new Events();
    const connection = await net().connectProvisioning({
      onReceivedAddress: (address, ack) => (ack.send(200), events.push('address')),
      onReceivedEnvelope: () => {},
      onConnectionInterrupted: () => {},
    });
    await events.waitFor('address');
    await connection.disconnect();
  },
  createRegistrationSession: ({ net, newNumber }) => net().createRegistrationSession({ e164: newNumber() }),
  resumeRegistrationSession: async ({ net, newNumber }) => {
    const e164 = newNumber();
    const { sessionId } = await net().createRegistrationSession({ e164 });
    await net().resumeRegistrationSession({ sessionId, e164 });
  },
  reregisterAccount: async ({ net, newNumber, outbox }) => {
    const account = new Account(newNumber());
    await register(net(), account, outbox);
    await reregister(net(), account.reinstalled());
  },
  registerAccountWithoutNumber: ({ net }) => {
    const args = { ...withoutPniKeys(new Account(null)), receiptCredentialPresentation: receiptPresentation() };
    return answersOr('RegistrationInvalidReceipt', () => net().registerAccountWithoutNumber(args));
  },
  reregisterAccountWithoutNumber: async ({ net, newNumber, outbox }) => {
    const account = new Account(newNumber());
    await register(net(), account, outbox);
    const args = { ...withoutPniKeys(account.reinstalled()), aci: account.aci };
    await net().reregisterAccountWithoutNumber(args);
  },
};

/** Probes of a registration session, by the name of the call. */
export const registrationProbes = {
  submitCaptcha: async ({ net, newNumber }) => {
    const session = await net().createRegistrationSession({ e164: newNumber() });
    assert.equal((await session.submitCaptcha(CAPTCHA)).allowedToRequestCode, true);
  },
  requestVerification: async ({ net, newNumber, outbox }) => {
    const number = newNumber();
    const session = await net().createRegistrationSession({ e164: number });
    if (!session.sessionState.allowedToRequestCode) await session.submitCaptcha(CAPTCHA);
    await session.requestVerification(CODE_REQUEST);
    await outbox.next(number);
  },
  verifySession: ({ net, newNumber, outbox }) => verifiedSession(net(), newNumber(), outbox),
  checkSvr2Credentials: async ({ net, newNumber }) => {
    const session = await net().createRegistrationSession({ e164: newNumber() });
    await session.checkSvr2Credentials(['user:1700000000:00']);
  },
  registerAccount: ({ net, newNumber, outbox }) => register(net(), new Account(newNumber()), outbox),
};

/** The library panics when it is given keys of an identity the account is not to have. */
function withoutPniKeys(account) {
  const { pniPublicKey, pniSignedPreKey, pniPqLastResortPreKey, ...args } = account.registrationArgs();
  return args;
}
