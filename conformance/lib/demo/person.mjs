// Somebody with an official client: registers, writes, reads, goes away and comes back.

import { Account, CAPTCHA } from '../account.mjs';
import { GRPC_CARRIER, connectAuthenticated, makeNet } from '../client.mjs';
import { EnvelopeType, parseEnvelope } from '../envelope.mjs';
import { fetchBundles, startSessions, uploadKeys } from '../keys.mjs';
import { decrypt, encryptFor } from '../messages.mjs';
import { timed } from './transcript.mjs';

const ONE_TIME_KEYS = 20;

/** A person with one device. Everything received is decrypted, kept in `inbox`, and acknowledged. */
export class Person {
  #server;
  #devices = new Map();
  #seen = new Set();
  #reading = Promise.resolve();
  #watchers = new Set();

  constructor(server, name, number) {
    this.#server = server;
    this.name = name;
    this.account = new Account(number);
    /** Messages in the order they were read: `{ text, from, sentAt, guid }`. */
    this.inbox = [];
    /** Deliveries of a message that had been delivered before. */
    this.repeated = 0;
    this.connection = null;
  }

  #net() {
    return makeNet({ port: this.#server.port, caPem: this.#server.caPem, carrier: GRPC_CARRIER });
  }

  /** Verification session, code, account. */
  async register() {
    const { account, name } = this;
    const { outbox } = this.#server;
    const session = await timed(
      name,
      () => this.#net().createRegistrationSession({ e164: account.number }),
      `opens a verification session for ${account.number}`,
    );
    if (!session.sessionState.allowedToRequestCode) await session.submitCaptcha(CAPTCHA);
    const already = outbox.count(account.number);
    const request = { transport: 'sms', client: 'ios', languages: ['en'] };
    const { code } = await timed(
      name,
      async () => {
        await session.requestVerification(request);
        return outbox.next(account.number, already);
      },
      (sent) => `is sent the code ${sent.code}`,
    );
    const verified = await timed(name, () => session.verifySession(code), 'enters it');
    if (!verified) throw new Error(`the server did not accept the code it sent to ${name}`);
    const response = await timed(
      name,
      () => session.registerAccount(account.registrationArgs()),
      ({ aci }) => `registers ACI and PNI keys, Kyber among them: account ${aci.getServiceIdString()}`,
    );
    account.adopt(response);
  }

  /** Opens the authenticated connection; resolves when what had waited has been read. */
  async goOnline() {
    const { trustRoots } = this.#server;
    this.connection = await connectAuthenticated(this.#net(), this.account, { trustRoots });
    this.#read(this.connection);
    await this.connection.events.waitFor('queueEmpty', { timeoutMs: 30_000 });
    await this.#reading;
  }

  /** Closes the connection. */
  async goOffline() {
    await this.connection.disconnect();
    await this.#reading;
  }

  /** Publishes one-time keys for others to fetch. */
  async publishKeys() {
    await uploadKeys(this.connection, { count: ONE_TIME_KEYS });
  }

  /** Fetches the keys of another person and starts a session. */
  async meet(other) {
    const { aci } = other.account;
    this.#devices.set(other, await startSessions(this.account, aci, await fetchBundles(this.connection, aci)));
  }

  /** Encrypts a text and returns what sends it, so that encryption stays in order and sending need not. */
  async prepare(other, text) {
    const destination = other.account.aci;
    const devices = this.#devices.get(other) ?? [other.account.device];
    const contents = await encryptFor(this.account, destination, devices, text);
    const message = { destination, timestamp: Date.now(), contents, onlineOnly: false, urgent: true };
    return () => this.connection.chat.sendMessage(message);
  }

  /** Resolves with the message of that text once it has been read. */
  async hasRead(text, withinMs = 10_000) {
    const found = () => this.inbox.find((message) => message.text === text);
    if (found()) return found();
    return new Promise((resolve, reject) => {
      const watch = () => {
        if (!found()) return;
        clearTimeout(timer);
        this.#watchers.delete(watch);
        resolve(found());
      };
      const timer = setTimeout(() => {
        this.#watchers.delete(watch);
        reject(new Error(`${this.name} did not get “${text}” within ${withinMs} ms`));
      }, withinMs);
      this.#watchers.add(watch);
    });
  }

  /** Reads what the connection delivers, one message after the other, as long as it lasts. */
  #read(connection) {
    connection.events.onEach('message', (event) => {
      this.#reading = this.#reading.then(() => this.#take(event));
      // Whoever waits for the reading sees the failure; this only keeps it from being unhandled meanwhile.
      this.#reading.catch(() => {});
    });
  }

  async #take(event) {
    const envelope = parseEnvelope(event.envelope);
    if (envelope.type !== EnvelopeType.ServerDeliveryReceipt) {
      if (this.#seen.has(envelope.guid)) this.repeated += 1;
      else await this.#keep(envelope);
    }
    acknowledge(event);
    for (const watch of this.#watchers) watch();
  }

  async #keep(envelope) {
    const { text } = await decrypt(this.account, envelope, this.connection.trustRoots);
    this.#seen.add(envelope.guid);
    this.inbox.push({ text, from: envelope.source, sentAt: envelope.clientTimestamp, guid: envelope.guid });
  }
}

/** Acknowledging on a connection that has just died is an error of the library; the message will come again. */
function acknowledge(event) {
  try {
    event.ack();
  } catch {
    // Nothing to do.
  }
}
