// The protocol stores the official library asks for, in memory, for one identity (ACI or PNI) of one device.

import crypto from 'node:crypto';
import * as Signal from '@signalapp/libsignal-client';
import { b64 } from './bytes.mjs';

const MAX_REGISTRATION_ID = 16_383;

/** One identity of one device: its key pairs, its sessions, and the keys it has made for others to fetch. */
export class IdentityStore {
  #nextKeyId = crypto.randomInt(1, 1 << 23);
  #sessions = new Map();
  #peerIdentities = new Map();
  #preKeys = new Map();
  #signedPreKeys = new Map();
  #kyberPreKeys = new Map();
  #senderKeys = new Map();
  #lastResortIds = new Set();

  /** A new identity, or one that another device of the account has too. */
  constructor(identity = Signal.IdentityKeyPair.generate()) {
    this.identity = identity;
    this.registrationId = crypto.randomInt(1, MAX_REGISTRATION_ID + 1);
  }

  /** Makes a signed pre-key and remembers its private half. */
  newSignedPreKey() {
    const key = Signal.PrivateKey.generate();
    const publicKey = key.getPublicKey();
    const id = this.#nextKeyId++;
    const record = Signal.SignedPreKeyRecord.new(id, Date.now(), publicKey, key, this.#sign(publicKey));
    this.#signedPreKeys.set(id, record.serialize());
    return record;
  }

  /** Makes a Kyber pre-key and remembers its private half. A last-resort key survives being used. */
  newKyberPreKey({ lastResort = false } = {}) {
    const pair = Signal.KEMKeyPair.generate();
    const id = this.#nextKeyId++;
    const record = Signal.KyberPreKeyRecord.new(id, Date.now(), pair, this.#sign(pair.getPublicKey()));
    this.#kyberPreKeys.set(id, record.serialize());
    if (lastResort) this.#lastResortIds.add(id);
    return record;
  }

  /** Makes a one-time pre-key and remembers its private half. */
  newPreKey() {
    const key = Signal.PrivateKey.generate();
    const id = this.#nextKeyId++;
    const record = Signal.PreKeyRecord.new(id, key.getPublicKey(), key);
    this.#preKeys.set(id, record.serialize());
    return record;
  }

  #sign(publicKey) {
    return this.identity.privateKey.sign(publicKey.serialize());
  }

  // What follows is the interface of the library's IdentityKeyStore, SessionStore, PreKeyStore, SignedPreKeyStore,
  // KyberPreKeyStore and SenderKeyStore.

  async getIdentityKey() {
    return this.identity.privateKey;
  }

  async getIdentityKeyPair() {
    return this.identity;
  }

  async getLocalRegistrationId() {
    return this.registrationId;
  }

  async saveIdentity(address, key) {
    const known = this.#peerIdentities.get(address.toString());
    this.#peerIdentities.set(address.toString(), key);
    const changed = known !== undefined && !known.equals(key);
    return changed ? Signal.IdentityChange.ReplacedExisting : Signal.IdentityChange.NewOrUnchanged;
  }

  async isTrustedIdentity(address, key) {
    const known = this.#peerIdentities.get(address.toString());
    return known === undefined || known.equals(key);
  }

  async getIdentity(address) {
    return this.#peerIdentities.get(address.toString()) ?? null;
  }

  async saveSession(address, record) {
    this.#sessions.set(address.toString(), record.serialize());
  }

  async getSession(address) {
    const bytes = this.#sessions.get(address.toString());
    return bytes ? Signal.SessionRecord.deserialize(bytes) : null;
  }

  async getExistingSessions(addresses) {
    return addresses.map((address) =>
      Signal.SessionRecord.deserialize(need(this.#sessions, address.toString(), 'session')),
    );
  }

  async savePreKey(id, record) {
    this.#preKeys.set(id, record.serialize());
  }

  async getPreKey(id) {
    return Signal.PreKeyRecord.deserialize(need(this.#preKeys, id, 'one-time pre-key'));
  }

  async removePreKey(id) {
    this.#preKeys.delete(id);
  }

  async saveSignedPreKey(id, record) {
    this.#signedPreKeys.set(id, record.serialize());
  }

  async getSignedPreKey(id) {
    return Signal.SignedPreKeyRecord.deserialize(need(this.#signedPreKeys, id, 'signed pre-key'));
  }

  async saveKyberPreKey(id, record) {
    this.#kyberPreKeys.set(id, record.serialize());
  }

  async getKyberPreKey(id) {
    return Signal.KyberPreKeyRecord.deserialize(need(this.#kyberPreKeys, id, 'Kyber pre-key'));
  }

  async markKyberPreKeyUsed(id) {
    if (!this.#lastResortIds.has(id)) this.#kyberPreKeys.delete(id);
  }

  async saveSenderKey(sender, distributionId, record) {
    this.#senderKeys.set(senderKeyName(sender, distributionId), record.serialize());
  }

  async getSenderKey(sender, distributionId) {
    const bytes = this.#senderKeys.get(senderKeyName(sender, distributionId));
    return bytes ? Signal.SenderKeyRecord.deserialize(bytes) : null;
  }
}

/** A public key as the REST API writes it: `{ keyId, publicKey, signature? }`. */
export function keyJson(record) {
  const json = { keyId: record.id(), publicKey: b64(record.publicKey().serialize()) };
  if ('signature' in record) json.signature = b64(record.signature());
  return json;
}

function senderKeyName(sender, distributionId) {
  return `${sender.toString()} ${distributionId}`;
}

function need(map, id, what) {
  const bytes = map.get(id);
  if (bytes === undefined) throw new Error(`${what} ${id} is not in the store`);
  return bytes;
}
