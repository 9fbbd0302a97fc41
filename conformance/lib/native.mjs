// A client of the native API, with nothing but Node: HTTPS and JSON. What it encrypts with is Signal's protocol, by the
// official library.

import crypto from 'node:crypto';
import * as Signal from '@signalapp/libsignal-client';
import { b64, textOf, u8, utf8 } from './bytes.mjs';
import { request } from './https.mjs';
import { pad, unpad } from './padding.mjs';
import { IdentityStore } from './store.mjs';

const { Whisper, PreKey } = Signal.CiphertextMessageType;
const TYPES = new Map([
  [Whisper, 'ciphertext'],
  [PreKey, 'prekey'],
]);

/** A password that the policy takes. */
export const PASSWORD = 'a sentence is fine';

let people = 0;

/** A refusal of the server: problem details with a stable code. */
export class Problem extends Error {
  constructor({ status, json, text }) {
    super(`${status} ${json?.code ?? text}`);
    this.status = status;
    this.code = json?.code;
    this.details = json;
  }
}

/** A device of a native account. */
export class NativeClient {
  #server;
  #tokens;
  #reauthentication;

  constructor(server, identity) {
    this.#server = server;
    this.deviceIdentifier = crypto.randomUUID();
    this.store = new IdentityStore(identity);
  }

  /** A new account under a name that nobody has had, with the usual password. */
  static newPerson(server) {
    people += 1;
    return NativeClient.register(server, `person-${people}`, PASSWORD);
  }

  /** A new account, logged in, its keys published with the registration. */
  static async register(server, username, password) {
    const client = new NativeClient(server);
    client.username = username;
    const body = {
      username,
      password,
      device_identifier: client.deviceIdentifier,
      registration_id: client.store.registrationId,
      keys: client.firstKeys(),
    };
    client.#logIn(await client.call('POST', '/register', { body, anonymous: true }));
    return client;
  }

  /** A code that lets another device in. It takes the password, as logging in would. */
  async linkCode() {
    await this.reauthenticate({ password: PASSWORD });
    return this.call('POST', '/devices/link-code');
  }

