// Sending end-to-end encrypted messages, and reading them.

import * as Signal from '@signalapp/libsignal-client';
import { textOf, utf8 } from './bytes.mjs';
import { EnvelopeType, parseEnvelope } from './envelope.mjs';

const PADDING_BLOCK = 80;
const PADDING_MARK = 0x80;

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

/**
 * Takes the next message event, decrypts it, and acknowledges it unless `ack` is false. Delivery receipts on the way are
 * acknowledged and passed over unless `receipts` is true. The result is the envelope with `text` (or `null` for a
 * receipt), `timestamp` of the delivery, and `ack`.
 */
export async function receive(connection, { ack = true, receipts = false, timeoutMs } = {}) {
  for (;;) {
    const event = await connection.events.waitFor('message', { timeoutMs });
    const envelope = parseEnvelope(event.envelope);
    if (envelope.type === EnvelopeType.ServerDeliveryReceipt && !receipts) {
      event.ack();
      continue;
    }
    const text = await decrypt(connection.account, envelope);
    if (ack) event.ack();
    return { ...envelope, text, deliveredAt: event.timestamp, ack: event.ack };
  }
}

/** The plain text of an identified envelope, or `null` for a delivery receipt. */
export async function decrypt(account, envelope) {
  if (envelope.type === EnvelopeType.ServerDeliveryReceipt) return null;
  const toPni = account.pni && envelope.destination.isEqual(account.pni);
  const store = toPni ? account.pniStore : account.aciStore;
  const local = Signal.ProtocolAddress.new(envelope.destination, account.deviceId);
  const remote = Signal.ProtocolAddress.new(envelope.source, envelope.sourceDevice);
  return textOf(unpad(await decryptContent(envelope, remote, local, store)));
}

async function decryptContent({ type, content }, remote, local, store) {
  switch (type) {
    case EnvelopeType.DoubleRatchet:
      return Signal.signalDecrypt(Signal.SignalMessage.deserialize(content), remote, local, store, store);
    case EnvelopeType.PreKey: {
      const message = Signal.PreKeySignalMessage.deserialize(content);
      return Signal.signalDecryptPreKey(message, remote, local, store, store, store, store, store);
    }
    default:
      throw new Error(`no way to decrypt an envelope of type ${type} here`);
  }
}

/** Message padding: a mark, then zeros up to one less than a multiple of the block, so that lengths say little. */
function pad(bytes) {
  const padded = new Uint8Array(Math.ceil((bytes.length + 2) / PADDING_BLOCK) * PADDING_BLOCK - 1);
  padded.set(bytes);
  padded[bytes.length] = PADDING_MARK;
  return padded;
}

function unpad(bytes) {
  const mark = bytes.lastIndexOf(PADDING_MARK);
  if (mark < 0 || bytes.subarray(mark + 1).some((byte) => byte !== 0)) throw new Error('bad message padding');
  return bytes.subarray(0, mark);
}
