// An account as one of its devices knows it, and how it registers.

import crypto from 'node:crypto';
import * as Signal from '@signalapp/libsignal-client';
import { ProfileKey } from '@signalapp/libsignal-client/zkgroup.js';
import { b64, u8 } from './bytes.mjs';
import { basicAuth } from './client.mjs';
import { IdentityStore, keyJson } from './store.mjs';

const PASSWORD_BYTES = 18;

/** Any text is a captcha answer for a server that has no captcha provider. */
export const CAPTCHA = 'signalcaptcha://conformance';

/** Credentials, both identities, and the keys the device publishes when it registers. */
export class Account {
  constructor(number) {
    this.number = number;
    this.deviceId = 1;
    this.password = newPassword();
    this.capabilities = ['storage', 'attachmentBackfill', 'spqr', 'usernameChangeSyncMessage'];
    this.discoverable = true;
    this.registrationLock = null;
    this.recoveryPassword = u8(crypto.randomBytes(32));
    this.profileKey = u8(crypto.randomBytes(32));
    this.renewKeys();
  }

  /** New identities and keys, as a reinstalled app has them. */
  renewKeys({ aciIdentity, pniIdentity } = {}) {
    this.aciStore = new IdentityStore(aciIdentity);
    this.pniStore = new IdentityStore(pniIdentity);
    this.aciSignedPreKey = this.aciStore.newSignedPreKey();
    this.aciLastResort = this.aciStore.newKyberPreKey({ lastResort: true });
    this.pniSignedPreKey = this.pniStore.newSignedPreKey();
    this.pniLastResort = this.pniStore.newKyberPreKey({ lastResort: true });
  }

  /** What a reinstalled app would be: the same number, recovery password and profile key, everything else new. */
  reinstalled() {
    const fresh = new Account(this.number);
    fresh.recoveryPassword = this.recoveryPassword;
    fresh.profileKey = this.profileKey;
    return fresh;
  }

  /** One more device of the same account, not yet linked: the same identities and profile key, everything else its own. */
  newDevice() {
    const device = new Account(this.number);
    device.renewKeys({ aciIdentity: this.aciStore.identity, pniIdentity: this.pniStore.identity });
    return Object.assign(device, { aci: this.aci, pni: this.pni, profileKey: this.profileKey, deviceId: null });
  }

  /** The ACI as text. */
  get uuid() {
    return this.aci.getServiceIdString();
  }

  /** The user name of the device's credentials. */
  get username() {
    return `${this.uuid}.${this.deviceId}`;
  }

  /** The address of this device under its ACI. */
  get address() {
    return Signal.ProtocolAddress.new(this.aci, this.deviceId);
  }

  /** The key that lets others reach this account without saying who they are. */
  get accessKey() {
    return new ProfileKey(this.profileKey).deriveAccessKey();
  }

  /** Where others send to this device under its ACI. */
  get device() {
    return { deviceId: this.deviceId, registrationId: this.aciStore.registrationId };
  }

  /** Where others send to this device under its PNI. */
  get pniDevice() {
    return { deviceId: this.deviceId, registrationId: this.pniStore.registrationId };
  }

  /** Takes over what the server answered to a registration. */
  adopt(response) {
    this.aci = response.aci;
    this.pni = response.pni;
    return this;
  }

  /** The arguments of the library's registration calls. */
  registrationArgs({ skipDeviceTransfer = true } = {}) {
    return {
      accountPassword: this.password,
      skipDeviceTransfer,
      accountAttributes: new Signal.Net.AccountAttributes({
        recoveryPassword: this.recoveryPassword,
        aciRegistrationId: this.aciStore.registrationId,
        pniRegistrationId: this.pniStore.registrationId,
        registrationLock: this.registrationLock,
        unidentifiedAccessKey: this.accessKey,
        unrestrictedUnidentifiedAccess: false,
        capabilities: new Set(this.capabilities),
        discoverableByPhoneNumber: this.discoverable,
      }),
      aciPublicKey: this.aciStore.identity.publicKey,
      pniPublicKey: this.pniStore.identity.publicKey,
      aciSignedPreKey: this.aciSignedPreKey,
      pniSignedPreKey: this.pniSignedPreKey,
      aciPqLastResortPreKey: this.aciLastResort,
      pniPqLastResortPreKey: this.pniLastResort,
    };
  }

