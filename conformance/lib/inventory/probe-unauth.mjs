// One attempt at each typed call of an unauthenticated connection.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import * as Signal from '@signalapp/libsignal-client';
import { receive, sendSealed, sendToMany } from '../messages.mjs';
import { fetchSenderCertificate, shareSenderKey } from '../sealed.mjs';
import { backupAuth, groupSendToken, receiptRequest } from './credentials.mjs';
import { confirmedUsername } from './probe-auth.mjs';

const random = (length) => Uint8Array.from(crypto.randomBytes(length));

const messages = {
  sendMessage: (scene) => deliversSealed(scene, { accessKey: scene.bob.account.accessKey }),
  'sendMessage (story)': (scene) => deliversSealed(scene, 'story'),
  sendMultiRecipientMessage: (scene) => deliversToMany(scene, groupSendToken()),
  'sendMultiRecipientMessage (story)': (scene) => deliversToMany(scene, 'story'),
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

async function deliversSealed({ anonymous, alice, bob, devices }, auth) {
  const certificate = await fetchSenderCertificate(alice);
  await sendSealed(anonymous, alice.account, bob.account.aci, devices, 'sealed', { certificate, auth });
  assert.equal((await receive(bob)).text, 'sealed');
}

async function deliversToMany({ anonymous, alice, bob, devices }, auth) {
  const [certificate, distributionId] = [await fetchSenderCertificate(alice), crypto.randomUUID()];
  await shareSenderKey(alice.account, distributionId, [bob.account]);
  const recipients = [{ target: bob.account.aci, devices }];
  const options = { certificate, distributionId, auth };
  const { unregisteredIds } = await sendToMany(anonymous, alice.account, recipients, 'to many', options);
  assert.deepEqual(unregisteredIds, []);
  assert.equal((await receive(bob)).text, 'to many');
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
