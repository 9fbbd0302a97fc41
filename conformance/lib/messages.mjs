// Sending end-to-end encrypted messages, and reading them.

import * as Signal from '@signalapp/libsignal-client';
import { b64, textOf, utf8 } from './bytes.mjs';
import { EnvelopeType, parseEnvelope } from './envelope.mjs';
import { pad, unpad } from './padding.mjs';
import { seal, sealForMany, unseal } from './sealed.mjs';

const { Whisper, PreKey, SenderKey, Plaintext } = Signal.CiphertextMessageType;

/** How the content of an envelope that names its sender is encrypted, by the envelope's type. */
const IDENTIFIED_TYPES = new Map([
  [EnvelopeType.DoubleRatchet, Whisper],
  [EnvelopeType.PreKey, PreKey],
  [EnvelopeType.PlaintextContent, Plaintext],
]);

/** Encrypts a text for every device of the list, in the form the library's send calls take. */
export async function encryptFor(account, target, devices, text) {
  const padded = pad(typeof text === 'string' ? utf8(text) : text);
  const contents = [];
  for (const device of devices) {
    const remote = Signal.ProtocolAddress.new(target, device.deviceId);
    const encrypted = await Signal.signalEncrypt(padded, remote, account.address, account.aciStore, account.aciStore);
    contents.push({ ...device, contents: encrypted });
  }
  return contents;
}

/** Sends a text as an identified sender; resolves with the message's timestamp once the server has accepted it. */
export async function send(
  connection,
  target,
  devices,
  text,
  { onlineOnly = false, urgent = true, timestamp = Date.now() } = {},
) {
  const contents = await encryptFor(connection.account, target, devices, text);
  await connection.chat.sendMessage({ destination: target, timestamp, contents, onlineOnly, urgent });
  return timestamp;
}

/** Sends a text to the sender's other devices, as apps do with what they have sent and read. */
export async function sendSync(connection, devices, text, { urgent = true, timestamp = Date.now() } = {}) {
  const contents = await encryptFor(connection.account, connection.account.aci, devices, text);
  await connection.chat.sendSyncMessage({ timestamp, contents, urgent });
  return timestamp;
}

/** The body of a send in JSON, for what the library does not show of the answer. */
export async function sendJson(account, target, devices, text) {
  const contents = await encryptFor(account, target, devices, text);
  const messages = contents.map(({ deviceId, registrationId, contents: message }) => ({
    type: message.type() === Signal.CiphertextMessageType.PreKey ? EnvelopeType.PreKey : EnvelopeType.DoubleRatchet,
    destinationDeviceId: deviceId,
    destinationRegistrationId: registrationId,
    content: b64(message.serialize()),
  }));
  return { messages, online: false, urgent: true, timestamp: Date.now() };
}

/**
 * Sends a text over an anonymous connection, sealed under a sender certificate of the account. `auth` is what the library's
 * call takes: `{ accessKey }`, a group send token, 'story' or 'unrestricted'. Resolves with the message's timestamp.
 */
export async function sendSealed(
  anonymous,
  account,
  target,
  devices,
  text,
  { certificate, auth, onlineOnly = false, urgent = true, timestamp = Date.now(), ...options },
) {
  const contents = await seal(account, target, await encryptFor(account, target, devices, text), certificate, options);
  await anonymous.chat.sendMessage({ destination: target, timestamp, contents, auth, onlineOnly, urgent });
  return timestamp;
}

/**
 * Sends one text to many over an anonymous connection; `recipients` and the options of the sealing are those of
 * `sealForMany`. Resolves with `{ timestamp, unregisteredIds }`.
 */
export async function sendToMany(
  anonymous,
  account,
  recipients,
  text,
  { certificate, auth, onlineOnly = false, urgent = true, timestamp = Date.now(), ...options },
) {
  const payload = await sealForMany(account, recipients, text, certificate, options);
  const sending = { payload, timestamp, auth, onlineOnly, urgent };
  const { unregisteredIds } = await anonymous.chat.sendMultiRecipientMessage(sending);
  return { timestamp, unregisteredIds };
}

/**
 * Takes the next message event, decrypts it, and acknowledges it unless `ack` is false. Delivery receipts on the way are
 * acknowledged and passed over unless `receipts` is true. The result is the envelope with what `decrypt` says of it,
 * `timestamp` of the delivery, and `ack`.
 */
export async function receive(connection, { ack = true, receipts = false, timeoutMs, trustRoots } = {}) {
  for (;;) {
    const event = await connection.events.waitFor('message', { timeoutMs });
    const envelope = parseEnvelope(event.envelope);
    if (envelope.type === EnvelopeType.ServerDeliveryReceipt && !receipts) {
      event.ack();
      continue;
    }
    const opened = await decrypt(connection.account, envelope, trustRoots ?? connection.trustRoots);
    if (ack) event.ack();
    return { ...envelope, ...opened, deliveredAt: event.timestamp, ack: event.ack };
  }
}

/**
 * What an envelope holds: `{ text }`, which is `null` for a delivery receipt; of a sealed one also `sealed`, who sent it
 * by the certificate inside, which must be good under one of the trust roots.
 */
export async function decrypt(account, envelope, trustRoots) {
  if (envelope.type === EnvelopeType.ServerDeliveryReceipt) return { text: null };
  const toPni = account.pni && envelope.destination.isEqual(account.pni);
  const store = toPni ? account.pniStore : account.aciStore;
  const local = Signal.ProtocolAddress.new(envelope.destination, account.deviceId);
  if (envelope.type !== EnvelopeType.UnidentifiedSender) {
    const remote = Signal.ProtocolAddress.new(envelope.source, envelope.sourceDevice);
    return { text: await textFrom(IDENTIFIED_TYPES.get(envelope.type), envelope.content, remote, local, store) };
  }
  const { messageType, message, ...sealed } = await unseal(envelope, store, trustRoots);
  const remote = Signal.ProtocolAddress.new(sealed.sender, sealed.senderDevice);
  return { text: await textFrom(messageType, message, remote, local, store), sealed };
}

async function textFrom(type, bytes, remote, local, store) {
  return textOf(unpad(await decryptContent(type, bytes, remote, local, store)));
}

async function decryptContent(type, bytes, remote, local, store) {
  switch (type) {
    case Whisper:
      return Signal.signalDecrypt(Signal.SignalMessage.deserialize(bytes), remote, local, store, store);
    case PreKey: {
      const message = Signal.PreKeySignalMessage.deserialize(bytes);
      return Signal.signalDecryptPreKey(message, remote, local, store, store, store, store, store);
    }
    case SenderKey:
      return Signal.groupDecrypt(remote, store, bytes);
    case Plaintext:
      return Signal.PlaintextContent.deserialize(bytes).body();
    default:
      throw new Error(`no way to decrypt a message of type ${type} here`);
  }
}