  /** The account attributes as apps write them in JSON. */
  attributesJson() {
    return {
      fetchesMessages: true,
      registrationId: this.aciStore.registrationId,
      pniRegistrationId: this.pniStore.registrationId,
      recoveryPassword: b64(this.recoveryPassword),
      registrationLock: this.registrationLock,
      unidentifiedAccessKey: b64(this.accessKey),
      unrestrictedUnidentifiedAccess: false,
      capabilities: Object.fromEntries(this.capabilities.map((name) => [name, true])),
      discoverableByPhoneNumber: this.discoverable,
    };
  }

  /** The body of `POST /v1/registration`, for requests the library would not make. `proof` is what shows the right to the number. */
  registrationJson(proof) {
    return {
      ...proof,
      accountAttributes: this.attributesJson(),
      skipDeviceTransfer: true,
      aciIdentityKey: b64(this.aciStore.identity.publicKey.serialize()),
      pniIdentityKey: b64(this.pniStore.identity.publicKey.serialize()),
      aciSignedPreKey: keyJson(this.aciSignedPreKey),
      pniSignedPreKey: keyJson(this.pniSignedPreKey),
      aciPqLastResortPreKey: keyJson(this.aciLastResort),
      pniPqLastResortPreKey: keyJson(this.pniLastResort),
    };
  }
}

/** The body of `PUT /v1/devices/link` for a device made by `newDevice`. */
export function linkJson(device, verificationCode) {
  return {
    verificationCode,
    accountAttributes: {
      fetchesMessages: true,
      registrationId: device.aciStore.registrationId,
      pniRegistrationId: device.pniStore.registrationId,
      name: null,
      capabilities: Object.fromEntries(device.capabilities.map((name) => [name, true])),
    },
    aciSignedPreKey: keyJson(device.aciSignedPreKey),
    pniSignedPreKey: keyJson(device.pniSignedPreKey),
    aciPqLastResortPreKey: keyJson(device.aciLastResort),
    pniPqLastResortPreKey: keyJson(device.pniLastResort),
  };
}

/** Asks the primary for a link code: `{ verificationCode, tokenIdentifier }`. */
export async function newLinkCode(primary) {
  const response = await primary.rest('GET', '/v1/devices/provisioning/code');
  if (response.status !== 200) throw new Error(`no link code: ${response.status} ${response.text}`);
  return response.json;
}

/**
 * Asks for the device to be linked, over an anonymous connection as Desktop does; resolves with the answer whatever its
 * status. The user name of the credentials is the number, as in Desktop, unless it is given.
 */
export function requestLink(anonymous, device, body, user = device.number) {
  return anonymous.rest('PUT', '/v1/devices/link', { json: body, headers: [basicAuth(user, device.password)] });
}

/** A device password, as apps make them. */
export function newPassword() {
  return crypto.randomBytes(PASSWORD_BYTES).toString('base64url');
}

/** Opens a verification session for the number and enters the code the server sent; returns the session. */
export async function verifiedSession(net, number, codes) {
  const session = await net.createRegistrationSession({ e164: number });
  if (!session.sessionState.allowedToRequestCode) await session.submitCaptcha(CAPTCHA);
  const already = codes.count(number);
  await session.requestVerification({ transport: 'sms', client: 'ios', languages: ['en'] });
  const { code } = await codes.next(number, already);
  if (!(await session.verifySession(code))) throw new Error('the server did not accept its own verification code');
  return session;
}

/** Registers the account's number through a verification session. */
export async function register(net, account, codes, options) {
  const session = await verifiedSession(net, account.number, codes);
  const response = await session.registerAccount(account.registrationArgs(options));
  account.adopt(response);
  return response;
}

/** Registers the account's number again with its recovery password. */
export async function reregister(net, account, options) {
  const response = await net.reregisterAccount({ ...account.registrationArgs(options), e164: account.number });
  account.adopt(response);
  return response;
}
