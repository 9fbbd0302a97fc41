// Credentials as a client would hold them. They are made under keys of our own, so they have the right shape and size, and
// a server that verifies them will say no.

import crypto from 'node:crypto';
import * as Signal from '@signalapp/libsignal-client';
import * as zk from '@signalapp/libsignal-client/zkgroup.js';

const DAY_SECONDS = 86_400;
const RECEIPT_LEVEL = 300n;
const TOKEN_BYTES = 16;

const random = (length) => Uint8Array.from(crypto.randomBytes(length));
const today = () => Math.floor(Date.now() / 1000 / DAY_SECONDS) * DAY_SECONDS;
const serverSecrets = zk.ServerSecretParams.generate();
const genericSecrets = zk.GenericServerSecretParams.generate();

/** A request for a receipt credential: `{ context, serverParams }`. */
export function receiptRequest() {
  const serverParams = serverSecrets.getPublicParams();
  const operations = new zk.ClientZkReceiptOperations(serverParams);
  const context = operations.createReceiptCredentialRequestContext(new zk.ReceiptSerial(random(16)));
  return { context, serverParams, operations };
}

/** A presentation of a receipt credential. */
export function receiptPresentation() {
  const { context, operations } = receiptRequest();
  const expires = today() + 30 * DAY_SECONDS;
  const issuer = new zk.ServerZkReceiptOperations(serverSecrets);
  const response = issuer.issueReceiptCredential(context.getRequest(), expires, RECEIPT_LEVEL);
  return operations.createReceiptCredentialPresentation(operations.receiveReceiptCredential(context, response));
}

/** What the backup calls show instead of an account. */
export function backupAuth(account) {
  const context = zk.BackupAuthCredentialRequestContext.create(random(32), account.uuid);
  const level = zk.BackupLevel.Paid;
  const type = zk.BackupCredentialType.Messages;
  const response = context.getRequest().issueCredential(today(), level, type, genericSecrets);
  const serverKeys = genericSecrets.getPublicParams();
  return {
    credential: context.receive(response, today(), serverKeys),
    serverKeys,
    signingKey: Signal.PrivateKey.generate(),
  };
}

/** A group send token that endorses nobody. */
export function groupSendToken() {
  const bytes = Buffer.alloc(1 + 8 + TOKEN_BYTES + 8);
  bytes.writeBigUInt64LE(BigInt(TOKEN_BYTES), 1);
  crypto.randomFillSync(bytes, 9, TOKEN_BYTES);
  bytes.writeBigUInt64LE(BigInt(today() + DAY_SECONDS), 9 + TOKEN_BYTES);
  return new zk.GroupSendFullToken(Uint8Array.from(bytes));
}
