// A real browser: Chromium, driven over the DevTools protocol through a pair of pipes, with an authenticator of its own.

import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';

const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--remote-debugging-pipe',
];
const ANSWER_WITHIN_MS = 60_000;
const CLOSED_WITHIN_MS = 10_000;
const AUTHENTICATOR = {
  protocol: 'ctap2',
  transport: 'internal',
  hasResidentKey: true,
  hasUserVerification: true,
  isUserVerified: true,
  automaticPresenceSimulation: true,
};

/** A browser with one page. */
export class Browser {
  #child;
  #profile;
  #session;
  #calls = new Map();
  #loads = [];
  #lastId = 0;
  #received = '';

  /** Starts the browser of that path. It takes the server's certificate for good, and no other that it does not know. */
  static async start(binary, server) {
    const browser = new Browser();
    const trusted = `--ignore-certificate-errors-spki-list=${await publicKeyHash(server)}`;
    browser.#profile = fs.mkdtempSync(path.join(os.tmpdir(), 'heliograph-browser-'));
    const args = [...ARGUMENTS, trusted, `--user-data-dir=${browser.#profile}`, 'about:blank'];
    browser.#child = spawn(binary, args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    browser.#child.on('error', (error) => browser.#fail(error));
    browser.#child.on('exit', () => browser.#fail(new Error('the browser has ended')));
    browser.#child.stdio[3].on('error', (error) => browser.#fail(error));
    browser.#child.stdio[4].setEncoding('utf8').on('data', (text) => browser.#take(text));
    try {
      const { targetId } = await browser.call('Target.createTarget', { url: 'about:blank' });
      const { sessionId } = await browser.call('Target.attachToTarget', { targetId, flatten: true });
      browser.#session = sessionId;
      await browser.call('Page.enable');
    } catch (error) {
      await browser.end();
      throw error;
    }
    return browser;
  }

  /** Gives it an authenticator that checks its user and finds its passkeys by itself; answers what it is called. */
  async addAuthenticator(options = {}) {
    await this.call('WebAuthn.enable');
    const answer = await this.call('WebAuthn.addVirtualAuthenticator', { options: { ...AUTHENTICATOR, ...options } });
    return answer.authenticatorId;
  }

  /** Goes to a page, and waits until it is there. */
  async open(url) {
    const loaded = new Promise((resolve) => this.#loads.push(resolve));
    const { errorText } = await this.call('Page.navigate', { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await within(loaded, url);
  }

  /** Runs a function in the page with those arguments, JSON both ways. */
  async run(work, ...args) {
    const expression = `(${work})(${args.map((value) => JSON.stringify(value)).join(', ')})`;
    const options = { expression, awaitPromise: true, returnByValue: true, userGesture: true };
    const { result, exceptionDetails } = await this.call('Runtime.evaluate', options);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Asks the browser for something. */
  call(method, params = {}) {
    this.#lastId += 1;
    const id = this.#lastId;
    const answer = new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }));
    this.#child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId: this.#session })}\0`);
    return within(answer, method);
  }

  /** Ends the browser, and removes what it has left. */
  async end() {
    const child = this.#child;
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      // Asked for it, it ends its other processes first, which would else go on writing to its folder for a while.
      const late = setTimeout(() => child.kill('SIGKILL'), CLOSED_WITHIN_MS);
      this.#session = undefined;
      this.call('Browser.close').catch(() => child.kill('SIGKILL'));
      await gone;
      clearTimeout(late);
    }
    await fs.promises.rm(this.#profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  #take(text) {
    const messages = `${this.#received}${text}`.split('\0');
    this.#received = messages.pop();
    for (const message of messages) {
      const { id, method, result, error } = JSON.parse(message);
      if (method === 'Page.loadEventFired') this.#loads.splice(0).forEach((loaded) => loaded());
      const call = this.#calls.get(id);
      this.#calls.delete(id);
      if (error) call?.reject(new Error(error.message));
      else call?.resolve(result);
    }
  }

  #fail(error) {
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }
}

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer to ${what}`)), ANSWER_WITHIN_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** SHA-256 of the public key in the server's certificate, in base 64. */
function publicKeyHash({ port, caPem }) {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host: '127.0.0.1', port, servername: 'localhost', ca: caPem }, () => {
      const key = socket.getPeerX509Certificate().publicKey.export({ type: 'spki', format: 'der' });
      socket.destroy();
      resolve(crypto.createHash('sha256').update(key).digest('base64'));
    });
    socket.on('error', reject);
  });
}