  /** One more device of this account, let in by a code that this one shows. It never sees the password. */
  async link({ name } = {}) {
    const { uri } = await this.linkCode();
    // What the QR code holds; the identity key comes by another way that only the two apps know.
    const { searchParams } = new URL(uri);
    const client = new NativeClient(this.#server, this.store.identity);
    const body = {
      code: searchParams.get('code'),
      device_identifier: client.deviceIdentifier,
      device_name: name,
      registration_id: client.store.registrationId,
      keys: client.firstKeys(),
    };
    client.#logIn(await client.call('POST', '/link', { body, anonymous: true }));
    return client;
  }

  /** Logs in again from the same device. */
  async login(username, password) {
    const body = { username, password, device_identifier: this.deviceIdentifier };
    this.#logIn(await this.call('POST', '/login', { body, anonymous: true }));
  }

  /** Finishes a log-in that was refused with `second_factor_required`, by a factor: `{ one_time_password }` or another. */
  async finishLogin({ details }, proof) {
    const body = { login_token: details.login_token, ...proof };
    this.#logIn(await this.call('POST', '/login/second-factor', { body, anonymous: true }));
  }

  /** Logs in with a passkey alone; `use` answers, now or later, what `navigator.credentials.get()` would, as JSON. */
  async loginWithPasskey(use) {
    const options = await this.call('POST', '/login/passkey/options', { anonymous: true });
    const body = { passkey: await use(options), device_identifier: this.deviceIdentifier };
    this.#logIn(await this.call('POST', '/login/passkey', { body, anonymous: true }));
  }

  /** Shows again who the owner is; what may take the account over is then granted for some minutes. */
  async reauthenticate(proof) {
    const { reauthentication_token } = await this.call('POST', '/reauthenticate', { body: proof });
    this.#reauthentication = reauthentication_token;
  }

  /** Trades the refresh token in for the next tokens. */
  async refresh() {
    const body = { refresh_token: this.#tokens.refresh_token };
    this.#tokens = await this.call('POST', '/token/refresh', { body, anonymous: true });
  }

  /** Publishes the identity key anew, and the keys of this device under it. */
  async publishIdentity() {
    await this.call('PUT', '/keys', { body: this.firstKeys() });
  }

  /** Leaves one-time keys with the server. */
  async publishOneTimeKeys(count) {
    const many = (make) => Array.from({ length: count }, () => keyJson(make()));
    const body = {
      pre_keys: many(() => this.store.newPreKey()),
      pq_pre_keys: many(() => this.store.newKyberPreKey()),
    };
    await this.call('PUT', '/keys', { body });
  }

  /** Encrypts a text for every device of an account and sends it. Sessions are started as needed. */
  async send(recipient, text, { timestamp = Date.now() } = {}) {
    this.sessions ??= new Map();
    if (!this.sessions.has(recipient)) this.sessions.set(recipient, await this.#startSessions(recipient));
    const messages = [];
    for (const device of this.sessions.get(recipient)) {
      const message = await Signal.signalEncrypt(
        pad(utf8(text)),
        Signal.ProtocolAddress.new(Signal.Aci.parseFromServiceIdString(recipient), device.device_id),
        this.address,
        this.store,
        this.store,
      );
      messages.push({ ...device, type: TYPES.get(message.type()), encrypted_payload: b64(message.serialize()) });
    }
    const body = { recipient_id: recipient, sender_id: this.userId, timestamp, messages };
    return { timestamp, ...(await this.call('POST', '/messages', { body })) };
  }

  /** Waits for the next message of a person, decrypts and acknowledges it. Receipts on the way are given to `onReceipt`. */
  async receive({ onReceipt = () => {} } = {}) {
    for (;;) {
      const { messages } = await this.call('GET', '/messages?wait=5&limit=1');
      if (messages.length === 0) throw new Error('no message came');
      const [message] = messages;
      const receipt = message.type === 'receipt';
      const text = receipt ? null : await this.#decrypt(message);
      await this.call('DELETE', `/messages/${message.id}`);
      if (!receipt) return { ...message, text };
      onReceipt(message);
    }
  }

  /** The device as sessions know it. */
  get address() {
    return Signal.ProtocolAddress.new(this.aci, this.deviceId);
  }

  get aci() {
    return Signal.Aci.parseFromServiceIdString(this.userId);
  }

  /** Asks the server for something; a refusal is a `Problem`. */
  async call(method, path, { body, anonymous = false } = {}) {
    const headers = anonymous ? {} : { authorization: `Bearer ${this.#tokens.access_token}` };
    if (this.#reauthentication && !anonymous) headers['reauthentication-token'] = this.#reauthentication;
    const response = await request(this.#server, { method, path, headers, json: body });
    if (response.status >= 400) throw new Problem(response);
    return response.json;
  }

  #logIn({ user_id, device_id, tokens }) {
    this.userId = user_id;
    this.deviceId = device_id;
    this.#tokens = tokens;
  }

  /** The keys with which the device begins, as requests have them. */
  firstKeys() {
    return {
      identity_key: b64(this.store.identity.publicKey.serialize()),
      signed_pre_key: keyJson(this.store.newSignedPreKey()),
      pq_last_resort_pre_key: keyJson(this.store.newKyberPreKey({ lastResort: true })),
    };
  }

  async #startSessions(recipient) {
    const { identity_key, devices } = await this.call('GET', `/keys/${recipient}`);
    const identity = Signal.PublicKey.deserialize(u8(identity_key));
    const target = Signal.Aci.parseFromServiceIdString(recipient);
    for (const device of devices) {
      const bundle = Signal.PreKeyBundle.new(
        device.registration_id,
        device.device_id,
        device.pre_key?.key_id ?? null,
        device.pre_key ? Signal.PublicKey.deserialize(u8(device.pre_key.public_key)) : null,
        device.signed_pre_key.key_id,
        Signal.PublicKey.deserialize(u8(device.signed_pre_key.public_key)),
        u8(device.signed_pre_key.signature),
        identity,
        device.pq_pre_key.key_id,
        Signal.KEMPublicKey.deserialize(u8(device.pq_pre_key.public_key)),
        u8(device.pq_pre_key.signature),
      );
      const remote = Signal.ProtocolAddress.new(target, device.device_id);
      await Signal.processPreKeyBundle(bundle, remote, this.address, this.store, this.store);
    }
    return devices.map(({ device_id, registration_id }) => ({ device_id, registration_id }));
  }

  async #decrypt({ type, sender_id, sender_device_id, encrypted_payload }) {
    const remote = Signal.ProtocolAddress.new(Signal.Aci.parseFromServiceIdString(sender_id), sender_device_id);
    const bytes = u8(encrypted_payload);
    const { store } = this;
    const padded =
      type === 'prekey'
        ? await Signal.signalDecryptPreKey(
            Signal.PreKeySignalMessage.deserialize(bytes),
            remote,
            this.address,
            store,
            store,
            store,
            store,
            store,
          )
        : await Signal.signalDecrypt(Signal.SignalMessage.deserialize(bytes), remote, this.address, store, store);
    return textOf(unpad(padded));
  }
}

/** A public key as the native API writes it. */
function keyJson(record) {
  const json = { key_id: record.id(), public_key: b64(record.publicKey().serialize()) };
  if ('signature' in record) json.signature = b64(record.signature());
  return json;
}
