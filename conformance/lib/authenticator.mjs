// An authenticator in software, and the app around it: passkeys as Web Authentication Level 3 has them.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';

const USER_PRESENT = 0x01;
const USER_VERIFIED = 0x04;
const HAS_CREDENTIAL = 0x40;

const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest();
const b64url = (bytes) => Buffer.from(bytes).toString('base64url');
const int = (value) => (value >= 0 ? head(0, value) : head(1, -1 - value));
const byteString = (bytes) => Buffer.concat([head(2, bytes.length), bytes]);
const text = (value) => Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)]);
const map = (...pairs) => Buffer.concat([head(5, pairs.length), ...pairs.flat()]);

/** The head of a CBOR value (RFC 8949, section 3). */
function head(major, argument) {
  if (argument < 24) return Buffer.from([(major << 5) | argument]);
  if (argument < 0x100) return Buffer.from([(major << 5) | 24, argument]);
  return Buffer.from([(major << 5) | 25, argument >> 8, argument & 0xff]);
}

const KINDS = {
  [-7]: {
    generate: () => crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    publicKey: ({ x, y }) =>
      map([int(1), int(2)], [int(3), int(-7)], [int(-1), int(1)], [int(-2), byteString(x)], [int(-3), byteString(y)]),
    sign: (key, message) => crypto.sign('sha256', message, key),
  },
  [-8]: {
    generate: () => crypto.generateKeyPairSync('ed25519'),
    publicKey: ({ x }) => map([int(1), int(1)], [int(3), int(-8)], [int(-1), int(6)], [int(-2), byteString(x)]),
    sign: (key, message) => crypto.sign(null, message, key),
  },
};

/** One passkey. `algorithm` is its number for COSE. */
export class Authenticator {
  constructor({ algorithm = -7, relyingParty = 'localhost', origin = `https://${relyingParty}` } = {}) {
    this.kind = KINDS[algorithm];
    const { publicKey, privateKey } = this.kind.generate();
    this.privateKey = privateKey;
    const { x, y } = publicKey.export({ format: 'jwk' });
    this.coordinates = { x: Buffer.from(x, 'base64url'), y: Buffer.from(y ?? '', 'base64url') };
    this.credentialId = crypto.randomBytes(32);
    this.relyingParty = relyingParty;
    this.origin = origin;
    this.counter = 0;
  }

  /** Makes the passkey: `{ attestationObject, collectedClientDataJson }`. */
  create(challenge = crypto.randomBytes(32)) {
    const { credentialId, coordinates } = this;
    const length = Buffer.from([credentialId.length >> 8, credentialId.length & 0xff]);
    const credential = [Buffer.alloc(16), length, credentialId, this.kind.publicKey(coordinates)];
    const data = Buffer.concat([this.#data(HAS_CREDENTIAL), ...credential]);
    const object = map([text('fmt'), text('none')], [text('attStmt'), map()], [text('authData'), byteString(data)]);
    return {
      attestationObject: Uint8Array.from(object),
      collectedClientDataJson: this.#clientData('webauthn.create', challenge),
    };
  }

  /** Makes the passkey as `PublicKeyCredentialCreationOptionsJSON` asks: a `RegistrationResponseJSON`. */
  createFrom({ challenge, user, rp }) {
    assert.equal(rp.id, this.relyingParty);
    this.userHandle = user.id;
    const { attestationObject, collectedClientDataJson } = this.create(Buffer.from(challenge, 'base64url'));
    const id = b64url(this.credentialId);
    return {
      id,
      rawId: id,
      type: 'public-key',
      authenticatorAttachment: 'platform',
      clientExtensionResults: { credProps: { rk: true } },
      response: {
        clientDataJSON: b64url(collectedClientDataJson),
        attestationObject: b64url(attestationObject),
        transports: ['internal'],
      },
    };
  }

  /** Uses it as `PublicKeyCredentialRequestOptionsJSON` asks: an `AuthenticationResponseJSON`. */
  getFrom({ challenge, rpId, allowCredentials }) {
    assert.equal(rpId, this.relyingParty);
    const id = b64url(this.credentialId);
    assert.ok(allowCredentials.length === 0 || allowCredentials.some((allowed) => allowed.id === id));
    const response = JSON.parse(this.get(Buffer.from(challenge, 'base64url')));
    response.response.userHandle = this.userHandle;
    return response;
  }

  /** Uses it: the text of an `AuthenticationResponseJSON`. */
  get(challenge) {
    this.counter += 1;
    const data = this.#data(0);
    const clientData = this.#clientData('webauthn.get', challenge);
    const signature = this.kind.sign(this.privateKey, Buffer.concat([data, sha256(clientData)]));
    const id = b64url(this.credentialId);
    return JSON.stringify({
      id,
      rawId: id,
      type: 'public-key',
      clientExtensionResults: {},
      response: {
        clientDataJSON: b64url(clientData),
        authenticatorData: b64url(data),
        signature: b64url(signature),
      },
    });
  }

  #clientData(type, challenge) {
    return JSON.stringify({ type, challenge: b64url(challenge), origin: this.origin, crossOrigin: false });
  }

  #data(flags) {
    const counter = Buffer.alloc(4);
    counter.writeUInt32BE(this.counter);
    return Buffer.concat([
      sha256(this.relyingParty),
      Buffer.from([flags | USER_PRESENT | USER_VERIFIED]),
      counter,
    ]);
  }
}
