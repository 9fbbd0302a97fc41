// What the two devices of a linking say to each other, through the server and sealed from it.

import crypto from 'node:crypto';
import * as Signal from '@signalapp/libsignal-client';
import { u8, utf8 } from './bytes.mjs';
import { Events } from './events.mjs';
import { readFields, writeFields } from './protobuf.mjs';

const VERSION = 1;
const MAC_BYTES = 32;
const IV_BYTES = 16;

const ENVELOPE = Object.freeze({ publicKey: 1, body: 2 });
const MESSAGE = Object.freeze({
  aciIdentityKeyPublic: 1,
  aciIdentityKeyPrivate: 2,
  number: 3,
  provisioningCode: 4,
  profileKey: 6,
  aci: 8,
  pni: 10,
  pniIdentityKeyPublic: 11,
  pniIdentityKeyPrivate: 12,
});

/**
 * A provisioning connection of the library. Events: `address` {address, ack}, `envelope` {envelope, ack}, `interrupted`
 * {cause}; addresses are acknowledged, envelopes are not.
 */
export async function connectProvisioning(net) {
  const events = new Events();
  const connection = await net.connectProvisioning({
    onReceivedAddress: (address, ack) => {
      ack.send(200);
      events.push('address', { address });
    },
    onReceivedEnvelope: (envelope, ack) => events.push('envelope', { envelope, ack: () => ack.send(200) }),
    onConnectionInterrupted: (cause) => events.push('interrupted', { cause }),
  });
  return { connection, events };
}

/** The primary's half: everything a new device must know, sealed to the key in its QR code. */
export function sealProvisionMessage(account, provisioningCode, devicePublicKey) {
  const fields = {
    aciIdentityKeyPublic: account.aciStore.identity.publicKey.serialize(),
    aciIdentityKeyPrivate: account.aciStore.identity.privateKey.serialize(),
    pniIdentityKeyPublic: account.pniStore.identity.publicKey.serialize(),
    pniIdentityKeyPrivate: account.pniStore.identity.privateKey.serialize(),
    number: utf8(account.number),
    provisioningCode: utf8(provisioningCode),
    profileKey: account.profileKey,
    aci: utf8(account.uuid),
    pni: utf8(account.pni.getRawUuid()),
  };
  const message = writeFields(Object.entries(fields).map(([name, value]) => [MESSAGE[name], value]));
  const ephemeral = Signal.PrivateKey.generate();
  const { cipherKey, macKey } = derive(ephemeral.agree(devicePublicKey));
  const iv = crypto.randomBytes(IV_BYTES);
  const cipher = crypto.createCipheriv('aes-256-cbc', cipherKey, iv);
  const sealed = Buffer.concat([Buffer.from([VERSION]), iv, cipher.update(message), cipher.final()]);
  const body = Buffer.concat([sealed, mac(macKey, sealed)]);
  return writeFields([
    [ENVELOPE.publicKey, ephemeral.getPublicKey().serialize()],
    [ENVELOPE.body, body],
  ]);
}

/** The new device's half: the fields of the message as bytes, by name. */
export function openProvisionMessage(envelope, devicePrivateKey) {
  const { publicKey, body } = named(readFields(envelope), ENVELOPE);
  const { cipherKey, macKey } = derive(devicePrivateKey.agree(Signal.PublicKey.deserialize(u8(publicKey))));
  const sealed = body.subarray(0, -MAC_BYTES);
  if (sealed[0] !== VERSION || !mac(macKey, sealed).equals(body.subarray(-MAC_BYTES))) {
    throw new Error('the provisioning message was altered');
  }
  const decipher = crypto.createDecipheriv('aes-256-cbc', cipherKey, sealed.subarray(1, 1 + IV_BYTES));
  const message = Buffer.concat([decipher.update(sealed.subarray(1 + IV_BYTES)), decipher.final()]);
  return named(readFields(message), MESSAGE);
}

function derive(agreement) {
  const keys = Buffer.from(crypto.hkdfSync('sha256', agreement, Buffer.alloc(32), 'TextSecure Provisioning Message', 64));
  return { cipherKey: keys.subarray(0, 32), macKey: keys.subarray(32) };
}

function mac(key, bytes) {
  return crypto.createHmac('sha256', key).update(bytes).digest();
}

function named(fields, numbers) {
  const names = Object.entries(numbers).map(([name, number]) => [
    name,
    fields.find((field) => field.number === number)?.value,
  ]);
  return Object.fromEntries(names);
}
