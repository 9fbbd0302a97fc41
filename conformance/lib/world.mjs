// What a test file works in: one server, and the accounts and connections its tests make on it.

import fs from 'node:fs';
import { after, describe } from 'node:test';
import { Account, linkJson, newLinkCode, register, requestLink } from './account.mjs';
import { CARRIERS, connectAuthenticated, connectUnauthenticated, makeNet } from './client.mjs';
import { fetchBundles, startSessions, uploadKeys } from './keys.mjs';
import { Server } from './server.mjs';

const FIRST_NUMBER = 15_550_100_000;

/** A server for a test file; ends with the file. */
export class World {
  #connections = [];
  #numbers = FIRST_NUMBER;

  constructor(server) {
    this.server = server;
  }

  /** Starts a server and promises its end. */
  static async start(options) {
    const world = new World(await Server.start(options));
    after(() => world.end());
    return world;
  }

  /** A phone number nobody has used on this server. */
  newNumber() {
    this.#numbers += 1;
    return `+${this.#numbers}`;
  }

  /** A fresh instance of the library; one per simulated device. */
  net(carrier) {
    return makeNet({ port: this.server.port, caPem: this.server.caPem, carrier });
  }

  /** A registered account without a connection. */
  async account(carrier, account = new Account(this.newNumber())) {
    await register(this.net(carrier), account, this.server.outbox);
    return account;
  }

  /** An authenticated connection of an account. */
  async connect(carrier, account, options) {
    const { trustRoots } = this.server;
    return this.#track(await connectAuthenticated(this.net(carrier), account, { trustRoots, ...options }));
  }

  /** An unauthenticated connection. */
  async connectAnonymously(carrier) {
    return this.#track(await connectUnauthenticated(this.net(carrier)));
  }

  /** A registered account, connected, its queue known to be empty. */
  async person(carrier, options) {
    const connection = await this.connect(carrier, await this.account(carrier), options);
    await connection.events.waitFor('queueEmpty');
    return connection;
  }

  /** One more device of the account of a primary's connection, connected, its queue known to be empty. */
  async link(carrier, primary, device = primary.account.newDevice()) {
    const { verificationCode } = await newLinkCode(primary);
    const anonymous = await this.connectAnonymously(carrier);
    const response = await requestLink(anonymous, device, linkJson(device, verificationCode));
    if (response.status !== 200) throw new Error(`not linked: ${response.status} ${response.text}`);
    device.deviceId = response.json.deviceId;
    const connection = await this.connect(carrier, device);
    await connection.events.waitFor('queueEmpty');
    return connection;
  }

  /** Two people of whom the first can write to the second: `{ alice, bob, devices }`, with a session already started. */
  async pair(carrier, options) {
    const [alice, bob] = [await this.person(carrier, options), await this.person(carrier, options)];
    await uploadKeys(bob, { count: 2 });
    const devices = await startSessions(alice.account, bob.account.aci, await fetchBundles(alice, bob.account.aci));
    return { alice, bob, devices };
  }

  #track(connection) {
    this.#connections.push(connection);
    return connection;
  }

  /** Closes what is open and ends the server; its log is shown when it ended by itself. */
  async end() {
    await Promise.all(this.#connections.map((connection) => connection.chat.disconnect().catch(() => {})));
    if (!this.server.running) console.error(`the server ended by itself:\n${this.server.logTail()}`);
    else if (process.env.HELIOGRAPH_LOG) console.error(fs.readFileSync(this.server.logFile, 'utf8'));
    await this.server.dispose();
  }
}

/** Declares the same tests for every carrier. */
export function onEveryCarrier(declare) {
  for (const carrier of CARRIERS) describe(carrier.name, () => declare(carrier));
}
