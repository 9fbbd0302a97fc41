// One attempt at each typed call of an unauthenticated connection.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import * as Signal from '@signalapp/libsignal-client';
import { receive } from '../messages.mjs';
import { backupAuth, groupSendToken, receiptRequest, sealedContents, multiRecipientPayload } from './credentials.mjs';
import { confirmedUsername } from './probe-auth.mjs';

const random = (length) => Uint8Array.from(crypto.randomBytes(length));

const messages = {
  sendMessage: ({ anonymous, alice, bob, devices }) =>
    sendSealed(anonymous, alice, bob, devices, { accessKey: bob.account.accessKey }),
  'sendMessage (story)': ({ anonymous, alice, bob, devices }) => sendSealed(anonymous, alice, bob, devices, 'story'),
  sendMultiRecipientMessage: ({ anonymous, alice, bob, devices }) =>
    sendMulti(anonymous, alice, bob, devices, groupSendToken()),
  'sendMultiRecipientMessage (story)': ({ anonymous, alice, bob, devices }) =>
    sendMulti(anonymous, alice, bob, devices, 'story'),
  getPreKeys: async ({ anonymous, bob }) => {
    const auth = { accessKey: bob.account.accessKey };
    const { preKeyBundles } = await anonymous.chat.getPreKeys({ target: bob.account.aci, device: 'all', auth });
    assert.equal(preKeyBundles.length, 1);
  },
  fetch: async ({ anonymous }) => assert.equal((await anonymous.rest('GET', '/v1/keepalive')).status, 200),
};

const lookUps = {
  accountExists: async ({ anonymous, bob }) => {
    assert.equal(await anonymous.chat.accountExists({ account: bob.account.aci }), true);
    assert.equal(await anonymous.chat.accountExists({ account: Signal.Aci.fromUuid(crypto.randomUUID()) }), false);
  },
  lookUpUsernameHash: async ({ anonymous, grpcPerson }) => {
    const owner = await grpcPerson();
    const { hash } = await confirmedUsername(owner);
    assert.ok((await anonymous.chat.lookUpUsernameHash({ hash })).isEqual(owner.account.aci));
  },
  lookUpUsernameLink: async ({ anonymous, grpcPerson }) => {
    const { username, link } = await confirmedUsername(await grpcPerson());
    assert.equal((await anonymous.chat.lookUpUsernameLink(link)).username, username);
  },
  checkSvrCredentials: ({ anonymous, bob }) =>
    anonymous.chat.checkSvrCredentials({ number: bob.account.number, credentials: ['user:1700000000:00'] }),
  keyTransparencyClient: ({ anonymous }) => void anonymous.chat.keyTransparencyClient(),
};

const backups = {
  getUploadForm: ({ anonymous, bob }) =>
    anonymous.chat.getUploadForm({ auth: backupAuth(bob.account), uploadSize: 1000 }),
  getMediaUploadForm: ({ anonymous, bob }) =>
    anonymous.chat.getMediaUploadForm({ auth: backupAuth(bob.account), uploadSize: 1000 }),
  setBackupPublicKey: ({ anonymous, bob }) => anonymous.chat.setBackupPublicKey({ auth: backupAuth(bob.account) }),
  getBackupCdnCredentials: ({ anonymous, bob }) =>
    anonymous.chat.getBackupCdnCredentials({ auth: backupAuth(bob.account), cdn: 3 }),
  getMessageBackupInfo: ({ anonymous, bob }) => anonymous.chat.getMessageBackupInfo({ auth: backupAuth(bob.account) }),
  getMediaBackupInfo: ({ anonymous, bob }) => anonymous.chat.getMediaBackupInfo({ auth: backupAuth(bob.account) }),
  getBackupSvrBCredentials: ({ anonymous, bob }) =>
    anonymous.chat.getBackupSvrBCredentials({ auth: backupAuth(bob.account) }),
  refreshBackup: ({ anonymous, bob }) => anonymous.chat.refreshBackup({ auth: backupAuth(bob.account) }),
  backupDeleteAll: ({ anonymous, bob }) => anonymous.chat.backupDeleteAll({ auth: backupAuth(bob.account) }),
  listBackupMedia: ({ anonymous, bob }) => anonymous.chat.listBackupMedia({ auth: backupAuth(bob.account), limit: 10 }),
  copyBackupMedia: ({ anonymous, bob }) => {
    const item = {
      sourceAttachmentCdn: 3,
      sourceKey: 'key',
      objectLength: 100,
      mediaId: random(15),
      encryptionKey: random(64),
    };
    return readAll(anonymous.chat.copyBackupMedia({ auth: backupAuth(bob.account), items: [item] }));
  },
  deleteBackupMedia: ({ anonymous, bob }) => {
    const items = [{ mediaId: random(15), cdn: 3 }];
    return readAll(anonymous.chat.deleteBackupMedia({ auth: backupAuth(bob.account), items }));
  },
};

const others = {
  submitCallQualitySurvey: ({ anonymous }) => anonymous.chat.submitCallQualitySurvey({ survey: survey() }),
  createLoginReceiptCredential: ({ anonymous }) => {
    const { context, serverParams } = receiptRequest();
    return anonymous.chat.createLoginReceiptCredential({
      paymentProcessor: 'stripe',
      purchaseIdentifier: 'purchase',
      receiptCredentialRequestContext: context,
      serverParams,
      purchaseTime: Date.now(),
    });
  },
};

async function sendSealed(anonymous, alice, bob, devices, auth) {
  const contents = await sealedContents(alice.account, bob.account, devices);
  const sending = {
    destination: bob.account.aci,
    timestamp: Date.now(),
    contents,
    auth,
    onlineOnly: false,
    urgent: true,
  };
  await anonymous.chat.sendMessage(sending);
  await takeSealed(bob);
}

async function sendMulti(anonymous, alice, bob, devices, auth) {
  const payload = await multiRecipientPayload(alice.account, bob.account, devices);
  const sending = { payload, timestamp: Date.now(), auth, onlineOnly: false, urgent: true };
  const { unregisteredIds } = await anonymous.chat.sendMultiRecipientMessage(sending);
  assert.deepEqual(unregisteredIds, []);
  await takeSealed(bob);
}

/** Takes the sealed message off the queue; what is inside is no matter of the server's. */
async function takeSealed(bob) {
  await assert.rejects(receive(bob, { timeoutMs: 5000 }), /type 6/);
}

async function readAll(stream) {
  for await (const item of stream) assert.ok(item);
}

function survey() {
  const optional = [
    'additionalIssuesDescription',
    'debugLogUrl',
    'connectionRttMedian',
    'audioRttMedian',
    'videoRttMedian',
    'audioRecvJitterMedian',
    'videoRecvJitterMedian',
    'audioSendJitterMedian',
    'videoSendJitterMedian',
    'audioRecvPacketLossFraction',
    'videoRecvPacketLossFraction',
    'audioSendPacketLossFraction',
    'videoSendPacketLossFraction',
    'callTelemetry',
    'callIdHash',
  ];
  return {
    ...Object.fromEntries(optional.map((name) => [name, null])),
    userSatisfied: true,
    callQualityIssues: [],
    startTimestamp: Date.now() - 1000,
    endTimestamp: Date.now(),
    callType: 'direct_voice',
    success: true,
    callEndReason: 'localHangup',
  };
}

/** Probes by the name of the call; a name with a variant in brackets is another form of the same call. */
export const unauthProbes = { ...messages, ...lookUps, ...backups, ...others };
