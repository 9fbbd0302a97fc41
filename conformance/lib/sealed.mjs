// Sealed sender: messages whose envelope does not say who sent them. Who did is inside, under a certificate of the server.

import assert from 'node:assert/strict';
import * as Signal from '@signalapp/libsignal-client';
import { u8, utf8 } from './bytes.mjs';
import { pad } from './padding.mjs';

/** The keys under which clients of this server believe sender certificates, from what `client-config` prints. */
export function trustRootsOf(clientConfig) {
  return clientConfig.unidentified_sender_trust_roots.map((root) => Signal.PublicKey.deserialize(u8(root)));
}

/** The server's certificate of who the connection's device is, with its number or without. */
export async function fetchSenderCertificate(connection, { includeE164 = true } = {}) {
  const response = await connection.rest('GET', `/v1/certificate/delivery?includeE164=${includeE164}`);
  assert.equal(response.status, 200, `GET /v1/certificate/delivery: ${response.text}`);
  return Signal.SenderCertificate.deserialize(u8(response.json.certificate));
}

/** Seals what `encryptFor` made for the devices of one recipient (version 1): the same list with sealed contents. */
export async function seal(account, target, contents, certificate, options) {
  const sealed = [];
  for (const { contents: message, ...device } of contents) {
    const inner = content(message, certificate, options);
    const remote = Signal.ProtocolAddress.new(target, device.deviceId);
    sealed.push({ ...device, contents: await Signal.sealedSenderEncrypt(inner, remote, account.aciStore) });
  }
  return sealed;
}

/** Lets the members, accounts too, read what the account will send under that distribution id. */
export async function shareSenderKey(account, distributionId, members) {
  const { address, aciStore } = account;
  const key = await Signal.SenderKeyDistributionMessage.create(address, distributionId, aciStore);
  for (const member of members) await Signal.processSenderKeyDistributionMessage(address, key, member.aciStore);
}

/**
 * One message to many (version 2): the payload of a multi-recipient send. `recipients` is `[{ target, devices }]`, with
 * whose devices there are sessions and who share the sender key; `excluded` are service ids that are named without a copy.
 */
export async function sealForMany(account, recipients, text, certificate, { distributionId, excluded = [], ...options }) {
  const padded = pad(typeof text === 'string' ? utf8(text) : text);
  const message = await Signal.groupEncrypt(account.address, distributionId, account.aciStore, padded);
  return Signal.sealedSenderMultiRecipientEncrypt({
    content: content(message, certificate, options),
    recipients: recipients.flatMap(({ target, devices }) =>
      devices.map(({ deviceId }) => Signal.ProtocolAddress.new(target, deviceId)),
    ),
    excludedRecipients: excluded,
    identityStore: account.aciStore,
    sessionStore: account.aciStore,
  });
}

/**
 * Takes the seal off a delivered envelope with the identity it was sent to, and checks the certificate, at the time the
 * server gave the envelope: `{ sender, senderDevice, senderE164, groupId, contentHint, messageType, message }`, the
 * message still encrypted.
 */
export async function unseal(envelope, store, trustRoots) {
  const inner = await Signal.sealedSenderDecryptToUsmc(envelope.content, store);
  const certificate = inner.senderCertificate();
  if (!certificate.validateWithTrustRoots(trustRoots, envelope.serverTimestamp)) {
    throw new Error('the sender certificate is not valid');
  }
  return {
    sender: certificate.senderAci(),
    senderDevice: certificate.senderDeviceId(),
    senderE164: certificate.senderE164(),
    groupId: inner.groupId(),
    contentHint: inner.contentHint(),
    messageType: inner.msgType(),
    message: inner.contents(),
  };
}

function content(message, certificate, { contentHint = Signal.ContentHint.Default, groupId = null } = {}) {
  return Signal.UnidentifiedSenderMessageContent.new(message, certificate, contentHint, groupId);
}
